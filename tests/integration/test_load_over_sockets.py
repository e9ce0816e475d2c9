"""The load generator against real sockets that answer well, badly, late or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from campaign_express.loadgen import Load
from campaign_express.loadreport import LoadReport

BODY = b'{"id":"1","tmax":50}' + b" " * 400
BID = b'{"id":"1","seatbid":[]}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BID) + BID
NO_BID = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"

Handler = Callable[[asyncio.StreamWriter, int], Awaitable[None]]  # the connection, which request of it (1, 2, ...)


async def load_against(handler: Handler, rate: float = 400, duration_s: float = 0.5, **options: float) -> LoadReport:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                assert await reader.readexactly(length) == BODY
                count += 1
                await handler(writer, count)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        report = await Load(f"http://127.0.0.1:{port}/v1/bid", rate, duration_s, [BODY], **options).run()  # type: ignore[arg-type]
    finally:
        server.close()
    assert report.sent == report.answered + report.failed
    assert report.failed == sum(report.failures.values())
    return report


def run(handler: Handler, **options: float) -> LoadReport:
    return asyncio.run(load_against(handler, **options))


def replies(*pieces: bytes) -> Handler:
    async def handler(writer: asyncio.StreamWriter, count: int) -> None:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)

    return handler


def test_every_request_is_answered_and_counted() -> None:
    async def alternate(writer: asyncio.StreamWriter, count: int) -> None:
        writer.write(OK if count % 2 else NO_BID)

    report = run(alternate, connections=1, max_connections=4096)
    assert report.failures == {}
    assert 100 < report.sent < 320  # 200 expected; seven standard deviations either side
    assert 0.3 < report.bid_rate < 0.7


def test_answers_in_pieces_and_after_a_100_continue() -> None:
    report = run(replies(b"HTTP/1.1 100 Continue\r\n\r\n", OK[:20], OK[20:45], OK[45:]))
    assert report.failures == {}
    assert report.bids == report.answered > 0


def test_connection_close_is_obeyed() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    report = run(replies(closing), connections=4)
    assert report.failures == {}
    assert report.connects >= report.sent


def test_churn_closes_connections_after_answers() -> None:
    report = run(replies(OK), connections=2, churn=1.0)
    assert report.failures == {}
    assert report.connects >= report.sent


def test_a_body_that_ends_with_the_connection() -> None:
    async def until_eof(writer: asyncio.StreamWriter, count: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BID)
        writer.close()

    report = run(until_eof)
    assert report.failures == {}
    assert report.bids == report.sent


def test_arrivals_do_not_wait_for_a_stalled_server_and_waiting_counts_as_latency() -> None:
    """The server stands still for 300 ms: a closed loop would send nothing meanwhile and report one slow answer."""
    stalled_until = 0.0

    async def stall_once(writer: asyncio.StreamWriter, count: int) -> None:
        nonlocal stalled_until
        if not stalled_until:
            stalled_until = time.monotonic() + 0.3
        await asyncio.sleep(max(0.0, stalled_until - time.monotonic()))
        writer.write(OK)

    began = time.monotonic()
    report = run(stall_once, rate=500, duration_s=0.6, connections=2)
    took_s = time.monotonic() - began  # longer on a busy machine
    assert report.failures == {}
    assert report.connects > 50  # more were opened while the first ones hung
    assert report.late > 80  # ~125 were due more than 50 ms before the end of the stall
    assert 150 < report.latency.p95 < 400 + 1000 * max(0.0, took_s - 0.6)
    assert 0.25 < report.longest_gap_s < took_s


def test_a_generator_that_stalls_blames_itself() -> None:
    blocked = False

    async def block_the_loop(writer: asyncio.StreamWriter, count: int) -> None:
        nonlocal blocked
        if not blocked:
            blocked = True
            time.sleep(0.15)  # noqa: ASYNC251 (the loop is the generator's own)
        writer.write(OK)

    report = run(block_the_loop, connections=1)
    assert report.generator_lag.p99 > 10
    assert report.measures_generator
    assert report.latency.p95 > 50  # counted from when the requests were due


def test_no_server_is_refused() -> None:
    async def go() -> LoadReport:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await Load(f"http://127.0.0.1:{port}/", 200, 0.3, [BODY]).run()

    report = asyncio.run(go())
    assert report.sent > 0
    assert report.failures == {"refused": report.sent}
    assert report.first_failure_s is not None


def test_a_server_that_drops_connections() -> None:
    async def reset(writer: asyncio.StreamWriter, count: int) -> None:
        writer.transport.abort()

    report = run(reset)
    assert report.answered == 0
    assert set(report.failures) <= {"reset", "closed"}


def test_a_server_that_never_answers_times_out_and_the_wait_is_in_the_figures() -> None:
    async def silence(writer: asyncio.StreamWriter, count: int) -> None:
        await asyncio.sleep(5)

    report = run(silence, rate=100, duration_s=0.2, timeout_s=0.3)
    assert report.failures == {"timeout": report.sent}
    assert report.latency.p50 >= 300


def test_error_statuses_and_nonsense_are_failures_by_kind() -> None:
    report = run(replies(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"))
    assert report.failures == {"http-503": report.sent}
    report = run(replies(b"SSH-2.0-nothing\r\n\r\n"))
    assert report.failures == {"malformed": report.sent}
    report = run(replies(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
    assert report.failures == {"malformed": report.sent}


def test_no_more_connections_than_allowed() -> None:
    async def slow(writer: asyncio.StreamWriter, count: int) -> None:
        await asyncio.sleep(0.2)
        writer.write(OK)

    report = run(slow, connections=1, max_connections=5)
    assert report.connects <= 5
    assert report.failures["exhausted"] > 0


def test_progress_is_reported() -> None:
    async def go() -> list[tuple[float, int, int]]:
        seen: list[tuple[float, int, int]] = []
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        load = Load(f"http://127.0.0.1:{port}/", 100, 0.5, [BODY], on_progress=lambda *now: seen.append(now))
        await load.run()
        return seen

    seen = asyncio.run(go())
    assert len(seen) >= 4
    assert [s[1] for s in seen] == sorted(s[1] for s in seen)
    assert seen[-1][0] == pytest.approx(0.5)
