"""The runs themselves: each starts what it measures, warms it, loads it, ends it, and returns figures."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import closed_loop, code, workload
from benchmarks.figures import Figure, cell_ratios
from benchmarks.machine import ROOT, reference_loop_ms
from benchmarks.processes import command_line, descendants
from benchmarks.targets import BY_NAME, Running, post
from campaign_express.loadgen import run_load
from campaign_express.loadreport import LoadReport

Say = Callable[[str], None]
GRANTED_S = 30  # in which a cell with budgets has its first leases
PROBES = 50  # bodies whose answers are compared before a target is loaded
ALIKE = 0.05  # by how much answers may differ in bytes from those of the core alone
OPEN_LOOP_RATES = {"cell": (1000, 2000), "cell_stateful": (1000,)}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often. Seconds."""

    rounds: int = 3
    warm_s: float = 4
    closed_s: float = 8
    open_s: float = 15
    connections: int = 64
    core_runs: int = 5


QUICK = Plan(rounds=1, warm_s=1, closed_s=2, open_s=3, core_runs=1)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share. `answer_bytes` is the median length of the core's answers, `bid_share` the share of bids."""

    folder: Path
    plan: Plan
    bodies: Sequence[bytes]
    answer_bytes: int
    say: Say
    code: Path = ROOT  # holds the package that is measured

    @property
    def bodies_file(self) -> Path:
        return self.folder / "bodies.jsonl"

    def start(self, target: str, campaigns: int = workload.CAMPAIGNS) -> Running:
        settings = workload.settings_file(self.folder, campaigns)
        return Running(BY_NAME[target], settings, self.answer_bytes, self.bodies[0], self.folder, self.code)


def core(bench: Bench) -> list[Figure]:
    """The core by itself, in a process that holds nothing else."""
    bench.say("core: cost of a request, matching")
    arguments = ("benchmarks.core", str(bench.folder), "--runs", str(bench.plan.core_runs))
    before_ms = reference_loop_ms()
    # In plain Python too: for comparison, and since a compiled function has no place for the timers of stages.
    pure: dict[str, Any] = json.loads(code.run(ROOT, *arguments))
    found: dict[str, Any] = pure if bench.code == ROOT else json.loads(code.run(bench.code, *arguments))

    def growth(name: str, times: dict[str, list[float]]) -> Figure:
        return Figure(name, "×", tuple(a / b for a, b in zip(times["10000"], times["100"], strict=True)))

    figures = [
        Figure("core_us_per_request_batch16", "µs", tuple(found["batch16"])),
        growth("match_10000_over_100", found["match"]),
        Figure("core_us_per_request_batch16_pure", "µs", tuple(pure["batch16"])),
        Figure("core_us_per_request_batch1", "µs", tuple(found["batch1"])),
        Figure("core_cpu_us_per_request_batch16", "µs", tuple(found["batch16_cpu"])),
        Figure("core_cpu_us_per_request_batch1", "µs", tuple(found["batch1_cpu"])),
        Figure("core_reference_loop_ms", "ms", (before_ms, reference_loop_ms())),
        growth("match_and_list_10000_over_100", found["match_and_list"]),
        Figure("campaigns_matched_of_1000", "(least, median, most)", tuple(found["matched_min_median_max"])),
    ]
    figures += [Figure(f"match_us_{count}_campaigns", "µs", tuple(times)) for count, times in found["match"].items()]
    figures += [Figure(f"stage: {stage}", "µs", (spent,)) for stage, spent in pure["stages"].items()]
    return figures


class Trials:
    """Closed-loop req/s of targets in interleaved rounds, one target alive at a time; open loop on the cell."""

    def __init__(self, bench: Bench, names: Sequence[str]) -> None:
        self._bench = bench
        self._names = list(names)
        self._closed: defaultdict[str, list[closed_loop.ClosedLoop]] = defaultdict(list)
        self._open: defaultdict[tuple[str, int], list[LoadReport]] = defaultdict(list)
        self._round_trips: list[float] = []  # a batch
        self._reference_ms: list[float] = []  # at the beginning of each round
        self.problems: list[str] = []

    def run(self) -> None:
        """All rounds. A target that fails is left out from there on and named in `problems`."""
        for number in range(1, self._bench.plan.rounds + 1):
            self._reference_ms.append(reference_loop_ms())
            for name in list(self._names):
                try:
                    self._one(number, name)
                except (RuntimeError, OSError) as error:
                    self._bench.say(f"round {number} {name}: {error}")
                    self.problems.append(f"{name}: {error}")
                    self._names.remove(name)
                    self._closed.pop(name, None)

    def _one(self, number: int, name: str) -> None:
        bench, plan = self._bench, self._bench.plan
        with bench.start(name) as running:
            _check_answers(bench, name, running)
            closed_loop.run(running.url, bench.bodies_file, plan.warm_s, plan.connections)
            running.server.check()
            before = _trips(running) if name == "cell_stateful" else (0.0, 0.0)
            result = closed_loop.run(running.url, bench.bodies_file, plan.closed_s, plan.connections)
            if name == "cell_stateful":
                trips, batches = (now - then for now, then in zip(_trips(running), before, strict=True))
                self._round_trips.append(trips / batches)
            bench.say(f"round {number} {name}: {result.requests_per_s:,.0f} req/s, p99 {result.p99_ms:.1f} ms")
            _check_load(bench, name, result)
            self._closed[name].append(result)
            for rate in OPEN_LOOP_RATES.get(name, ()):
                report = run_load(running.url, rate, plan.open_s, bench.bodies, plan.connections)
                latency = f"p50 {report.latency.p50:.2f}, p99 {report.latency.p99:.2f} ms"
                doubt = ", largely the generator's own" if report.measures_generator else ""
                bench.say(f"round {number} {name} at {rate}/s: {latency}{doubt}; {report.failed} failed")
                self._open[name, rate].append(report)

    def figures(self) -> list[Figure]:
        rates = {name: [result.requests_per_s for result in results] for name, results in self._closed.items()}
        figures = cell_ratios(rates)
        for (name, rate), reports in self._open.items():
            figures += _open_loop(rate, reports, name.removeprefix("cell"))
        if self._reference_ms:
            figures.append(Figure("reference_loop_ms", "ms", tuple(self._reference_ms)))
        if self._round_trips:
            figures.append(Figure("redis_round_trips_per_batch", "", tuple(self._round_trips)))
        figures += [Figure(f"{name}_rps", "req/s", tuple(values)) for name, values in rates.items()]
        for name, results in self._closed.items():
            figures.append(Figure(f"{name}_closed_loop_p50_ms", "ms", tuple(result.p50_ms for result in results)))
            figures.append(Figure(f"{name}_closed_loop_p99_ms", "ms", tuple(result.p99_ms for result in results)))
        return figures


def _trips(running: Running) -> tuple[float, float]:
    """(round trips to Redis, batches) so far."""
    return running.counter("state_round_trips"), running.counter("batches")


def _open_loop(rate: int, reports: Sequence[LoadReport], suffix: str = "") -> list[Figure]:
    def each(name: str, value: Callable[[LoadReport], float], unit: str = "ms") -> Figure:
        return Figure(f"{name}_at_{rate}rps{suffix}", unit, tuple(value(report) for report in reports))

    return [
        each("p50_ms", lambda r: r.latency.p50),
        each("p99_ms", lambda r: r.latency.p99),
        each("p999_ms", lambda r: r.latency.p999),
        each("failed", lambda r: r.failed, "requests"),
        each("late", lambda r: r.late, "requests"),
        each("bid_rate", lambda r: r.bid_rate, "of answers"),
        each("generator_lag_p99_ms", lambda r: r.generator_lag.p99),
    ]


def _check_answers(bench: Bench, name: str, running: Running) -> None:
    """Raises RuntimeError unless the target bids: a server that refuses everything is fast."""
    if name == "echo":
        return
    give_up = time.monotonic() + GRANTED_S
    while True:
        answers = [post(running.url, body) for body in bench.bodies[:PROBES]]
        bids = sum(status == 200 and b'"seatbid"' in body for status, body in answers)
        if bids >= 0.9 * PROBES:
            return
        if time.monotonic() > give_up:
            raise RuntimeError(f"{name} bid on {bids} of {PROBES} requests, first answer {answers[0]}")
        time.sleep(0.5)


def _check_load(bench: Bench, name: str, result: closed_loop.ClosedLoop) -> None:
    """Raises RuntimeError when the answers under load were errors, or shorter than bids are."""
    if result.errors:
        raise RuntimeError(f"{name}: {result.errors} requests failed under load")
    if result.bytes_an_answer < (1 - ALIKE) * bench.answer_bytes:
        raise RuntimeError(
            f"{name}: answers under load had {result.bytes_an_answer:.0f} bytes, a bid has {bench.answer_bytes}: "
            "it answered no-bids"
        )


def memory(bench: Bench) -> list[Figure]:
    """Resident and proportional memory of each agent of a real cell with 10,000 campaigns, after load."""
    bench.say("memory: cell of 2 agents with 10,000 campaigns")
    with bench.start("cell", 10_000) as running:
        closed_loop.run(running.url, bench.bodies_file, bench.plan.warm_s, bench.plan.connections)
        agents = [pid for pid in descendants(running.server.pid) if "BiddingAgent" in command_line(pid)]
        if not agents:
            raise RuntimeError("no agent process was found below the cell")
        sizes = [_memory_mb(pid) for pid in agents]
    return [
        Figure("rss_mb_per_agent", "MB", tuple(size["Rss"] for size in sizes)),
        Figure("pss_mb_per_agent", "MB", tuple(size["Pss"] for size in sizes)),
        Figure("private_mb_per_agent", "MB", tuple(size["Private_Dirty"] for size in sizes)),
    ]


def events(bench: Bench) -> list[Figure]:
    """From JetStream into tables, bytes on disk, and a report, in a process that holds nothing else."""
    bench.say("events: from JetStream into chDB, and a day of ten million of them")
    plan = bench.plan
    quick = ["--runs", "1", "--events", "60000", "--money", "6000", "--day", "400000"]
    sizes = ["--runs", str(plan.rounds)] if plan.rounds > 1 else quick
    units = {"day_report_s": "s", "bytes_per_event": "bytes", "sums_s_per_million_events": "s"}
    found: dict[str, list[float]] = json.loads(
        code.run(bench.code, "benchmarks.events", str(bench.folder / "events"), *sizes)
    )
    return [Figure(name, units.get(name, "1/s"), tuple(values)) for name, values in found.items()]


def _memory_mb(pid: int) -> dict[str, float]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(kb) / 1024 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
