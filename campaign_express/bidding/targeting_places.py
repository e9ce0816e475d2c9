"""What campaigns want of the place where a device is, as far as that is more than one look-up.

Regions and cities within their countries, circles on the globe, networks. Builders as in `targeting`.
"""

from __future__ import annotations

import ipaddress
import math
from collections import defaultdict

from campaign_express.bidding.bitmaps import ManyValues, OneValue
from campaign_express.bidding.context import Context
from campaign_express.bidding.lines import Lines
from campaign_express.bidding.model import Circle
from campaign_express.bidding.privacy import IPV4_KEPT, IPV6_KEPT
from campaign_express.bidding.targeting import Allow, spelled
from campaign_express.openrtb.iso3166 import country_alpha3


def _region(value: str) -> tuple[str, str]:
    country, _, code = value.rpartition("-")
    return country_alpha3(country), code.upper()


def region(lines: Lines) -> Allow | None:
    index = OneValue(lines.everything, lines.rules(spelled("region", _region)))
    return (lambda c: index.allow.get((c.country, c.region), index.default)) if index.used else None


def _city(value: str) -> tuple[str, str]:
    country, slash, name = value.rpartition("/")
    return (country_alpha3(country) if slash else ""), name.strip().lower()


def city(lines: Lines) -> Allow | None:
    """A city named with its country matches there only, one named alone anywhere."""
    index = ManyValues(lines.everything, lines.rules(spelled("city", _city)))
    if not index.used:
        return None
    return lambda c: index.allow((("", c.city), (c.country, c.city))) if c.city else index.free


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
        inside, outside = include.around(c.lat, c.lon), exclude.around(c.lat, c.lon)
        mask = free | inside if inside else free
        return mask ^ (mask & outside) if outside else mask

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
    octets: set[str] = set()  # with which addresses of the IPv4 networks begin
    for campaign, _, mask in lines.campaigns:
        match = campaign.targeting.ip
        for side, cidrs in enumerate((match.include, match.exclude)):
            for cidr in cidrs:
                network = ipaddress.ip_network(cidr, strict=False)
                (v4 if network.version == 4 else v6).add(network, mask, side)
                if network.version == 4:
                    first, last = network.network_address.packed[0], network.broadcast_address.packed[0]
                    octets.update(str(octet) for octet in range(first, last + 1))
        if match.include:
            restricted |= mask
    if not v4.tables and not v6.tables:
        return None
    free = lines.everything & ~restricted

    def allow(c: Context) -> int:
        include = exclude = 0
        for ip in (c.ip, c.ipv6):  # a device with both is in the networks of both
            # Most addresses begin with an octet of no network: that is told long before they are taken apart.
            if not ip or (ip.partition(".")[0] not in octets and ":" not in ip and ip[0] != "0"):
                continue
            version, number = address_number(ip)
            if version:
                inside, outside = (v4 if version == 4 else v6).containing(number, c.consent.contextual)
                include |= inside
                exclude |= outside
        mask = free | include if include else free
        return mask ^ (mask & exclude) if exclude else mask

    return allow
