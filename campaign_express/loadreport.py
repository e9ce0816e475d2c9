"""What a load run found: counts, failures by kind, latencies, and how good the generator itself was."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable
from dataclasses import dataclass

LAG_SHARE = 0.25  # of latency p99: beyond it the report is about the generator
LAG_FLOOR_MS = 1.0  # lateness below this is never worth a word


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds, by nearest rank (the smallest value that at least that share of the values does not exceed)."""

    p50: float
    p95: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, nanoseconds: Iterable[int]) -> Quantiles:
        """All zero where there is no value."""
        ordered = sorted(nanoseconds)
        if not ordered:
            return cls(0.0, 0.0, 0.0, 0.0, 0.0)

        def at(share: float) -> float:
            return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1e6, 4)

        return cls(at(0.5), at(0.95), at(0.99), at(0.999), at(1.0))


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Outcome of one run. Always `sent == answered + failed`, and `failed` is the sum of `failures`."""

    rate: float  # arrivals a second that were asked for
    duration_s: float
    sent: int
    answered: int  # with HTTP 200 or 204
    bids: int  # 200 with a seatbid
    failed: int
    failures: dict[str, int]  # refused, reset, closed, timeout, malformed, exhausted, http-<status>
    late: int  # answered, but after the request's own tmax
    latency: Quantiles  # of answers and time-outs, from the moment a request was due
    generator_lag: Quantiles  # how long after it was due an arrival was served by this generator
    connects: int  # connections opened, those of the start included
    longest_gap_s: float  # without any answer
    first_failure_s: float | None  # since the start
    last_failure_s: float | None

    @property
    def bid_rate(self) -> float:
        """Share of the answers that hold a bid."""
        return self.bids / self.answered if self.answered else 0.0

    @property
    def sent_per_s(self) -> float:
        return self.sent / self.duration_s

    @property
    def measures_generator(self) -> bool:
        """The generator was itself so late that the latencies say little about the server."""
        lag = self.generator_lag.p99
        return lag > LAG_FLOOR_MS and lag > LAG_SHARE * self.latency.p99

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each figure, for a table."""
        rows = [
            ("sent", f"{self.sent:,} ({self.sent_per_s:,.0f}/s)"),
            ("answered", f"{self.answered:,}"),
            ("bid rate", f"{self.bid_rate:.1%}"),
            ("failed", f"{self.failed:,}"),
            *((f"  {kind}", f"{count:,}") for kind, count in sorted(self.failures.items())),
            ("late (after tmax)", f"{self.late:,}"),
            *((name, f"{getattr(self.latency, key):.2f} ms") for name, key in _QUANTILES),
            ("generator lag p99", f"{self.generator_lag.p99:.2f} ms"),
        ]
        if self.measures_generator:
            rows.append(("warning", "the generator was late itself: these latencies are largely its own"))
        return rows


_QUANTILES = (("p50", "p50"), ("p95", "p95"), ("p99", "p99"), ("p99.9", "p999"), ("max", "max"))


class Tally:
    """Counts and latencies of one run, filled by its connections."""

    __slots__ = (
        "answered",
        "bids",
        "connects",
        "failure_ns",
        "failures",
        "gap_ns",
        "lags",
        "last_ns",
        "late",
        "latencies",
        "sent",
    )

    def __init__(self) -> None:
        self.sent = self.answered = self.bids = self.late = self.connects = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.failure_ns: list[int] = []
        self.latencies: list[int] = []
        self.lags: list[int] = []
        self.gap_ns = self.last_ns = 0

    def answer(self, now: int, due: int, tmax: int, status: int, bid: bool) -> None:
        self.gap_ns = max(self.gap_ns, now - self.last_ns)
        self.last_ns = now
        if status != 200 and status != 204:
            self.fail(f"http-{status}", now)
            return
        self.answered += 1
        self.bids += bid
        latency = now - due
        self.late += latency > tmax
        self.latencies.append(latency)

    def fail(self, kind: str, now: int, waited: int = 0) -> None:
        self.failures[kind] += 1
        self.failure_ns.append(now)
        if waited:
            self.latencies.append(waited)
