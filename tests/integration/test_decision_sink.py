"""Frames of decisions on a real NATS server: nothing is lost within the buffer, and what is beyond it is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import nats
from nats_server import NatsProcess

from campaign_express.adapters.decision_sink import DecisionSink
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.events import (
    DECISION_SUBJECTS,
    DECISIONS,
    SCHEMA,
    Chosen,
    DecisionFrame,
    RequestEvent,
    decode_frame,
    encode_frame,
)

TERMS = StreamTerms(max_age_s=3600, duplicate_window_s=60, forgets=True, compressed=True)
ONE = RequestEvent("i", 1, "x", b"{}", (), (Chosen("1", "c", "k", 1),), "", "", 1, "m", 1)


def frame(number: int, events: int = 3, padding: int = 0) -> bytes:
    some = [ONE] * (events - 1) + [RequestEvent("i", 1, "x", b" " * padding, (), (), "", "", 1, "m", 1)]
    return encode_frame(DecisionFrame(SCHEMA, f"agent-{number}", [], some))


def make_sink(url: str, buffer_bytes: int = 1 << 20, partitions: int = 1) -> DecisionSink:
    return DecisionSink(url, name="test", terms=TERMS, partitions=partitions, buffer_bytes=buffer_bytes)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 150))


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def stored(url: str) -> list[tuple[str, str]]:
    """(subject, frame's id) of all messages of the stream."""
    client = await nats.connect(url)
    context = client.jetstream()
    subscription = await context.subscribe(DECISION_SUBJECTS, ordered_consumer=True)
    found = []
    for _ in range((await context.stream_info(DECISIONS)).state.messages):
        message = await subscription.next_msg(5)
        found.append((message.subject, decode_frame(message.data).id))
    await client.close()
    return found


def test_frames_are_spread_over_partitions_and_counted(nats_process: NatsProcess) -> None:
    async def test() -> None:
        sink = make_sink(nats_process.url, partitions=4)
        sink.start()
        sink.offer([frame(n) for n in range(40)])
        sink.offer([frame(7), b"rubbish"])  # one that is there, one that is none
        await until(lambda: sink.published == 41 * 3)
        await sink.close()
        assert (sink.pending_bytes, sink.pending_events, sink.dropped, sink.dropped_frames) == (0, 0, 0, 1)
        found = await stored(nats_process.url)
        assert {one for _, one in found} == {f"agent-{n}" for n in range(40)}
        assert len(found) == 40
        assert {subject for subject, _ in found} == {f"decisions.{n}" for n in range(4)}

    run(test)


def test_the_stream_forgets_what_is_oldest_and_is_given_the_terms_of_the_settings(nats_process: NatsProcess) -> None:
    async def test() -> None:
        client = await connect(nats_process.url, "test")
        await ensure_stream(client, StreamTerms(max_bytes=10_000, forgets=True), DECISIONS, DECISION_SUBJECTS)
        sink = make_sink(nats_process.url)
        sink.start()
        sink.offer([frame(0)])
        await until(lambda: sink.published == 3)
        config = (await client.jetstream().stream_info(DECISIONS)).config
        assert (config.discard, config.storage, config.max_age, config.max_bytes) == ("old", "file", 3600, -1)
        assert config.compression == "s2"
        await sink.close()
        await client.close()

    run(test)


def test_a_server_that_is_killed_and_restarted_under_a_stream_of_frames_loses_none(nats_process: NatsProcess) -> None:
    async def test() -> None:
        sink = make_sink(nats_process.url, buffer_bytes=64 << 20)
        sink.start()
        for number in range(1500):
            sink.offer([frame(number, padding=2000)])
            if number in (300, 900):
                await asyncio.to_thread(nats_process.kill)
            if number in (600, 1200):
                await asyncio.to_thread(nats_process.start)
            await asyncio.sleep(0.001)
        await until(lambda: sink.published == 1500 * 3)
        assert (sink.dropped, sink.pending_bytes) == (0, 0)
        await sink.close()
        found = [one for _, one in await stored(nats_process.url)]
        assert sorted(set(found)) == sorted(f"agent-{n}" for n in range(1500))
        assert len(found) == 1500  # a frame that was sent twice is one

    run(test)


def test_what_does_not_fit_into_the_buffer_is_dropped_oldest_first_and_counted_exactly(
    nats_process: NatsProcess,
) -> None:
    async def test() -> None:
        nats_process.kill()
        size = len(frame(100))
        sink = make_sink(nats_process.url, buffer_bytes=10 * size)
        sink.start()
        for number in range(100, 150):
            sink.offer([frame(number)])
        assert (sink.dropped, sink.dropped_frames, sink.pending_events) == (40 * 3, 40, 10 * 3)
        assert sink.pending_bytes <= 10 * size
        nats_process.start()
        await until(lambda: sink.published == 30)
        await sink.close()
        assert [one for _, one in await stored(nats_process.url)] == [f"agent-{n}" for n in range(140, 150)]
        assert (sink.dropped, sink.pending_events) == (120, 0)

    run(test)


def test_a_stream_that_is_deleted_is_made_again(nats_process: NatsProcess) -> None:
    async def test() -> None:
        sink = make_sink(nats_process.url)
        sink.start()
        sink.offer([frame(0)])
        await until(lambda: sink.published == 3)
        client = await nats.connect(nats_process.url)
        await client.jetstream().delete_stream(DECISIONS)
        sink.offer([frame(1)])
        await until(lambda: sink.published == 6)
        await client.close()
        await sink.close()
        assert [one for _, one in await stored(nats_process.url)] == ["agent-1"]

    run(test)


def test_what_is_left_when_the_cell_ends_without_a_server_is_counted(nats_process: NatsProcess) -> None:
    async def test() -> None:
        nats_process.kill()
        sink = make_sink(nats_process.url)
        sink.start()
        sink.offer([frame(0), frame(1)])
        await asyncio.sleep(0.2)
        await sink.close()
        assert (sink.dropped, sink.dropped_frames, sink.pending_bytes) == (6, 2, 0)

    run(test)
