"""What the decision sees of a request: facts in one spelling, whoever sent them and in whichever place.

A `Context` holds what is true of the whole request (`impression.Slot`: of one impression of it). Strings are lower case
(countries upper case), "" and 0 mean unknown. Where consent is missing the context is *contextual*: it holds no user
id, no segments, no identity sources, no city, truncated addresses and truncated coordinates, so nothing after it can
use them.
"""

from __future__ import annotations

from campaign_express.bidding.model import Exchange, Inventory
from campaign_express.bidding.privacy import Consent, PrivacyPolicy, assess, truncate_coordinate, truncate_ip
from campaign_express.openrtb.iso3166 import country_alpha3
from campaign_express.openrtb.request import (
    App,
    BidRequest,
    Content,
    Device,
    Dooh,
    Geo,
    Regs,
    Site,
    Source,
)
from campaign_express.ports import DeviceFacts, Enricher, GeoFacts

_SITE, _APP, _DOOH = Inventory.SITE, Inventory.APP, Inventory.DOOH  # an Enum's members are slow to look up
_NO_DEVICE = Device()
_NO_GEO = Geo()
_UNKNOWN_DEVICE = DeviceFacts()
_UNKNOWN_GEO = GeoFacts()

# Names of one system in requests, by the one that targeting and `ports.DeviceFacts` use.
_OS_NAMES = {
    "mac os x": "macos",
    "mac os": "macos",
    "os x": "macos",
    "iphone os": "ios",
    "ipados": "ios",
    "chrome os": "chromeos",
    "chromium os": "chromeos",
    "windows nt": "windows",
    "win32": "windows",
}


def os_name(name: str) -> str:
    """An operating system's name in our spelling: lower case, one name a system."""
    name = name.lower()
    return _OS_NAMES.get(name, name)


def language_code(tag: str) -> str:
    """The language of a BCP-47 tag such as "de-AT" (or "de_AT"), lower case. Codes of three letters stay what they are:
    "fil" is Filipino, and its first two letters would be Finnish.
    """
    return (tag if len(tag) == 2 else tag.replace("_", "-").partition("-")[0]).lower()


class Context:
    """One request, normalised. Plain attributes, set once by `build_context`."""

    __slots__ = (
        "at_home",
        "browser",
        "bundle",
        "carrier",
        "categories",
        "city",
        "complete_chain",
        "connection",
        "consent",
        "content",
        "country",
        "crawler",
        "device_type",
        "domain",
        "dsa",
        "eid_sources",
        "exchange",
        "exchange_name",
        "inventory",
        "ip",
        "ipv6",
        "language",
        "lat",
        "lon",
        "make",
        "metro",
        "os",
        "os_version",
        "place",
        "publisher",
        "region",
        "request",
        "segments",
        "user_hour",
        "user_id",
        "utc_hour",
        "wall_ms",
    )

    request: BidRequest
    exchange: Exchange
    exchange_name: str
    consent: Consent
    inventory: Inventory | None
    place: Site | App | Dooh | None
    content: Content | None
    domain: str
    bundle: str
    publisher: str
    categories: tuple[str, ...]  # of site or app as sent, in the taxonomy of `place.cattax`
    country: str
    at_home: bool  # whether the country is that of `user.geo`
    region: str
    city: str
    metro: str
    lat: float | None
    lon: float | None
    ip: str  # of `device.ip`, whichever kind of address that is
    ipv6: str
    device_type: int
    os: str
    os_version: str
    make: str
    browser: str
    connection: int
    carrier: str
    language: str
    user_id: str
    segments: tuple[str, ...]
    eid_sources: tuple[str, ...]
    utc_hour: int
    user_hour: int
    wall_ms: int
    crawler: bool  # by its user agent
    complete_chain: bool  # source.schain.complete = 1 (SupplyChain object 1.0)
    dsa: int  # 0: no disclosure is required (regs.ext.dsa); 1: it is, and the publisher draws it; 2: nobody draws it

    @property
    def keywords(self) -> frozenset[str]:
        """Keywords of the page or app and its content, and of the user where they may be used. Made when asked for."""
        words: list[str] = []
        place, content, user = self.place, self.content, self.request.user
        if place is not None and (place.keywords or place.kwarray):
            words += _words(place.keywords, place.kwarray)
        if content is not None and (content.keywords or content.kwarray):
            words += _words(content.keywords, content.kwarray)
        if user is not None and (user.keywords or user.kwarray) and self.consent.personalise:
            words += _words(user.keywords, user.kwarray)
        return frozenset(words)

    @property
    def category_groups(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """(taxonomy, codes) of the page or app, its sections and its content."""
        place, content = self.place, self.content
        groups: tuple[tuple[int, tuple[str, ...]], ...] = ()
        if place is not None and not isinstance(place, Dooh):
            codes = place.cat or ()
            if place.sectioncat:
                codes += place.sectioncat
            if place.pagecat:
                codes += place.pagecat
            if codes:
                groups = ((place.cattax or self.exchange.cattax, codes),)
        if content is not None and content.cat:
            groups += ((content.cattax or self.exchange.cattax, content.cat),)
        return groups


def _words(keywords: str | None, kwarray: tuple[str, ...] | None) -> list[str]:
    words = keywords.split(",") if keywords else []
    if kwarray:
        words += kwarray
    return [word.strip().lower() for word in words]


def host_of(url: str) -> str:
    """Host of a URL, lower case, "" when there is none. Cheaper than urllib and as good for what pages send."""
    scheme, separator, rest = url.partition("//")
    # "//" may also stand in the path or query of a page that was sent without its scheme.
    host = rest if separator and (not scheme or (scheme[-1] == ":" and scheme[:-1].isalnum())) else url
    for end in "/?#":
        host = host.partition(end)[0]
    return host.rpartition("@")[2].partition(":")[0].lower()


def _hour_of_week(minutes: int) -> int:
    """0..167 from minutes since 1970, Monday first; the epoch was a Thursday."""
    return (minutes // 60 + 72) % 168


def build_context(
    request: BidRequest, exchange: Exchange, enricher: Enricher, policy: PrivacyPolicy, wall_ms: int
) -> Context:
    """Normalise `request`. Never raises for a decoded request."""
    c = Context()
    c.request = request
    c.exchange = exchange
    c.exchange_name = exchange.name
    c.wall_ms = wall_ms

    _set_inventory(c, request)
    device = request.device or _NO_DEVICE
    _set_device(c, device, enricher)
    source_object = request.source
    c.complete_chain = source_object is not None and _is_complete(source_object)
    c.dsa = 0 if request.regs is None else _disclosure_required(request.regs)

    user = request.user
    ip, ipv6 = device.ip or "", device.ipv6 or ""
    home = user.geo if user is not None and user.geo is not None else _NO_GEO
    geo = device.geo or home
    country = country_alpha3(geo.country) if geo.country else ""
    # Region, city and the rest only from the same source as the country, so that two places are never mixed.
    source: Geo | GeoFacts = geo
    found = _UNKNOWN_GEO
    if not country and (ip or ipv6):
        found = enricher.geo(ip or ipv6)
        if ip and ipv6 and not found.country:
            found = enricher.geo(ipv6)
        if found.country:
            country, source = found.country, found
    if not country and (at_home := country_alpha3(home.country)):
        # Which privacy law holds must not hang on whether an exchange fills in device.geo or user.geo.
        country, source = at_home, home
    c.consent = consent = assess(request, country, policy)

    region = source.region or ""
    c.country = country
    c.at_home = country != "" and source is home
    c.region = (region.rpartition("-")[2] if "-" in region else region).upper()
    c.metro = source.metro or ""
    city, lat, lon = source.city, source.lat, source.lon
    offset = geo.utcoffset if geo.utcoffset is not None else found.utc_offset

    if consent.contextual:
        c.city = ""
        c.ip = truncate_ip(ip) if ip else ""
        c.ipv6 = truncate_ip(ipv6) if ipv6 else ""
        c.lat = truncate_coordinate(lat) if lat is not None else None
        c.lon = truncate_coordinate(lon) if lon is not None else None
        c.user_id = ""
        c.segments = c.eid_sources = ()
    else:
        c.city = city.lower() if city else ""
        c.ip, c.ipv6, c.lat, c.lon = ip, ipv6, lat, lon
        c.user_id = device.ifa or ""
        c.segments = c.eid_sources = ()
        if user is not None:
            c.user_id = user.buyeruid or user.id or c.user_id
            if user.data:
                c.segments = tuple(s.id for d in user.data for s in d.segment or () if s.id)
            eids = user.eids or (user.ext.eids if user.ext is not None else None)
            if eids:
                c.eid_sources = tuple(e.source.lower() for e in eids if e.source)

    minutes = wall_ms // 60_000
    c.utc_hour = _hour_of_week(minutes)
    c.user_hour = _hour_of_week(minutes + offset) if offset is not None else -1
    return c


def _set_inventory(c: Context, request: BidRequest) -> None:
    """Where the ad is shown."""
    domain = bundle = ""
    publisher = None
    content = None
    place: Site | App | Dooh | None
    categories: tuple[str, ...] = ()
    inventory: Inventory | None = None
    if request.app is not None:
        place = app = request.app
        inventory = _APP
        bundle = app.bundle.lower() if app.bundle else ""
        domain = app.domain.lower() if app.domain else ""
        publisher, content, categories = app.publisher, app.content, app.cat or ()
    elif request.site is not None:
        place = site = request.site
        inventory = _SITE
        if site.domain:
            domain = site.domain.lower()
        elif site.page:
            domain = host_of(site.page)
        publisher, content, categories = site.publisher, site.content, site.cat or ()
    elif request.dooh is not None:
        place = dooh = request.dooh
        inventory = _DOOH
        domain = dooh.domain.lower() if dooh.domain else ""
        publisher, content = dooh.publisher, dooh.content
    else:
        place = None
    c.place = place
    c.inventory = inventory
    c.domain = domain
    c.bundle = bundle
    c.categories = categories
    c.publisher = publisher.id if publisher is not None and publisher.id else ""
    c.content = content


def _set_device(c: Context, device: Device, enricher: Enricher) -> None:
    """What the device is: as sent, else from its structured user agent, else from its user agent string."""
    ua = device.ua
    facts = enricher.device(ua) if ua else _UNKNOWN_DEVICE
    sua = device.sua
    os = device.os
    if not os and sua is not None and sua.platform is not None:
        os = sua.platform.brand
    if os:
        c.os = os_name(os)
        c.os_version = device.osv or (
            ".".join(sua.platform.version)
            if sua is not None and sua.platform is not None and sua.platform.version
            else ""
        )
    else:
        c.os, c.os_version = facts.os, device.osv or facts.os_version
    device_type = device.devicetype or facts.device_type
    if not device_type and sua is not None and sua.mobile == 1:
        device_type = 4
    c.device_type = device_type
    c.make = device.make.lower() if device.make else facts.make
    c.browser = facts.browser
    c.connection = device.connectiontype or 0
    c.carrier = device.carrier.lower() if device.carrier else ""
    language = device.language or device.langb
    c.language = language_code(language) if language else ""
    c.crawler = facts.crawler


def _is_complete(source: Source) -> bool:
    chain = source.schain or (source.ext.schain if source.ext is not None else None)
    return chain is not None and chain.complete == 1


def _disclosure_required(regs: Regs) -> int:
    """regs.ext.dsa: dsarequired 2 and 3 want a disclosure with every bid; pubrender 0: the publisher cannot draw it."""
    rules = regs.ext.dsa if regs.ext is not None else None
    if rules is None or (rules.dsarequired or 0) < 2:
        return 0
    return 1 if rules.pubrender else 2
