"""Who may use the operator's routes, and what they give."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from campaign_express.errors import InvalidRequest, Unavailable
from campaign_express.serving.operator import Guard, is_loopback, operator_app


class Cell:
    def __init__(self) -> None:
        self.explained: list[tuple[bytes, str]] = []
        self.fails: Exception | None = None

    async def explain(self, body: bytes, exchange: str) -> bytes:
        self.explained.append((body, exchange))
        if self.fails is not None:
            raise self.fails
        return b'{"campaigns":[]}'

    async def status(self) -> dict[str, Any]:
        return {"cell": "x"}


async def exchange_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def ask(cell: Cell, guard: Guard, method: str, path: str, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(operator_app(cell, exchange_app, guard, 1000))
        async with httpx.AsyncClient(transport=transport, base_url="http://serve") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


TOKEN = Guard("s3cret", "0.0.0.0")
OPEN = Guard("", "127.0.0.1")
SHUT = Guard("", "0.0.0.0")
BEARER = {"Authorization": "Bearer s3cret"}


def test_with_a_token_only_its_bearer_gets_in() -> None:
    assert ask(Cell(), TOKEN, "GET", "/v1/status", headers=BEARER).json() == {"cell": "x"}
    assert ask(Cell(), TOKEN, "GET", "/v1/status", headers={"Authorization": "bearer s3cret"}).status_code == 200
    for value in ("Bearer wrong", "Bearer s3cret2", "Bearer ", "Basic s3cret", "s3cret", "Bearer s3crét"):
        refused = ask(Cell(), TOKEN, "GET", "/v1/status", headers={"Authorization": value.encode()})
        assert refused.status_code == 401, value
        assert refused.headers["www-authenticate"] == "Bearer"
    assert ask(Cell(), TOKEN, "GET", "/v1/status").status_code == 401
    cell = Cell()
    assert ask(cell, TOKEN, "POST", "/v1/explain", content=b"{}").status_code == 401
    assert not cell.explained


def test_without_a_token_the_routes_exist_on_loopback_only() -> None:
    assert ask(Cell(), OPEN, "GET", "/v1/status").status_code == 200
    for guard in (SHUT, Guard("", None)):
        for method, path in (("GET", "/v1/status"), ("POST", "/v1/explain"), ("GET", "/v1/explain")):
            assert ask(Cell(), guard, method, path).status_code == 299  # the exchange's app, as for any path


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
        ("bidder.example", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_explain_takes_the_exchange_from_path_or_query() -> None:
    cell = Cell()
    assert ask(cell, OPEN, "POST", "/v1/explain", content=b"1").json() == {"campaigns": []}
    ask(cell, OPEN, "POST", "/v1/explain/acme", content=b"2")
    ask(cell, OPEN, "POST", "/v1/explain?exchange=other", content=b"3")
    assert cell.explained == [(b"1", ""), (b"2", "acme"), (b"3", "other")]


def test_explain_answers_errors_as_the_exchanges_app_does() -> None:
    cell = Cell()
    cell.fails = InvalidRequest("is missing", "$.id", "required")
    refused = ask(cell, OPEN, "POST", "/v1/explain", content=b"{}")
    assert (refused.status_code, refused.json()["error"]["path"]) == (400, "$.id")
    cell.fails = Unavailable("no agent lives")
    away = ask(cell, OPEN, "POST", "/v1/explain", content=b"{}")
    assert (away.status_code, away.json()["error"]["message"]) == (503, "no agent lives")
    assert ask(cell, OPEN, "POST", "/v1/explain", content=b"x" * 1001).status_code == 413


def test_everything_else_is_the_exchanges_app() -> None:
    assert ask(Cell(), TOKEN, "POST", "/v1/bid/acme").text == "/v1/bid/acme"
    assert ask(Cell(), TOKEN, "GET", "/health").text == "/health"
