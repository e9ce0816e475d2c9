"""The figures that are promised, what each must be, and what each means. Pure: measuring is done elsewhere."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Bound(Enum):
    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Promise:
    """A named figure and the threshold it is held to."""

    name: str
    bound: Bound
    threshold: float
    unit: str
    meaning: str

    def kept(self, value: float) -> bool:
        return value >= self.threshold if self.bound is Bound.AT_LEAST else value <= self.threshold


PROMISES = (
    Promise("cell_over_echo", Bound.AT_LEAST, 0.5, "×", "cell with 2 agents, against a server that decides nothing"),
    Promise("cell_over_in_process", Bound.AT_LEAST, 1.3, "×", "against the same core inside the web server's process"),
    Promise("cell_over_serve_default", Bound.AT_LEAST, 40, "×", "against the same core behind Serve's own proxy"),
    Promise("cell_over_serve_haproxy", Bound.AT_LEAST, 3, "×", "against the same core behind Serve's HAProxy"),
    Promise("p50_ms_at_1000rps", Bound.AT_MOST, 1.5, "ms", "cell with 2 agents, open-loop arrivals"),
    Promise("p99_ms_at_1000rps", Bound.AT_MOST, 5, "ms", "cell with 2 agents, open-loop arrivals"),
    Promise("p99_ms_at_2000rps", Bound.AT_MOST, 10, "ms", "cell with 2 agents, open-loop arrivals"),
    Promise("core_us_per_request_batch16", Bound.AT_MOST, 60, "µs", "decision core, 1,000 campaigns, batches of 16"),
    Promise("match_10000_over_100", Bound.AT_MOST, 3, "×", "matching time, 10,000 against 100 campaigns"),
    Promise(
        "cell_over_echo_stateful", Bound.AT_LEAST, 0.4, "×", "cell with budgets, caps and profiles, against the echo"
    ),
    Promise("p99_ms_at_1000rps_stateful", Bound.AT_MOST, 8, "ms", "the same, open-loop arrivals"),
    Promise("redis_round_trips_per_batch", Bound.AT_MOST, 1, "", "the same, under full load"),
    Promise(
        "cell_events_on_over_off", Bound.AT_LEAST, 0.95, "×", "the cell with state, telling of its decisions or not"
    ),
    Promise("events_per_second_ingested", Bound.AT_LEAST, 50_000, "1/s", "decisions from JetStream into chDB, durable"),
    Promise("money_events_per_second_ingested", Bound.AT_LEAST, 5_000, "1/s", "money events alone, one a message"),
    Promise("day_report_s", Bound.AT_MOST, 1, "s", "a day by campaign, over 10 million events in chDB"),
    Promise("bytes_per_event", Bound.AT_MOST, 64, "bytes", "all tables and sums on disk, an event"),
    Promise("haproxy_overhead_p99_ms", Bound.AT_MOST, 1, "ms", "HAProxy before a server, 500 requests a second"),
    Promise("rss_mb_per_agent", Bound.AT_MOST, 250, "MB", "resident memory of an agent with 10,000 campaigns"),
)
BY_NAME = {promise.name: promise for promise in PROMISES}
# name -> (target, what it is held against)
CELL_RATIOS = {
    "cell_over_echo": ("cell", "echo"),
    "cell_over_in_process": ("cell", "in_process"),
    "cell_over_serve_default": ("cell", "serve_default"),
    "cell_over_serve_haproxy": ("cell", "serve_haproxy"),
    "cell_over_echo_stateful": ("cell_stateful", "echo"),
    "cell_events_on_over_off": ("cell_events_on", "cell_events_off"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured. `value` is the median of `runs`."""

    name: str
    unit: str
    runs: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError(f"{self.name} has no run")

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    @property
    def promise(self) -> Promise | None:
        return BY_NAME.get(self.name)

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None for a figure without one."""
        return None if self.promise is None else self.promise.kept(self.value)


def ratio(name: str, over: Sequence[float], under: Sequence[float]) -> Figure:
    """Throughput of one target over another's, round by round: both ran minutes apart at most on the same machine."""
    if len(over) != len(under):
        raise ValueError(f"{name}: {len(over)} rounds against {len(under)}")
    return Figure(name, "×", tuple(a / b if b else float("inf") for a, b in zip(over, under, strict=True)))


def cell_ratios(requests_per_s: dict[str, list[float]]) -> list[Figure]:
    """The `cell_over_*` figures that the measured targets allow; keys are names of `benchmarks.targets`."""
    return [
        ratio(name, requests_per_s[over], requests_per_s[under])
        for name, (over, under) in CELL_RATIOS.items()
        if over in requests_per_s and under in requests_per_s
    ]
