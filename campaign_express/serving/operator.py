"""The operator's app, on Serve's ingress (:8000) only; the exchange's app is mounted in it too.

    POST /v1/explain, /v1/explain/{exchange}   a bid request -> per campaign why, or why not (JSON)
    GET  /v1/status                            the cell, its agents and its queue, the treasury and the pipeline
    GET  /v1/reports?report=...                a report of events (JSON, CSV, Parquet): docs/reports.md

These want `Authorization: Bearer <operator_token>`. With no token set they exist only while Serve is bound to
loopback.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from campaign_express.errors import CampaignExpressError, InvalidRequest, Unavailable
from campaign_express.openrtb.codec import error_body

logger = logging.getLogger(__name__)

OTHERS_S = 2.0
REPORT_S = 120.0
UNAUTHORISED = b'{"error":{"message":"an operator\'s bearer token is wanted"}}'


class Operated(Protocol):
    """What the app needs of a cell."""

    async def explain(self, body: bytes, exchange: str) -> bytes:
        """JSON. Raises InvalidRequest, or Unavailable when no agent lives."""
        ...

    async def status(self) -> dict[str, Any]: ...

    async def report(self, parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        """(media type, body) for the parameters of a query, in their order.

        Raises InvalidRequest with the parameter as its path, or Unavailable where no pipeline answers.
        """
        ...


class WithOthers:
    """A cell whose status tells that of what runs beside it too, "away" where one does not answer in time."""

    def __init__(self, cell: Operated, others: Mapping[str, Callable[[], Awaitable[dict[str, Any]]]]) -> None:
        self._cell = cell
        self._others = others

    async def explain(self, body: bytes, exchange: str) -> bytes:
        return await self._cell.explain(body, exchange)

    async def status(self) -> dict[str, Any]:
        status, *found = await asyncio.gather(self._cell.status(), *(self._ask(name) for name in self._others))
        return {**status, **dict(zip(self._others, found, strict=True))}

    async def report(self, parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        return await self._cell.report(parameters)

    async def _ask(self, name: str) -> dict[str, Any] | str:
        try:
            return await asyncio.wait_for(self._others[name](), OTHERS_S)
        except Exception as error:  # whatever Serve raises for a replica that is not there
            logger.info("%s does not answer: %s", name, type(error).__name__)
            return "away"


class WithReports:
    """A cell beside an event pipeline, which `ask` asks for reports."""

    def __init__(
        self,
        cell: Operated,
        ask: Callable[[list[tuple[str, str]]], Awaitable[tuple[str, bytes]]],
        patience_s: float = REPORT_S,
    ) -> None:
        self._cell = cell
        self._ask = ask
        self._patience_s = patience_s

    async def explain(self, body: bytes, exchange: str) -> bytes:
        return await self._cell.explain(body, exchange)

    async def status(self) -> dict[str, Any]:
        return await self._cell.status()

    async def report(self, parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        try:
            return await asyncio.wait_for(self._ask(parameters), self._patience_s)
        except TimeoutError:
            raise Unavailable(f"the report is not ready after {self._patience_s:g} s; ask for less") from None
        except Exception as error:  # whatever Serve raises for a replica that is not there
            told = getattr(error, "cause", error)  # Ray wraps what a replica has raised
            if isinstance(told, CampaignExpressError):
                raise told from None
            logger.warning("the event pipeline does not answer: %s", type(error).__name__)
            raise Unavailable("the event pipeline does not answer") from error


class Guard:
    """Who may use the operator's routes: `allows` per request, by token or, without one, by where Serve listens."""

    def __init__(self, token: str, serve_host: str | None) -> None:
        """`serve_host`: the address that Serve's proxies are bound to, None when it is not known (so not loopback)."""
        self._token = token.encode()
        self.exists = bool(token) or (serve_host is not None and is_loopback(serve_host))

    def allows(self, authorization: str | None) -> bool:
        if not self._token:
            return self.exists
        scheme, _, given = (authorization or "").partition(" ")
        # compare_digest takes the same time whichever byte differs. It wants ASCII strings or bytes: bytes.
        return hmac.compare_digest(given.strip().encode(), self._token) and scheme.lower() == "bearer"


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def operator_app(cell: Operated, exchange_app: Any, guard: Guard, max_body_bytes: int) -> Starlette:
    """The ASGI app for Serve's ingress."""

    def guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if not guard.allows(request.headers.get("authorization")):
                return _json(UNAUTHORISED, 401, {"WWW-Authenticate": "Bearer"})
            try:
                return await handler(request)
            except InvalidRequest as error:
                return _json(error_body(error), error.http_status)
            except CampaignExpressError as error:
                return _json(msgspec.json.encode({"error": {"message": str(error)}}), error.http_status)

        return endpoint

    async def explain(request: Request) -> Response:
        exchange = request.path_params.get("exchange") or request.query_params.get("exchange", "")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_body_bytes:
                raise InvalidRequest("the body is larger than the limit", rule="size", http_status=413)
        return _json(await cell.explain(body, exchange))

    async def status(request: Request) -> Response:
        return _json(msgspec.json.encode(await cell.status()))

    async def reports(request: Request) -> Response:
        media_type, body = await cell.report(request.query_params.multi_items())
        return Response(body, media_type=media_type, headers={"Cache-Control": "no-store"})

    routes = [
        Route("/v1/explain", guarded(explain), methods=["POST"]),
        Route("/v1/explain/{exchange}", guarded(explain), methods=["POST"]),
        Route("/v1/status", guarded(status), methods=["GET"]),
        Route("/v1/reports", guarded(reports), methods=["GET"]),
    ]
    return Starlette(routes=[*(routes if guard.exists else ()), Mount("/", app=exchange_app)])


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
