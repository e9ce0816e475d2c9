"""The notices desk: what exchanges, pages and advertisers tell us after a bid. docs/notices.md, docs/events.md.

    GET       /v1/win /v1/loss /v1/billing   from the exchange      -> 200
    GET       /v1/imp                        from the page          -> 200, a pixel
    GET       /v1/click                      from the page          -> 302 to the signed landing, within CLICK_S
    GET POST  /v1/conversion                 from the advertiser    -> 200
    GET       /v1/sync                       from an exchange, by the browser -> 302 or a pixel

A notice is verified, dated, priced, made an event and answered when that is durable; 503 when it can be made so
nowhere. Nothing is applied here: consumers of the events do that, once each. What is tampered with, expired, or a
repetition changes nothing and is counted.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, quote

import msgspec

from campaign_express.clock import Clock
from campaign_express.errors import CampaignExpressError, InvalidRequest, Unavailable
from campaign_express.events import MoneyEvent, bid_key, event_id, impression_cost
from campaign_express.gateway.clearing import PriceReader
from campaign_express.gateway.conversions import Conversions, touch_of
from campaign_express.gateway.http import Receive, ReplyWaiter, Scope, Send
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.replies import (
    DONE,
    PIXEL_REPLY,
    Reply,
    json_reply,
    pixel,
    redirect,
    refusal,
    wrong_method,
)
from campaign_express.gateway.sync import UserSync, own_id
from campaign_express.openrtb.notices import KINDS, Notice, NoticeSigner
from campaign_express.ports import EventSink, Kept, TouchStore
from campaign_express.tracing import NoticeTrace

CLICK_S = 0.08  # a visitor waits no longer than this for our bookkeeping
CLICK_ID = "{CLICK_ID}"  # in a landing: what the postback of a conversion gives back
MAX_BODY = 16_384  # of a postback
MAX_PARAMETERS = 64
MAX_MACRO = 256  # characters of a macro's value that are kept

_OUR_IDS = frozenset({"auction_id", "bid_id", "imp_id", "ad_id"})  # macros that repeat what is signed


class NoticeDesk:
    """One for a cell. Constructed in `bootstrap_notices.build_notice_service`."""

    def __init__(
        self,
        signer: NoticeSigner,
        sink: EventSink,
        prices: PriceReader,
        conversions: Conversions,
        sync: UserSync,
        touches: TouchStore,
        clock: Clock,
        meters: Meters,
        *,
        url_life_s: int,
        pseudonym: Callable[[str, int], str],
        trace: Callable[[NoticeTrace], None] | None = None,
    ) -> None:
        """`pseudonym`: of a canonical token at a time, "" where its key is not known. `trace` is told of each event."""
        self._trace = trace
        self._pseudonym = pseudonym
        self._signer = signer
        self._sink = sink
        self._prices = prices
        self._conversions = conversions
        self._sync = sync
        self._touches = touches
        self._clock = clock
        self._meters = meters
        self._url_life_ms = url_life_s * 1000
        self._publishing: set[asyncio.Future[Kept]] = set()
        self._others: dict[str, tuple[tuple[str, ...], Callable[[Scope, Receive], Awaitable[Reply]]]] = {
            "/v1/conversion": (("GET", "POST"), self._conversion),
            "/v1/sync": (("GET",), self._user_sync),
        }

    async def handle(self, scope: Scope, receive: Receive, send: Send, close: bool = False) -> bool:
        """Answer an ASGI request; False where its path is none of ours. `close`: the connection is to end with it."""
        path: str = scope["path"]
        if path in KINDS:
            if scope["method"] == "GET":
                waiter: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                self.submit_to(waiter, path, scope["query_string"])
                reply = await waiter
            else:
                reply = self._wrong_method(b"GET")
        elif path in self._others:
            methods, answer = self._others[path]
            if scope["method"] in methods:
                reply = await answer(scope, receive)
            else:
                reply = self._wrong_method(", ".join(methods).encode())
        else:
            return False
        await reply.send(send, close)
        return True

    async def close(self) -> None:
        """Returns when what notices left to be published is."""
        if self._publishing:
            await asyncio.wait(self._publishing)

    def _wrong_method(self, allowed: bytes) -> Reply:
        self._meters.refuse(405)
        return wrong_method(allowed)

    def _count(self, kind: str, outcome: str) -> None:
        self._meters.counters.count_notice(kind, outcome)

    # Notices

    def submit_to(self, waiter: ReplyWaiter, path: str, query: bytes) -> None:
        """Have `waiter` told the reply to a GET of one of `KINDS`, maybe at once.

        Callbacks, not a task: a notice is most of what a cell gets beside bids.
        """
        try:
            reply = self._take(waiter, path, query)
        except Exception as error:
            waiter.set_exception(error)
            return
        if reply is not None:
            waiter.set_result(reply)

    def _take(self, waiter: ReplyWaiter, path: str, query: bytes) -> Reply | None:
        """The reply, where it need not wait for an event."""
        kind = KINDS[path]
        try:
            notice = self._signer.verify(path, query.decode("latin-1"))
        except InvalidRequest as error:
            self._count(kind, "tampered")
            return refusal(error)
        now_ms = self._clock.now_ms()
        if now_ms - notice.event_ms > self._url_life_ms:
            self._count(kind, "expired")
            if kind == "click":  # whoever clicks an old ad may still go where it leads
                return _landing(notice)
            return refusal(InvalidRequest("the notice has expired", "$.query.t", "notice-expired", 410))
        event = self._event(notice, now_ms)
        if kind == "click":
            reply = _landing(notice, event.bid_key)
            # The visitor does not wait for more than CLICK_S, nor hears of our failures.
            timer = asyncio.get_running_loop().call_later(CLICK_S, _answer, waiter, reply)
            self._publish(event, notice.user, waiter, reply, timer)
        else:
            self._publish(event, notice.user, waiter, PIXEL_REPLY if kind == "impression" else DONE)
        return None

    def _told(self, token: str, now_ms: int) -> str:
        """Who stands in an event for a person: without a key the token itself, since a cap's count must not be lost."""
        return self._pseudonym(token, now_ms) or token

    def _event(self, notice: Notice, now_ms: int) -> MoneyEvent:
        key = bid_key(notice.exchange, notice.auction, notice.imp, notice.bid)
        authorised = impression_cost(notice.price_micros)
        cost = self._prices.read(notice, authorised)
        if cost.remark:
            self._meters.counters.count_price(cost.remark)
        return MoneyEvent(
            id=event_id(notice.kind, key),
            bid_key=key,
            kind=notice.kind,
            exchange=notice.exchange,
            auction=notice.auction,
            imp=notice.imp,
            bid=notice.bid,
            advertiser=notice.advertiser,
            campaign=notice.campaign,
            creative=notice.creative,
            authorised_micros=authorised,
            lease=notice.lease,
            clear_micros=cost.micros,
            sets_price=cost.sets_price,
            user=self._told(notice.user, now_ms) if notice.user else "",
            bid_ms=notice.event_ms,
            received_ms=now_ms,
            test=notice.test,
            macros={name: value[:MAX_MACRO] for name, value in notice.macros.items() if name not in _OUR_IDS},
            quarantined=cost.quarantined,
        )

    def _publish(
        self, event: MoneyEvent, user: str, waiter: ReplyWaiter, reply: Reply, timer: asyncio.TimerHandle | None = None
    ) -> None:
        """Have `waiter` told `reply` when the event is durable, or a refusal. `timer` tells a click's before that.

        `user`: the person's token, which the event itself does not say.
        """
        started = time.monotonic_ns()
        publishing = asyncio.ensure_future(self._sink.publish(event))
        self._publishing.add(publishing)
        publishing.add_done_callback(functools.partial(self._published, event, user, started, waiter, reply, timer))

    def _published(
        self,
        event: MoneyEvent,
        user: str,
        started: int,
        waiter: ReplyWaiter,
        reply: Reply,
        timer: asyncio.TimerHandle | None,
        publishing: asyncio.Future[Kept],
    ) -> None:
        self._publishing.discard(publishing)
        if timer is not None:
            timer.cancel()
        error = asyncio.CancelledError() if publishing.cancelled() else publishing.exception()
        if error is None:
            self._note(event, user, publishing.result(), started)
        elif isinstance(error, Unavailable):
            self._count(event.kind, "unavailable")
            if timer is None:
                reply = refusal(error)
        elif timer is None:
            if not waiter.done():
                waiter.set_exception(error)
            return
        _answer(waiter, reply)

    def _note(self, event: MoneyEvent, user: str, kept: Kept, started: int) -> None:
        """Count, and remember what a conversion may be due to."""
        counters = self._meters.counters
        counters.count_notice(event.kind, kept)
        now = time.monotonic_ns()
        counters.publish_time.observe(now - started)
        if self._trace is not None:
            named = (event.auction, event.kind, event.exchange, event.campaign, event.id)
            self._trace(NoticeTrace(*named, started, now, str(kept)))
        if kept is not Kept.DUPLICATE and (event.kind == "click" or (event.kind == "impression" and user)):
            self._touches.record(touch_of(event, user))

    # Postbacks and syncs

    async def _conversion(self, scope: Scope, receive: Receive) -> Reply:
        headers = dict(scope["headers"])
        try:
            given = parameters(scope["query_string"])
            if scope["method"] == "POST":
                given = merged(given, await _body(receive, headers.get(b"content-type", b"")))
            postback = self._conversions.read(given, _bearer(headers))
            cookie = own_id(headers.get(b"cookie", b""))
            if cookie and not self._sync.may_identify(given, headers.get(b"sec-gpc") == b"1"):
                cookie = ""
            event = await self._conversions.attribute(postback, cookie, self._clock.now_ms())
            if event.user:
                event = msgspec.structs.replace(event, user=self._told(event.user, event.received_ms))
        except InvalidRequest as error:
            self._count("conversion", "tampered" if error.http_status == 403 else "invalid")
            return refusal(error)
        except Unavailable as error:
            self._count("conversion", "unavailable")
            return refusal(error)
        if headers.get(b"accept", b"").startswith(b"image/"):
            reply = PIXEL_REPLY
        else:
            said = {"attributed": bool(event.campaign), "event": event.id}
            reply = json_reply(200, json.dumps(said).encode())
        waiter: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._publish(event, "", waiter, reply)
        reply = await waiter
        if reply.status == 200 and not event.campaign:
            self._count("conversion", "unattributed")
        return reply

    async def _user_sync(self, scope: Scope, receive: Receive) -> Reply:
        headers = dict(scope["headers"])
        try:
            given = parameters(scope["query_string"])
            synced = await self._sync.sync(given, headers.get(b"cookie", b""), headers.get(b"sec-gpc") == b"1")
        except CampaignExpressError as error:
            self._count("sync", "invalid")
            return refusal(error)
        self._count("sync", synced.outcome)
        extra = [(b"set-cookie", synced.cookie.encode("ascii"))] if synced.cookie else []
        return redirect(header_url(synced.location), extra) if synced.location else pixel(extra)


def _answer(waiter: ReplyWaiter, reply: Reply) -> None:
    if not waiter.done():
        waiter.set_result(reply)


def _landing(notice: Notice, key: str = "") -> Reply:
    key = key or bid_key(notice.exchange, notice.auction, notice.imp, notice.bid)
    return redirect(header_url(notice.landing.replace(CLICK_ID, key)))


def header_url(url: str) -> str:
    """A URL as it may stand in a header: what is not ASCII, or could end the line, is percent-encoded."""
    return quote(url, safe="%:/?#[]@!$&'()*+,;=~", errors="replace")


def parameters(query: bytes) -> dict[str, str]:
    """A query's parameters. Raises InvalidRequest."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise InvalidRequest(f"query is not ASCII, or has more than {MAX_PARAMETERS} parameters", "$.query") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise InvalidRequest("a parameter is given twice", "$.query", "parameters")
    return given


def merged(query: dict[str, str], body: dict[str, str]) -> dict[str, str]:
    """Parameters of both places. Raises InvalidRequest where both give one."""
    both = query.keys() & body.keys()
    if both:
        raise InvalidRequest("is given in the query and in the body", f"$.{min(both)}", "parameters")
    return query | body


async def _body(receive: Receive, content_type: bytes) -> dict[str, str]:
    """Parameters of a form or a flat JSON object. Raises InvalidRequest."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise InvalidRequest(f"body is larger than {MAX_BODY} bytes", rule="body-size", http_status=413)
    if not content_type.lower().startswith(b"application/json"):
        return parameters(body)
    try:
        given = json.loads(body)
    except ValueError:
        raise InvalidRequest("body is not JSON") from None
    if not isinstance(given, dict) or not all(isinstance(value, str | int | float) for value in given.values()):
        raise InvalidRequest("body is not an object of strings and numbers", rule="parameters")
    return {name: value if isinstance(value, str) else repr(value) for name, value in given.items()}


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
