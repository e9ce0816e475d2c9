"""Addresses and coordinates with the part that could single out a household taken off."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address

IPV4_KEPT, IPV6_KEPT = 24, 48  # bits that are left of an address
_IPV6_NETWORK = ((1 << 128) - 1) ^ ((1 << (128 - IPV6_KEPT)) - 1)
_LONGEST = 64  # characters: an IPv6 address with a long zone; what is longer is not cached
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ipv4 = re.compile(rf"({_OCTET}\.{_OCTET}\.{_OCTET}\.){_OCTET}").fullmatch  # as nearly all are written


def truncate_ip(ip: str) -> str:
    """The /24 of an IPv4 address ("203.0.113.0") or the /48 of an IPv6 one ("2001:db8:1::"); "" if it is no address.

    An IPv4 address mapped into IPv6 ("::ffff:203.0.113.7") is treated as the IPv4 address it is.
    """
    plain = _ipv4(ip)
    if plain is not None:
        return f"{plain[1]}0"
    return _truncate(ip) if len(ip) <= _LONGEST else ""


@lru_cache(maxsize=4096)
def _truncate(ip: str) -> str:
    parts = ip.split(".")
    if len(parts) == 4 and ":" not in ip:
        for part in parts:
            if not (part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255):
                return ""
        return f"{int(parts[0])}.{int(parts[1])}.{int(parts[2])}.0"
    try:
        address = IPv6Address(ip)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped
    if mapped is not None:
        return _truncate(str(mapped))
    return str(IPv6Address(int(address) & _IPV6_NETWORK))


def truncate_coordinate(degrees: float) -> float:
    """Latitude or longitude to a tenth of a degree, about 11 km.

    Two decimals would not do: a cell of 1.1 km by 0.9 km is smaller than the circle of 1,850 feet radius that
    California calls precise geolocation (Cal. Civ. Code 1798.140(w)).
    """
    return round(degrees, 1)
