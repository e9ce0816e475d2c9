"""uvicorn's HTTP protocol with a short way for bids and notices: from the connection to whoever answers, and back.

An ASGI call costs a task, a future, an event, a request object and a dozen header checks: about two thirds of a
gateway's work for a bid, and a third of that for a notice. A plain request needs none of them:

    POST /v1/bid[/{exchange}]   with a Content-Length within the limit
    GET  /v1/win, /v1/imp, ...  a notice, without a body

of HTTP/1.1, with nothing before it on the connection that is not answered yet, and nobody slow to read. All else
(chunks, pipelining, Expect, refusals, probes, postbacks) goes the usual way, through uvicorn and `http.ExchangeApp`.
Both ways answer the same; tests ask both.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from campaign_express.frames import JSON, Answer, Ask
from campaign_express.gateway.http import BID_PREFIX, CLOSE, ExchangeApp, Notices, Refusal, body_flags
from campaign_express.gateway.replies import Reply
from campaign_express.openrtb.notices import KINDS

log = logging.getLogger(__name__)

_NOTICES = {path.encode(): path for path in KINDS}
_BODY_NAMES = frozenset({b"content-length", b"transfer-encoding"})  # headers of a request that has a body
_PATH = BID_PREFIX[:-1].encode()
_PREFIX = BID_PREFIX.encode()
_STATUS = {
    200: b"HTTP/1.1 200 OK\r\n",
    204: b"HTTP/1.1 204 No Content\r\n",
    400: b"HTTP/1.1 400 Bad Request\r\n",
    404: b"HTTP/1.1 404 Not Found\r\n",
    413: b"HTTP/1.1 413 Content Too Large\r\n",
}
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\n"
_BODY_HEAD = b"content-type: application/json\r\nx-openrtb-version: 2.6\r\n"
_GZIP = b"content-encoding: gzip\r\n"
_CLOSE = b"connection: close\r\n"
# A fault of ours, as uvicorn answers it.
_FAULT = Reply(
    500, [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21"), CLOSE], b"Internal Server Error"
)


class _NoEvent:
    """Stands for the event that wakes an ASGI app: here nobody sleeps."""

    def set(self) -> None: ...


_NO_EVENT = _NoEvent()


class ShortCycle(ABC):
    """One request on its short way. To uvicorn's protocol it is a request cycle, to whoever answers a future."""

    __slots__ = (
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "protocol",
        "response_complete",
    )

    def __init__(self, protocol: BidProtocol) -> None:
        self.body = b""
        self.disconnected = False
        self.keep_alive = protocol.parser.should_keep_alive()
        self.message_event = _NO_EVENT
        self.more_body = True
        self.protocol = protocol
        self.response_complete = False

    def done(self) -> bool:
        """Nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    @abstractmethod
    def begin(self, app: ExchangeApp) -> None:
        """The request is there, whole: have it answered."""


class BidCycle(ShortCycle):
    """A bid request; answered with an `Answer`."""

    __slots__ = ("arrival_ns", "exchange", "flags")

    def __init__(self, protocol: BidProtocol, exchange: str, flags: int) -> None:
        super().__init__(protocol)
        self.arrival_ns = time.monotonic_ns()
        self.exchange = exchange
        self.flags = flags

    def begin(self, app: ExchangeApp) -> None:
        app.counters.http_requests += 1
        app.pool.submit_to(self, Ask(self.exchange, self.arrival_ns, self.body, JSON, self.flags))

    def set_result(self, answer: Answer) -> None:
        self.protocol.reply(self, answer)


class NoticeCycle(ShortCycle):
    """A notice; answered with a `Reply`, or with status 500 after a fault of ours."""

    __slots__ = ("desk", "path", "query")

    def __init__(self, protocol: BidProtocol, desk: Notices, path: str, query: bytes) -> None:
        super().__init__(protocol)
        self.desk = desk
        self.path = path
        self.query = query

    def begin(self, app: ExchangeApp) -> None:
        self.desk.submit_to(self, self.path, self.query)

    def set_result(self, reply: Reply) -> None:
        self.protocol.reply_notice(self, reply)

    def set_exception(self, error: BaseException) -> None:
        log.error("a fault while answering a notice", exc_info=error)
        self.protocol.reply_notice(self, _FAULT)


class BidProtocol(HttpToolsProtocol):
    """For a listener whose app is an `ExchangeApp`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exchange_app = cast(ExchangeApp, self.app)
        self._requests = 0
        self._short: ShortCycle | None = None  # the request being read, when it goes the short way
        self._date: list[tuple[bytes, bytes]] | None = None  # uvicorn's default headers, a new list every second
        self._date_head = b""

    # Reading. httptools calls these in order: begin, url, headers, headers complete, body, complete.

    def on_message_begin(self) -> None:
        self._requests += 1
        self._short = None
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        if method == b"POST":
            self._short = self._bid()
        elif method == b"GET":
            self._short = self._notice()
        if self._short is not None:
            self.cycle = cast(RequestResponseCycle, self._short)
            return
        url, headers_read, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers_read)  # the list that the scope holds
        self.scope["campaign_express.answers"] = self._requests  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def _bid(self) -> BidCycle | None:
        """The request as a bid request that may go the short way."""
        url = self.url
        if not url.startswith(_PATH):
            return None
        if len(url) == len(_PATH):
            exchange = ""
        elif url.startswith(_PREFIX) and b"?" not in url and b"%" not in url and url.isascii():
            exchange = url[len(_PREFIX) :].decode()
        else:
            return None
        if not self._is_plain():
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length")
        if length is None or int(length) > self._exchange_app.max_body or b"transfer-encoding" in headers:
            return None
        try:
            flags = body_flags(headers)
        except Refusal:
            return None
        return BidCycle(self, exchange, flags)

    def _notice(self) -> NoticeCycle | None:
        """Likewise, as a notice. (A fragment has no business in a request; uvicorn drops it.)"""
        raw_path, _, query = self.url.partition(b"?")
        path = _NOTICES.get(raw_path)
        desk = self._exchange_app.notices
        if path is None or desk is None or b"#" in query or not self._is_plain():
            return None
        for name, _ in self.headers:
            if name in _BODY_NAMES:
                return None
        return NoticeCycle(self, desk, path, query)

    def _is_plain(self) -> bool:
        """Whether nothing about the connection or the protocol wants the usual way."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.pipeline or self.expect_100_continue or self.flow.write_paused:
            return False
        return self.parser.get_http_version() == "1.1" and not self.parser.should_upgrade()

    def on_body(self, body: bytes) -> None:
        if self._short is None:
            super().on_body(body)
        else:
            self._short.body += body  # nearly always one piece: adding to nothing copies nothing

    def on_message_complete(self) -> None:
        short = self._short
        if short is None:
            super().on_message_complete()
            return
        self._short = None
        short.more_body = False
        short.begin(self._exchange_app)

    # Writing

    def reply(self, bid: BidCycle, answer: Answer) -> None:
        """Write the answer and make the connection ready for its next request."""
        if self.transport.is_closing():
            return
        close = self._closes_with(bid)
        head = self._default_head()
        if close:
            head += _CLOSE
        if answer.status == 204:
            self.transport.write(_STATUS[204] + head + b"\r\n")
        else:
            if answer.gzip:
                head += _GZIP
            body = answer.body
            self.transport.write(
                b"%s%s%scontent-length: %d\r\n\r\n%s"
                % (_STATUS.get(answer.status, _FAILED), head, _BODY_HEAD, len(body), body)
            )
        self._end(bid, close)
        self._exchange_app.counters.latency.observe(time.monotonic_ns() - bid.arrival_ns)

    def reply_notice(self, notice: NoticeCycle, reply: Reply) -> None:
        """As `reply`."""
        if self.transport.is_closing():
            return
        close = self._closes_with(notice) or reply is _FAULT
        head = self._default_head() + reply.head
        if close and reply is not _FAULT:
            head += _CLOSE
        self.transport.write(b"%s%s\r\n%s" % (STATUS_LINE[reply.status], head, reply.body))
        self._end(notice, close)

    def _closes_with(self, cycle: ShortCycle) -> bool:
        app = self._exchange_app
        return not cycle.keep_alive or app.draining or app.is_last(self._requests)

    def _default_head(self) -> bytes:
        if self.server_state.default_headers is not self._date:
            self._date = self.server_state.default_headers
            self._date_head = b"".join([b"%s: %s\r\n" % header for header in self._date])
        return self._date_head

    def _end(self, cycle: ShortCycle, close: bool) -> None:
        cycle.response_complete = True
        if close:
            self.transport.close()
        self.on_response_complete()
