"""How the oracle compares a rule with what is known: `tests/support/oracle.py`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from campaign_express.bidding.model import Circle, IntMatch, Match

# Only what the tests' requests and catalogues hold.
COUNTRIES = {"USA": "USA", "US": "USA", "DEU": "DEU", "DE": "DEU", "BRA": "BRA", "BR": "BRA", "AUS": "AUS", "AU": "AUS"}


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
