"""The short way of a notice through the HTTP protocol, held to the usual way over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from test_gateway_protocol import Client, run, until

from campaign_express.gateway.http import ExchangeApp, ReplyWaiter
from campaign_express.gateway.listeners import HttpListener
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.protocol import NoticeCycle
from campaign_express.openrtb.notices import KINDS
from campaign_express.ports import Kept
from tests.support.notice_desk import EURO, PAGE, SECRET, Desk, click_url, urls, with_price


class Watched:
    """The desk of a test, which remembers which way each notice came."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.short: list[bool] = []

    def submit_to(self, waiter: ReplyWaiter, path: str, query: bytes) -> None:
        self.short.append(isinstance(waiter, NoticeCycle))
        self.desk.desk.submit_to(waiter, path, query)

    async def handle(self, scope: Any, receive: Any, send: Any, close: bool = False) -> bool:
        if scope["path"] in KINDS and scope["method"] == "GET":
            self.short.append(False)
        return await self.desk.desk.handle(scope, receive, send, close)


@asynccontextmanager
async def listening(
    **options: int,
) -> AsyncIterator[tuple[Desk, Watched, ExchangeApp, Callable[[], Awaitable[Client]]]]:
    desk = Desk()
    watched = Watched(desk)
    app = ExchangeApp(None, Meters("test"), **{"max_body_bytes": 1000, **options})  # type: ignore[arg-type]
    app.notices = watched
    listener = HttpListener(app, "127.0.0.1", 0, keep_alive_s=75)
    await listener.start()

    async def connect() -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", listener.port))

    try:
        yield desk, watched, app, connect
    finally:
        app.draining = True
        await listener.drain(0)
        await listener.stop()


def get(url: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}?{parts.query} HTTP/{version}", "Host: x", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def the_long_way(url: str, *headers: str) -> bytes:
    return get(url, "Content-Length: 0", *headers)


MADE = urls()
NOTICES = {
    "win": with_price(MADE.nurl, "1.9"),
    "loss": with_price(MADE.lurl, "3"),
    "billing": with_price(MADE.burl, "2"),
    "impression": MADE.impression,
    "click": click_url(),
    "tampered": with_price(MADE.nurl, "1").replace("&p=", "&p=9"),
    "nothing": "/v1/win",
    "parameter twice": with_price(MADE.nurl, "1") + "&price=2",
    "click without landing": MADE.click,
    "no price": with_price(MADE.burl, ""),
    "no price that can be read": with_price(MADE.burl, "dear"),
    "price not decrypted": with_price(urls(SECRET).nurl, "1.5"),
    "unknown currency": with_price(urls(EURO).nurl, "1.5", "XXX"),
    "price in the page": with_price(urls(PAGE).impression, "1.5"),
    "too dear": with_price(MADE.burl, "99"),
    "a micro too dear": with_price(MADE.burl, "2.352"),
}


STATUSES = {  # of docs/notices.md, "What is answered"; a fault of ours is 500 as everywhere
    "none": {"win": 200, "impression": 200, "click": 302, "tampered": 400},
    "away": {"win": 503, "impression": 503, "click": 302, "tampered": 400},
    "late": {"win": 410, "impression": 410, "click": 302, "tampered": 400},
    "fault": {"win": 500, "impression": 500, "click": 500, "tampered": 400},
}


@pytest.mark.parametrize("name", NOTICES)
@pytest.mark.parametrize("closes", [False, True], ids=["kept", "closed"])
@pytest.mark.parametrize("trouble", STATUSES)
def test_both_ways_answer_the_same(name: str, closes: bool, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        found = []
        for make in (get, the_long_way):
            async with listening() as (desk, watched, app, connect):
                app.draining = closes
                desk.sink.away = trouble == "away"
                if trouble == "late":
                    desk.later(10 * 86_400_000)
                if trouble == "fault":
                    monkeypatch.setattr(desk.desk, "_event", None)  # as a programming error would be
                client = await connect()
                client.send(make(NOTICES[name]))
                status, headers, body = await client.answer()
                headers.pop(b"date")
                if closes or status == 500:
                    assert headers.pop(b"connection") == b"close"
                    assert await client.ended()
                else:
                    assert b"connection" not in headers
                client.writer.close()
                assert watched.short == [make is get]
                counted = (desk.outcomes, desk.meters.counters.notice_prices)
                found.append((status, headers, body, desk.sink.events, desk.touches.recorded, counted))
        assert found[0] == found[1]
        assert found[0][0] == STATUSES[trouble].get(name, found[0][0])

    run(test)


def test_a_price_that_cannot_be_read_leaves_what_was_authorised_to_be_taken() -> None:
    async def test() -> None:
        async with listening() as (desk, watched, _, connect):
            client = await connect()
            for name in ("no price", "no price that can be read", "price not decrypted", "unknown currency"):
                client.send(get(NOTICES[name]))
                assert (await client.answer())[0] == 200
            assert all(watched.short)
            assert [event.clear_micros for event in desk.sink.events] == [-1] * 4
            assert [event.sets_price for event in desk.sink.events] == [False] * 4
            assert [event.authorised_micros for event in desk.sink.events] == [2351] * 4
            assert desk.meters.counters.notice_prices == {"absent": 1, "unreadable": 3}

    run(test)


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (405, get(NOTICES["win"], method="HEAD")),
        (405, get(NOTICES["win"], "Content-Length: 0", method="POST")),
        (200, get(NOTICES["win"], "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n"),
        (200, get(NOTICES["win"], "Content-Length: 3") + b"abc"),
        (200, get(NOTICES["win"], "Connection: keep-alive", version="1.0")),
        (200, get(NOTICES["win"], "Connection: Upgrade", "Upgrade: h2c")),
        (200, get(NOTICES["win"]).replace(b"/v1/win", b"/v1/w%69n")),
        (404, get(NOTICES["win"]).replace(b"/v1/win", b"/v1/wins")),
        (404, get(NOTICES["win"]).replace(b"/v1/win", b"/v1/win/")),
        (200, get(NOTICES["win"]).replace(b" HTTP", b"#fragment HTTP")),
    ],
)
def test_everything_else_goes_the_usual_way(status: int, data: bytes) -> None:
    async def test() -> None:
        async with listening() as (_, watched, _, connect):
            client = await connect()
            client.send(data)
            head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 60)
            assert int(head.split()[1]) == status
            assert True not in watched.short

    run(test)


def test_a_notice_needs_a_desk() -> None:
    async def test() -> None:
        async with listening() as (_, _, app, connect):
            app.notices = None
            client = await connect()
            client.send(get(NOTICES["win"]))
            assert (await client.answer())[0] == 404

    run(test)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_notices_in_pieces_and_one_after_the_other(size: int) -> None:
    async def test() -> None:
        async with listening() as (desk, watched, _, connect):
            client = await connect()
            for n in range(3):
                data = get(with_price(urls(bid_id=f"b{n}").nurl, "1"))
                for at in range(0, len(data), size):
                    client.send(data[at : at + size])
                    await asyncio.sleep(0)
                assert (await client.answer())[0] == 200
            assert [event.bid for event in desk.sink.events] == ["b0", "b1", "b2"]
            assert watched.short == [True] * 3

    run(test)


class ByHand:
    """A sink that makes events durable when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Kept]] = []

    def publish(self, event: object) -> asyncio.Future[Kept]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


def test_pipelined_notices_are_answered_in_order() -> None:
    async def test() -> None:
        async with listening() as (desk, watched, _, connect):
            sink = desk.desk._sink = ByHand()
            client = await connect()
            client.send(get(NOTICES["win"]) + get(NOTICES["impression"]) + get(NOTICES["nothing"]))
            for n, length in enumerate((0, 43)):
                await until(lambda n=n: len(sink.waiting) > n)  # type: ignore[misc]
                assert len(sink.waiting) == n + 1  # the next is not asked about while one is under way
                sink.waiting[n].set_result(Kept.PUBLISHED)
                status, _, body = await client.answer()
                assert (status, len(body)) == (200, length)
            assert (await client.answer())[0] == 400
            assert watched.short[0]
            assert True not in watched.short[1:]
            client.send(get(NOTICES["tampered"]))
            assert (await client.answer())[0] == 400
            assert watched.short[-1]  # nothing is under way: the short way again

    run(test)


@pytest.mark.parametrize("name", ["win", "impression", "click", "tampered"])
def test_a_client_that_wants_to_close_is_let_go(name: str) -> None:
    async def test() -> None:
        async with listening() as (_, watched, _, connect):
            client = await connect()
            client.send(get(NOTICES[name], "Connection: close"))
            _, headers, _ = await client.answer()
            assert headers[b"connection"] == b"close"
            assert await client.ended()
            assert watched.short == [True]

    run(test)


@pytest.mark.parametrize("name", ["win", "click"])
def test_the_event_of_a_client_that_has_gone_is_kept(name: str) -> None:
    async def test() -> None:
        async with listening() as (desk, _, _, connect):
            sink = desk.desk._sink = ByHand()
            client = await connect()
            client.send(get(NOTICES[name]))
            await until(lambda: sink.waiting)
            client.writer.transport.abort()
            await asyncio.sleep(0.01)
            sink.waiting[0].set_result(Kept.PUBLISHED)
            await until(lambda: desk.outcomes)
            assert desk.outcomes == {f"{name} published": 1}
            another = await connect()
            another.send(get(NOTICES["tampered"]))
            assert (await another.answer())[0] == 400

    run(test)


def test_a_click_is_answered_once_though_its_event_comes_later() -> None:
    async def test() -> None:
        async with listening() as (desk, watched, _, connect):
            sink = desk.desk._sink = ByHand()
            client = await connect()
            client.send(get(NOTICES["click"]))
            assert (await client.answer())[0] == 302  # after CLICK_S
            assert not desk.outcomes
            client.send(get(NOTICES["win"]))  # the next request, when the click's event lands
            await until(lambda: len(sink.waiting) == 2)
            sink.waiting[0].set_result(Kept.PUBLISHED)
            await until(lambda: desk.outcomes)
            assert desk.outcomes == {"click published": 1}
            assert len(desk.touches.recorded) == 1
            sink.waiting[1].set_result(Kept.DUPLICATE)
            assert (await client.answer())[0] == 200
            assert watched.short == [True, True]

    run(test)


def test_the_desk_ends_when_all_events_have() -> None:
    async def test() -> None:
        async with listening() as (desk, _, _, connect):
            sink = desk.desk._sink = ByHand()
            client = await connect()
            client.send(get(NOTICES["click"]))
            await until(lambda: sink.waiting)
            closing = asyncio.create_task(desk.desk.close())
            await asyncio.sleep(0.01)
            assert not closing.done()
            sink.waiting[0].set_result(Kept.PUBLISHED)
            await asyncio.wait_for(closing, 60)

    run(test)


def test_every_nth_answer_closes_whichever_way_it_went() -> None:
    async def test() -> None:
        async with listening(connection_max_answers=3) as (_, watched, _, connect):
            client = await connect()
            closing = []
            for make in (get, the_long_way, get):
                client.send(make(NOTICES["impression"]))
                closing.append((await client.answer())[1].get(b"connection"))
            assert closing == [None, None, b"close"]
            assert await client.ended()
            assert watched.short == [True, False, True]

    run(test)
