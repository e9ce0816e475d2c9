"""What telling of decisions costs an agent: the same bidder with and without a log, batch by batch in turn.

    python -m benchmarks.events_cost FOLDER [--runs N]     prints one JSON object, microseconds a request

Every person is known by a token of its own, half of them seen before, so that pseudonyms cost what they cost in
traffic. What is measured is a batch and the encoding of its reply.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import bodies, workload
from campaign_express import config, frames
from campaign_express.adapters.pseudonyms import CHARACTERS, KEY, Pseudonyms, period_of
from campaign_express.bidder import Bidder, State
from campaign_express.bootstrap import build_bidder
from campaign_express.decision_log import DecisionLog, Shares
from campaign_express.frames import Ask
from campaign_express.memory import settle
from campaign_express.ports import Hold, UserState, UserWant

BODIES, BATCH = 2000, 16
DAYS = 30


class Persons:
    """`ports.UserStore` of persons of whom nothing is known but who they are."""

    def __init__(self) -> None:
        self._tokens = [urlsafe_b64encode(os.urandom(15)).decode() for _ in range(1000)]
        self._asked = 0

    def fetch(self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float) -> list[UserState | None]:
        return [None if want is None else UserState(self._token()) for want in wants]

    def settle(self, state: UserState, holds: Sequence[Hold]) -> None: ...

    def flush(self) -> None: ...

    def _token(self) -> str:
        self._asked += 1
        if self._asked % 2:
            return self._tokens[self._asked % len(self._tokens)]
        return urlsafe_b64encode(os.urandom(15)).decode()


class Purse:
    """`ports.Purse` without end."""

    version = 1

    def funded(self, campaign: str) -> bool:
        return True

    def authorise(self, campaign: str, micros: int, wall_ms: int) -> int:
        return 0


def bidder(folder: Path) -> Bidder:
    state = State(Persons(), Purse(), lambda catalog: None, 600_000, 0.008)
    pseudonyms = Pseudonyms(DAYS)
    keys = {high + low: os.urandom(KEY) for high in CHARACTERS for low in CHARACTERS}
    pseudonyms.learn(period_of(_wall_ms(), DAYS), keys)
    for bucket in keys:  # what a process does once
        pseudonyms.of(bucket + 18 * "A", _wall_ms())
    settings = config.load(workload.settings(folder))
    return build_bidder(settings, None, state, lambda model: DecisionLog(Shares(), pseudonyms.of, model))


def measure(folder: Path, runs: int) -> dict[str, Any]:
    core = bidder(folder)
    logs = {"silent": None, "telling": core.log}  # of one bidder: two would differ by where their tables lie
    settle()
    seeds = iter(range(bodies.SEED + 1, bodies.SEED + 1000))
    found: dict[str, list[float]] = {name: [] for name in logs}
    told = 0
    for run in range(runs + 1):
        chosen = workload.choose(core, BODIES, _wall_ms(), next(seeds))
        spent: dict[str, list[float]] = {name: [] for name in logs}
        for number, at in enumerate(range(0, len(chosen), BATCH)):
            name = ("silent", "telling")[(number + run) % 2]
            core.log = logs[name]
            now, wall_ms = time.monotonic_ns(), _wall_ms()
            asks = [Ask("", now, bytes(memoryview(body))) for body in chosen[at : at + BATCH]]
            start = time.perf_counter_ns()
            reply = core.answer(asks, now, wall_ms)
            frames.encode(reply)
            spent[name].append((time.perf_counter_ns() - start) / len(asks) / 1e3)
            told += sum(map(len, reply.events)) if run else 0
        if run:  # the first one warms up
            for name, values in spent.items():
                found[name] += values
    # A frame is encoded in one batch of many, which a median would not see: the mean, without what was interrupted.
    means = {name: statistics.mean(sorted(values)[: -len(values) // 33]) for name, values in found.items()}
    medians = {name: statistics.median(values) for name, values in found.items()}
    return {
        **{name: round(mean, 2) for name, mean in means.items()},
        "difference": round(means["telling"] - means["silent"], 2),
        "difference_of_medians": round(medians["telling"] - medians["silent"], 2),
        "share": round(means["telling"] / means["silent"] - 1, 4),
        "bytes_a_request": round(told / (runs * BODIES / 2)),
    }


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    workload.environment()
    print(json.dumps(measure(options.folder, options.runs)))
