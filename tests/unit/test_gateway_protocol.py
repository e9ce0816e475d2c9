"""The short way of a bid through the HTTP protocol, held to the usual way (uvicorn and ASGI) over real connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from campaign_express.frames import ACCEPT_GZIP, BODY_GZIP, Answer, Ask
from campaign_express.gateway.http import ExchangeApp
from campaign_express.gateway.listeners import HttpListener
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.protocol import BidCycle

BID = Answer(200, b'{"id":"1"}', -1, False, (1,))


class Pool:
    """Answers by hand or at once, and remembers which way each request came."""

    live = 1

    def __init__(self) -> None:
        self.answer = BID
        self.at_once = False
        self.by_hand = False
        self.asked: list[Ask] = []
        self.short: list[bool] = []
        self.waiting: list[Any] = []

    def submit(self, ask: Ask) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.submit_to(future, ask)
        return future

    def submit_to(self, waiter: Any, ask: Ask) -> None:
        self.asked.append(ask)
        self.short.append(isinstance(waiter, BidCycle))
        if self.by_hand:
            self.waiting.append(waiter)
        elif self.at_once:
            waiter.set_result(self.answer)
        else:
            asyncio.get_running_loop().call_soon(waiter.set_result, self.answer)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)
        first, *lines = head[:-4].split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers.get(b"content-length", b"0")))
        return int(first.split()[1]), headers, body

    async def ended(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 60) == b""


@asynccontextmanager
async def listening(**options: int) -> AsyncIterator[tuple[Pool, ExchangeApp, Callable[[], Awaitable[Client]]]]:
    pool = Pool()
    app = ExchangeApp(pool, Meters("test"), **{"max_body_bytes": 1000, **options})  # type: ignore[arg-type]
    listener = HttpListener(app, "127.0.0.1", 0, keep_alive_s=75)
    await listener.start()

    async def connect() -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", listener.port))

    try:
        yield pool, app, connect
    finally:
        app.draining = True
        await listener.drain(0)
        await listener.stop()


def request(body: bytes = b"{}", path: str = "/v1/bid", *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes = b"{}", path: str = "/v1/bid", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(test())  # type: ignore[arg-type]  # the loop of a cell


ANSWERS = {
    "bid": BID,
    "no-bid": Answer(204, b"", 5),
    "no-bid with nbr": Answer(200, b'{"id":"1","nbr":2}', 5),
    "packed": Answer(200, b"\x1f\x8b...", -1, True),
    "invalid": Answer(400, b'{"error":{}}', 0),
    "unknown exchange": Answer(404, b'{"error":{}}', 0),
    "large": Answer(413, b'{"error":{}}', 0),
    "fault": Answer(500, b"{}", 1),
    "long": Answer(200, b"x" * 300_000),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("closes", [False, True], ids=["kept", "closed"])
@pytest.mark.parametrize("at_once", [False, True], ids=["later", "at once"])
def test_both_ways_answer_the_same(answer: Answer, closes: bool, at_once: bool) -> None:
    async def test() -> None:
        async with listening() as (pool, app, connect):
            pool.answer = answer
            pool.at_once = at_once
            app.draining = closes
            found = []
            for make in (request, chunked):
                client = await connect()
                client.send(make(b'{"a":1}', "/v1/bid/acme", "Content-Encoding: gzip", "Accept-Encoding: gzip"))
                status, headers, body = await client.answer()
                headers.pop(b"date")
                found.append((status, headers, body))
                if closes:
                    assert await client.ended()
                client.writer.close()
            assert pool.short == [True, False]
            assert found[0] == found[1]
            assert (found[0][1].get(b"connection") == b"close") is closes
            for asked in pool.asked:
                assert (asked.exchange, asked.body) == ("acme", b'{"a":1}')
                assert asked.flags == BODY_GZIP | ACCEPT_GZIP
            assert app.counters.http_requests == 2
            assert sum(app.counters.latency.counts) == 2

    run(test)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_requests_in_pieces_and_one_after_the_other(size: int) -> None:
    async def test() -> None:
        async with listening() as (pool, _, connect):
            client = await connect()
            for n in range(3):
                data = request(b'{"n":%d}' % n)
                for at in range(0, len(data), size):
                    client.send(data[at : at + size])
                    await asyncio.sleep(0)
                assert (await client.answer())[2] == BID.body
            assert [asked.body for asked in pool.asked] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']
            assert pool.short == [True] * 3

    run(test)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def test() -> None:
        async with listening() as (pool, _, connect):
            pool.by_hand = True
            client = await connect()
            client.send(request(b"1") + request(b"2") + request(b"3"))
            for n in (1, 2, 3):
                await until(lambda: pool.waiting)
                assert len(pool.asked) == n  # the next is not even read while one is under way
                pool.waiting.pop().set_result(Answer(200, b"answer %d" % n))
                assert (await client.answer())[2] == b"answer %d" % n
            assert [asked.body for asked in pool.asked] == [b"1", b"2", b"3"]
            assert pool.short[0]
            pool.by_hand = False
            client.send(request(b"4"))
            assert (await client.answer())[2] == BID.body
            assert pool.short[-1]  # nothing is under way: the short way again

    run(test)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (404, request(path="/v1/bids")),
        (404, request(path="/")),
        (405, b"GET /v1/bid HTTP/1.1\r\nHost: x\r\n\r\n"),
        (405, request().replace(b"POST", b"PUT")),
        (411, b"POST /v1/bid HTTP/1.1\r\nHost: x\r\n\r\n"),
        (413, request(b"x" * 1001)),
        (413, chunked(b"x" * 1001)),
        (415, request(b"{}", "/v1/bid", "Content-Encoding: br")),
        (400, b"POST /v1/bid HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
        (200, request(b"x" * 1000)),
        (200, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"),
        (200, b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"),
    ],
)
def test_everything_else_goes_the_usual_way(status: int, data: bytes) -> None:
    async def test() -> None:
        async with listening() as (_, _, connect):
            client = await connect()
            client.send(data)
            assert (await client.answer())[0] == status

    run(test)


@pytest.mark.parametrize("path", ["/v1/bid/acme?x=1", "/v1/bid/ac%6De", "/v1/bid/acme"])
def test_the_exchange_is_read_from_any_spelling_of_the_path(path: str) -> None:
    async def test() -> None:
        async with listening() as (pool, _, connect):
            client = await connect()
            client.send(request(path=path))
            assert (await client.answer())[0] == 200
            assert pool.asked[0].exchange == "acme"

    run(test)


def test_expect_continue_and_http_1_0() -> None:
    async def test() -> None:
        async with listening() as (_, _, connect):
            client = await connect()
            client.send(request(b"{}", "/v1/bid", "Expect: 100-continue")[:-2])
            assert (await client.answer())[0] == 100
            client.send(b"{}")
            assert (await client.answer())[0] == 200
            old = await connect()
            old.send(request(b"{}", "/v1/bid", "Connection: keep-alive", version="1.0"))
            status, headers, _ = await old.answer()
            assert (status, headers[b"connection"]) == (200, b"close")
            assert await old.ended()

    run(test)


def test_a_client_that_wants_to_close_is_let_go() -> None:
    async def test() -> None:
        async with listening() as (pool, _, connect):
            client = await connect()
            client.send(request(b"{}", "/v1/bid", "Connection: close"))
            _, headers, _ = await client.answer()
            assert headers[b"connection"] == b"close"
            assert await client.ended()
            assert pool.short == [True]

    run(test)


def test_a_client_that_has_gone_disturbs_nobody() -> None:
    async def test() -> None:
        async with listening() as (pool, app, connect):
            pool.by_hand = True
            client = await connect()
            client.send(request())
            await until(lambda: pool.waiting)
            waiter = pool.waiting.pop()
            assert not waiter.done()
            client.writer.transport.abort()
            await until(waiter.done)
            waiter.set_result(BID)  # as a pool that did not look would do
            half = await connect()
            half.send(request(b"x" * 10)[:-3])
            half.writer.close()
            pool.by_hand = False
            another = await connect()
            another.send(request())
            assert (await another.answer())[0] == 200
            assert len(pool.asked) == 2
            assert sum(app.counters.latency.counts) == 1

    run(test)


def test_every_nth_answer_closes_whichever_way_it_went() -> None:
    async def test() -> None:
        async with listening(connection_max_answers=3) as (pool, _, connect):
            client = await connect()
            closing = []
            for make in (request, chunked, request):
                client.send(make())
                closing.append((await client.answer())[1].get(b"connection"))
            assert closing == [None, None, b"close"]
            assert await client.ended()
            assert pool.short == [True, False, True]

    run(test)


def test_draining_serves_what_the_kernel_had_accepted() -> None:
    async def test() -> None:
        pool = Pool()
        app = ExchangeApp(pool, Meters("test"), max_body_bytes=1000)  # type: ignore[arg-type]
        listener = HttpListener(app, "127.0.0.1", 0, keep_alive_s=75)
        await listener.start()
        idle = Client(*await asyncio.open_connection("127.0.0.1", listener.port))
        waiting = socket.socket()
        asked = asyncio.Event()

        async def drain() -> None:
            waiting.connect(("127.0.0.1", listener.port))  # in the backlog: the loop does not turn before it drains
            waiting.sendall(request())
            asked.set()
            app.draining = True
            await listener.drain(2)

        drained = asyncio.create_task(drain())
        await asked.wait()
        answer = await asyncio.to_thread(waiting.recv, 4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        idle.send(request())
        _, headers, _ = await idle.answer()
        assert headers[b"connection"] == b"close"
        idle.writer.close()
        waiting.close()
        await asyncio.wait_for(drained, 60)
        await listener.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", listener.port)

    run(test)
