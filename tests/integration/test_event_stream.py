"""Events on a real NATS server: durable when acknowledged, whatever becomes of the server meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import nats
import pytest
from nats_server import NatsProcess

from campaign_express.adapters.batches import TELL_S
from campaign_express.adapters.money_sink import JetStreamSink
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream, redact
from campaign_express.adapters.spool import Spool
from campaign_express.errors import Unavailable
from campaign_express.events import STREAM, MoneyEvent, bid_key, decode_event, event_id
from campaign_express.ports import Kept

TERMS = StreamTerms(max_age_s=3600, duplicate_window_s=60)


def event(number: int, kind: str = "win") -> MoneyEvent:
    key = bid_key("generic", f"auction-{number}", "1", "b")
    return MoneyEvent(
        id=event_id(kind, key),
        bid_key=key,
        kind=kind,
        exchange="generic",
        auction=f"auction-{number}",
        imp="1",
        bid="b",
        advertiser="acme.shoes",
        campaign="c",
        creative="cr",
        authorised_micros=2350,
        bid_ms=1_764_020_000_000 + number,
    )


def make_sink(
    url: str,
    directory: Path,
    owner: str = "cell",
    patience_s: float = 20.0,  # a busy machine may take long; who waits for a server that is away is less patient
    terms: StreamTerms = TERMS,
    **spool: Any,
) -> JetStreamSink:
    held = Spool(directory, owner, **{"max_bytes": 10_000_000, **spool})
    return JetStreamSink(url, held, name="test", terms=terms, patience_s=patience_s, close_s=30.0)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 150))


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


async def stored(url: str) -> list[tuple[str, MoneyEvent]]:
    """All messages of the stream, with their subjects."""
    client = await nats.connect(url)
    context = client.jetstream()
    subscription = await context.subscribe("money.>", ordered_consumer=True)
    count = (await context.stream_info(STREAM)).state.messages
    found = []
    for _ in range(count):
        message = await subscription.next_msg(5)
        found.append((message.subject, decode_event(message.data)))
    await client.close()
    return found


def test_an_acknowledged_event_is_in_the_stream(nats_process: NatsProcess, tmp_path: Path) -> None:
    async def test() -> None:
        sink = make_sink(nats_process.url, tmp_path / "spool")
        await sink.start()
        await until(lambda: sink.up)
        assert await sink.publish(event(1)) is Kept.PUBLISHED
        assert await sink.publish(event(1)) is Kept.DUPLICATE
        assert await sink.publish(event(1, "billing")) is Kept.PUBLISHED
        nats_process.kill()  # acknowledged is acknowledged
        nats_process.start()
        assert await stored(nats_process.url) == [
            ("money.acme%shoes.win", event(1)),
            ("money.acme%shoes.billing", event(1, "billing")),
        ]
        await sink.close()

    run(test)


def test_the_stream_is_kept_as_the_settings_say(nats_process: NatsProcess, tmp_path: Path) -> None:
    async def test() -> None:
        client = await connect(nats_process.url, "test")
        await ensure_stream(client, TERMS)
        await ensure_stream(client, TERMS)
        context = client.jetstream()
        first = (await context.stream_info(STREAM)).config
        assert (first.max_age, first.max_bytes, first.num_replicas, first.duplicate_window) == (3600, -1, 1, 60)
        assert (first.storage, first.discard, first.subjects) == ("file", "new", ["money.>"])
        await ensure_stream(client, StreamTerms(max_age_s=7200, max_bytes=10_000_000, duplicate_window_s=120))
        second = (await context.stream_info(STREAM)).config
        assert (second.max_age, second.max_bytes, second.duplicate_window) == (7200, 10_000_000, 120)
        await client.close()

    run(test)


def test_a_server_killed_under_load_loses_nothing(nats_process: NatsProcess, tmp_path: Path) -> None:
    """By 50 senders; the server is killed twice in the middle. All events were acknowledged, so all are there."""

    async def test() -> None:
        terms = StreamTerms(duplicate_window_s=600)
        sink = make_sink(nats_process.url, tmp_path / "spool", patience_s=0.5, terms=terms)
        await sink.start()
        given = itertools.count()
        sent = 0
        kept: Counter[Kept] = Counter()
        over = asyncio.Event()

        async def send() -> None:
            nonlocal sent
            while not over.is_set():
                number = next(given)
                kept[await sink.publish(event(number))] += 1
                sent = max(sent, number + 1)
                await asyncio.sleep(0.01)

        async def more(way: Kept, count: int) -> None:
            until_now = kept[way]
            await until(lambda: kept[way] >= until_now + count)

        async def disturb() -> None:
            try:
                for _ in range(2):
                    await more(Kept.PUBLISHED, 300)
                    await asyncio.to_thread(nats_process.kill)
                    await more(Kept.SPOOLED, 300)
                    await asyncio.to_thread(nats_process.start)
                await more(Kept.PUBLISHED, 300)
            finally:
                over.set()

        await asyncio.gather(disturb(), *[send() for _ in range(50)])
        assert kept.total() == sent
        await until(lambda: sink.up and sink.spool.empty)
        found = await stored(nats_process.url)
        assert {one.id for _, one in found} == {event(number).id for number in range(sent)}
        assert len({one.id for _, one in found}) == len(found)  # within its window JetStream drops the second
        await sink.close()

    run(test)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_frozen_server_holds_up_nobody(nats_process: NatsProcess, tmp_path: Path) -> None:
    async def test() -> None:
        sink = make_sink(nats_process.url, tmp_path / "spool", patience_s=0.05)
        await sink.start()
        nats_process.freeze()
        started = time.monotonic()
        assert await sink.publish(event(0)) is Kept.SPOOLED  # after its patience
        assert time.monotonic() - started > 0.045
        for number in range(1, 50):
            assert await sink.publish(event(number)) is Kept.SPOOLED  # at once
        assert not sink.up
        assert not sink.spool.empty
        await asyncio.sleep(3.0)  # it gives up the connection, and hears nothing from a new one
        assert await sink.publish(event(50)) is Kept.SPOOLED
        nats_process.thaw()
        await until(lambda: sink.up and sink.spool.empty)
        number, deadline = 51, time.monotonic() + 60
        while await sink.publish(event(number)) is not Kept.PUBLISHED:  # its patience is short
            assert time.monotonic() < deadline
            number += 1
            await until(lambda: sink.up and sink.spool.empty)
        assert {one.id for _, one in await stored(nats_process.url)} == {event(n).id for n in range(number + 1)}
        await sink.close()

    run(test)


def test_a_cell_starts_without_its_server(nats_process: NatsProcess, tmp_path: Path) -> None:
    nats_process.stop()

    async def test() -> None:
        sink = make_sink(nats_process.url, tmp_path / "spool")
        await sink.start()
        assert not sink.up
        for number in range(300):
            assert await sink.publish(event(number)) is Kept.SPOOLED
        await sink.close()  # and ends without it
        nats_process.start()
        later = make_sink(nats_process.url, tmp_path / "spool", "another")
        await later.start()
        await until(lambda: later.spool.empty)
        assert [one for _, one in await stored(nats_process.url)] == [event(number) for number in range(300)]
        await later.close()

    run(test)


def test_a_stream_that_was_deleted_is_made_again(nats_process: NatsProcess, tmp_path: Path) -> None:
    async def test() -> None:
        sink = make_sink(nats_process.url, tmp_path / "spool")
        await sink.start()
        client = await nats.connect(nats_process.url)
        await client.jetstream().delete_stream(STREAM)
        assert await sink.publish(event(1)) is Kept.SPOOLED  # the server says at once that nobody has it
        await until(lambda: sink.up and sink.spool.empty)
        assert [one for _, one in await stored(nats_process.url)] == [event(1)]
        await client.close()
        await sink.close()

    run(test)


def test_a_full_stream_refuses_and_the_spool_keeps(
    nats_process: NatsProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every refusal is counted; an operator is told of the first, and of the rest now and then."""

    async def test() -> None:
        full = StreamTerms(max_bytes=4096, duplicate_window_s=60)
        sink = make_sink(nats_process.url, tmp_path / "spool", terms=full, max_bytes=20_000)
        await sink.start()
        kept: Counter[str] = Counter()
        deadline = time.monotonic() + 60
        for number in itertools.count():
            try:
                kept[await sink.publish(event(number))] += 1
            except Unavailable:
                kept["refused"] += 1
                await asyncio.sleep(0.01)  # it connects anew now and then
            sink.up = True  # the next one tries JetStream too
            if kept["refused"] and sink.refused > 20:  # its own bound is met as well
                break
            assert time.monotonic() < deadline, (kept, sink.refused)
        assert kept[Kept.PUBLISHED] > 0
        assert kept[Kept.SPOOLED] > 0
        await sink.close()

    began = time.monotonic()
    run(test)
    told = [record.__dict__["error"] for record in caplog.records if "refuses" in record.message]
    assert set(told) == {"maximum bytes exceeded"}
    assert len(told) <= 1 + (time.monotonic() - began) / TELL_S


def test_the_spool_of_a_dead_cell_is_sent_by_a_living_one(nats_process: NatsProcess, tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path / "spool", "dead", max_bytes=1_000_000)
        dead = JetStreamSink("nats://127.0.0.1:1", spool, name="dead", terms=TERMS, patience_s=0.05)
        await dead.start()
        for number in range(10):
            await dead.publish(event(number))
        alive = make_sink(nats_process.url, tmp_path / "spool", "alive")
        await alive.start()
        await asyncio.sleep(0.1)
        assert await stored(nats_process.url) == []  # it lives
        await dead.close()
        await until(lambda: alive.drained >= 10 and alive.spool.empty)
        await alive.close()
        assert len(await stored(nats_process.url)) == 10

    run(test)


def test_events_under_way_land_before_the_end(nats_process: NatsProcess, tmp_path: Path) -> None:
    async def test() -> None:
        sink = make_sink(nats_process.url, tmp_path / "spool")
        await sink.start()
        await until(lambda: sink.up)
        sending = [sink.publish(event(number)) for number in range(500)]
        await asyncio.sleep(0)
        await sink.close()
        assert set(await asyncio.gather(*sending)) == {Kept.PUBLISHED}
        assert len(await stored(nats_process.url)) == 500

    run(test)


def test_what_is_on_its_way_into_the_spool_is_sent_before_the_end(nats_process: NatsProcess, tmp_path: Path) -> None:
    async def test() -> None:
        spool = Spool(tmp_path / "spool", "cell", max_bytes=1_000_000)
        sink = JetStreamSink(
            nats_process.url, spool, name="test", terms=TERMS, patience_s=20.0, ack_s=20.0, close_s=40.0
        )
        await sink.start()
        await until(lambda: sink.up)
        sink.up = False  # as when nothing was acknowledged for a moment
        sending = [sink.publish(event(number)) for number in range(20)]
        await sink.close()
        assert await asyncio.gather(*sending) == [Kept.SPOOLED] * 20
        assert len(await stored(nats_process.url)) == 20

    run(test)


def test_no_server_at_all() -> None:
    async def test() -> None:
        with pytest.raises(Unavailable, match=r"NATS at 127\.0\.0\.1:1 cannot be reached"):
            await connect("nats://user:secret@127.0.0.1:1", "test")

    run(test)


def test_what_may_be_logged_of_a_url() -> None:
    assert redact("nats://user:secret@a:4222,nats://token@b:4222, c:1") == "a:4222,b:4222,c:1"
