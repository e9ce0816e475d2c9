"""What campaigns want of a request: one builder a rule, each giving a function from a context to the mask of lines
that pass.

A builder gives None when no campaign of the catalogue has that rule, so a rule that nobody uses costs nothing. The
rows of `eligibility.REQUEST_FILTERS` name these builders in the order in which they run.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic
from zoneinfo import ZoneInfo

from campaign_express.bidding.bitmaps import ManyValues, Memo, OneValue, V
from campaign_express.bidding.context import Context, os_name
from campaign_express.bidding.lines import Lines, parents
from campaign_express.bidding.model import Campaign, Circle, Inventory, Match, Targeting
from campaign_express.bidding.privacy import IPV4_KEPT, IPV6_KEPT
from campaign_express.openrtb.iso3166 import country_alpha3

Allow = Callable[[Context], int]


@dataclass(frozen=True, slots=True)
class Lookup(Generic[V]):
    """A rule on a fact with one value: the mask for `attribute` of the context is `allow.get(value, default)`.

    Called like any other rule; `Matcher` does the look-ups of many such rules in one loop, without a call for each.
    """

    attribute: str
    allow: dict[V, int]
    default: int

    def __call__(self, c: Context) -> int:
        return self.allow.get(getattr(c, self.attribute), self.default)


Builder = Callable[[Lines], Allow | None]


def _lower(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(v.lower() for v in values)


def _one(field: str, attribute: str, spell: Callable[[str], str] = str.lower) -> Builder:
    """A rule on a fact with one value: `field` of Targeting against `attribute` of the context."""

    def build(lines: Lines) -> Allow | None:
        def rule(campaign: Campaign) -> tuple[list[str], list[str]]:
            match: Match = getattr(campaign.targeting, field)
            return [spell(v) for v in match.include], [spell(v) for v in match.exclude]

        index = OneValue(lines.everything, lines.rules(rule))
        return Lookup(attribute, index.allow, index.default) if index.used else None

    return build


def _one_int(field: str, attribute: str) -> Builder:
    def build(lines: Lines) -> Allow | None:
        def rule(campaign: Campaign) -> tuple[tuple[int, ...], tuple[int, ...]]:
            match = getattr(campaign.targeting, field)
            return match.include, match.exclude

        index = OneValue(lines.everything, lines.rules(rule))
        return Lookup(attribute, index.allow, index.default) if index.used else None

    return build


country = _one("country", "country", country_alpha3)
bundle = _one("bundle", "bundle")
publisher = _one("publisher", "publisher", str)
metro = _one("metro", "metro", str)
os = _one("os", "os", os_name)
make = _one("make", "make")
carrier = _one("carrier", "carrier")
language = _one("language", "language")
device_type = _one_int("device_type", "device_type")
connection = _one_int("connection", "connection")


def _many(field: str, values: Callable[[Context], Collection[str]], spell: Callable[[str], str]) -> Builder:
    def build(lines: Lines) -> Allow | None:
        def rule(campaign: Campaign) -> tuple[list[str], list[str]]:
            match: Match = getattr(campaign.targeting, field)
            return [spell(v) for v in match.include], [spell(v) for v in match.exclude]

        index = ManyValues(lines.everything, lines.rules(rule))
        if not index.used:
            return None
        allow, free = index.allow, index.free
        return lambda c: allow(found) if (found := values(c)) else free

    return build


segment = _many("segment", lambda c: c.segments, str)
eid_source = _many("eid_source", lambda c: c.eid_sources, str.lower)
keyword = _many("keyword", lambda c: c.keywords, str.lower)


def inventory(lines: Lines) -> Allow | None:
    index: OneValue[Inventory] = OneValue(lines.everything, lines.rules(lambda c: (c.targeting.inventory, ())))
    return Lookup("inventory", index.allow, index.default) if index.used else None


def domain(lines: Lines) -> Allow | None:
    index = ManyValues(
        lines.everything,
        lines.rules(lambda c: (_lower(c.targeting.domain.include), _lower(c.targeting.domain.exclude))),
    )
    return (lambda c: index.allow(parents(c.domain)) if c.domain else index.free) if index.used else None


def _region(value: str) -> tuple[str, str]:
    country, _, code = value.rpartition("-")
    return country_alpha3(country), code.upper()


def region(lines: Lines) -> Allow | None:
    index = OneValue(
        lines.everything,
        lines.rules(
            lambda c: (
                [_region(v) for v in c.targeting.region.include],
                [_region(v) for v in c.targeting.region.exclude],
            )
        ),
    )
    return (lambda c: index.allow.get((c.country, c.region), index.default)) if index.used else None


def _city(value: str) -> tuple[str, str]:
    country, slash, name = value.rpartition("/")
    return (country_alpha3(country) if slash else ""), name.strip().lower()


def city(lines: Lines) -> Allow | None:
    """A city named with its country matches there only, one named alone anywhere."""
    index = ManyValues(
        lines.everything,
        lines.rules(
            lambda c: ([_city(v) for v in c.targeting.city.include], [_city(v) for v in c.targeting.city.exclude])
        ),
    )
    if not index.used:
        return None
    return lambda c: index.allow((("", c.city), (c.country, c.city))) if c.city else index.free


def category(lines: Lines) -> Allow | None:
    """Content categories, compared within one taxonomy; in IAB Content 1.0 a tier-1 code covers its tier-2 codes."""

    def rule(campaign: Campaign) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        match = campaign.targeting.category
        return [(match.cattax, v.upper()) for v in match.include], [(match.cattax, v.upper()) for v in match.exclude]

    index = ManyValues(lines.everything, lines.rules(rule))
    if not index.used:
        return None

    def allow(c: Context) -> int:
        values: list[tuple[int, str]] = []
        for taxonomy, codes in c.category_groups:
            for code in codes:
                values.append((taxonomy, code.upper()))
                if taxonomy == 1 and "-" in code:
                    values.append((1, code.upper().partition("-")[0]))
        return index.allow(values) if values else index.free

    return allow


# Radius: circles are found by the one-degree cell in which a point lies.
_EARTH_KM = 6371.0088  # mean radius, IUGG
_DEGREE_KM = math.pi * _EARTH_KM / 180
_WIDE_KM = 500.0  # larger circles are tested on every request instead of filling thousands of cells


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance in km by the haversine formula (Sinnott 1984)."""
    p1, p2 = math.radians(lat1), math.radians(lat2)
    a = math.sin((p2 - p1) / 2) ** 2 + math.cos(p1) * math.cos(p2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(a)))


class _Circles:
    """Which circles a point lies in."""

    def __init__(self) -> None:
        self.cells: defaultdict[tuple[int, int], list[tuple[Circle, int]]] = defaultdict(list)
        self.wide: list[tuple[Circle, int]] = []

    def add(self, circle: Circle, mask: int) -> None:
        reach = circle.km / _DEGREE_KM
        if circle.km > _WIDE_KM or abs(circle.lat) + reach > 85:
            self.wide.append((circle, mask))
            return
        across = reach / math.cos(math.radians(abs(circle.lat) + reach))
        for lat in range(math.floor(circle.lat - reach), math.floor(circle.lat + reach) + 1):
            for lon in range(math.floor(circle.lon - across), math.floor(circle.lon + across) + 1):
                self.cells[lat, (lon + 180) % 360 - 180].append((circle, mask))

    def around(self, lat: float, lon: float) -> int:
        mask = 0
        near = self.cells.get((math.floor(lat), (math.floor(lon) + 180) % 360 - 180), ())
        for circle, lines in (*near, *self.wide):
            if distance_km(lat, lon, circle.lat, circle.lon) <= circle.km:
                mask |= lines
        return mask


def radius(lines: Lines) -> Allow | None:
    include, exclude = _Circles(), _Circles()
    restricted = 0
    used = False
    for campaign, _, mask in lines.campaigns:
        for circle in campaign.targeting.radius.include:
            include.add(circle, mask)
            restricted |= mask
        for circle in campaign.targeting.radius.exclude:
            exclude.add(circle, mask)
            used = True
    free = lines.everything & ~restricted
    if not used and not restricted:
        return None

    def allow(c: Context) -> int:
        if c.lat is None or c.lon is None:
            return free
        return (free | include.around(c.lat, c.lon)) & ~exclude.around(c.lat, c.lon)

    return allow


def address_number(ip: str) -> tuple[int, int]:
    """(4 or 6, the address as a number), (0, 0) for what is no address. An IPv4 address inside IPv6 is IPv4."""
    if ":" not in ip:  # by far the most; `ipaddress` takes eight times as long
        if len(ip) > 15 or not ip.isascii() or not ip.replace(".", "").isdigit():
            return 0, 0
        try:
            w, x, y, z = map(int, ip.split("."))
        except ValueError:
            return 0, 0
        return (4, w << 24 | x << 16 | y << 8 | z) if w | x | y | z < 256 else (0, 0)
    try:
        address = ipaddress.IPv6Address(ip)
    except ValueError:
        return 0, 0
    mapped = address.ipv4_mapped
    return (4, int(mapped)) if mapped is not None else (6, int(address))


class _Networks:
    """Masks by network, a table for each prefix length that any campaign uses: one look-up each for an address."""

    def __init__(self, bits: int, kept: int) -> None:
        """`bits` of an address, `kept` of a truncated one."""
        self.bits, self.kept = bits, kept
        self.tables: dict[int, dict[int, list[int]]] = {}  # prefix length → network → [include, exclude]

    def add(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network, mask: int, side: int) -> None:
        table = self.tables.setdefault(network.prefixlen, {})
        masks = table.setdefault(int(network.network_address) >> (self.bits - network.prefixlen), [0, 0])
        masks[side] |= mask

    def containing(self, number: int, truncated: bool) -> tuple[int, int]:
        """(included, excluded) by any network that `number` is surely in.

        Of a truncated address only the first bits are known: it is in no network narrower than those.
        """
        include = exclude = 0
        for length, table in self.tables.items():
            found = table.get(number >> (self.bits - length))
            if found is not None and (not truncated or length <= self.kept):
                include |= found[0]
                exclude |= found[1]
        return include, exclude


def ip_range(lines: Lines) -> Allow | None:
    v4, v6 = _Networks(32, IPV4_KEPT), _Networks(128, IPV6_KEPT)
    restricted = 0
    for campaign, _, mask in lines.campaigns:
        match = campaign.targeting.ip
        for side, cidrs in enumerate((match.include, match.exclude)):
            for cidr in cidrs:
                network = ipaddress.ip_network(cidr, strict=False)
                (v4 if network.version == 4 else v6).add(network, mask, side)
        if match.include:
            restricted |= mask
    if not v4.tables and not v6.tables:
        return None
    free = lines.everything & ~restricted

    def allow(c: Context) -> int:
        version, number = address_number(c.ip)
        if not version:
            return free
        include, exclude = (v4 if version == 4 else v6).containing(number, c.consent.contextual)
        return (free | include) & ~exclude

    return allow


_NUMBERS = re.compile(r"\d+")


def version_number(text: str) -> tuple[int, ...]:
    """ "10.2.1" → (10, 2, 1), without trailing zeros; () when there is no number in it."""
    numbers = [int(n[:9]) for n in _NUMBERS.findall(text)[:6]]
    while numbers and numbers[-1] == 0 and len(numbers) > 1:
        numbers.pop()
    return tuple(numbers)


def os_version(lines: Lines) -> Allow | None:
    """Bounds hold for the named systems only; on a named system an unknown version fails, another system passes."""
    # Equal bounds of many campaigns are one rule.
    rules: defaultdict[str, defaultdict[tuple[tuple[int, ...], tuple[int, ...] | None], int]]
    rules = defaultdict(lambda: defaultdict(int))
    for campaign, _, mask in lines.campaigns:
        for bound in campaign.targeting.os_version:
            low = version_number(bound.min) if bound.min else ()
            high = version_number(bound.max) if bound.max else None
            rules[os_name(bound.os)][low, high] |= mask
    if not rules:
        return None
    everything = lines.everything

    def allow(c: Context) -> int:
        bounds = rules.get(c.os)
        if bounds is None:
            return everything
        version = version_number(c.os_version)
        mask = everything
        for (low, high), restricted in bounds.items():
            # "up to 14" includes 14.5: the bound is compared with as many numbers as it has.
            if not version or version < low or (high is not None and version[: len(high)] > high):
                mask &= ~restricted
        return mask

    return allow


def hour(lines: Lines) -> Allow | None:
    """Hours of the week by the campaign's clock (its time zone, summer time included) or the user's."""
    # Equal hours of many campaigns are one rule.
    by_zone: defaultdict[str, defaultdict[frozenset[int], int]] = defaultdict(lambda: defaultdict(int))
    by_user: defaultdict[frozenset[int], int] = defaultdict(int)
    for campaign, _, mask in lines.campaigns:
        hours = campaign.targeting.hours
        if hours is not None:
            same_clock = by_user if hours.clock == "user" else by_zone[campaign.time_zone]
            same_clock[frozenset(hours.hours)] |= mask
    if not by_zone and not by_user:
        return None
    user = OneValue(lines.everything, ((mask, hours, ()) for hours, mask in by_user.items()))
    zones = [(ZoneInfo(name), rules) for name, rules in by_zone.items()]
    closed: Memo[int] = Memo(lines.count)

    def allow(c: Context) -> int:
        quarter = c.wall_ms // 900_000  # every zone in use is a whole number of quarter hours from UTC
        shut = closed.get(quarter)
        if shut is None:
            moment = datetime.fromtimestamp(quarter * 900, UTC)
            shut = 0
            for zone, rules in zones:
                local = moment.astimezone(zone)
                now = local.weekday() * 24 + local.hour
                for hours, mask in rules.items():
                    if now not in hours:
                        shut |= mask
            closed.put(quarter, shut)
        return user.allow.get(c.user_hour, user.default) & ~shut

    return allow


def supply_chain(lines: Lines) -> Allow | None:
    """Campaigns that ask for a complete supply chain (source.schain.complete = 1, SupplyChain object 1.0)."""
    strict = lines.where(lambda line: line.campaign.targeting.schain == "complete")
    if not strict:
        return None
    everything, tolerant = lines.everything, lines.everything & ~strict
    return lambda c: everything if c.complete_chain else tolerant


def needs_user(targeting: Targeting) -> bool:
    """Whether rules speak of the person: segments, identities, or where exactly the device is."""
    return bool(targeting.segment.include or targeting.eid_source.include or targeting.radius.include)


def privacy(lines: Lines) -> Allow | None:
    """A contextual request does not match user targeting, whatever it carries."""
    personal = lines.where(lambda line: needs_user(line.campaign.targeting))
    if not personal:
        return None
    everything, contextual = lines.everything, lines.everything & ~personal
    return lambda c: contextual if c.consent.contextual else everything
