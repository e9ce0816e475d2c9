"""Catalogues made of budgets, for tests of money."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from campaign_express.bidding.model import (
    Advertiser,
    Budget,
    Campaign,
    Catalog,
    Creative,
    Flight,
    Goal,
    GoalType,
    Media,
)

NO_BUDGET = Budget()


def campaign_of(
    name: str, advertiser: str, zone: str = "UTC", budget: Budget = NO_BUDGET, max_bid: int = 1_000_000
) -> Campaign:
    """A banner campaign at CPM `max_bid` micros."""
    return Campaign(
        id=name,
        advertiser=advertiser,
        flight=Flight(start=datetime(2026, 1, 1, tzinfo=UTC)),
        time_zone=zone,
        goal=Goal(type=GoalType.CPM, bid=max_bid),
        max_bid=max_bid,
        budget=budget,
        creatives=(
            Creative(
                id=f"{name}-k",
                media=Media.BANNER,
                w=300,
                h=250,
                landing="https://x.example/",
                image="https://x.example/i",
            ),
        ),
    )


def catalog_of(advertiser: str, account: tuple[str, Budget], campaigns: Mapping[str, tuple[str, Budget]]) -> Catalog:
    """One advertiser with an account's zone and budget, and campaigns by name with theirs."""
    zone, budget = account
    return Catalog(
        advertisers=(
            Advertiser(id=advertiser, name=advertiser, domain="brand.example", time_zone=zone, budget=budget),
        ),
        campaigns=tuple(campaign_of(name, advertiser, *terms) for name, terms in campaigns.items()),
    )
