"""Streams of three replicas on a real cluster: no acknowledged event is lost, and none is there twice, whichever node
goes and comes, and whoever reads meanwhile reads every event in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import nats.errors
import nats.js.errors
import pytest
from nats_server import NatsCluster

from campaign_express.adapters.event_log import EventLog
from campaign_express.adapters.money_sink import JetStreamSink
from campaign_express.adapters.nats import StreamTerms, close, connect, ensure_stream
from campaign_express.adapters.spool import Spool
from campaign_express.adapters.stream_ranges import Partition, RangeReader
from campaign_express.errors import Unavailable
from campaign_express.events import STREAM, SUBJECTS, decode_event
from campaign_express.ports import Kept
from tests.support.stored import money

TERMS = StreamTerms(replicas=3, duplicate_window_s=120)
RATE = 300  # events a second
AWAY_S = 2.0  # how long a killed node stays away


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    made = NatsCluster(tmp_path / "nats")
    try:
        made.start()
        asyncio.run(settled(made))
        yield made
    finally:
        made.kill()


async def settled(cluster: NatsCluster) -> None:
    """Until every node has all of the stream, as whoever restarts nodes one after the other waits for it."""
    async with asyncio.timeout(120):
        while True:
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError, Unavailable):
                client = await connect(cluster.url, "test")
                try:
                    await ensure_stream(client, TERMS)
                    info = await client.jetstream(timeout=2).stream_info(STREAM)
                finally:
                    await close(client)
                members = (info.cluster and info.cluster.replicas) or []
                if len(members) == 2 and all(one.current and not one.offline for one in members):
                    return
            await asyncio.sleep(0.1)


class Publishing:
    """Events at a steady rate; `kept` counts how each became durable, which all of them did."""

    def __init__(self, sink: JetStreamSink) -> None:
        self.ids: list[str] = []
        self.kept: Counter[Kept] = Counter()
        self._sink = sink
        self._stop = False

    async def run(self) -> None:
        began = time.monotonic()
        landings = []
        for number in itertools.count():
            event = money(number)
            self.ids.append(event.id)
            landings.append(self._sink.publish(event))
            if self._stop:
                break
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
        self.kept.update(await asyncio.gather(*landings))

    @contextlib.asynccontextmanager
    async def during(self) -> AsyncIterator[None]:
        running = asyncio.ensure_future(self.run())
        try:
            yield
        finally:
            self._stop = True
            await running


class Reading:
    """A range reader's way through the stream: `ids` in order, each range counted once."""

    def __init__(self, url: str) -> None:
        self.ids: list[str] = []
        self.last = 0
        partition = Partition("money", STREAM, (SUBJECTS,))
        self._reader = RangeReader(
            url, partition, TERMS, SUBJECTS, owner="one", most=500, most_bytes=1 << 20, linger_s=0.1
        )

    async def run(self) -> None:
        first = 0
        while True:
            try:
                taken = await self._reader.take(0.5)
                if taken is None:
                    continue
                if (taken.first, taken.last) == (first, self.last):
                    continue  # recorded, given out, and given out again to whoever opened anew
                assert taken.first == self.last + 1
                assert [message.seq for message in taken.messages] == list(range(taken.first, taken.last + 1))
                first, self.last = taken.first, taken.last
                self.ids += [decode_event(message.data).id for message in taken.messages]
                await self._reader.done(taken)
            except Unavailable:
                await asyncio.sleep(0.2)

    @property
    def openings(self) -> int:
        return self._reader._opened

    async def close(self) -> None:
        await self._reader.close()


async def through(
    cluster: NatsCluster, directory: Path, disturb: Callable[[], Coroutine[Any, Any, None]]
) -> tuple[Publishing, Reading]:
    """Publish and read while the cluster is disturbed, until the reader has all of it."""
    spool = Spool(directory / "spool", "cell", max_bytes=50_000_000)
    sink = JetStreamSink(cluster.url, spool, name="test", terms=TERMS, patience_s=0.05)
    await sink.start()
    publishing, reading = Publishing(sink), Reading(cluster.url)
    consuming = asyncio.ensure_future(reading.run())
    async with publishing.during():
        await asyncio.sleep(1)
        await disturb()
        await asyncio.sleep(1)
    async with asyncio.timeout(120):
        while len(reading.ids) < len(publishing.ids) or not spool.empty:
            if consuming.done():
                consuming.result()
            await asyncio.sleep(0.05)
    consuming.cancel()
    await asyncio.wait([consuming])
    await reading.close()
    await sink.close()
    assert sorted(reading.ids) == sorted(publishing.ids)
    assert publishing.kept[Kept.PUBLISHED]
    assert publishing.kept[Kept.SPOOLED]
    return publishing, reading


def exactly_once(cluster: NatsCluster, publishing: Publishing) -> None:
    assert set(publishing.kept) <= {Kept.PUBLISHED, Kept.SPOOLED}
    found = Counter(event.id for event in EventLog(cluster.url).read())
    assert found == Counter(publishing.ids)


def test_a_node_is_killed_and_returns(cluster: NatsCluster, tmp_path: Path) -> None:
    async def leader() -> int:
        client = await connect(cluster.url, "test")
        info = await client.jetstream().stream_info(STREAM)
        await close(client)
        assert info.cluster is not None
        return [node.name for node in cluster.nodes].index(str(info.cluster.leader))

    async def disturb() -> None:
        node = cluster.nodes[await leader()]
        await asyncio.to_thread(node.kill)
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(node.start)
        await settled(cluster)

    publishing, _ = asyncio.run(through(cluster, tmp_path, disturb))
    exactly_once(cluster, publishing)


def test_all_nodes_are_restarted_one_after_the_other(cluster: NatsCluster, tmp_path: Path) -> None:
    async def disturb() -> None:
        for node in cluster.nodes:
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)
            await settled(cluster)

    publishing, reading = asyncio.run(through(cluster, tmp_path, disturb))
    exactly_once(cluster, publishing)
    assert reading.openings > 1  # its own node was among them
