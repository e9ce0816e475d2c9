"""What makes campaigns and advertisers good beyond types, and what is worth a remark though it is allowed.

Problems are (key path, what is wrong); remarks are lines for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from campaign_express.bidding.creative_rules import creative_problems
from campaign_express.bidding.model import (
    Advertiser,
    Budget,
    Campaign,
    Catalog,
    Exchanges,
    FrequencyCap,
    GoalType,
    Media,
    Targeting,
)
from campaign_express.bidding.money import MICROS
from campaign_express.bidding.shape import show
from campaign_express.bidding.targeting_rules import (
    Found,
    category_problem,
    cattax_problem,
    domain_problem,
    targeting_problems,
)
from campaign_express.events import impression_cost

# Most campaigns use a few of the thirty rules: those that say nothing are passed over.
_NO_RULES = [(name, getattr(Targeting(), name)) for name in Targeting.__struct_fields__]


@lru_cache(maxsize=1024)
def known_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, not a name, a directory of zones
        return False
    return True


def campaign_problems(campaign: Campaign) -> Found:
    """Problems between the parts of a campaign whose types are right."""
    if not known_time_zone(campaign.time_zone):
        yield "time_zone", f"{show(campaign.time_zone)} is not a time zone such as Europe/Berlin"
    flight = campaign.flight
    if flight.end is not None and _instant(flight.end) <= _instant(flight.start):
        yield "flight.end", f"{flight.end.isoformat()} is not after the start, {flight.start.isoformat()}"
    if campaign.goal.bid == 0:
        yield "goal.bid", "must be more than 0"
    if campaign.max_bid == 0:
        yield "max_bid", "must be more than 0"
    elif campaign.goal.type is GoalType.CPM and campaign.max_bid < campaign.goal.bid:
        yield (
            "max_bid",
            f"{campaign.max_bid / MICROS:g} is less than the CPM of goal.bid, {campaign.goal.bid / MICROS:g}",
        )
    yield from _budget_problems(campaign.budget, impression_cost(campaign.max_bid))
    yield from _cap_problems(campaign.caps, "caps")
    if wrong := cattax_problem(campaign.cattax):
        yield "cattax", wrong
    for index, value in enumerate(campaign.categories):
        if wrong := category_problem(value, campaign.cattax):
            yield f"categories[{index}]", f"{show(value)} {wrong}"
    for name, empty in _NO_RULES:
        if (rule := getattr(campaign.targeting, name)) != empty:
            yield from targeting_problems(name, rule, f"targeting.{name}")
    for index, creative in enumerate(campaign.creatives):
        yield from creative_problems(creative, f"creatives[{index}]")
        yield from _cap_problems(creative.caps, f"creatives[{index}].caps")
    yield from _reach_problems(campaign)


def _budget_problems(budget: Budget, cost: int) -> Found:
    """Limits that contradict each other, or that no impression at `cost` micros fits into."""
    given = [(name, limit) for name in ("hourly", "daily", "total") if (limit := getattr(budget, name)) is not None]
    for name, limit in given:
        if limit < cost:
            yield (
                f"budget.{name}",
                f"{limit / MICROS:g} is less than one impression may cost, {cost / MICROS:g}",
            )
    for (shorter, less), (longer, more) in pairwise(given):
        if less > more:
            yield f"budget.{shorter}", f"{less / MICROS:g} is more than budget.{longer}, {more / MICROS:g}"


def _cap_problems(caps: Sequence[FrequencyCap], path: str) -> Found:
    seen: dict[tuple[str, str], int] = {}
    for index, cap in enumerate(caps):
        first = seen.setdefault((cap.per, cap.window), index)
        if first != index:
            yield f"{path}[{index}]", f"says the same period as {path}[{first}]"


def _instant(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _reach_problems(campaign: Campaign) -> Found:
    """Targeting that no creative of the campaign can ever meet."""
    media = {creative.media for creative in campaign.creatives}
    for index, kind in enumerate(campaign.targeting.media):
        if kind not in media:
            yield f"targeting.media[{index}]", f"{show(kind.value)}, and the campaign has no such creative"
    sizes = {f"{creative.w}x{creative.h}" for creative in campaign.creatives}
    wanted = campaign.targeting.size.include
    if wanted and Media.BANNER in media and not sizes & {size.lower() for size in wanted}:
        yield "targeting.size.include", "no creative has one of these sizes"


def advertiser_problems(advertiser: Advertiser) -> Found:
    """Problems of an advertiser whose types are right."""
    if wrong := domain_problem(advertiser.domain):
        yield "domain", f"{show(advertiser.domain)} {wrong}"
    if not advertiser.name.strip():
        yield "name", "is empty"
    if not known_time_zone(advertiser.time_zone):
        yield "time_zone", f"{show(advertiser.time_zone)} is not a time zone such as Europe/Berlin"
    yield from _budget_problems(advertiser.budget, 1)
    if wrong := cattax_problem(advertiser.cattax):
        yield "cattax", wrong
    for index, value in enumerate(advertiser.categories):
        if wrong := category_problem(value, advertiser.cattax):
            yield f"categories[{index}]", f"{show(value)} {wrong}"
    if advertiser.dsa:
        for index, number in enumerate(advertiser.dsa.params):
            if number not in range(1, 4):
                yield f"dsa.params[{index}]", f"{number} is not a DSA user parameter (1 to 3)"


def remarks(catalog: Catalog, exchanges: Exchanges | None = None) -> Iterator[str]:
    """What is allowed and probably not meant, a line each: `campaign x: where: what`."""
    for campaign in catalog.campaigns:
        where = f"campaign {campaign.id}"
        for index, creative in enumerate(campaign.creatives):
            if creative.html and "{CLICK_URL}" not in creative.html:
                yield f"{where}: creatives[{index}].html: without {{CLICK_URL}}, so clicks will not be counted"
            if campaign.targeting.media and creative.media not in campaign.targeting.media:
                yield f"{where}: creatives[{index}]: never used, targeting.media leaves {creative.media.value} out"
        if campaign.cap_without_user and not campaign.caps and not any(c.caps for c in campaign.creatives):
            yield f"{where}: cap_without_user: without effect, there are no caps"
        if campaign.targeting.deal.include and not campaign.exchanges:
            yield f"{where}: exchanges: a deal belongs to one exchange, and all exchanges are meant"
    if exchanges is None:
        return
    creatives = {creative.id for campaign in catalog.campaigns for creative in campaign.creatives}
    advertisers = {advertiser.id for advertiser in catalog.advertisers}
    for exchange in exchanges.exchanges:
        for name in exchange.seats.keys() - advertisers:
            yield f"exchange {exchange.name}: seats.{name}: no such advertiser"
        for name in sorted(set(exchange.approved_creatives or ()) - creatives):
            yield f"exchange {exchange.name}: approved_creatives: no creative {show(name)}"
