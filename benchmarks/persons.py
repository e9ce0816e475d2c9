"""Persons: files for `campaign-express profiles import`, and what reading the state of a person costs.

    python -m benchmarks.persons generate COUNT > persons.jsonl     seeded: ids, segments, interests of COUNT persons
    python -m benchmarks.persons fetch                              microseconds a person, prints one JSON object

`fetch` runs a Valkey of its own without persistence and asks for batches of 16 persons, as an agent does: what was
decided of one batch travels with the next. Medians over batches; the server's share is its own count of CPU.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.processes import free_port
from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.adapters.users_keys import token_of
from campaign_express.bidding.frequency import Counted
from campaign_express.embedded import REDIS, valkey_answers
from campaign_express.events import MoneyEvent
from campaign_express.ports import Hold, UserWant

BATCH = 16
BATCHES = 600
PERSONS = 3200
ENTITIES = 5  # of a person who was shown ads, two impressions each
HOLD_MS, LATENESS_MS = 4_200_000, 600_000
START_S = 10.0  # until the server must answer


def generate(count: int) -> None:
    """A fifth of the persons has two ids, a quarter has 16 interests; 1 to 9 segments of 5,000."""
    chance = random.Random(1)
    for number in range(count):
        ids = [f"ifa:{chance.getrandbits(128):032x}"]
        if number % 5 == 0:
            ids.append(f"buyeruid@acme:{chance.getrandbits(64):016x}")
        row: dict[str, Any] = {"ids": ids}
        row["segments"] = [f"seg-{chance.randrange(5000)}" for _ in range(chance.randrange(1, 10))]
        if number % 4 == 0:
            row["interests"] = [round(chance.random(), 4) for _ in range(16)]
        print(json.dumps(row))


def fetch() -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        command = [*REDIS.command(Path(directory), port), "--appendonly", "no"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                give_up = time.monotonic() + START_S
                while not valkey_answers(port):
                    if server.poll() is not None or time.monotonic() > give_up:
                        raise RuntimeError(f"valkey does not answer at port {port}")
                    time.sleep(0.02)
                return _measured(f"redis://127.0.0.1:{port}/0")
            finally:
                server.terminate()


def _measured(url: str) -> dict[str, dict[str, float]]:
    now = time.time_ns() // 1_000_000
    options: dict[str, Any] = {"hold_ms": HOLD_MS, "lateness_ms": LATENESS_MS}
    users = RedisUsers(url, wait_s=5.0, **options)
    counts = UserCounts(url, lambda campaign, creative: Counted(((f"c:{campaign}", 5),), False), **options)
    wants = [UserWant((f"ifa:{number}",), 1) for number in range(PERSONS)]
    try:
        _run(users, url, wants, now, 0)  # who they are is remembered from here on
        found = {"new_persons": _run(users, url, wants, now, 0), "new_persons_bid": _run(users, url, wants, now, 4)}
        for number in range(ENTITIES):
            for bid in range(2):
                counts.apply([_impression(want.ids[0], number, bid, now) for want in wants])
        found["persons_of_5_campaigns"] = _run(users, url, wants, now, 4)
    finally:
        users.close()
        counts.close()
    return found


def _run(users: RedisUsers, url: str, wants: list[UserWant], now: int, one_in: int) -> dict[str, float]:
    """One bid is made for one person in `one_in`, none at 0."""
    spent, cpu = [], []
    with Redis.from_url(url) as client:
        before = _server_s(client)
        for batch in range(BATCHES):
            chosen = [wants[(batch * BATCH + at) % len(wants)] for at in range(BATCH)]
            cpu_start, start = time.thread_time_ns(), time.perf_counter_ns()
            states = users.fetch(chosen, now, 1.0)
            end = time.perf_counter_ns()
            for at, state in enumerate(states):
                assert state is not None
                bids = one_in and at % one_in == 0
                hold = Hold(f"{batch:05}{state.key}", ("c:1", "k:1"), now + HOLD_MS)
                users.settle(state, [hold] if bids else ())
            cpu.append((time.thread_time_ns() - cpu_start) / BATCH / 1e3)
            spent.append((end - start) / BATCH / 1e3)
        server_us = (_server_s(client) - before) / BATCHES / BATCH * 1e6
    return {
        "fetch_us": round(statistics.median(spent), 1),
        "agent_cpu_us": round(statistics.median(cpu), 1),
        "redis_cpu_us": round(server_us, 1),
    }


def _server_s(client: Redis) -> float:
    info: Any = client.info("cpu")
    return float(info["used_cpu_sys"] + info["used_cpu_user"])


def _impression(user_id: str, campaign: int, bid: int, now: int) -> MoneyEvent:
    key = f"{bid}{campaign}{token_of(user_id)}"
    return MoneyEvent(
        id=key,
        bid_key=key,
        kind="impression",
        exchange="x",
        auction="a",
        imp="1",
        bid="1",
        advertiser="a",
        campaign=str(campaign),
        creative="1",
        authorised_micros=1,
        user=token_of(user_id),
        bid_ms=now,
        received_ms=now,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.persons", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("generate").add_argument("count", type=int)
    commands.add_parser("fetch")
    told = parser.parse_args()
    if told.command == "generate":
        generate(told.count)
    else:
        json.dump(fetch(), sys.stdout, indent=1)
        print()


if __name__ == "__main__":
    main()
