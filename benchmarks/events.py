"""`python -m benchmarks.events FOLDER`: events from JetStream into tables of chDB, and what they take on disk, as JSON.

A real nats-server holds the events already; the clock runs from the first range that is asked for until the last row is
durable. Decisions come framed as agents frame them, money events one a message. Sums are made afterwards, timed apart.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import reports
from benchmarks.day_servers import Process
from benchmarks.processes import free_port
from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.adapters.stream_ranges import Partition, RangeReader
from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.decision_log import FRAME_EVENTS
from campaign_express.embedded import NATS, nats_answers
from campaign_express.events import (
    DECISION_SUBJECTS,
    DECISIONS,
    STREAM,
    SUBJECTS,
    DecisionEvent,
    DecisionFrame,
    MoneyEvent,
    bid_key,
    encode_event,
    encode_frame,
    event_id,
    subject,
)
from campaign_express.pipeline.loader import LOADERS
from campaign_express.pipeline.worker import PartitionWorker
from campaign_express.ports import Warehouse

COUNTRIES = ("USA", "DEU", "FRA", "GBR", "IND", "JPN")
PERSONS = 50_000
WON = 8  # one bid in so many
LINGER_S = 0.2


class Alone:
    """The lock of somebody who has no rival."""

    held = True

    def hold(self) -> bool:
        return True

    def let_go(self) -> None: ...


def decisions(count: int, seed: int, now_ms: int) -> Iterator[DecisionEvent]:
    """Bids as a busy cell makes them: ids and pseudonyms that do not compress, all else as it comes."""
    rng = random.Random(seed)
    persons = [f"abcAA{base64.urlsafe_b64encode(rng.randbytes(16)).decode()[:22]}" for _ in range(PERSONS)]
    for number in range(count):
        campaign = rng.randrange(1000)
        auction = f"{rng.getrandbits(128):032x}"
        yield DecisionEvent(
            "bid",
            bid_key("exchange", auction, "1", f"{auction}.0"),
            now_ms + number // 10,
            "exchange",
            f"advertiser-{campaign % 100}",
            f"campaign-{campaign:04d}",
            f"campaign-{campaign:04d}-{rng.randrange(3)}",
            "",
            1,
            rng.randrange(200, 9000) * 1000,
            rng.randrange(0, 20) * 100_000,
            int(rng.lognormvariate(7, 0.8)),
            int(rng.lognormvariate(9, 0.8)),
            "",
            "banner",
            rng.choice(("300x250", "728x90", "320x50")),
            "site",
            f"site-{int(rng.paretovariate(0.6)) % 2000}.example",
            rng.choice(COUNTRIES),
            rng.choice(("CA", "NY", "TX", "BE", "")),
            rng.choice((2, 4, 5)),
            rng.choice(("ios", "android", "windows")),
            rng.choice(persons) if rng.random() < 0.6 else "",
            False,
            7,
            "seed-1",
            int(rng.lognormvariate(6.7, 0.4)),
            False,
        )


def notices(decision: DecisionEvent, auction: str) -> Iterator[MoneyEvent]:
    """What becomes of a bid that is won and shown."""
    most = -(-decision.price_micros // 1000)
    for kind in ("win", "impression"):
        key = decision.id
        yield MoneyEvent(
            id=event_id(kind, key),
            bid_key=key,
            kind=kind,
            exchange=decision.exchange,
            auction=auction,
            imp="1",
            bid=f"{auction}.0",
            advertiser=decision.advertiser,
            campaign=decision.campaign,
            creative=decision.creative,
            authorised_micros=most,
            lease=decision.time_ms // 60_000 * 60,
            clear_micros=most * 3 // 4 if kind == "win" else -1,
            sets_price=kind == "win",
            user=decision.user if kind == "impression" else "",
            bid_ms=decision.time_ms,
            received_ms=decision.time_ms + 900,
        )


async def publish(url: str, count: int, money: int) -> None:
    """`count` decisions in frames and `money` money events, in streams of the product's own making."""
    client = await connect(url, "bench")
    await ensure_stream(client, StreamTerms())
    await ensure_stream(client, StreamTerms(forgets=True, compressed=True), DECISIONS, DECISION_SUBJECTS)
    now_ms = time.time_ns() // 1_000_000 - 600_000
    rng = random.Random(7)
    frame: list[DecisionEvent] = []
    told = 0
    for number, decision in enumerate(decisions(count, 2026, now_ms)):
        frame.append(decision)
        if len(frame) == FRAME_EVENTS or number == count - 1:
            await client.publish("decisions.0", encode_frame(DecisionFrame(1, str(number), frame)))
            frame = []
            await client.flush()
        if number % WON == 0 and told < money:
            for event in notices(decision, f"{rng.getrandbits(128):032x}"):
                await client.publish(subject(event), encode_event(event))
                told += 1
    await client.flush(timeout=30)
    await client.close()


async def store(url: str, warehouse: Warehouse, partition: Partition, subjects: str, most: int, count: int) -> float:
    """Seconds in which one worker stores `count` events of a partition."""
    terms = StreamTerms(forgets=True, compressed=True) if partition.stream == DECISIONS else StreamTerms()
    reader = RangeReader(
        url, partition, terms, subjects, owner="bench", most=most, most_bytes=16_000_000, linger_s=LINGER_S
    )
    worker = PartitionWorker(reader, LOADERS[partition.stream], lambda: warehouse, Alone())
    stop = asyncio.Event()
    began = time.perf_counter()
    running = asyncio.ensure_future(worker.run(stop))
    while worker.tally.events < count and not running.done():  # noqa: ASYNC110  # a counter, not an event
        await asyncio.sleep(0.01)
    took = time.perf_counter() - began
    stop.set()
    await running
    if worker.tally.events != count or worker.tally.buried:
        raise RuntimeError(
            f"{worker.tally.events} of {count} events were stored, {worker.tally.buried} were unreadable"
        )
    return took


def bytes_on_disk(warehouse: Warehouse) -> int:
    rows = warehouse.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()")
    return int(rows.rows[0][0])


def measure(folder: Path, count: int, money: int, runs: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {
        name: []
        for name in (
            "events_per_second_ingested",
            "money_events_per_second_ingested",
            "bytes_per_event",
            "sums_s_per_million_events",
        )
    }
    for run in range(runs):
        port, directory = free_port(), folder / f"nats-{run}"
        server = Process(NATS.command(directory, port), directory, lambda: nats_answers(port))  # noqa: B023
        server.start()
        warehouse = ChdbWarehouse(folder / f"chdb-{run}")
        try:
            url = f"nats://127.0.0.1:{port}"
            migrate(warehouse)
            asyncio.run(publish(url, count, money))
            framed = asyncio.run(
                store(url, warehouse, Partition("d", DECISIONS, ("decisions.0",)), DECISION_SUBJECTS, 200, count)
            )
            plain = asyncio.run(store(url, warehouse, Partition("m", STREAM, (SUBJECTS,)), SUBJECTS, 20_000, money))
            found["events_per_second_ingested"].append(count / framed)
            found["money_events_per_second_ingested"].append(money / plain)
            began = time.perf_counter()
            while rollups.catch_up(warehouse, everything=True) == rollups.AT_ONCE:
                pass
            found["sums_s_per_million_events"].append((time.perf_counter() - began) * 1e6 / (count + money))
            found["bytes_per_event"].append(bytes_on_disk(warehouse) / (count + money))
        finally:
            warehouse.close()
            server.stop()
    return found


def day_report(folder: Path, events: int, times: int) -> list[float]:
    """Seconds of the day's delivery report by campaign over `events` events, parameters in, JSON out."""
    warehouse = ChdbWarehouse(folder / "day")
    try:
        midnight = int(time.time()) // 86_400 * 86_400 - 86_400
        reports.fill(warehouse, events, midnight, lambda text: print(text, file=sys.stderr))
        return reports.times_of(warehouse, midnight, "delivery by campaign", times)
    finally:
        warehouse.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--money", type=int, default=60_000)
    parser.add_argument("--day", type=int, default=10_000_000, help="events of the day that is reported")
    options = parser.parse_args()
    found = measure(options.folder, options.events, options.money, options.runs)
    found["day_report_s"] = day_report(options.folder, options.day, 5)
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # chDB's threads are not waited for


if __name__ == "__main__":
    main()
