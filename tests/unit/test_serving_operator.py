"""Who may use the operator's routes, and what they give."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from campaign_express.errors import InvalidRequest, Unavailable
from campaign_express.serving.operator import Guard, Operated, WithOthers, WithReports, is_loopback, operator_app


class Cell:
    def __init__(self) -> None:
        self.explained: list[tuple[bytes, str]] = []
        self.fails: Exception | None = None
        self.reported: list[tuple[str, str]] | None = None

    async def explain(self, body: bytes, exchange: str) -> bytes:
        self.explained.append((body, exchange))
        if self.fails is not None:
            raise self.fails
        return b'{"campaigns":[]}'

    async def status(self) -> dict[str, Any]:
        return {"cell": "x"}

    async def report(self, parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        self.reported = parameters
        if self.fails is not None:
            raise self.fails
        return "text/csv; charset=utf-8", b"a,b"


async def exchange_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def ask(cell: Operated, guard: Guard, method: str, path: str, **options: Any) -> httpx.Response:
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
        for method, path in (
            ("GET", "/v1/status"),
            ("POST", "/v1/explain"),
            ("GET", "/v1/explain"),
            ("GET", "/v1/reports"),
        ):
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


def test_reports_get_the_query_as_it_was_given() -> None:
    cell = Cell()
    query = [("report", "delivery"), ("filter.place", "a b'&="), ("filter.place", "\u00e9"), ("order", "-spend")]
    answer = ask(cell, OPEN, "GET", "/v1/reports", params=query)
    assert (answer.status_code, answer.content) == (200, b"a,b")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert cell.reported == query
    cell.reported = None
    assert ask(cell, TOKEN, "GET", "/v1/reports", params=query).status_code == 401
    assert cell.reported is None
    assert ask(cell, TOKEN, "GET", "/v1/reports", params=query, headers=BEARER).status_code == 200


def test_a_wrong_parameter_of_a_report_is_named() -> None:
    cell = Cell()
    cell.fails = InvalidRequest("period is none of minute, hour, day, total", "period", "report")
    refused = ask(cell, OPEN, "GET", "/v1/reports?period=week")
    assert (refused.status_code, refused.json()["error"]["path"]) == (400, "period")
    assert "minute, hour" in refused.json()["error"]["message"]


def test_reports_of_a_pipeline_beside_the_cell() -> None:
    class Wrapped(Exception):
        cause: Exception

    outcome: list[Exception | None] = [None]

    async def pipeline(parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        if outcome[0] is not None:
            raise outcome[0]
        return "application/json", repr(parameters).encode()

    async def silent(parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        await asyncio.sleep(60)
        raise AssertionError

    async def status() -> dict[str, Any]:
        return {}

    reporting = WithReports(WithOthers(Cell(), {"treasury": status}), pipeline)
    assert ask(reporting, OPEN, "GET", "/v1/reports?a=1").text == "[('a', '1')]"
    assert ask(reporting, OPEN, "GET", "/v1/status").json()["treasury"] == {}
    assert ask(reporting, OPEN, "POST", "/v1/explain", content=b"1").status_code == 200
    outcome[0] = wrapped = Wrapped()
    wrapped.cause = InvalidRequest("from is no date", "from", "report")
    assert ask(reporting, OPEN, "GET", "/v1/reports").json()["error"]["path"] == "from"
    for away in (RuntimeError("the actor died"), Unavailable("another process has it")):
        outcome[0] = away
        assert ask(reporting, OPEN, "GET", "/v1/reports").status_code == 503
    late = ask(WithReports(Cell(), silent, 0.01), OPEN, "GET", "/v1/reports")
    assert (late.status_code, "ask for less" in late.text) == (503, True)
    assert ask(WithOthers(Cell(), {"treasury": status}), OPEN, "GET", "/v1/reports").content == b"a,b"


def test_everything_else_is_the_exchanges_app() -> None:
    assert ask(Cell(), TOKEN, "POST", "/v1/bid/acme").text == "/v1/bid/acme"
    assert ask(Cell(), TOKEN, "GET", "/health").text == "/health"
