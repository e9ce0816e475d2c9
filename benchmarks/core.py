"""The decision core alone, in a process of its own: cost of a request, where it goes, how matching grows, what matches.

    python -m benchmarks.core FOLDER [--runs N]     prints one JSON object

Every run uses bodies that no earlier one has used, with users, addresses and ids of their own, so a cache helps as far
as it would help in traffic: on sites, devices and places that recur.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks import bodies, stages, workload
from campaign_express.bidder import Bidder
from campaign_express.bidding.bitmaps import candidates
from campaign_express.bidding.pipeline import Decision
from campaign_express.compiled import is_compiled
from campaign_express.frames import Ask
from campaign_express.memory import settle
from campaign_express.openrtb.codec import decode_request

BODIES = 2000  # of one run
CATALOGS = (100, 1_000, 10_000)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def cost_us(core: Bidder, chosen: list[bytes], batch: int) -> tuple[float, float]:
    """Microseconds a request, by the clock and of CPU: medians over batches, so that interruptions do not count."""
    spent, cpu = [], []
    wall_ms = _wall_ms()
    for at in range(0, len(chosen), batch):
        now = time.monotonic_ns()
        # A copy each, as reading a socket makes one: the bytes of a request are in the processor's caches.
        asks = [Ask("", now, bytes(memoryview(body))) for body in chosen[at : at + batch]]
        cpu_start, start = time.thread_time_ns(), time.perf_counter_ns()
        core.answer(asks, now, wall_ms)
        end, cpu_end = time.perf_counter_ns(), time.thread_time_ns()
        spent.append((end - start) / len(asks))
        cpu.append((cpu_end - cpu_start) / len(asks))
    return statistics.median(spent) / 1e3, statistics.median(cpu) / 1e3


def matching_us(core: Bidder, fresh: list[bytes], with_candidates: bool) -> float:
    """Microseconds to match a request (median), `Pipeline.match` alone or with the listing of what was matched."""
    wall_ms = _wall_ms()
    pipeline, exchange = core.pipeline, core._exchange("")
    contexts = [core._context(decode_request(body), exchange, wall_ms) for body in fresh]
    spent = []
    for context in contexts:
        decision = Decision(context)
        start = time.perf_counter_ns()
        offers = pipeline.match([decision])
        if with_candidates and offers:
            masks = [offer.mask for offer in offers]
            candidates(masks, [mask.bit_count() for mask in masks], pipeline.lines.count)
        spent.append(time.perf_counter_ns() - start)
    return statistics.median(spent) / 1e3


def stages_us(core: Bidder, fresh: list[bytes], batch: int) -> dict[str, float]:
    """Microseconds a request by stage, largest first; the sum is the whole, timers included."""
    wall_ms = _wall_ms()
    start = time.perf_counter_ns()
    with stages.timed() as spent:
        for at in range(0, len(fresh), batch):
            now = time.monotonic_ns()
            core.answer([Ask("", now, body) for body in fresh[at : at + batch]], now, wall_ms)
    whole = time.perf_counter_ns() - start
    spent[stages.REST] = whole - sum(spent.values())
    return {stage: round(took / len(fresh) / 1e3, 2) for stage, took in spent.most_common()}


def measure(folder: Path, runs: int) -> dict[str, Any]:
    """All of it. Raises ValueError when the bodies do not match 20 to 50 campaigns."""
    seeds = iter(range(bodies.SEED + 1, bodies.SEED + 1000))
    cores = {count: workload.bidder(workload.settings(folder, count)) for count in CATALOGS}
    core = cores[workload.CAMPAIGNS]
    settle()  # as an agent does once it is warm
    found: dict[str, Any] = {"match": {}, "match_and_list": {}}
    chosen = workload.choose(core, BODIES, _wall_ms(), next(seeds))
    counts = [workload.matched(core, body, _wall_ms()) for body in chosen]
    found["matched_min_median_max"] = [min(counts), statistics.median(counts), max(counts)]
    cost_us(core, chosen, 16)  # warm-up
    for _ in range(runs):
        for batch in (16, 1):
            wall, cpu = cost_us(core, workload.choose(core, BODIES, _wall_ms(), next(seeds)), batch)
            found.setdefault(f"batch{batch}", []).append(wall)
            found.setdefault(f"batch{batch}_cpu", []).append(cpu)
    if not is_compiled():
        found["stages"] = stages_us(core, workload.choose(core, BODIES, _wall_ms(), next(seeds)), 16)
    for count in CATALOGS:  # warm-up
        matching_us(cores[count], bodies.generate(BODIES, next(seeds)), False)
    for _ in range(runs):
        for name, with_candidates in (("match", False), ("match_and_list", True)):
            fresh = bodies.generate(BODIES, next(seeds))
            for count in CATALOGS:
                found[name].setdefault(str(count), []).append(matching_us(cores[count], fresh, with_candidates))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    workload.environment()
    print(json.dumps(measure(options.folder, options.runs)))
