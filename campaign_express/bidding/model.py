"""What a catalogue holds: advertisers, campaigns, creatives, targeting, exchanges. The shape of the YAML/JSON files.

Everything is frozen; a changed catalogue is a new one. Money is integer micros of USD (`money.py`): files say `2.50` or
"2.50" (USD), the loader (`catalog.py`) turns that into micros once, with Decimal. Bids by goal: CPM in USD per thousand
impressions, CPC in USD per click, CPA in USD per conversion. Field names are OpenRTB's where it has them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:\-]*$")]
Micros = Annotated[int, Meta(ge=0, le=10**15)]


class Media(StrEnum):
    """Media kind; `mtype` is OpenRTB 2.6 bid.mtype (AdCOM "Creative Subtypes - Markup Types")."""

    BANNER = "banner"
    VIDEO = "video"
    AUDIO = "audio"
    NATIVE = "native"

    @property
    def mtype(self) -> int:
        return {"banner": 1, "video": 2, "audio": 3, "native": 4}[self.value]


class Inventory(StrEnum):
    SITE = "site"
    APP = "app"
    DOOH = "dooh"


class GoalType(StrEnum):
    CPM = "cpm"
    CPC = "cpc"
    CPA = "cpa"


class Status(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"


class Frozen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the catalogue's types: a misspelt key is an error."""


class Match(Frozen, frozen=True, kw_only=True):
    """Values a field may (`include`, empty = any) and must not (`exclude`) have.

    Compared without case, but for ids that others give out: publishers, deals, segments.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class IntMatch(Frozen, frozen=True, kw_only=True):
    """As Match, for AdCOM's integer lists."""

    include: tuple[int, ...] = ()
    exclude: tuple[int, ...] = ()


class Circle(Frozen, frozen=True, kw_only=True):
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    km: Annotated[float, Meta(gt=0, le=20_000)]


class CircleMatch(Frozen, frozen=True, kw_only=True):
    include: tuple[Circle, ...] = ()
    exclude: tuple[Circle, ...] = ()


class OsVersion(Frozen, frozen=True, kw_only=True):
    """Bounds on device.osv for one operating system, inclusive, compared number by number ("10.2" < "10.10")."""

    os: str
    min: str | None = None
    max: str | None = None


class Hours(Frozen, frozen=True, kw_only=True):
    """Hours of the week in which to bid: 0 is Monday 00:00-00:59, 167 Sunday 23:00-23:59. `clock` says whose week."""

    hours: tuple[Annotated[int, Meta(ge=0, le=167)], ...]
    clock: Annotated[str, Meta(pattern="^(user|campaign)$")] = "campaign"


class CategoryMatch(Frozen, frozen=True, kw_only=True):
    """Content categories with their taxonomy (AdCOM "Category Taxonomies":

    1 = IAB Content 1.0, 2 = 2.0, 6 = 2.2, 7 = 3.0).
    """

    cattax: int = 1
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Targeting(Frozen, frozen=True, kw_only=True):
    """All rules must hold. An absent value in a request fails an `include` and passes an `exclude`."""

    country: Match = Match()  # ISO-3166-1 alpha-3 (alpha-2 accepted)
    region: Match = Match()  # ISO-3166-2, "USA-CA" or "US-CA"
    city: Match = Match()  # city name, optionally "USA/Boston"
    metro: Match = Match()  # DMA code
    radius: CircleMatch = CircleMatch()
    ip: Match = Match()  # CIDR, IPv4 or IPv6
    device_type: IntMatch = IntMatch()  # AdCOM device types
    os: Match = Match()
    os_version: tuple[OsVersion, ...] = ()
    make: Match = Match()
    connection: IntMatch = IntMatch()  # AdCOM connection types
    carrier: Match = Match()
    language: Match = Match()  # ISO-639-1
    domain: Match = Match()  # site.domain; a parent domain covers its subdomains
    bundle: Match = Match()
    publisher: Match = Match()
    category: CategoryMatch = CategoryMatch()
    keyword: Match = Match()
    inventory: tuple[Inventory, ...] = ()
    media: tuple[Media, ...] = ()
    size: Match = Match()  # "300x250"
    position: IntMatch = IntMatch()  # AdCOM placement positions
    placement: IntMatch = IntMatch()  # AdCOM video placement subtypes (video.plcmt)
    interstitial: bool | None = None
    rewarded: bool | None = None
    deal: Match = Match()
    segment: Match = Match()
    eid_source: Match = Match()
    hours: Hours | None = None
    schain: Annotated[str, Meta(pattern="^(any|complete)$")] = "any"


class NativeContent(Frozen, frozen=True, kw_only=True):
    """Assets of a native ad (OpenRTB Native 1.2, section 5).

    Lengths are checked against each request's asset limits.
    """

    title: str
    description: str = ""
    sponsored: str = ""
    call_to_action: str = ""
    image: str = ""
    image_w: int = 0
    image_h: int = 0
    icon: str = ""
    icon_w: int = 0
    icon_h: int = 0
    rating: str = ""
    price: str = ""
    display_url: str = ""


class Creative(Frozen, frozen=True, kw_only=True):
    """One ad. `media` says which of the fields count; `catalog.py` checks that they are there."""

    id: Name
    media: Media
    w: Annotated[int, Meta(ge=0, le=10_000)] = 0  # banner, video (pixels)
    h: Annotated[int, Meta(ge=0, le=10_000)] = 0
    landing: Annotated[str, Meta(pattern=r"^https?://")]  # where a click goes
    html: str = ""  # banner: markup; {CLICK_URL} stands for our click-through redirect
    image: str = ""  # banner: used when html is empty
    asset: str = ""  # video, audio: media file URL
    mime: str = ""  # video, audio: of asset
    duration: Annotated[int, Meta(ge=0, le=3600)] = 0  # video, audio: seconds
    bitrate: Annotated[int, Meta(ge=0)] = 0  # video, audio: kbit/s
    skippable: bool = False
    skip_after: int = 5  # seconds, when skippable
    vast: Annotated[str, Meta(pattern=r"^(|4\.0|4\.1|4\.2)$")] = ""  # default 4.2
    native: NativeContent | None = None
    attr: tuple[int, ...] = ()  # AdCOM creative attributes
    api: tuple[int, ...] = ()  # AdCOM API frameworks that the creative needs
    secure: bool = True  # every resource is https
    language: str = ""
    weight: Annotated[int, Meta(ge=1, le=1000)] = 1
    caps: tuple[FrequencyCap, ...] = ()  # of this creative alone, beside its campaign's


class Budget(Frozen, frozen=True, kw_only=True):
    """The most that may be spent, micros of USD; None = no limit.

    Days and hours are those of the time zone beside it.
    """

    total: Micros | None = None
    daily: Micros | None = None
    hourly: Micros | None = None

    @property
    def limited(self) -> bool:
        return not (self.total is None and self.daily is None and self.hourly is None)


class Pacing(StrEnum):
    EVEN = "even"  # the daily budget follows the day's supply
    ASAP = "asap"  # bid on all that fits while there is money


class CapPeriod(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    LIFETIME = "lifetime"


class FrequencyCap(Frozen, frozen=True, kw_only=True):
    """At most `limit` impressions to one person in a period."""

    limit: Annotated[int, Meta(ge=1, le=1000)]
    per: CapPeriod
    window: Annotated[str, Meta(pattern="^(sliding|calendar)$")] = "sliding"  # calendar: of the campaign's time zone


class Goal(Frozen, frozen=True, kw_only=True):
    type: GoalType
    bid: Micros  # micros of USD: per mille (cpm), per click (cpc), per conversion (cpa)


class Flight(Frozen, frozen=True, kw_only=True):
    start: datetime
    end: datetime | None = None


class Campaign(Frozen, frozen=True, kw_only=True):
    id: Name
    advertiser: Name
    name: str = ""
    status: Status = Status.ACTIVE
    flight: Flight
    time_zone: str = "UTC"
    goal: Goal
    max_bid: Micros  # CPM in micros of USD: the most one bid may say
    margin: Annotated[float, Meta(gt=0, le=1)] = 1.0  # share of the expected value that is bid
    budget: Budget = Budget()
    pacing: Pacing = Pacing.EVEN
    caps: tuple[FrequencyCap, ...] = ()
    cap_without_user: bool = False  # bid, uncounted, where a request tells no user, though there are caps
    cap_confirm: Annotated[str, Meta(pattern="^(impression|win)$")] = "impression"  # what makes a bid count
    exchanges: tuple[str, ...] = ()  # empty = all
    categories: tuple[str, ...] = ()  # IAB Content 1.0 unless cattax says so; empty = the advertiser's
    cattax: int = 1
    targeting: Targeting = Targeting()
    creatives: Annotated[tuple[Creative, ...], Meta(min_length=1)]


class Dsa(Frozen, frozen=True, kw_only=True):
    """What an ad must disclose under the EU's Digital Services Act (IAB "DSA Transparency" extension, bid.ext.dsa)."""

    behalf: str
    paid: str
    params: tuple[int, ...] = ()


class Advertiser(Frozen, frozen=True, kw_only=True):
    id: Name
    name: str
    domain: Annotated[str, Meta(min_length=3)]
    categories: tuple[str, ...] = ()
    cattax: int = 1
    seat: Name | None = None  # default: the id
    bundle: str = ""  # for app advertisers: compared with bapp
    budget: Budget = Budget()  # of the whole account, beside those of its campaigns
    time_zone: str = "UTC"  # of the account's days and hours
    dsa: Dsa | None = None


class Catalog(Frozen, frozen=True, kw_only=True):
    """A whole catalogue. `version` is set when it is published and only grows."""

    version: int = 0
    advertisers: tuple[Advertiser, ...]
    campaigns: tuple[Campaign, ...]


class AuctionType(StrEnum):
    FIRST_PRICE = "first-price"
    SECOND_PRICE = "second-price"


class Exchange(Frozen, frozen=True, kw_only=True):
    """Who asks, and its habits. One YAML file holds them all."""

    name: Name
    seats: dict[str, str] = {}  # advertiser id -> our seat there; default: the advertiser's own
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"  # used when a request names none
    auction: AuctionType = AuctionType.FIRST_PRICE  # used when a request has no `at`
    tmax: Annotated[int, Meta(ge=1, le=10_000)] = 100  # ms, when a request has none
    price_macro: str = "${AUCTION_PRICE}"
    price_encryption: Annotated[str, Meta(pattern="^(none|google|hmac-xor)$")] = "none"
    notices: tuple[Annotated[str, Meta(pattern="^(nurl|burl|lurl)$")], ...] = ("nurl", "burl", "lurl")
    price_notice: Annotated[str, Meta(pattern="^(nurl|burl|impression)$")] = "burl"  # the one that sets what we pay
    qps: Annotated[int, Meta(ge=0)] = 0  # requests a second that we answer, 0 = no limit
    approved_creatives: tuple[str, ...] | None = None  # None: no approval needed
    no_bid_status: Annotated[int, Meta(ge=200, le=204)] = 204  # 200: answer with nbr
    exp: Annotated[int, Meta(ge=1, le=86_400)] = 3600  # seconds between bid and impression that we honour
    cattax: int = 1  # when a request has no cattax
    quirks: tuple[str, ...] = ()  # names from openrtb/quirks.py
    sync_url: Annotated[str, Meta(pattern=r"^(|https://[^\s\x00-\x1f]+)$")] = ""  # {UID} in it becomes our user id


class Exchanges(Frozen, frozen=True, kw_only=True):
    default: Name
    exchanges: Annotated[tuple[Exchange, ...], Meta(min_length=1)]
