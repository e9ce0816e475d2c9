"""The gRPC service over real connections: what it refuses by itself, and streams that end in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from campaign_express.frames import Answer, Ask
from campaign_express.gateway.grpc import NBR_INVALID_REQUEST, OWN_WORDS, SERVICE, STREAM_WINDOW, GrpcListener
from campaign_express.gateway.meters import Meters

LIMIT = 1000


class Pool:
    """Stands where AgentPool does: echoes each request, or holds it until told."""

    def __init__(self) -> None:
        self.by_hand = False
        self.waiting: list[tuple[Ask, asyncio.Future[Answer]]] = []

    def submit(self, ask: Ask) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self.by_hand:
            self.waiting.append((ask, future))
        else:
            future.set_result(Answer(200, ask.body))
        return future


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Pool, Meters, GrpcListener, grpc.aio.Channel]]:
    pool, meters = Pool(), Meters("test")
    listener = GrpcListener(pool, meters, "127.0.0.1", 0, max_body_bytes=LIMIT)  # type: ignore[arg-type]
    await listener.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
            yield pool, meters, listener, channel
    finally:
        await listener.drain(0)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120))


def readers() -> int:
    """Tasks that read a stream."""
    return sum("_read" in repr(task.get_coro()) for task in asyncio.all_tasks())


def test_a_body_over_the_limit_is_an_invalid_argument_that_names_it() -> None:
    async def test() -> None:
        async with listening() as (_, meters, _, channel):
            bid = channel.unary_unary(f"/{SERVICE}/Bid")
            assert await bid(b"x" * LIMIT) == b"x" * LIMIT
            for size in (LIMIT + 1, LIMIT + OWN_WORDS):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await bid(b"x" * size)
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
                assert f"larger than {LIMIT} bytes" in (refused.value.details() or "")
            assert sum(meters.counters.refusals) == 2
            assert meters.counters.grpc_requests == 1

    run(test)


def test_a_body_far_over_the_limit_is_not_taken_in() -> None:
    async def test() -> None:
        async with listening() as (_, meters, _, channel):
            bid = channel.unary_unary(f"/{SERVICE}/Bid")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await bid(b"x" * (LIMIT + OWN_WORDS + 1))
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert str(LIMIT + OWN_WORDS) in (refused.value.details() or "")
            assert await bid(b"next") == b"next"  # the connection goes on
            assert meters.counters.grpc_requests == 1

    run(test)


def test_a_small_message_that_decompresses_far_over_the_limit_is_not_taken_in() -> None:
    async def test() -> None:
        async with listening() as (_, _, listener, _):
            target = f"127.0.0.1:{listener.port}"
            async with grpc.aio.insecure_channel(target, compression=grpc.Compression.Gzip) as channel:
                bid = channel.unary_unary(f"/{SERVICE}/Bid")
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await bid(b"x" * (LIMIT + OWN_WORDS + 1))
                assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert await bid(b"x" * LIMIT) == b"x" * LIMIT

    run(test)


def test_a_stream_goes_on_after_a_message_over_the_limit() -> None:
    async def test() -> None:
        async with listening() as (_, meters, _, channel):
            stream = channel.stream_stream(f"/{SERVICE}/BidStream")
            answers = [answer async for answer in stream(iter([b"1", b"x" * (LIMIT + 1), b"2"]))]
            assert answers == [b"1", NBR_INVALID_REQUEST, b"2"]
            assert sum(meters.counters.refusals) == 1
            assert meters.counters.grpc_requests == 2

    run(test)


def test_a_stream_ends_at_a_message_that_is_not_taken_in() -> None:
    async def test() -> None:
        async with listening() as (_, _, _, channel):
            call = channel.stream_stream(f"/{SERVICE}/BidStream")()
            await call.write(b"1")
            assert await call.read() == b"1"
            await call.write(b"x" * (LIMIT + OWN_WORDS + 1))
            assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            await until(lambda: not readers())

    run(test)


@pytest.mark.parametrize("under_way", [0, 1, STREAM_WINDOW], ids=["idle", "one under way", "full"])
def test_a_client_that_cancels_its_stream_leaves_no_task(under_way: int) -> None:
    async def test() -> None:
        async with listening() as (pool, _, _, channel):
            await channel.unary_unary(f"/{SERVICE}/Bid")(b"connects")
            before = len(asyncio.all_tasks())
            pool.by_hand = True
            call = channel.stream_stream(f"/{SERVICE}/BidStream")()
            for _ in range(under_way + (under_way == STREAM_WINDOW)):  # one more than there is room for
                await call.write(b"1")
            await until(lambda: len(pool.waiting) == under_way and readers())
            call.cancel()
            await until(lambda: not readers())
            await until(lambda: len(asyncio.all_tasks()) <= before)

    run(test)


def test_a_stream_takes_in_no_more_than_its_window() -> None:
    async def test() -> None:
        async with listening() as (pool, _, _, channel):
            pool.by_hand = True
            call = channel.stream_stream(f"/{SERVICE}/BidStream")()
            bodies = [b"%d" % n for n in range(STREAM_WINDOW + 3)]
            for body in bodies:
                await call.write(body)
            await call.done_writing()
            await until(lambda: len(pool.waiting) == STREAM_WINDOW)
            await asyncio.sleep(0.05)
            assert len(pool.waiting) == STREAM_WINDOW
            answered = []
            while len(answered) < len(bodies):
                await until(lambda: pool.waiting)
                ask, future = pool.waiting.pop(0)
                future.set_result(Answer(200, ask.body))
                answered.append(await call.read())
            assert answered == bodies
            assert await call.code() == grpc.StatusCode.OK

    run(test)


def test_draining_ends_a_stream_when_what_it_sent_is_answered() -> None:
    async def test() -> None:
        async with listening() as (pool, _, listener, channel):
            pool.by_hand = True
            call = channel.stream_stream(f"/{SERVICE}/BidStream")()
            await call.write(b"1")
            await until(lambda: pool.waiting)
            drained = asyncio.create_task(listener.drain(5))
            await asyncio.sleep(0.05)
            pool.waiting[0][1].set_result(Answer(200, b"1"))
            assert await call.read() == b"1"
            assert await call.read() is grpc.aio.EOF
            await asyncio.wait_for(drained, 60)
            assert not readers()

    run(test)
