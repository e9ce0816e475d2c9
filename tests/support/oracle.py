"""Who may bid on what, worked out the slow and obvious way: loops over campaigns and creatives, one `if` a rule.

Written from the specification (OpenRTB 2.6, AdCOM 1.0, Native 1.2) and docs/catalogue.md, docs/privacy.md and
docs/validation.md, not from the indexes of `campaign_express.bidding`, of which it shares no code but the catalogue's
types, exchange rates and the rounding of floors. Speed is no aim: a reader should see at a glance that it is right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from zoneinfo import ZoneInfo

from campaign_express.bidding.currency import Rates
from campaign_express.bidding.model import (
    Advertiser,
    Campaign,
    Catalog,
    Circle,
    Creative,
    Exchange,
    GoalType,
    IntMatch,
    Inventory,
    Match,
    Media,
    Status,
)
from campaign_express.bidding.money import floor_to_micros
from campaign_express.openrtb.request import Audio, Banner, BidRequest, Deal, Geo, Imp, Native, Video
from campaign_express.ports import DeviceFacts, GeoFacts

# (impression's index, deal's index or None for the open auction)
Place = tuple[int, int | None]
# (campaign id, creative id)
Pair = tuple[str, str]

# Only what the tests' requests and catalogues hold.
COUNTRIES = {"USA": "USA", "US": "USA", "DEU": "DEU", "DE": "DEU", "BRA": "BRA", "BR": "BRA", "AUS": "AUS", "AU": "AUS"}
EEA = {"DEU"}
SKIP_BUTTON = 16  # AdCOM "Creative Attributes": 16 = has a skip button
VAST_CODES = {"4.0": 7, "4.1": 11, "4.2": 13}  # AdCOM "Creative Subtypes - Audio/Video"
# Native 1.2 section 7.4, "Data Asset Types".
NATIVE_DATA = {
    1: "sponsored",
    2: "description",
    3: "rating",
    6: "price",
    11: "display_url",
    12: "call_to_action",
}
# AdCOM "Placement Subtypes - Video" (deprecated video.placement) as "Plcmt Subtypes - Video".
PLCMT = {1: 1, 2: 4, 3: 4, 4: 4, 5: 3}


@dataclass(frozen=True)
class World:
    """Everything an answer depends on besides the request."""

    catalog: Catalog
    exchange: Exchange
    rates: Rates
    wall_ms: int
    device: DeviceFacts
    geo: GeoFacts
    # What each consent string allows, as the tables of docs/privacy.md say: True if the person's data may be used.
    consents: dict[str, bool] = field(default_factory=dict)
    gpp: dict[str, bool] = field(default_factory=dict)


def eligible(world: World, request: BidRequest) -> dict[Place, set[Pair]]:
    """Every creative of every campaign that may bid, by impression and deal. Places where none may are left out."""
    found: dict[Place, set[Pair]] = {}
    if currency(world, request) is None:
        return found
    for imp_index, imp in enumerate(request.imp):
        if not sold_to_us(world, imp):
            continue
        for campaign in world.catalog.campaigns:
            advertiser = next(a for a in world.catalog.advertisers if a.id == campaign.advertiser)
            if not may_buy(world, request, campaign, advertiser):
                continue
            for creative in campaign.creatives:
                if not may_show(world, imp, campaign, advertiser, creative):
                    continue
                for place in places(world, imp, imp_index, campaign, advertiser):
                    found.setdefault(place, set()).add((campaign.id, creative.id))
    return found


def currency(world: World, request: BidRequest) -> str | None:
    """Section 3.2.1, `cur`: USD if allowed, else the first that we have a rate for."""
    allowed = request.cur or (world.exchange.currency,)
    if "USD" in allowed:
        return "USD"
    return next((c for c in allowed if world.rates.usd_per(c) is not None), None)


def floor_micros(world: World, floor: float | None, code: str | None) -> int | None:
    """CPM micros of USD; None: a floor in a currency without a rate, so nothing can be shown to reach it."""
    if not floor:
        return 0
    rate = world.rates.usd_per(code or "USD")
    return None if rate is None else floor_to_micros(floor, rate)


def price_micros(campaign: Campaign, pctr: float, pcvr: float) -> int:
    """What a bid of this campaign says: its expected value times its margin, at most its maximum, in whole micros."""
    bid = Fraction(campaign.goal.bid)
    if campaign.goal.type is GoalType.CPC:
        bid = bid * 1000 * Fraction(pctr)
    elif campaign.goal.type is GoalType.CPA:
        bid = bid * 1000 * Fraction(pctr) * Fraction(pcvr)
    return math.floor(min(bid * Fraction(campaign.margin), Fraction(campaign.max_bid)))


# ------------------------------------------------------------------ the impression


def sold_to_us(world: World, imp: Imp) -> bool:
    """Impressions that we buy at all."""
    if floor_micros(world, imp.bidfloor, imp.bidfloorcur) is None:
        return False
    if imp.qty is not None and imp.qty.multiplier not in (None, 1):
        return False  # one bid would pay for many people at a screen
    for stream in (imp.video, imp.audio):
        if stream is not None and (stream.poddur or (stream.maxseq or 0) > 1):
            return False  # as many ads as fit: ad pods of flexible length
    return True


def places(world: World, imp: Imp, imp_index: int, campaign: Campaign, advertiser: Advertiser) -> list[Place]:
    """In which auctions of the impression the campaign takes part."""
    wanted, unwanted = campaign.targeting.deal.include, campaign.targeting.deal.exclude
    private = imp.pmp is not None and imp.pmp.private_auction == 1
    found: list[Place] = []
    if not wanted and not private:
        found.append((imp_index, None))
    for deal_index, deal in enumerate((imp.pmp.deals or ()) if imp.pmp is not None else ()):
        if deal.id not in wanted or deal.id in unwanted:
            continue
        if deal_admits(world, deal, advertiser):
            found.append((imp_index, deal_index))
    return found


def deal_admits(world: World, deal: Deal, advertiser: Advertiser) -> bool:
    """Section 3.2.12."""
    if floor_micros(world, deal.bidfloor, deal.bidfloorcur) is None:
        return False
    if deal.wseat and seat_of(world, advertiser) not in deal.wseat:
        return False
    return not deal.wadomain or any(is_within(advertiser.domain, d) for d in deal.wadomain)


# ------------------------------------------------------------------ the campaign


def may_buy(world: World, request: BidRequest, campaign: Campaign, advertiser: Advertiser) -> bool:
    """Campaign and advertiser against the request."""
    now = datetime.fromtimestamp(world.wall_ms / 1000, UTC)
    if campaign.status is not Status.ACTIVE:
        return False
    if now < campaign.flight.start or (campaign.flight.end is not None and now >= campaign.flight.end):
        return False
    if campaign.exchanges and world.exchange.name not in campaign.exchanges:
        return False
    return not is_blocked(world, request, campaign, advertiser) and is_targeted(world, request, campaign)


def seat_of(world: World, advertiser: Advertiser) -> str:
    return world.exchange.seats.get(advertiser.id) or advertiser.seat or advertiser.id


def is_blocked(world: World, request: BidRequest, campaign: Campaign, advertiser: Advertiser) -> bool:
    seat = seat_of(world, advertiser)
    if request.wseat and seat not in request.wseat:
        return True
    if request.bseat and seat in request.bseat:
        return True
    if any(is_within(advertiser.domain, domain) for domain in request.badv or ()):
        return True
    if advertiser.bundle and advertiser.bundle.lower() in folded(request.bapp):
        return True
    return is_category_blocked(world, request, campaign, advertiser) or not discloses(request, advertiser)


def is_category_blocked(world: World, request: BidRequest, campaign: Campaign, advertiser: Advertiser) -> bool:
    """Section 3.2.1, `bcat`: a first-tier id blocks its second tier.

    Where we state no category, or none in the list's taxonomy, nothing shows that it is not blocked.
    """
    if not request.bcat:
        return False
    own = campaign if campaign.categories else advertiser
    if not own.categories or (request.cattax or world.exchange.cattax) != own.cattax:
        return True
    return any(category_covers(blocked, category) for blocked in request.bcat for category in own.categories)


def discloses(request: BidRequest, advertiser: Advertiser) -> bool:
    """DSA extension: where disclosure is required, there must be something to disclose and a publisher who shows it."""
    dsa = request.regs.ext.dsa if request.regs is not None and request.regs.ext is not None else None
    if dsa is None or dsa.dsarequired not in (2, 3):
        return True
    return advertiser.dsa is not None and dsa.pubrender in (1, 2)


def is_targeted(world: World, request: BidRequest, campaign: Campaign) -> bool:
    """Every rule of the campaign that is about the whole request."""
    rules = campaign.targeting
    person = may_use_person(world, request)
    device = request.device
    geo = location(world, request)
    country = country_of(geo)
    region = (geo.region or "").rpartition("-")[2]
    place = request.app or request.site or request.dooh
    content = place.content if place is not None else None

    if rules.schain == "complete" and not has_complete_chain(request):
        return False
    if rules.inventory and inventory_of(request) not in rules.inventory:
        return False
    if not domain_passes(rules.domain, domain_of(request)):
        return False
    if not passes(rules.bundle, [request.app.bundle] if request.app is not None else []):
        return False
    publisher = place.publisher if place is not None else None
    if not id_passes(rules.publisher, [publisher.id] if publisher is not None else []):
        return False
    if not passes(normal_countries(rules.country), [country]):
        return False
    if not passes(normal_regions(rules.region), [f"{country}-{region}"] if country and region else []):
        return False
    if not passes(normal_cities(rules.city), [geo.city, f"{country}/{geo.city}"] if geo.city else []):
        return False
    if not passes(rules.metro, [geo.metro]):
        return False
    if not int_passes(rules.device_type, device_type(world, request)):
        return False
    os, version = operating_system(world, request)
    if not passes(rules.os, [os]):
        return False
    for bound in rules.os_version:
        if bound.os.lower() == os and not within_versions(version, bound.min, bound.max):
            return False
    make = (device.make if device is not None else None) or (world.device.make if has_agent(request) else "")
    if not passes(rules.make, [make]):
        return False
    if not int_passes(rules.connection, device.connectiontype if device is not None else None):
        return False
    if not passes(rules.carrier, [device.carrier] if device is not None else []):
        return False
    language = (device.language or device.langb or "") if device is not None else ""
    if not passes(rules.language, [language.split("-")[0]]):
        return False
    if not hour_passes(world, request, campaign):
        return False
    if not category_passes(world, request, campaign):
        return False
    words: list[str | None] = []
    for part in (place, content, request.user if person else None):
        if part is not None:
            words += [word.strip() for word in (part.keywords or "").split(",")]
            words += [word.strip() for word in part.kwarray or ()]
    if not passes(rules.keyword, words):
        return False
    return person_passes(world, request, campaign, person) and place_on_earth_passes(world, request, campaign, person)


def person_passes(world: World, request: BidRequest, campaign: Campaign, person: bool) -> bool:
    """Rules about the person: where their data may not be used, nothing is known of them."""
    segments: list[str | None] = []
    sources: list[str | None] = []
    user = request.user
    if person and user is not None:
        segments = [segment.id for data in user.data or () for segment in data.segment or ()]
        eids = user.eids or (user.ext.eids if user.ext is not None else None) or ()
        sources = [eid.source for eid in eids]
    return id_passes(campaign.targeting.segment, segments) and passes(campaign.targeting.eid_source, sources)


def place_on_earth_passes(world: World, request: BidRequest, campaign: Campaign, person: bool) -> bool:
    """Address and coordinates, which are cut where the person's data may not be used."""
    rules = campaign.targeting
    networks = [network for address in addresses(request) for network in known_network(address, person)]
    included = [ip_network(text) for text in rules.ip.include]
    excluded = [ip_network(text) for text in rules.ip.exclude]
    if included and not any(lies_in(known, wanted) for known in networks for wanted in included):
        return False
    if any(lies_in(known, unwanted) for known in networks for unwanted in excluded):
        return False
    geo = location(world, request)
    point = (geo.lat, geo.lon) if geo.lat is not None and geo.lon is not None else None
    if rules.radius.include and (
        not person or point is None or not any(is_near(point, circle) for circle in rules.radius.include)
    ):
        return False
    return point is None or not any(is_near(point, circle) for circle in rules.radius.exclude)


# ------------------------------------------------------------------ facts of the request


def may_use_person(world: World, request: BidRequest) -> bool:
    """docs/privacy.md: every signal must allow it."""
    regs, device, user = request.regs, request.device, request.user
    regs_ext = regs.ext if regs is not None else None
    if regs is not None and regs.coppa == 1:
        return False
    if device is not None and (device.lmt == 1 or device.dnt == 1):
        return False
    signals = [regs_ext.gpc if regs_ext is not None else None]
    signals.append(device.ext.gpc if device is not None and device.ext is not None else None)
    if any(str(signal) in ("1", "True") for signal in signals):
        return False
    us = (regs.us_privacy if regs is not None else None) or (regs_ext.us_privacy if regs_ext is not None else None)
    if us and us not in ("1---", "1YNN"):
        return False
    gpp = (regs.gpp if regs is not None else None) or (regs_ext.gpp if regs_ext is not None else None)
    if gpp and not world.gpp[gpp]:
        return False
    flags = {regs.gdpr if regs is not None else None, regs_ext.gdpr if regs_ext is not None else None} - {None}
    applies = 1 in flags if flags else country_of(location(world, request)) in EEA
    consent = None
    if user is not None:
        consent = user.consent or (user.ext.consent if user.ext is not None else None)
    return not applies or (consent is not None and world.consents[consent])


def has_agent(request: BidRequest) -> bool:
    return request.device is not None and bool(request.device.ua)


def addresses(request: BidRequest) -> list[str]:
    """The IPv4 address; the IPv6 one if there is no other."""
    device = request.device
    if device is None:
        return []
    return [address for address in (device.ip or device.ipv6,) if address]


def known_network(address: str, person: bool) -> list[IPv4Network | IPv6Network]:
    """What is known of an address: all of it, or after cutting only its /24 or /48."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return []
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    cut = (24 if parsed.version == 4 else 48) if not person else parsed.max_prefixlen
    return [ip_network(f"{parsed}/{cut}", strict=False)]


def lies_in(known: IPv4Network | IPv6Network, rule: IPv4Network | IPv6Network) -> bool:
    """Whether the address is in the network of a rule for sure."""
    if isinstance(known, IPv4Network) and isinstance(rule, IPv4Network):
        return known.subnet_of(rule)
    if isinstance(known, IPv6Network) and isinstance(rule, IPv6Network):
        return known.subnet_of(rule)
    return False


def location(world: World, request: BidRequest) -> Geo | GeoFacts:
    """Where the device is, as sent; by its address where no country was sent and the address tells one."""
    geo: Geo | None = None
    if request.device is not None and request.device.geo is not None:
        geo = request.device.geo
    elif request.user is not None:
        geo = request.user.geo
    if geo is not None and country_of(geo):
        return geo
    if addresses(request) and world.geo.country:
        return world.geo
    return geo or Geo()


def country_of(geo: Geo | GeoFacts) -> str:
    return COUNTRIES.get((geo.country or "").upper(), "")


def utc_offset(world: World, request: BidRequest) -> int | None:
    sent: Geo | None = None
    if request.device is not None and request.device.geo is not None:
        sent = request.device.geo
    elif request.user is not None:
        sent = request.user.geo
    if sent is not None and sent.utcoffset is not None:
        return sent.utcoffset
    found = location(world, request)
    return found.utc_offset if isinstance(found, GeoFacts) else None


def inventory_of(request: BidRequest) -> Inventory | None:
    if request.app is not None:
        return Inventory.APP
    if request.site is not None:
        return Inventory.SITE
    return Inventory.DOOH if request.dooh is not None else None


def domain_of(request: BidRequest) -> str:
    """Domain of the site (from the page's URL where it is left out), app or screen network."""
    if request.site is not None and not request.site.domain and request.site.page:
        return request.site.page.split("://")[-1].split("/")[0].split(":")[0]
    place = request.app or request.site or request.dooh
    return (place.domain or "") if place is not None else ""


def device_type(world: World, request: BidRequest) -> int | None:
    """As sent; else by the user agent; else "mobile" of the structured user agent means a phone."""
    device = request.device
    if device is None:
        return None
    if device.devicetype:
        return device.devicetype
    if device.ua and world.device.device_type:
        return world.device.device_type
    return 4 if device.sua is not None and device.sua.mobile == 1 else None


def operating_system(world: World, request: BidRequest) -> tuple[str, str]:
    """(name, version): as sent, from the structured user agent, or by the user agent."""
    device = request.device
    if device is None:
        return "", ""
    platform = device.sua.platform if device.sua is not None else None
    structured = ".".join(platform.version or ()) if platform is not None else ""
    if device.os:
        return device.os.lower(), device.osv or structured
    if platform is not None and platform.brand:
        return platform.brand.lower(), device.osv or structured
    if device.ua:
        return world.device.os, device.osv or world.device.os_version
    return "", device.osv or ""


def has_complete_chain(request: BidRequest) -> bool:
    source = request.source
    if source is None:
        return False
    chain = source.schain or (source.ext.schain if source.ext is not None else None)
    return chain is not None and chain.complete == 1


def hour_passes(world: World, request: BidRequest, campaign: Campaign) -> bool:
    rule = campaign.targeting.hours
    if rule is None:
        return True
    now = datetime.fromtimestamp(world.wall_ms / 1000, UTC)
    if rule.clock == "campaign":
        local = now.astimezone(ZoneInfo(campaign.time_zone))
    else:
        offset = utc_offset(world, request)
        if offset is None:
            return False
        local = now + timedelta(minutes=offset)
    return local.weekday() * 24 + local.hour in rule.hours


def category_passes(world: World, request: BidRequest, campaign: Campaign) -> bool:
    """Categories of page or app, sections and content, those that are in the rule's taxonomy."""
    rule = campaign.targeting.category
    categories: list[str] = []
    place = request.app or request.site
    if place is not None and (place.cattax or world.exchange.cattax) == rule.cattax:
        categories += [*(place.cat or ()), *(place.sectioncat or ()), *(place.pagecat or ())]
    holder = place or request.dooh
    content = holder.content if holder is not None else None
    if content is not None and (content.cattax or world.exchange.cattax) == rule.cattax:
        categories += content.cat or ()
    if rule.include and not any(category_covers(wanted, c) for wanted in rule.include for c in categories):
        return False
    return not any(category_covers(unwanted, c) for unwanted in rule.exclude for c in categories)


# ------------------------------------------------------------------ the creative


def may_show(world: World, imp: Imp, campaign: Campaign, advertiser: Advertiser, creative: Creative) -> bool:
    """Creative against the impression."""
    rules = campaign.targeting
    offered: Banner | Video | Audio | Native | None = getattr(imp, creative.media.value)
    if offered is None:
        return False
    if rules.media and creative.media not in rules.media:
        return False
    approved = world.exchange.approved_creatives
    if approved is not None and creative.id not in approved:
        return False
    if imp.secure == 1 and not creative.secure:
        return False
    if rules.interstitial is not None and rules.interstitial != (imp.instl == 1):
        return False
    if rules.rewarded is not None and rules.rewarded != (imp.rwdd == 1):
        return False
    attributes = {*creative.attr, *([SKIP_BUTTON] if creative.skippable else [])}
    if attributes & set(offered.battr or ()):
        return False
    if not set(creative.api) <= set(offered.api or ()):
        return False  # section 3.2.6: an API that is not listed is assumed not to be supported
    # An impression is one place on the page, whichever of its media is shown there.
    position = (imp.banner.pos if imp.banner is not None else 0) or (imp.video.pos if imp.video is not None else 0)
    if not int_passes(rules.position, position):
        return False
    if isinstance(offered, Video):  # a rule about video: other media have no such placement to ask for
        placement = offered.plcmt or PLCMT.get(offered.placement or 0)
        if not int_passes(rules.placement, placement):
            return False
    if not passes(rules.size, [size_of(offered, creative)]):
        return False
    if isinstance(offered, Banner):
        return banner_fits(offered, creative)
    if isinstance(offered, Native):
        return native_fits(offered, creative)
    return stream_fits(offered, creative) and (isinstance(offered, Audio) or video_fits(offered, creative))


def size_of(offered: Banner | Video | Audio | Native, creative: Creative) -> str:
    """A banner's own size, a video slot's size."""
    if isinstance(offered, Banner):
        return f"{creative.w}x{creative.h}"
    if isinstance(offered, Video) and offered.w and offered.h:
        return f"{offered.w}x{offered.h}"
    return ""


def banner_fits(banner: Banner, creative: Creative) -> bool:
    """Sections 3.2.6 and 3.2.10. Our banners are HTML."""
    if banner.mimes and "text/html" not in banner.mimes:
        return False
    size = (creative.w, creative.h)
    if (banner.w, banner.h) == size:
        return True
    for format in banner.format or ():
        if (format.w, format.h) == size:
            return True
        if (
            format.wratio
            and format.hratio
            and creative.w * format.hratio == creative.h * format.wratio
            and creative.w >= (format.wmin or 0)
        ):
            return True
    return False


def stream_fits(stream: Video | Audio, creative: Creative) -> bool:
    """Sections 3.2.7 and 3.2.8: what is not stated is not limited."""
    if stream.mimes and creative.mime.lower() not in folded(stream.mimes):
        return False
    protocols = set(stream.protocols or ())
    if isinstance(stream, Video) and not protocols and stream.protocol:
        protocols = {stream.protocol}
    ours = {VAST_CODES[creative.vast]} if creative.vast else set(VAST_CODES.values())
    if protocols and not protocols & ours:
        return False
    if stream.rqddurs and creative.duration not in stream.rqddurs:
        return False
    if stream.minduration is not None and creative.duration < stream.minduration:
        return False
    return stream.maxduration is None or creative.duration <= stream.maxduration


def video_fits(video: Video, creative: Creative) -> bool:
    if video.linearity == 2:
        return False  # wants an overlay
    if video.skip == 0 and creative.skippable:
        return False
    if video.boxingallowed == 0 and video.w and video.h:
        return creative.w * video.h == creative.h * video.w
    return True


def native_fits(native: Native, creative: Creative) -> bool:
    """Native 1.2 section 4: every required asset is there and within its limits, and there is something to show."""
    try:
        asked = json.loads(native.request or "")
    except ValueError:
        return False
    asked = asked.get("native") or asked
    filled = [fills(asset, creative) for asset in asked["assets"]]
    required = [asset.get("required") == 1 for asset in asked["assets"]]
    return any(filled) and all(done for done, must in zip(filled, required, strict=True) if must)


def fills(asset: dict[str, Any], creative: Creative) -> bool:
    content = creative.native
    assert content is not None
    if "title" in asset:
        return bool(len(content.title) <= asset["title"]["len"])
    if "data" in asset:
        text = getattr(content, NATIVE_DATA.get(asset["data"]["type"], ""), "")
        return bool(text) and len(text) <= asset["data"].get("len", len(text))
    if "img" in asset:
        limits = asset["img"]
        if limits.get("type") == 1:
            url, w, h = content.icon, content.icon_w, content.icon_h
        else:
            url, w, h = content.image, content.image_w, content.image_h
        if not url:
            return False
        return side_fits(w, limits.get("w", 0), limits.get("wmin", 0)) and side_fits(
            h, limits.get("h", 0), limits.get("hmin", 0)
        )
    return False


def side_fits(length: int, exact: int, least: int) -> bool:
    """0: not asked for."""
    if least:
        return length >= least
    return not exact or length == exact


# ------------------------------------------------------------------ comparing


def folded(values: Iterable[str | None] | None) -> set[str]:
    """Lower case, without what is not there."""
    return {value.lower() for value in values or () if value}


def passes(rule: Match, values: Iterable[str | None]) -> bool:
    known = folded(values)
    if rule.include and not known & folded(rule.include):
        return False
    return not known & folded(rule.exclude)


def id_passes(rule: Match, values: Iterable[str | None]) -> bool:
    """Ids mean nothing but themselves: "a1" and "A1" are two."""
    known = {value for value in values if value}
    if rule.include and not known & set(rule.include):
        return False
    return not known & set(rule.exclude)


def int_passes(rule: IntMatch, value: int | None) -> bool:
    """0 is "unknown" in AdCOM's lists."""
    if rule.include and (not value or value not in rule.include):
        return False
    return not value or value not in rule.exclude


def is_within(domain: str, parent: str) -> bool:
    domain, parent = domain.lower(), parent.lower()
    return domain == parent or domain.endswith("." + parent)


def domain_passes(rule: Match, domain: str) -> bool:
    if rule.include and not (domain and any(is_within(domain, wanted) for wanted in rule.include)):
        return False
    return not any(is_within(domain, unwanted) for unwanted in rule.exclude)


def category_covers(rule: str, category: str) -> bool:
    """The same, or in taxonomy 1 the first tier of it."""
    return category.upper() == rule.upper() or category.upper().startswith(rule.upper() + "-")


def normal_countries(rule: Match) -> Match:
    return Match(
        include=tuple(COUNTRIES[c.upper()] for c in rule.include),
        exclude=tuple(COUNTRIES[c.upper()] for c in rule.exclude),
    )


def normal_regions(rule: Match) -> Match:
    def normal(region: str) -> str:
        country, _, code = region.partition("-")
        return f"{COUNTRIES[country.upper()]}-{code}"

    return Match(include=tuple(map(normal, rule.include)), exclude=tuple(map(normal, rule.exclude)))


def normal_cities(rule: Match) -> Match:
    def normal(text: str) -> str:
        country, slash, city = text.partition("/")
        return f"{COUNTRIES[country.upper()]}/{city}" if slash else text

    return Match(include=tuple(map(normal, rule.include)), exclude=tuple(map(normal, rule.exclude)))


def within_versions(version: str, least: str | None, most: str | None) -> bool:
    """Number by number; a bound speaks of as many numbers as it has, so 17.5 is within a maximum of 17."""
    try:
        numbers = [int(part) for part in version.split(".")]
    except ValueError:
        return False
    if least is not None:
        bound = [int(part) for part in least.split(".")]
        if (numbers + [0] * len(bound))[: len(bound)] < bound:
            return False
    if most is not None:
        bound = [int(part) for part in most.split(".")]
        if (numbers + [0] * len(bound))[: len(bound)] > bound:
            return False
    return True


def is_near(point: tuple[float, float], circle: Circle) -> bool:
    """Great-circle distance by the spherical law of cosines."""
    lat, lon = map(math.radians, point)
    lat2, lon2 = math.radians(circle.lat), math.radians(circle.lon)
    cosine = math.sin(lat) * math.sin(lat2) + math.cos(lat) * math.cos(lat2) * math.cos(lon - lon2)
    return 6371.0 * math.acos(max(-1.0, min(1.0, cosine))) <= circle.km


__all__ = ["Media", "Pair", "Place", "World", "currency", "eligible", "floor_micros", "price_micros", "seat_of"]
