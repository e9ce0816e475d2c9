"""When somebody is to be told: budgets spent, campaigns behind their curve, exchanges that fell silent. Pure.

Each condition holds on a day (of the campaign's or account's zone, for exchanges of UTC) and is found again at every
look; its id says which condition on which day, so that it is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from msgspec import Struct

from campaign_express.adapters.ledger_terms import Spent
from campaign_express.bidding.budget import Limits, day_key, limits
from campaign_express.bidding.model import Advertiser, Campaign, Catalog, Status
from campaign_express.bidding.money import MICROS
from campaign_express.events import impression_cost
from campaign_express.notifications import Notification

MINUTE_MS = 60_000
DAY_MS = 86_400_000
NEARLY, SPENT = 0.8, 0.99  # shares of a budget; its last percent may be headroom, or not enough for an impression


class Thresholds(Struct, frozen=True):
    """When a condition counts. Minutes are of the wall clock."""

    behind: float = 0.1  # share of the day's goal
    behind_minutes: int = 60
    silent_minutes: int = 15


class Delivery(Protocol):
    """What is read of `treasury.pacing.Progress`."""

    @property
    def goal(self) -> float: ...

    @property
    def due(self) -> float: ...

    @property
    def spent(self) -> float: ...

    @property
    def runs(self) -> bool: ...

    @property
    def behind(self) -> float: ...


class Look(NamedTuple):
    """All that conditions are judged by, at one moment."""

    wall_ms: int
    catalog: Catalog
    campaigns: Mapping[str, Spent]
    accounts: Mapping[str, Spent]
    progress: Mapping[str, Delivery]  # of evenly paced campaigns
    asked_ms: Mapping[str, int]  # exchange -> wall clock of its last request
    stopped: frozenset[str] = frozenset()  # exchanges that a switch stops: nobody expects requests there


class Conditions:
    """Remembers since when campaigns have been behind; the rest is found by the look alone."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._behind_since: dict[str, int] = {}

    def found(self, look: Look) -> Iterator[Notification]:
        """Every condition that holds now."""
        for campaign in look.catalog.campaigns:
            if campaign.status is Status.ACTIVE:
                yield from _of_campaign(campaign, look)
        for advertiser in look.catalog.advertisers:
            yield from _of_account(advertiser, look)
        yield from self._under_delivery(look)
        yield from self._silence(look)

    def _under_delivery(self, look: Look) -> Iterator[Notification]:
        patience_ms = self.thresholds.behind_minutes * MINUTE_MS
        behind = {
            campaign.id: campaign
            for campaign in look.catalog.campaigns
            if (state := look.progress.get(campaign.id)) and state.runs and state.behind > self.thresholds.behind
        }
        self._behind_since = {name: self._behind_since.get(name, look.wall_ms) for name in behind}
        for name, campaign in behind.items():
            if look.wall_ms - self._behind_since[name] < patience_ms:
                continue
            state = look.progress[name]
            yield Notification(
                id=f"under-delivery:campaign:{name}:{day_key(campaign.time_zone, look.wall_ms)}",
                condition="under-delivery",
                subject=f"campaign:{name}",
                title=f"Campaign {name} under-delivers",
                text=(
                    f"Campaign {name} has spent {_usd(state.spent)} USD today and should have spent "
                    f"{_usd(state.due)} USD by now, of {_usd(state.goal)} USD for the day."
                ),
                at_ms=look.wall_ms,
                facts={
                    "spent_usd": state.spent / MICROS,
                    "due_usd": state.due / MICROS,
                    "goal_usd": state.goal / MICROS,
                },
            )

    def _silence(self, look: Look) -> Iterator[Notification]:
        for exchange, last_ms in look.asked_ms.items():
            silent_ms = look.wall_ms - last_ms
            if exchange in look.stopped or not self.thresholds.silent_minutes * MINUTE_MS <= silent_ms < DAY_MS:
                continue
            minutes = silent_ms // MINUTE_MS
            yield Notification(
                id=f"exchange-silent:exchange:{exchange}:{day_key('UTC', look.wall_ms)}",
                condition="exchange-silent",
                subject=f"exchange:{exchange}",
                title=f"Exchange {exchange} has stopped sending",
                text=f"No request has come from exchange {exchange} for {minutes} minutes.",
                at_ms=look.wall_ms,
                facts={"silent_minutes": minutes, "last_request_ms": last_ms},
            )


def _of_campaign(campaign: Campaign, look: Look) -> Iterator[Notification]:
    spent = look.campaigns.get(campaign.id)
    if spent is not None:
        cost = impression_cost(campaign.max_bid)
        yield from _budget("campaign", campaign.id, limits(campaign.budget), spent, cost, campaign.time_zone, look)


def _of_account(advertiser: Advertiser, look: Look) -> Iterator[Notification]:
    spent = look.accounts.get(advertiser.id)
    if spent is not None:
        yield from _budget("account", advertiser.id, limits(advertiser.budget), spent, 0, advertiser.time_zone, look)


def _budget(
    kind: str, name: str, budget: Limits, spent: Spent, cost: int, zone: str, look: Look
) -> Iterator[Notification]:
    for period, limit, amount in (("daily", budget.daily, spent.today), ("total", budget.total, spent.total)):
        if not limit:
            continue
        full = amount >= max(min(SPENT * limit, limit - cost), 1)
        percent = 100 if full else 80 if amount >= NEARLY * limit else 0
        if not percent:
            continue
        yield Notification(
            id=f"budget-{percent}:{period}:{kind}:{name}:{day_key(zone, look.wall_ms)}",
            condition=f"budget-{percent}",
            subject=f"{kind}:{name}",
            title=f"{period.capitalize()} budget of {kind} {name} is {percent} % spent",
            text=f"{kind.capitalize()} {name} has spent {_usd(amount)} of {_usd(limit)} USD of its {period} budget.",
            at_ms=look.wall_ms,
            facts={"period": period, "spent_usd": amount / MICROS, "budget_usd": limit / MICROS},
        )


def _usd(micros: float) -> str:
    return f"{micros / MICROS:,.2f}"
