"""The exchange's own ledger: what each campaign and account was charged, in which hour and day, and what was allowed.

The truth that the bidder's ledger is held against, so nothing here is shared with it but the catalogue. Amounts are
nanos of USD: an impression at a CPM of p micros costs exactly p nanos. A charge belongs to the hour and day of the time
zone in which its bid was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from campaign_express.bidding.model import Budget, Catalog

NANOS = 1000  # in a micro
_QUARTER_MS = 900_000  # every zone's offset is a multiple of it


class Overspent(NamedTuple):
    """A budget that was passed."""

    owner: str  # "campaign x" or "account y"
    scope: str  # "total", "daily", "hourly"
    period: str  # "" for a total
    limit_micros: int
    beyond_micros: int  # rounded up


class _Periods:
    """Names of the hour and day of a moment in a time zone."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[str, str]] = {}

    def __call__(self, zone: str, at_ms: int) -> tuple[str, str]:
        key = (zone, at_ms // _QUARTER_MS)
        found = self._known.get(key)
        if found is None:
            local = datetime.fromtimestamp(key[1] * _QUARTER_MS / 1000, UTC).astimezone(ZoneInfo(zone))
            # The offset tells apart the two hours of the same name when clocks are put back.
            found = self._known[key] = (f"{local:%Y-%m-%d}", f"{local:%Y-%m-%dT%H%z}")
        return found


class _Owner(NamedTuple):
    name: str
    zone: str
    budget: Budget


class Charges:
    """All charges."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        """Without a catalogue everything is counted and nothing is limited."""
        self._periods = _Periods()
        self._campaigns: dict[str, _Owner] = {}
        self._accounts: dict[str, _Owner] = {}  # by campaign
        if catalog is not None:
            accounts = {a.id: _Owner(f"account {a.id}", a.time_zone, a.budget) for a in catalog.advertisers}
            for campaign in catalog.campaigns:
                self._campaigns[campaign.id] = _Owner(f"campaign {campaign.id}", campaign.time_zone, campaign.budget)
                self._accounts[campaign.id] = accounts[campaign.advertiser]
        self.campaigns: defaultdict[str, int] = defaultdict(int)  # nanos in all
        self.timeline: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self._spent: defaultdict[tuple[_Owner, str, str], int] = defaultdict(int)

    def charge(self, campaign: str, nanos: int, bid_ms: int) -> None:
        """`campaign` owes this for an impression whose bid was made at `bid_ms`."""
        self.campaigns[campaign] += nanos
        self.timeline[campaign][bid_ms // 60_000] += nanos
        for owner in (self._campaigns.get(campaign), self._accounts.get(campaign)):
            if owner is None or not owner.budget.limited:
                continue
            day, hour = self._periods(owner.zone, bid_ms)
            self._spent[owner, "total", ""] += nanos
            self._spent[owner, "daily", day] += nanos
            self._spent[owner, "hourly", hour] += nanos

    def spent(self, owner: str) -> dict[tuple[str, str], int]:
        """Nanos by (scope, period) of "campaign x" or "account y" with a budget."""
        return {(scope, period): nanos for (who, scope, period), nanos in self._spent.items() if who.name == owner}

    def overspent(self) -> Iterator[Overspent]:
        """Every budget that was passed, in any period."""
        for (owner, scope, period), nanos in self._spent.items():
            limit = getattr(owner.budget, scope)
            if limit is not None and nanos > limit * NANOS:
                yield Overspent(owner.name, scope, period, limit, -(-(nanos - limit * NANOS) // NANOS))


def cumulative(timeline: dict[int, int], minutes: Iterable[int]) -> list[int]:
    """What `timeline` (minute -> nanos) sums up to before each of the rising `minutes`."""
    left = sorted(timeline.items())
    sums, total, at = [], 0, 0
    for minute in minutes:
        while at < len(left) and left[at][0] < minute:
            total += left[at][1]
            at += 1
        sums.append(total)
    return sums
