"""The store of events is away while events come, then returns: all are stored, oldest first, and those that come
meanwhile after them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from nats_server import NatsProcess

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.adapters.nats import StreamTerms, close, connect, ensure_stream
from campaign_express.adapters.stream_ranges import Partition, RangeReader
from campaign_express.analytics.migrate import migrate
from campaign_express.errors import Unavailable
from campaign_express.events import STREAM, SUBJECTS, MoneyEvent, encode_event, subject
from campaign_express.pipeline import worker as module
from campaign_express.pipeline.loader import Loaded, MoneyLoader
from campaign_express.pipeline.worker import PartitionWorker
from campaign_express.ports import Message, Warehouse
from tests.support.stored import money

BACKLOG, LIVE = 3000, 600
RANGE = 250


class Alone:
    """The lock of somebody who has no rival."""

    held = True

    def hold(self) -> bool:
        return True

    def let_go(self) -> None: ...


class Recording(MoneyLoader):
    """Remembers what was stored, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sequences: list[int] = []

    def load(self, warehouse: Warehouse, messages: Sequence[Message], token: str) -> Loaded:
        loaded = super().load(warehouse, messages, token)
        self.sequences += [message.seq for message in messages]
        return loaded


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbWarehouse]:
    warehouse = ChdbWarehouse(tmp_path / "chdb")
    migrate(warehouse)
    yield warehouse
    warehouse.close()


async def publish(url: str, events: Sequence[MoneyEvent], over_s: float = 0.0) -> None:
    client = await connect(url, "test")
    await ensure_stream(client, StreamTerms())
    for one in events:
        await client.publish(subject(one), encode_event(one))
        if over_s:
            await client.flush()
            await asyncio.sleep(over_s / len(events))
    await client.flush()
    await close(client)


def test_a_store_that_returns_is_caught_up_oldest_first_while_events_come(
    nats_process: NatsProcess, store: ChdbWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is oldest leaves the stream first: so it is stored first, and nothing that came later delays it."""
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.5)
    away = True

    def warehouse() -> Warehouse:
        if away:
            raise Unavailable("the store is away")
        return store

    async def scenario() -> None:
        nonlocal away
        partition = Partition("money", STREAM, (SUBJECTS,))
        reader = RangeReader(
            nats_process.url,
            partition,
            StreamTerms(),
            SUBJECTS,
            owner="one",
            most=RANGE,
            most_bytes=1 << 20,
            linger_s=0.2,
        )
        loader = Recording()
        worker = PartitionWorker(reader, loader, warehouse, Alone())
        stop = asyncio.Event()
        await publish(nats_process.url, [money(number) for number in range(10)])
        running = asyncio.ensure_future(worker.run(stop))
        async with asyncio.timeout(120):
            while not worker.tally.failures:  # noqa: ASYNC110  # a counter, not an event
                await asyncio.sleep(0.01)
            await publish(nats_process.url, [money(number) for number in range(10, BACKLOG)])
            assert worker.tally.events == 0
            assert "away" in worker.tally.problem
            away = False
            await publish(nats_process.url, [money(BACKLOG + number) for number in range(LIVE)], over_s=1.0)
            while worker.tally.events < BACKLOG + LIVE:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        stop.set()
        await running
        assert loader.sequences == list(range(1, BACKLOG + LIVE + 1))
        assert not worker.tally.problem
        assert (await asyncio.to_thread(store.query, "SELECT count(), uniqExact(bid_key) FROM events FINAL")).rows == [
            (BACKLOG + LIVE, BACKLOG + LIVE)
        ]

    asyncio.run(scenario())
