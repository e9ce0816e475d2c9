"""What campaigns want of a request: one builder a rule, each giving a function from a context to the mask of lines
that pass.

A builder gives None when no campaign of the catalogue has that rule, so a rule that nobody uses costs nothing. The
rows of `eligibility.REQUEST_FILTERS` name these builders in the order in which they run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

from campaign_express.bidding.bitmaps import ManyValues, Memo, OneValue, V
from campaign_express.bidding.context import Context, os_name
from campaign_express.bidding.lines import Lines, parents
from campaign_express.bidding.model import Campaign, IntMatch, Inventory, Match, Targeting
from campaign_express.openrtb.iso3166 import country_alpha3

Allow = Callable[[Context], int]
Builder = Callable[[Lines], Allow | None]


def spelled(field: str, spell: Callable[[Any], V]) -> Callable[[Campaign], tuple[list[V], list[V]]]:
    """What a campaign includes and excludes by `field` of its Targeting, spelled as the context spells its facts."""

    def rule(campaign: Campaign) -> tuple[list[V], list[V]]:
        match: Match | IntMatch = getattr(campaign.targeting, field)
        return [spell(v) for v in match.include], [spell(v) for v in match.exclude]

    return rule


def _look_up(attribute: str, index: OneValue[Any]) -> Allow | None:
    """A rule on the fact that is `attribute` of the context."""
    if not index.used:
        return None
    get, default, fact = index.allow.get, index.default, attrgetter(attribute)
    return lambda c: get(fact(c), default)


def _one(field: str, spell: Callable[[Any], Hashable] = str.lower) -> Builder:
    """A rule on a fact with one value: `field` is its name in Targeting and in the context."""

    def build(lines: Lines) -> Allow | None:
        return _look_up(field, OneValue(lines.everything, lines.rules(spelled(field, spell))))

    return build


country = _one("country", country_alpha3)
bundle = _one("bundle")
publisher = _one("publisher", str)
metro = _one("metro", str)
os = _one("os", os_name)
make = _one("make")
carrier = _one("carrier")
language = _one("language")
device_type = _one("device_type", int)
connection = _one("connection", int)


def _many(field: str, values: Callable[[Context], Collection[str]], spell: Callable[[Any], str]) -> Builder:
    """A rule on a fact with several values."""

    def build(lines: Lines) -> Allow | None:
        index = ManyValues(lines.everything, lines.rules(spelled(field, spell)))
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
    return _look_up("inventory", index)


def domain(lines: Lines) -> Allow | None:
    index = ManyValues(lines.everything, lines.rules(spelled("domain", str.lower)))
    return (lambda c: index.allow(parents(c.domain)) if c.domain else index.free) if index.used else None


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
    known: Memo[int] = Memo(lines.count)

    def open_at(quarter: int, user_hour: int) -> int:
        moment = datetime.fromtimestamp(quarter * 900, UTC)
        mask = user.allow.get(user_hour, user.default)
        for zone, rules in zones:
            local = moment.astimezone(zone)
            now = local.weekday() * 24 + local.hour
            for hours, restricted in rules.items():
                if now not in hours:
                    mask &= ~restricted
        return mask

    def allow(c: Context) -> int:
        moment = (c.wall_ms // 900_000, c.user_hour)  # every zone is a whole number of quarter hours from UTC
        mask = known.get(moment)
        return known.put(moment, open_at(*moment)) if mask is None else mask

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
