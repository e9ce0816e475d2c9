"""What the oracle knows of a request, each fact looked for in every place that may hold it: see `oracle.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from campaign_express.bidding.currency import Rates
from campaign_express.bidding.model import Catalog, Exchange, Inventory
from campaign_express.openrtb.request import BidRequest, Geo
from campaign_express.ports import DeviceFacts, GeoFacts
from tests.support.oracle_compare import COUNTRIES


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
    # The setting, and those of the tests' countries ("" unknown) where an absent flag means that the GDPR applies.
    gdpr_when_absent: str = ""
    gdpr_countries: frozenset[str] = frozenset()


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
    applies = 1 in flags if flags else country_of(location(world, request)) in world.gdpr_countries
    consent = None
    if user is not None:
        consent = user.consent or (user.ext.consent if user.ext is not None else None)
    return not applies or (consent is not None and world.consents[consent])


def has_agent(request: BidRequest) -> bool:
    return request.device is not None and bool(request.device.ua)


def addresses(request: BidRequest) -> list[str]:
    """Whichever are given."""
    device = request.device
    if device is None:
        return []
    return [address for address in (device.ip, device.ipv6) if address]


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
    home = request.user.geo if request.user is not None else None
    if home is not None and country_of(home):
        return home
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
