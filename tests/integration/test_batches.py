"""Atomic batches on a real server that syncs its disk before it acknowledges."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg
from nats_server import NatsProcess

from campaign_express.adapters import batches
from campaign_express.adapters.batches import BatchPublisher, Parcel
from campaign_express.adapters.nats import StreamTerms
from campaign_express.ports import Kept

TERMS = StreamTerms(duplicate_window_s=60)


class Cell:
    """Publishes, and takes down what became of it."""

    def __init__(self, url: str) -> None:
        self.kept: dict[str, Kept | None] = {}
        self._landed = asyncio.Event()
        self.publisher: BatchPublisher[Parcel] = BatchPublisher(
            url, "test", TERMS, ("S", "s.>"), self._settled, self._lost
        )

    async def publish(self, names: list[str]) -> dict[str, Kept | None]:
        """All at once; returns when all are settled."""
        self.kept.clear()
        for name in names:
            self.publisher.offer(Parcel("s.x", name, name.encode()))
        async with asyncio.timeout(60):
            while len(self.kept) < len(set(names)):
                await self._landed.wait()
                self._landed.clear()
        return dict(self.kept)

    def _settled(self, parcel: Parcel, kept: Kept | None) -> None:
        self.kept[parcel.id] = kept
        self._landed.set()

    async def _lost(self) -> None:
        await self.publisher.disconnect()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 150))


async def cell(url: str) -> Cell:
    made = Cell(url)
    await made.publisher.connect()
    return made


async def stored(url: str) -> list[Msg]:
    client = await nats.connect(url)
    context = client.jetstream()
    subscription = await context.subscribe("s.>", ordered_consumer=True)
    found = [await subscription.next_msg(5) for _ in range((await context.stream_info("S")).state.messages)]
    await client.close()
    return found


def names(count: int, start: int = 0) -> list[str]:
    return [f"m{number}" for number in range(start, start + count)]


def batch_of(message: Msg) -> str:
    return (message.headers or {}).get(batches.BATCH_ID, "")


def test_what_waits_together_is_one_batch_in_order_and_few_are_none(nats_process: NatsProcess) -> None:
    async def test() -> None:
        one = await cell(nats_process.url)
        assert set((await one.publish(names(600))).values()) == {Kept.PUBLISHED}
        assert set((await one.publish(names(batches.FEW, 600))).values()) == {Kept.PUBLISHED}
        await one.publisher.disconnect()
        nats_process.kill()  # acknowledged is acknowledged
        nats_process.start()
        found = await stored(nats_process.url)
        assert [message.data.decode() for message in found] == names(600 + batches.FEW)
        assert sorted(Counter(batch_of(message) for message in found).values()) == [batches.FEW, 88, 256, 256]
        assert [batch_of(message) for message in found[600:]] == [""] * batches.FEW

    run(test)


def test_a_batch_with_messages_that_are_there_leaves_out_just_those(nats_process: NatsProcess) -> None:
    async def test() -> None:
        one, another = await cell(nats_process.url), await cell(nats_process.url)
        there = {"m3", "m4", "m90", "m119"}
        await another.publish(sorted(there))
        found = await one.publish(names(120))
        assert {name for name, kept in found.items() if kept is Kept.DUPLICATE} == there
        assert Counter(found.values()) == {Kept.PUBLISHED: 116, Kept.DUPLICATE: 4}
        found = await one.publish([*names(40, 200), *names(20)])  # its own are known, and go beside the batch
        assert Counter(found.values()) == {Kept.PUBLISHED: 40, Kept.DUPLICATE: 20}
        held = await stored(nats_process.url)
        assert Counter(message.data.decode() for message in held) == Counter([*names(120), *names(40, 200)])
        assert len({batch_of(message) for message in held if message.data.decode() in names(40, 200)}) == 1
        for a_cell in (one, another):
            await a_cell.publisher.disconnect()

    run(test)


def test_the_same_message_twice_in_one_batch_is_stored_once(nats_process: NatsProcess) -> None:
    async def test() -> None:
        one = await cell(nats_process.url)
        await one.publish([*names(30), "m7", *names(30, 30)])
        await asyncio.sleep(0.2)
        assert Counter(message.data.decode() for message in await stored(nats_process.url)) == Counter(names(60))
        await one.publisher.disconnect()

    run(test)


def test_a_batch_that_nobody_waits_for_holds_up_the_next_no_longer(nats_process: NatsProcess) -> None:
    async def test() -> None:
        one = await cell(nats_process.url)
        nats_process.freeze()
        given_up = [Parcel("s.x", name, b"") for name in names(50)]
        for parcel in given_up:
            one.publisher.offer(parcel)
        await asyncio.sleep(0.05)
        for parcel in given_up:
            one.publisher.give_up(parcel)
        publishing = asyncio.ensure_future(one.publish(names(50, 50)))
        await asyncio.sleep(0.05)
        (under_way,) = one.publisher._under_way.values()
        assert [parcel.id for parcel in under_way] == names(50, 50)
        nats_process.thaw()
        assert set((await publishing).values()) == {Kept.PUBLISHED}
        await one.publisher.disconnect()

    run(test)


@pytest.mark.parametrize("count", [2, 50])
def test_what_is_under_way_when_the_connection_ends_is_told_of(nats_process: NatsProcess, count: int) -> None:
    async def test() -> None:
        one = await cell(nats_process.url)
        nats_process.freeze()
        publishing = asyncio.ensure_future(one.publish(names(count)))
        await asyncio.sleep(0.05)
        await one.publisher.disconnect()
        assert set((await publishing).values()) == {None}
        nats_process.thaw()

    run(test)
