"""The exchange's HTTP app, without a network: what it passes on, and what it refuses by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from campaign_express.frames import ACCEPT_GZIP, BODY_GZIP, Answer, Ask
from campaign_express.gateway.http import ExchangeApp, accepts_gzip
from campaign_express.gateway.meters import Meters

BID = Answer(200, b'{"id":"1"}', -1, False, (1,))


class Pool:
    """Stands where AgentPool does: keeps what it was asked and gives one answer."""

    live = 1

    def __init__(self, answer: Answer = BID) -> None:
        self.answer = answer
        self.asked: list[Ask] = []

    def submit(self, ask: Ask) -> asyncio.Future[Answer]:
        self.asked.append(ask)
        future = asyncio.get_running_loop().create_future()
        future.set_result(self.answer)
        return future


class Exchange:
    """One app and the requests made to it."""

    def __init__(self, answer: Answer = BID, **options: Any) -> None:
        self.pool = Pool(answer)
        self.meters = Meters("test")
        self.options = {"max_body_bytes": 100, **options}

    def app(self) -> ExchangeApp:
        return ExchangeApp(self.pool, self.meters, **self.options)  # type: ignore[arg-type]

    def ask(
        self,
        path: str = "/v1/bid",
        body: Sequence[bytes] = (b"{}",),
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] | None = None,
        draining: bool = False,
        **scope: Any,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        if headers is None:
            headers = [(b"content-length", b"%d" % sum(map(len, body)))]
        sent: list[dict[str, Any]] = []
        pieces = list(body)
        self.left = pieces

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        async def run() -> None:
            app = self.app()
            app.draining = draining
            await app({"type": "http", "method": method, "path": path, "headers": headers, **scope}, receive, send)

        asyncio.run(run())
        if not sent:
            return 0, {}, b""
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent[1:])


def test_a_bid_passes_through_as_it_is() -> None:
    exchange = Exchange()
    status, headers, body = exchange.ask("/v1/bid/acme", [b'{"a":', b"1}"])
    assert (status, body) == (200, BID.body)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-openrtb-version"] == b"2.6"
    assert headers[b"content-length"] == b"10"
    assert b"connection" not in headers
    (asked,) = exchange.pool.asked
    assert (asked.exchange, asked.body, asked.flags) == ("acme", b'{"a":1}', 0)
    assert exchange.meters.counters.http_requests == 1
    assert sum(exchange.meters.counters.latency.counts) == 1


def test_a_no_bid_is_204_without_a_body() -> None:
    assert Exchange(Answer(204, b"", 5)).ask() == (204, {}, b"")


def test_an_agents_refusal_keeps_its_status_and_body() -> None:
    status, headers, body = Exchange(Answer(400, b'{"error":{}}', 0)).ask()
    assert (status, body) == (400, b'{"error":{}}')
    assert headers[b"content-type"] == b"application/json"


def test_gzip_is_told_to_the_agent_and_shown_to_the_client() -> None:
    exchange = Exchange(Answer(200, b"packed", -1, True))
    _, headers, _ = exchange.ask(
        headers=[(b"content-length", b"2"), (b"content-encoding", b"GZIP"), (b"accept-encoding", b"br, gzip;q=0.5")]
    )
    assert exchange.pool.asked[0].flags == BODY_GZIP | ACCEPT_GZIP
    assert headers[b"content-encoding"] == b"gzip"


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (b"gzip", True),
        (b"deflate, gzip", True),
        (b"x-gzip", True),
        (b"gzip;q=1.0", True),
        (b"gzip; q=0.001", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000, br", False),
        (b"br", False),
        (b"*", False),
        (b"", False),
    ],
)
def test_accept_encoding(value: bytes, accepted: bool) -> None:
    assert accepts_gzip(value) is accepted


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (404, {"path": "/"}),
        (404, {"path": "/v1/bids"}),
        (404, {"path": "/v1/explain"}),
        (405, {"method": "GET"}),
        (405, {"path": "/ready", "method": "POST"}),
        (411, {"headers": []}),
        (413, {"body": [b"x" * 101]}),
        (413, {"body": [b"x" * 60, b"x" * 60], "headers": [(b"transfer-encoding", b"chunked")]}),
        (415, {"headers": [(b"content-length", b"2"), (b"content-encoding", b"br")]}),
    ],
)
def test_what_the_gateway_refuses_by_itself(status: int, request_: dict[str, Any]) -> None:
    exchange = Exchange()
    found, headers, body = exchange.ask(**request_)
    assert found == status
    assert json.loads(body)["error"]["message"]
    assert headers[b"content-length"] == b"%d" % len(body)
    assert (b"connection" in headers) is (status == 413)
    assert not exchange.pool.asked
    assert sum(exchange.meters.counters.refusals) == 1


def test_a_body_of_exactly_the_limit_passes() -> None:
    assert Exchange().ask(body=[b"x" * 100])[0] == 200


def test_a_body_announced_too_large_is_refused_before_it_is_asked_for() -> None:
    exchange = Exchange()
    headers = [(b"content-length", b"101"), (b"expect", b"100-continue")]
    assert exchange.ask(body=[b"x" * 101], headers=headers)[0] == 413
    assert exchange.left  # never received, so no 100 Continue either


def test_draining_closes_every_connection() -> None:
    for answer in (BID, Answer(204, b"", 5)):
        assert Exchange(answer).ask(draining=True)[1][b"connection"] == b"close"
    status, headers, _ = Exchange().ask("/ready", method="GET", draining=True)
    assert (status, headers[b"connection"]) == (503, b"close")
    assert Exchange().ask("/health", method="GET", draining=True)[0] == 200


def test_every_nth_answer_of_a_connection_closes_it() -> None:
    exchange = Exchange(connection_max_answers=3)
    closes = [b"connection" in exchange.ask(**{"campaign_express.answers": n})[1] for n in range(1, 7)]
    assert closes == [False, False, True, False, False, True]


def test_probes_tell_of_agents() -> None:
    exchange = Exchange()
    assert exchange.ask("/ready", method="GET")[0] == 200
    exchange.pool.live = 0
    status, _, body = exchange.ask("/ready", method="GET")
    assert (status, json.loads(body)["reason"]) == (503, "no agent lives")
    assert exchange.ask("/health", method="GET")[0] == exchange.ask("/live", method="GET")[0] == 200


def test_a_client_that_has_gone_is_not_answered() -> None:
    exchange = Exchange()
    assert exchange.ask(body=[], headers=[(b"content-length", b"2")])[0] == 0
    assert not exchange.pool.asked
