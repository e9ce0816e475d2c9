"""The exchange's HTTP app: bid requests in, bids or no-bids out. Raw ASGI: each microsecond here is paid per request.

    POST /v1/bid, /v1/bid/{exchange}   a BidRequest (JSON, gzip or not) -> 200 BidResponse, 204 no-bid, 400, 404, 413
    GET  /health, /live                the process answers
    GET  /ready                        200 while at least one agent lives and the cell is not draining, else 503
    /v1/win, /v1/imp, /v1/click, ...   notices, see notices.py

The body goes to an agent as it came. What the gateway refuses by itself (path, method, size, encoding) it answers with
a JSON error; being overloaded is not an error to an exchange: it is a no-bid.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from campaign_express.frames import ACCEPT_GZIP, BODY_GZIP, JSON, Ask
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.meters import Meters

if TYPE_CHECKING:
    from campaign_express.gateway.replies import Reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BID_PATH = "/v1/bid"
BID_PREFIX = BID_PATH + "/"
DISCARD_LIMIT = 1 << 20  # bytes of a too large body that are read and dropped, so that its sender can read our answer

CONTENT_TYPE = (b"content-type", b"application/json")
VERSION = (b"x-openrtb-version", b"2.6")
GZIP = (b"content-encoding", b"gzip")
CLOSE = (b"connection", b"close")

# Sent as they are: uvicorn copies the headers and changes nothing.
_NO_BID: Message = {"type": "http.response.start", "status": 204, "headers": []}
_NO_BID_CLOSE: Message = {"type": "http.response.start", "status": 204, "headers": [CLOSE]}
_EMPTY: Message = {"type": "http.response.body", "body": b""}

ERRORS = {
    404: "no such path; bid requests go to /v1/bid or /v1/bid/{exchange}",
    405: "method not allowed",
    411: "a bid request has a body: send Content-Length or chunks",
    413: "the body is larger than the limit",
    415: "content encoding not supported: send gzip or none",
}


class Refusal(Exception):
    """The gateway's own refusal of a request; `status` is a key of ERRORS."""

    def __init__(self, status: int) -> None:
        super().__init__(ERRORS[status])
        self.status = status


class Readiness(Protocol):
    """What `/ready` asks."""

    def __call__(self) -> str:
        """Why the cell is not ready, "" when it is."""
        ...


class ReplyWaiter(Protocol):
    """Who waits for the reply to a notice: a future of it, or a `protocol.NoticeCycle`."""

    def done(self) -> bool:
        """Nobody waits any more."""
        ...

    def set_result(self, result: Reply, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


class Notices(Protocol):
    """What answers all paths of notices; see `notices.NoticeDesk`."""

    def submit_to(self, waiter: ReplyWaiter, path: str, query: bytes) -> None:
        """Have a GET of one of `KINDS` answered; never raises, may answer at once."""
        ...

    async def handle(self, scope: Scope, receive: Receive, send: Send, close: bool = False) -> bool:
        """False where the path is none of its own; then nothing was sent."""
        ...


class ExchangeApp:
    """ASGI app for exchanges. One instance serves the cell's own listener and Serve's ingress."""

    def __init__(
        self, pool: AgentPool, meters: Meters, *, max_body_bytes: int, connection_max_answers: int = 0
    ) -> None:
        self.pool = pool
        self._meters = meters
        self.counters = meters.counters
        self.max_body = max_body_bytes
        self._max_answers = connection_max_answers
        self.draining = False
        self.notices: Notices | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith(BID_PATH) and (len(path) == len(BID_PATH) or path[len(BID_PATH)] == "/"):
            if scope["method"] == "POST":
                try:
                    await self._bid(scope, path[len(BID_PREFIX) :], receive, send)
                except Refusal as refusal:
                    await self._refuse(refusal.status, send)
            else:
                await self._refuse(405, send, [(b"allow", b"POST")])
        elif path in ("/health", "/live", "/ready"):
            if scope["method"] in ("GET", "HEAD"):
                await self._probe(path, send)
            else:
                await self._refuse(405, send, [(b"allow", b"GET, HEAD")])
        elif self.notices is None or not await self.notices.handle(scope, receive, send, self._closes(scope)):
            await self._refuse(404, send)

    def _closes(self, scope: Scope) -> bool:
        """Whether the connection is to end with this answer."""
        return self.draining or self.is_last(scope.get("campaign_express.answers", 0))  # set by protocol.BidProtocol

    async def _bid(self, scope: Scope, exchange: str, receive: Receive, send: Send) -> None:
        arrival_ns = time.monotonic_ns()
        headers = dict(scope["headers"])
        flags = body_flags(headers)
        length = headers.get(b"content-length")
        if length is None:
            if b"transfer-encoding" not in headers:
                raise Refusal(411)
        elif int(length) > self.max_body:
            if b"expect" not in headers:
                await _discard(receive)
            raise Refusal(413)
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body = await self._rest(body, receive)
        elif message["type"] == "http.disconnect":
            return
        if len(body) > self.max_body:  # chunks that uvicorn had put together
            raise Refusal(413)

        counters = self.counters
        counters.http_requests += 1
        answer = await self.pool.submit(Ask(exchange, arrival_ns, body, JSON, flags))

        close = self._closes(scope)
        if answer.status == 204:
            await send(_NO_BID_CLOSE if close else _NO_BID)
            await send(_EMPTY)
        else:
            body = answer.body
            out = [CONTENT_TYPE, VERSION, (b"content-length", b"%d" % len(body))]
            if answer.gzip:
                out.append(GZIP)
            if close:
                out.append(CLOSE)
            await send({"type": "http.response.start", "status": answer.status, "headers": out})
            await send({"type": "http.response.body", "body": body})
        counters.latency.observe(time.monotonic_ns() - arrival_ns)

    async def _rest(self, first: bytes, receive: Receive) -> bytes:
        """The whole body, refused as soon as it is too large."""
        parts, size, more = [first], len(first), True
        while more:
            if size > self.max_body:
                await _discard(receive)
                raise Refusal(413)
            message = await receive()
            if message["type"] == "http.disconnect":
                break  # the answer goes nowhere, the agent will find the body incomplete
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            more = message.get("more_body", False)
        if size > self.max_body:
            raise Refusal(413)
        return b"".join(parts)

    def is_last(self, answers: int) -> bool:
        """Whether the connection is to be closed with its `answers`-th answer."""
        return bool(self._max_answers) and bool(answers) and answers % self._max_answers == 0

    async def _probe(self, path: str, send: Send) -> None:
        reason = self.not_ready() if path == "/ready" else ""
        body = {"status": "unavailable", "reason": reason} if reason else {"status": "ok", "agents": self.pool.live}
        await self._answer(503 if reason else 200, body, send)

    def not_ready(self) -> str:
        """Why no request should be sent here, "" when one may."""
        if self.draining:
            return "draining"
        return "" if self.pool.live else "no agent lives"

    async def _refuse(self, status: int, send: Send, extra: Headers | None = None) -> None:
        self._meters.refuse(status)
        headers = [*(extra or []), CLOSE] if status == 413 else extra
        error = {"message": ERRORS[status]}
        if status == 413:
            error |= {"path": "$", "rule": "body-size"}  # as docs/validation.md has it
        await self._answer(status, {"error": error}, send, headers)

    async def _answer(self, status: int, content: dict[str, Any], send: Send, extra: Headers | None = None) -> None:
        body = json.dumps(content).encode()
        headers = [CONTENT_TYPE, (b"content-length", b"%d" % len(body)), *(extra or [])]
        if self.draining and CLOSE not in headers:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def body_flags(headers: dict[bytes, bytes]) -> int:
    """Bits of Ask.flags for these request headers. Raises Refusal for an encoding that is not known."""
    flags = 0
    encoding = headers.get(b"content-encoding")
    if encoding is not None:
        encoding = encoding.strip().lower()
        if encoding in (b"gzip", b"x-gzip"):
            flags = BODY_GZIP
        elif encoding not in (b"", b"identity"):
            raise Refusal(415)
    accepted = headers.get(b"accept-encoding")
    if accepted is not None and accepts_gzip(accepted):
        flags |= ACCEPT_GZIP
    return flags


def accepts_gzip(value: bytes) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110 section 12.5.3; `*` is not taken as a wish for it)."""
    if value == b"gzip":
        return True
    for item in value.lower().split(b","):
        coding, _, parameters = item.partition(b";")
        if coding.strip() in (b"gzip", b"x-gzip"):
            weight = parameters.replace(b" ", b"")
            return not (weight.startswith(b"q=0") and not weight[3:].strip(b".0"))  # "q=0", "q=0.000"
    return False


async def _discard(receive: Receive) -> None:
    dropped = 0
    while dropped < DISCARD_LIMIT:
        message = await receive()
        dropped += len(message.get("body", b""))
        if not message.get("more_body"):
            return
