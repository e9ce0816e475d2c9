"""What an acknowledged money event costs, by when NATS syncs its disk and by how events are published.

    python -m benchmarks.sync_cost [--events N]     prints one JSON object a way and number under way, milliseconds

Each event is published as a cell does it, in batches, or one by one; "spool" is the local spool without NATS. So many
events are under way at once, each followed by another when it is durable. The figures are the disk's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.day_servers import Process
from benchmarks.processes import free_port
from campaign_express.adapters.batches import BatchPublisher, Parcel
from campaign_express.adapters.nats import MESSAGE_ID, Ack, Publisher, StreamTerms
from campaign_express.adapters.spool import Spool
from campaign_express.embedded import NATS, NATS_FILE, nats_answers
from campaign_express.events import STREAM, SUBJECTS, MoneyEvent, bid_key, encode_event, event_id, subject
from campaign_express.ports import Kept

AT_ONCE = (1, 16, 64, 256)
WARM = 50
WAYS = (
    ("2m", "one by one"),
    ("1s", "one by one"),
    ("1s", "batches"),
    ("always", "one by one"),
    ("always", "batches"),
    ("", "spool"),
)

Publish = Callable[[MoneyEvent], Awaitable[object]]


def event(number: int) -> MoneyEvent:
    key = bid_key("exchange", f"auction-{number}", "1", "0")
    return MoneyEvent(
        id=event_id("win", key),
        bid_key=key,
        kind="win",
        exchange="exchange",
        auction=f"auction-{number}",
        imp="1",
        bid="0",
        advertiser="advertiser",
        campaign="campaign",
        creative="creative",
        authorised_micros=2350,
        bid_ms=1_795_867_200_000 + number,
    )


async def _lost() -> None: ...


class OneByOne:
    """A message each, any number under way."""

    def __init__(self, url: str) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._number = 0
        self.publisher = Publisher(url, "sync-cost", StreamTerms(), (STREAM, SUBJECTS), self._acked, _lost)

    async def publish(self, one: MoneyEvent) -> None:
        self._number += 1
        token = str(self._number)
        landed = self._waiting[token] = asyncio.get_running_loop().create_future()
        await self.publisher.send(token, subject(one), encode_event(one), {MESSAGE_ID: one.id})
        await landed

    def _acked(self, token: str, ack: Ack | None) -> None:
        if ack is None or not ack.stream or ack.duplicate:
            raise RuntimeError(f"not stored: {ack}")
        self._waiting.pop(token).set_result(None)


class Batched:
    """As cells do it."""

    def __init__(self, url: str) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self.publisher: BatchPublisher[Parcel] = BatchPublisher(
            url, "sync-cost", StreamTerms(), (STREAM, SUBJECTS), self._settled, _lost
        )

    async def publish(self, one: MoneyEvent) -> None:
        landed = self._waiting[one.id] = asyncio.get_running_loop().create_future()
        self.publisher.offer(Parcel(subject(one), one.id, encode_event(one)))
        await landed

    def _settled(self, parcel: Parcel, kept: Kept | None) -> None:
        if kept is not Kept.PUBLISHED:
            raise RuntimeError(f"not stored: {kept}")
        self._waiting.pop(parcel.id).set_result(None)


async def measure(publish: Publish, numbers: range, at_once: int) -> dict[str, float]:
    took: list[float] = []
    left = iter(numbers)

    async def sender() -> None:
        for number in left:
            began = time.perf_counter()
            await publish(event(number))
            took.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(at_once)))
    seconds = time.perf_counter() - began
    took.sort()
    return {
        "p50": round(took[len(took) // 2], 2),
        "p99": round(took[len(took) * 99 // 100], 2),
        "a_second": round(len(took) / seconds),
    }


async def series(sync: str, way: str, publish: Publish, events: int) -> None:
    await measure(publish, range(WARM), 1)
    first = WARM
    for at_once in AT_ONCE:
        count = events if at_once > 1 else events // 10
        found = await measure(publish, range(first, first + count), at_once)
        first += count
        print(json.dumps({"sync_interval": sync, "way": way, "under_way": at_once, **found}), flush=True)


async def published(url: str, sync: str, way: str, events: int) -> None:
    made = Batched(url) if way == "batches" else OneByOne(url)
    await made.publisher.connect()
    await series(sync, way, made.publish, events)
    await made.publisher.disconnect()


async def spooled(directory: Path, events: int) -> None:
    spool = Spool(directory, "sync-cost", max_bytes=1 << 30)
    await spool.open()
    await series("", "spool", lambda one: spool.append(encode_event(one)), events)
    await spool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    events = parser.parse_args().events
    for sync, way in WAYS:
        with tempfile.TemporaryDirectory(dir=".") as folder:  # not in a file system that is memory
            directory, port = Path(folder).absolute(), free_port()
            if way == "spool":
                asyncio.run(spooled(directory, events))
                continue
            command = NATS.command(directory, port)
            (directory / NATS_FILE).write_text(f"jetstream {{ sync_interval: {sync} }}\n")
            server = Process(command, directory, lambda port=port: nats_answers(port))  # type: ignore[misc]
            server.start()
            try:
                asyncio.run(published(f"nats://127.0.0.1:{port}", sync, way, events))
            finally:
                server.kill()


if __name__ == "__main__":
    main()
