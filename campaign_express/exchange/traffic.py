"""When requests come: a diurnal curve, spikes on top of it, and the ideal spending that follows from the curve.

Times are Unix milliseconds of the simulated clock. The curve is that of UTC hours, straight lines between the middles
of hours, the same every day; `arrivals` draws a Poisson process of that intensity, given how many there are in all:
such arrivals are the order statistics of independent draws from the intensity (Ross, "Introduction to Probability
Models", section 5.3.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
MINUTE_MS = 60_000
FLAT = (1.0,) * 24
# Weights of the hours of a day, quiet at night and busiest in the evening.
DIURNAL = (
    *(0.70, 0.62, 0.57, 0.57, 0.61, 0.71, 0.84, 0.96, 1.05, 1.09, 1.11, 1.13),
    *(1.15, 1.14, 1.11, 1.10, 1.12, 1.16, 1.21, 1.25, 1.26, 1.20, 1.04, 0.82),
)


@dataclass(frozen=True, slots=True)
class Spike:
    """`factor` times the usual traffic for a while."""

    start_ms: int
    length_ms: int
    factor: float


class Traffic:
    """Intensity of requests over time."""

    def __init__(self, hourly: tuple[float, ...] = DIURNAL, spikes: tuple[Spike, ...] = ()) -> None:
        if len(hourly) != 24 or min(hourly) < 0 or max(hourly) == 0:
            raise ValueError("a day has 24 weights of at least 0, not all of them 0")
        self.spikes = spikes
        middles = np.arange(-1, 25) + 0.5
        weights = np.array((hourly[-1], *hourly, hourly[0]))
        minutes = (np.arange(1440) + 0.5) / 60.0
        self._minute = np.interp(minutes, middles, weights)  # intensity in each minute of the day
        self._until = np.concatenate(([0.0], np.cumsum(self._minute)))

    def arrivals(self, count: int, start_ms: int, end_ms: int, seed: int) -> NDArray[np.int64]:
        """`count` times in [start_ms, end_ms), sorted."""
        edges = np.unique(
            np.concatenate(
                (
                    np.arange(start_ms // MINUTE_MS, end_ms // MINUTE_MS + 2) * MINUTE_MS,
                    [edge for s in self.spikes for edge in (s.start_ms, s.start_ms + s.length_ms)],
                    [start_ms, end_ms],
                )
            )
        ).astype(np.int64)
        edges = edges[(edges >= start_ms) & (edges <= end_ms)]
        lengths = np.diff(edges)
        weights = self._minute[(edges[:-1] // MINUTE_MS) % 1440] * lengths
        for spike in self.spikes:
            inside = (edges[:-1] >= spike.start_ms) & (edges[:-1] < spike.start_ms + spike.length_ms)
            weights = np.where(inside, weights * spike.factor, weights)
        until = np.concatenate(([0.0], np.cumsum(weights)))
        drawn = np.sort(np.random.default_rng(seed).random(count)) * until[-1]
        times: NDArray[np.int64] = np.interp(drawn, until, edges).astype(np.int64)
        return times

    def usual(self, start_ms: int, end_ms: int) -> float:
        """How much traffic is usual between two times, without spikes; one unit is a minute of weight 1."""
        return self._integral(end_ms) - self._integral(start_ms)

    def share(self, at_ms: int, start_ms: int, end_ms: int) -> float:
        """Share of the usual traffic of [start_ms, end_ms) that has come by `at_ms`: the ideal spending, 0 to 1."""
        at_ms = min(max(at_ms, start_ms), end_ms)
        return self.usual(start_ms, at_ms) / self.usual(start_ms, end_ms)

    def _integral(self, at_ms: int) -> float:
        days, rest = divmod(at_ms, DAY_MS)
        minute, part = divmod(rest, MINUTE_MS)
        return float(
            days * self._until[-1] + self._until[minute] + self._minute[min(minute, 1439)] * (part / MINUTE_MS)
        )
