"""uvicorn's HTTP protocol with a short way for bids: from the connection to the queue, from the answer to the socket.

An ASGI call costs a task, a future, an event, a request object and a dozen header checks, about two thirds of a
gateway's work for a bid. A plain bid request needs none of them: POST /v1/bid[/{exchange}] with a Content-Length
within the limit, nothing before it on the connection that is not answered yet, and nobody slow to read. All else
(chunks, pipelining, Expect, refusals, probes) goes the usual way, through uvicorn and `http.ExchangeApp`. Both ways
answer the same; tests ask both.
"""

from __future__ import annotations

import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from campaign_express.frames import JSON, Answer, Ask
from campaign_express.gateway.http import BID_PREFIX, ExchangeApp, Refusal, body_flags

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


class _NoEvent:
    """Stands for the event that wakes an ASGI app: here nobody sleeps."""

    def set(self) -> None: ...


_NO_EVENT = _NoEvent()


class BidCycle:
    """One bid request on its short way. To uvicorn's protocol it is a request cycle, to the queue it is a future."""

    __slots__ = (
        "arrival_ns",
        "body",
        "disconnected",
        "exchange",
        "flags",
        "keep_alive",
        "message_event",
        "more_body",
        "protocol",
        "response_complete",
    )

    def __init__(self, protocol: BidProtocol, exchange: str, flags: int, keep_alive: bool) -> None:
        self.arrival_ns = time.monotonic_ns()
        self.body = b""
        self.disconnected = False
        self.exchange = exchange
        self.flags = flags
        self.keep_alive = keep_alive
        self.message_event = _NO_EVENT
        self.more_body = True
        self.protocol = protocol
        self.response_complete = False

    def done(self) -> bool:
        """Nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    def set_result(self, answer: Answer) -> None:
        self.protocol.reply(self, answer)


class BidProtocol(HttpToolsProtocol):
    """For a listener whose app is an `ExchangeApp`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exchange_app = cast(ExchangeApp, self.app)
        self._requests = 0
        self._bid: BidCycle | None = None  # the request being read, when it goes the short way
        self._date: list[tuple[bytes, bytes]] | None = None  # uvicorn's default headers, a new list every second
        self._date_head = b""

    # Reading. httptools calls these in order: begin, url, headers, headers complete, body, complete.

    def on_message_begin(self) -> None:
        self._requests += 1
        self._bid = None
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        exchange = self._plain_bid()
        if exchange is not None:
            app = self._exchange_app
            headers = dict(self.headers)
            length = headers.get(b"content-length")
            if length is not None and int(length) <= app.max_body and b"transfer-encoding" not in headers:
                try:
                    flags = body_flags(headers)
                except Refusal:
                    pass
                else:
                    self._bid = BidCycle(self, exchange, flags, self.parser.should_keep_alive())
                    self.cycle = cast(RequestResponseCycle, self._bid)
                    return
        url, headers_read, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers_read)  # the list that the scope holds
        self.scope["campaign_express.answers"] = self._requests  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def _plain_bid(self) -> str | None:
        """The exchange that the path names, when the request may go the short way."""
        url = self.url
        if not url.startswith(_PATH) or self.parser.get_method() != b"POST":
            return None
        if len(url) == len(_PATH):
            exchange = ""
        elif url.startswith(_PREFIX) and b"?" not in url and b"%" not in url and url.isascii():
            exchange = url[len(_PREFIX) :].decode()
        else:
            return None
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.pipeline or self.expect_100_continue or self.flow.write_paused:
            return None
        if self.parser.should_upgrade() or self.parser.get_http_version() != "1.1":
            return None
        return exchange

    def on_body(self, body: bytes) -> None:
        if self._bid is None:
            super().on_body(body)
        else:
            self._bid.body += body  # nearly always one piece: adding to nothing copies nothing

    def on_message_complete(self) -> None:
        bid = self._bid
        if bid is None:
            super().on_message_complete()
            return
        self._bid = None
        bid.more_body = False
        app = self._exchange_app
        app.counters.http_requests += 1
        app.pool.submit_to(bid, Ask(bid.exchange, bid.arrival_ns, bid.body, JSON, bid.flags))

    # Writing

    def reply(self, bid: BidCycle, answer: Answer) -> None:
        """Write the answer and make the connection ready for its next request."""
        if self.transport.is_closing():
            return
        app = self._exchange_app
        bid.response_complete = True
        close = not bid.keep_alive or app.draining or app.is_last(self._requests)
        if self.server_state.default_headers is not self._date:
            self._date = self.server_state.default_headers
            self._date_head = b"".join([b"%s: %s\r\n" % header for header in self._date])
        head = self._date_head
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
        if close:
            self.transport.close()
        self.on_response_complete()
        app.counters.latency.observe(time.monotonic_ns() - bid.arrival_ns)
