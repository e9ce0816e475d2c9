"""How the money of a campaign's day is to be spent over that day: the curve that pacing follows.

A day's *goal* is its daily budget, or what is left of the total in proportion to the supply that today has among all
days left of the flight, whichever is less. The goal is spread over the day as the usual supply is (Agarwal et al.,
"Budget Pacing for Targeted Online Advertisements at LinkedIn", KDD 2014: the allocation follows the forecast
of traffic, not time), over the hours that flight and targeting leave, and never more in an hour than the hourly budget.

A plan aims a little ahead (LEAD): it has spent its goal when a last percent of the supply is still to come, which is
what catching up is done with. Times are Unix ms, amounts micros.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from campaign_express.bidding.model import Campaign, Flight
from campaign_express.bidding.supply import HOURS, MONDAY, QUARTER_MS, QUARTERS, WeekCurve

LEAD = 0.01


class Plan(Struct, frozen=True):
    """Money due over time: `base` at `edges[0]`, `goal` at the end, straight lines between."""

    base: float
    goal: float
    edges: tuple[float, ...]
    shares: tuple[float, ...]  # of `goal` less `base` that is due at each edge, 0 to 1

    @property
    def runs(self) -> bool:
        """Whether there is anything to spend, and a time for it."""
        return self.goal > self.base and len(self.edges) > 1

    @property
    def end_ms(self) -> float:
        """When nothing more can be spent."""
        return self.edges[-1]

    def due(self, at_ms: float) -> float:
        """What the curve wants to be spent by then."""
        return self.base + (self.goal - self.base) * self._share(at_ms)

    def aim(self, at_ms: float) -> float:
        """What the controller steers for: the curve, a little ahead."""
        return self.base + (self.goal - self.base) * min(1.0, (1.0 + LEAD) * self._share(at_ms))

    def _share(self, at_ms: float) -> float:
        edges, shares = self.edges, self.shares
        after = bisect_right(edges, at_ms)
        if after == 0:
            return 0.0
        if after == len(edges):
            return 1.0
        start, end = edges[after - 1], edges[after]
        low, high = shares[after - 1], shares[after]
        return low + (high - low) * (at_ms - start) / (end - start)


def plan(
    campaign: Campaign,
    curve: WeekCurve,
    day: tuple[int, int],
    goal: float,
    *,
    since_ms: int = 0,
    base: float = 0.0,
) -> Plan:
    """The plan of `goal` for the `day` (start, end), of which `base` was spent by `since_ms`; nothing is due before.

    Where hourly budgets leave no room for it, the goal is what they do leave.
    """
    start_ms, end_ms = _within(campaign.flight, max(day[0], since_ms), day[1])
    if start_ms >= end_ms or goal <= base:
        return Plan(base, max(goal, base), (float(end_ms),), (1.0,))
    first = start_ms // QUARTER_MS
    inner = np.arange(first + 1, -(-end_ms // QUARTER_MS)) * QUARTER_MS
    edges = np.concatenate(([start_ms], inner, [end_ms])).astype(np.int64)
    quarters = edges[:-1] // QUARTER_MS
    local = _local_hours(campaign.time_zone, int(quarters[0]), len(quarters))
    amounts = curve.of(quarters) * np.diff(edges) * _allowed(campaign)[local % HOURS]
    if amounts.sum() <= 0.0:
        return Plan(base, goal, (float(end_ms),), (1.0,))
    amounts *= (goal - base) / amounts.sum()
    if campaign.budget.hourly is not None:
        amounts = _at_most_hourly(amounts, local, float(campaign.budget.hourly))
    until = np.concatenate(([0.0], np.cumsum(amounts)))
    shares = until / until[-1]
    shares[-1] = 1.0
    return Plan(base, base + float(until[-1]), tuple(edges.astype(float).tolist()), tuple(shares.tolist()))


def today_of_total(campaign: Campaign, curve: WeekCurve, day: tuple[int, int]) -> float:
    """Share of what is left of a total that is for this `day` (start, end), by usual supply; 1.0 on the last day.

    Without an end of the flight there is nothing to spread the total over: 1.0, the total is spent as supply comes.
    Days after this one are reckoned at today's distance from UTC.
    """
    end = campaign.flight.end
    today = _within(campaign.flight, *day)
    if end is None or today[0] >= today[1]:
        return 1.0
    offset = _offset(campaign.time_zone, day[0] // QUARTER_MS)
    week = np.arange(QUARTERS)
    # A week of quarters from the epoch on, as the zone has it just now.
    allowed = curve.of(week) * _allowed(campaign)[((week + offset) // 4 + MONDAY) % HOURS]
    until = np.concatenate(([0.0], np.cumsum(allowed)))

    def supply(at_ms: int) -> float:
        weeks, rest = divmod(at_ms / QUARTER_MS, QUARTERS)
        return float(weeks * until[-1] + np.interp(rest, np.arange(QUARTERS + 1), until))

    left = supply(_ms(end)) - supply(today[0])
    return 1.0 if left <= 0 else min(1.0, (supply(today[1]) - supply(today[0])) / left)


def runs_at(campaign: Campaign, at_ms: int) -> bool:
    """Whether flight and hours let it bid at this moment."""
    start, end = _within(campaign.flight, at_ms, at_ms + 1)
    if start >= end:
        return False
    (local,) = _local_hours(campaign.time_zone, at_ms // QUARTER_MS, 1)
    return bool(_allowed(campaign)[local % HOURS])


def _within(flight: Flight, start_ms: int, end_ms: int) -> tuple[int, int]:
    start = max(start_ms, _ms(flight.start))
    return start, end_ms if flight.end is None else min(end_ms, _ms(flight.end))


def _ms(moment: datetime) -> int:
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _allowed(campaign: Campaign) -> NDArray[np.float64]:
    """[168] of the campaign's week: 1 where it may bid. Hours by a user's clock are taken for the campaign's."""
    hours = campaign.targeting.hours
    if hours is None:
        return np.ones(HOURS)
    allowed = np.zeros(HOURS)
    allowed[list(hours.hours)] = 1.0
    return allowed


@lru_cache(maxsize=4096)
def _offset(zone: str, quarter: int) -> int:
    """Quarters of an hour by which a zone is ahead of UTC; every zone in use is a multiple of that."""
    offset = datetime.fromtimestamp(quarter * (QUARTER_MS // 1000), UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) // (QUARTER_MS // 1000)


@lru_cache(maxsize=1024)
def _local_hours(zone: str, first: int, count: int) -> NDArray[np.int64]:
    """Local hours of quarters, counted from a Monday 00:00 long ago."""
    hours = [(at + _offset(zone, at)) // 4 + MONDAY for at in range(first, first + count)]
    return np.array(hours, dtype=np.int64)


def _at_most_hourly(amounts: NDArray[np.float64], hours: NDArray[np.int64], limit: float) -> NDArray[np.float64]:
    """Amounts of quarters with no hour above `limit`; what is above goes to the other hours in proportion."""
    _, hour = np.unique(hours, return_inverse=True)
    by_hour = np.bincount(hour, weights=amounts)
    total, factor = by_hour.sum(), 1.0
    given = np.minimum(by_hour, limit)
    for _ in range(len(by_hour)):  # at least one more hour is full after each turn, or it is done
        full = by_hour * factor >= limit
        if full.all():
            break
        rest = total - limit * full.sum()
        wanted = by_hour[~full].sum()
        if rest <= 0 or wanted <= 0 or np.isclose(wanted * factor, rest):
            break
        factor = rest / wanted
        given = np.minimum(by_hour * factor, limit)
    scale = np.divide(given, by_hour, out=np.zeros_like(given), where=by_hour > 0)
    scaled: NDArray[np.float64] = amounts * scale[hour]
    return scaled
