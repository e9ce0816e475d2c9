"""What the values of targeting rules must be: codes that exist, numbers of AdCOM 1.0's lists, networks, sizes.

Problems are (key path, what is wrong). Each rule is looked at alone, so that one wrong rule does not hide the others.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

from campaign_express.bidding.model import CategoryMatch, CircleMatch, Hours, IntMatch, Match, OsVersion
from campaign_express.bidding.shape import join, show
from campaign_express.openrtb.iso3166 import country_alpha3

Found = Iterator[tuple[str, str]]

MAX_VALUES = 20_000  # of one include or exclude list

# ISO 639-1, the two-letter codes in force.
LANGUAGES = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el
    en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it
    iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt
    my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl
    sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo
    za zh zu
    """.split()  # noqa: SIM905 (183 quoted strings are harder to check against the standard)
)

# Numbers that AdCOM's lists define; 500 and above are left to vendors where the list says so.
DEVICE_TYPES = range(1, 9)  # List: Device Types
CONNECTION_TYPES = range(8)  # List: Connection Types
POSITIONS = range(8)  # List: Placement Positions
VIDEO_PLACEMENTS = range(1, 5)  # List: Plcmt Subtypes - Video
VENDOR = 500

# List: Category Taxonomies. 1.0 has names like IAB7-39; 2.x and the product and audience taxonomies number their
# entries; 3.x mixes numbers with six-character ids.
_NUMBER = re.compile(r"^[0-9]{1,5}$")
_CATEGORY_IDS = {
    1: re.compile(r"^IAB(?:[1-9]|1[0-9]|2[0-6])(?:-[1-9][0-9]?)?$"),
    **dict.fromkeys((2, 3, 4, 5, 6, 8), _NUMBER),
    **{taxonomy: re.compile(r"^(?:[0-9]{1,5}|[0-9A-Za-z]{6})$") for taxonomy in (7, 9)},
}

_DOMAIN = re.compile(r"^(?!-)[^\s/:@?#.]+(?:\.[^\s/:@?#.]+)+$")
_SIZE = re.compile(r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$")
_VERSION = re.compile(r"^[0-9]{1,6}(?:\.[0-9]{1,6}){0,4}$")


def _country(value: str) -> str:
    return "" if country_alpha3(value) else "is not an ISO 3166 country"


def _region(value: str) -> str:
    country, _, region = value.partition("-")
    good = country_alpha3(country) and re.fullmatch(r"[A-Za-z0-9]{1,3}", region)
    return "" if good else 'is not an ISO 3166-2 region such as "USA-CA"'


def _city(value: str) -> str:
    country, slash, city = value.partition("/")
    good = country_alpha3(country) and city.strip() if slash else True
    return "" if good else 'must be a city, or a country and a city such as "USA/Boston"'


def _metro(value: str) -> str:
    return "" if re.fullmatch(r"[0-9]{1,7}", value) else "is not a metro (DMA) code: digits are wanted"


def _cidr(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        return f"is not a network in CIDR notation: {error}"
    return ""


def language_problem(value: str) -> str:
    return "" if value.lower() in LANGUAGES else "is not an ISO 639-1 language"


def domain_problem(value: str) -> str:
    return "" if _DOMAIN.match(value) else 'is not a domain such as "news.example": no scheme, port or path'


def _size(value: str) -> str:
    return "" if _SIZE.match(value) else 'is not a size such as "300x250"'


def _any(value: str) -> str:
    return ""


# What the values of each text rule must be, and what two spellings of the same value have in common.
_TEXT_RULES: dict[str, Callable[[str], str]] = {
    "country": _country,
    "region": _region,
    "city": _city,
    "metro": _metro,
    "ip": _cidr,
    "language": language_problem,
    "domain": domain_problem,
    "size": _size,
}
_NUMBER_RULES = {
    "device_type": (DEVICE_TYPES, "device type"),
    "connection": (CONNECTION_TYPES, "connection type"),
    "position": (POSITIONS, "placement position"),
    "placement": (VIDEO_PLACEMENTS, "video placement subtype"),
}


def _same(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name == "country":
        return country_alpha3(value) or value
    if name == "region":
        country, _, region = value.partition("-")
        return f"{country_alpha3(country) or country}-{region}".upper()
    return value.casefold()


def category_problem(value: str, cattax: int) -> str:
    """What is wrong with a category id under taxonomy `cattax`, or "". A vendor's (from 500) may hold anything."""
    if cattax >= VENDOR:
        return "" if value else "is empty"
    pattern = _CATEGORY_IDS.get(cattax)
    if pattern is None or pattern.match(value):
        return ""  # an unknown taxonomy is reported once, at its own key
    return f"is not a category id of taxonomy {cattax}"


def cattax_problem(cattax: int) -> str:
    if cattax in _CATEGORY_IDS or cattax >= VENDOR:
        return ""
    return f"{cattax} is not a category taxonomy (1 to 9, or a vendor's from 500)"


def targeting_problems(name: str, rule: Any, path: str) -> Found:
    """Problems of one targeting rule, `name` being its key."""
    if isinstance(rule, Match | IntMatch | CategoryMatch):
        yield from _match_problems(name, rule, path)
    elif isinstance(rule, Hours):
        if not rule.hours:
            yield join(path, "hours"), "names no hour, so the campaign would never bid"
    elif isinstance(rule, CircleMatch):
        for index, circle in enumerate(rule.exclude):
            if circle in rule.include:
                yield join(join(path, "exclude"), index), "is included and excluded"
    elif name == "os_version":
        for index, bound in enumerate(rule):
            yield from _os_version_problems(bound, join(path, index))


def _match_problems(name: str, rule: Match | IntMatch | CategoryMatch, path: str) -> Found:
    if isinstance(rule, CategoryMatch) and (wrong := cattax_problem(rule.cattax)):
        yield join(path, "cattax"), wrong
    included = {_same(name, value) for value in rule.include}
    for side in ("include", "exclude"):
        values: tuple[Any, ...] = getattr(rule, side)
        where = join(path, side)
        if len(values) > MAX_VALUES:
            yield where, f"holds {len(values):,} values; the most is {MAX_VALUES:,}"
        for index, value in enumerate(values):
            if isinstance(rule, IntMatch):
                allowed, what = _NUMBER_RULES[name]
                wrong = "" if value in allowed else f"is not a {what} ({allowed[0]} to {allowed[-1]})"
            elif not value.strip():
                wrong = "is empty"
            elif isinstance(rule, CategoryMatch):
                wrong = category_problem(value, rule.cattax)
            else:
                wrong = _TEXT_RULES.get(name, _any)(value)
            if wrong:
                yield join(where, index), f"{show(value)} {wrong}"
            elif side == "exclude" and _same(name, value) in included:
                yield join(where, index), f"{show(value)} is included and excluded"


def version_key(version: str) -> tuple[int, ...]:
    """Comparable form of a dotted version: "10.2" is before "10.10"."""
    return tuple(int(part) for part in version.split("."))


def _os_version_problems(bound: OsVersion, path: str) -> Found:
    if not bound.os.strip():
        yield join(path, "os"), "is empty"
    sides = {side: getattr(bound, side) for side in ("min", "max") if getattr(bound, side) is not None}
    if not sides:
        yield path, "has neither min nor max"
    bad = [side for side, value in sides.items() if not _VERSION.match(value)]
    for side in bad:
        yield join(path, side), f'{show(sides[side])} is not a version such as "14.2"'
    if len(sides) == 2 and not bad and version_key(sides["min"]) > version_key(sides["max"]):
        yield path, f"min {sides['min']} is above max {sides['max']}"
