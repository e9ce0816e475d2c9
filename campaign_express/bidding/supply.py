"""How much traffic is usual at each hour of the week, learned from counts of requests.

Counts come by the hour. What is usual at an hour of the week is an exponentially weighted mean over the weeks, and
until a few weeks have been seen it is drawn towards what is usual at that hour of any day. An hour in which nothing was
counted teaches nothing (we were away), and one hour cannot move the mean by more than a factor: a spike is not a habit.

Hours are those of UTC; the week begins on Monday. Between the middles of two hours the intensity is a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

HOUR_MS = 3_600_000
QUARTER_MS = 900_000
HOURS = 168
QUARTERS = 4 * HOURS
MONDAY = 72  # hours from the week's beginning to the Unix epoch, a Thursday
_LEARN = 0.3  # weight of the newest day or week in a mean
_AT_MOST, _AT_LEAST = 2.0, 0.4  # what an hour may be of what is usual, as far as it is learned from
_TRUST = 2.0  # weeks after which an hour of the week counts as much as that hour of all days


def hour_of_week(hour: int) -> int:
    """0..167 of an hour counted from the Unix epoch."""
    return (hour + MONDAY) % HOURS


class SupplyHistory(Struct):
    """What has been learned. Everything is a mean count of requests in an hour; 0 where nothing is known."""

    week: list[float] = []  # by hour of the week
    weeks: list[int] = []  # how often each was seen
    day: list[float] = []  # by hour of the day
    last_hour: int = 0  # since the epoch: learned up to and with this one

    def __post_init__(self) -> None:
        if len(self.week) != HOURS or len(self.weeks) != HOURS or len(self.day) != 24:
            self.week, self.weeks, self.day = [0.0] * HOURS, [0] * HOURS, [0.0] * 24

    def learn(self, hour: int, count: int) -> None:
        """Take in the requests of a whole hour, counted from the epoch: each once and in order, others do nothing."""
        if hour <= self.last_hour:
            return
        self.last_hour = hour
        if count <= 0:
            return
        at = hour_of_week(hour)
        usual = self.usual(at)
        seen = min(max(count, _AT_LEAST * usual), _AT_MOST * usual) if usual else float(count)
        self.week[at] += (seen - self.week[at]) * max(_LEARN, 1.0 / (self.weeks[at] + 1))
        self.weeks[at] += 1
        day = self.day[at % 24]
        self.day[at % 24] = day + (seen - day) * _LEARN if day else seen

    def usual(self, at: int) -> float:
        """Requests that are usual in an hour of the week; 0 where neither it nor that hour of the day was ever seen."""
        of_day, trust = self.day[at % 24], self.weeks[at] / (self.weeks[at] + _TRUST)
        return of_day + (self.week[at] - of_day) * trust

    def hourly(self) -> NDArray[np.float64]:
        """[168] usual intensity by hour of the week, 1 on average. Hours of which nothing is known count as average."""
        hours = np.array([self.usual(at) for at in range(HOURS)])
        known = hours > 0
        hours[~known] = hours[known].mean() if known.any() else 1.0
        even: NDArray[np.float64] = hours / hours.mean()
        return even


def learned(hourly: Sequence[float]) -> SupplyHistory:
    """A history that has seen exactly these counts: 24 of a day, or 168 of a week that begins on Monday 00:00 UTC."""
    if len(hourly) not in (24, HOURS) or min(hourly) <= 0:
        raise ValueError("supply is given by 24 or 168 counts above 0")
    week = [float(hourly[at % len(hourly)]) for at in range(HOURS)]
    day = [sum(week[at::24]) / 7 for at in range(24)]
    return SupplyHistory(week=week, weeks=[1] * HOURS, day=day)


class WeekCurve(Struct, frozen=True):
    """Usual intensity over a week: `quarters` [672] holds the mean of each quarter of an hour (UTC), Monday first."""

    quarters: NDArray[np.float64]

    @classmethod
    def of_hours(cls, hours: NDArray[np.float64]) -> WeekCurve:
        """`hours` [168]: mean intensities. The lines between the middles of hours may bend at quarters only, so that
        the mean of a quarter is that of its two ends."""
        padded = np.concatenate((hours[-1:], hours, hours[:1]))
        edges = np.interp(np.arange(QUARTERS + 1) / 4.0, np.arange(-1, HOURS + 1) + 0.5, padded)
        return cls((edges[:-1] + edges[1:]) / 2.0)

    def of(self, quarters: NDArray[np.int64]) -> NDArray[np.float64]:
        """Intensities of quarters of an hour that are counted from the epoch."""
        return self.quarters[(quarters + 4 * MONDAY) % QUARTERS]


FLAT = WeekCurve(np.ones(QUARTERS))
