"""The bidder's ledger after a day, held against what the exchanges told it, to the micro.

What every campaign must have committed follows from the notices that the bidder answered with success (`told.expect`).
That is not what the exchanges charged: of some impressions nothing was heard, of some no price, some were won and never
shown. Each of these differences is known by cause, and reported.
"""

from __future__ import annotations

import time

from msgspec import Struct

from campaign_express.adapters.ledger import Ledger
from campaign_express.bidding.books import broken_invariants, overspent
from campaign_express.bidding.budget import Accounts, settle_s
from campaign_express.config import Settings
from campaign_express.errors import Unavailable
from campaign_express.exchange.plan import Plan
from campaign_express.exchange.simulation import Results
from campaign_express.exchange.told import Expected, Sale, expect

PATIENCE_S = 60.0
STABLE_S = 8.0  # so long without any change, and what is missing will not come


class Audit(Struct, kw_only=True):
    """`committed`: micros by campaign, as the bidder's ledger says; `differing`: where that is not what was told."""

    committed: dict[str, int]
    differing: list[str]
    broken: list[str]  # invariants of the ledger that do not hold
    waited_s: float

    @property
    def ok(self) -> bool:
        return not self.differing and not self.broken


def audit(settings: Settings, plan: Plan, results: Results) -> Audit:
    """Waits until everything that was told has been applied."""
    if plan.catalog is None:
        raise ValueError("a day has a catalogue")
    by_campaign: dict[str, list[Sale]] = {campaign.id: [] for campaign in plan.catalog.campaigns}
    for sale in results.sales.sales:
        by_campaign[sale.campaign].append(sale)
    expected = {name: expect(sales) for name, sales in by_campaign.items()}
    accounts = Accounts(plan.catalog)
    exps = {venue.name: venue.exchange.exp for venue in plan.venues}
    ledger = Ledger(settings.redis_url, accounts, settle_s=settle_s(exps, settings.notice_lateness_s))
    started = changed = time.monotonic()
    committed: dict[str, int] = {}
    while _differing(committed, expected) and time.monotonic() - started < PATIENCE_S:
        try:
            now = {name: spent.total for name, spent in ledger.spent(plan.clock.now_ms()).items()}
        except Unavailable:
            now = committed
        if now != committed:
            committed, changed = now, time.monotonic()
        elif time.monotonic() - changed > STABLE_S:
            break
        time.sleep(0.5)
    waited = time.monotonic() - started
    broken = _broken(ledger, accounts, plan)
    ledger.close()
    differing = _differing(committed, expected)
    return Audit(committed=committed, differing=differing, broken=broken, waited_s=round(waited, 1))


def _differing(committed: dict[str, int], expected: dict[str, Expected]) -> list[str]:
    return [
        f"{name}: committed {committed.get(name, 0)}, told {told.committed}"
        + (f" to {told.most}" if told.most > told.committed else "")
        for name, told in expected.items()
        if not told.committed <= committed.get(name, 0) <= told.most
    ]


def _broken(ledger: Ledger, accounts: Accounts, plan: Plan) -> list[str]:
    """Invariants of the books that do not hold now, and budgets that were passed in any hour of the day."""
    found: dict[str, None] = {}
    for advertiser in accounts.of_advertiser:
        books = ledger.books(advertiser)
        lines = list(broken_invariants(books, accounts, plan.clock.now_ms()))
        for hour_ms in range(plan.start_ms, plan.end_ms, 3_600_000):
            lines += overspent(books, accounts, hour_ms)
        found.update(dict.fromkeys(f"{advertiser}: {line}" for line in lines))
    return list(found)
