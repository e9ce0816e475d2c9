"""What an agent tells of its decisions: events, gathered and framed many to a message. docs/events.md, "Decisions".

Pure and of one thread. Which requests are told of is decided by a hash of their id, so that every agent, and every
repetition of a request, agrees; an event's `weight` says how many it stands for. A bid costs some 5 µs here, a no-bid
that is not told of 0.4.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from campaign_express.bidding.context import Context
from campaign_express.bidding.model import Inventory
from campaign_express.bidding.pipeline import Decision, Win
from campaign_express.bidding.respond import key_of
from campaign_express.bidding.stripping import stripped
from campaign_express.events import (
    SCHEMA,
    Chosen,
    DecisionEvent,
    DecisionFrame,
    RequestEvent,
    encode_frame,
    request_key,
)
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.openrtb.request import BidRequest
from campaign_express.ports import UserState

FRAME_EVENTS = 256
FRAME_NS = 250_000_000  # an event waits no longer for others, while there is traffic
MAX_FRAME = 524_288  # bytes; NATS takes a megabyte
MAX_BODY = 131_072  # bytes of a logged request; of a longer one the body is left out
MAX_TEXT = 256  # characters, once a frame of one event is too large
MAX_ITEMS = 64  # likewise

# A hash's low bits follow the last characters of an id; multiplied, all of it decides.
_SPREAD, _WORD = 0x9E3779B1, 0xFFFFFFFF
_SITE, _APP, _DOOH = Inventory.SITE, Inventory.APP, Inventory.DOOH  # an Enum's members are slow to look up
_REAL = 20  # characters of a person's canonical token; what stands for anybody has fewer

logger = logging.getLogger(__name__)

_write = msgspec.json.Encoder().encode


class Shares(Struct, frozen=True):
    """Of what share of all requests is told: their bids, that there was none, the request itself. 0: of none."""

    decisions: float = 1.0
    no_bids: float = 0.01
    requests: float = 0.01


class DecisionLog:
    """One agent's. With each batch `begin` is called, `refused` for some of its requests, then `decided` for the rest.

    Nothing here raises: a fault of ours costs an event, never an answer.
    """

    def __init__(self, shares: Shares, pseudonym: Callable[[str, int], str], model: str, name: str = "") -> None:
        """`pseudonym` of a person's canonical token at a time; `name` tells this agent's frames from all others."""
        self._bids_below, self._bid_weight = _terms(shares.decisions)
        self._no_bids_below, self._no_bid_weight = _terms(shares.no_bids)
        self._requests_below, self._request_weight = _terms(shares.requests)
        self._highest = max(self._bids_below, self._no_bids_below, self._requests_below)
        self._pseudonym = pseudonym
        self._model = model
        self._name = name or secrets.token_hex(6)
        self._frames = 0
        self._decisions: list[DecisionEvent] = []
        self._requests: list[RequestEvent] = []
        self._ready: list[bytes] = []
        self._since_ns = 0
        self._now_ns = 0
        self._wall_ms = 0
        self._catalog = 0
        self.failures = 0  # requests that could not be told of

    def begin(self, catalog: int, wall_ms: int, now_ns: int) -> None:
        """What follows is of one batch: its time, and the version of the catalogue that it was decided with."""
        if not self._decisions and not self._requests:
            self._since_ns = now_ns
        self._now_ns = now_ns
        self._wall_ms = wall_ms
        self._catalog = catalog

    def decided(self, decisions: Sequence[Decision], arrivals_ns: Sequence[int], now_ns: int) -> list[bytes]:
        """Tell of the requests that were decided; returns the frames that are due."""
        self._now_ns = now_ns
        highest = self._highest
        for decision, arrival_ns in zip(decisions, arrivals_ns, strict=True):
            try:
                ticket = _ticket(decision.context.request.id)
                if ticket < highest:
                    self._tell(decision, ticket, arrival_ns)
            except Exception:
                self._failed()
        return self.frames(now_ns)

    def refused(
        self,
        request: BidRequest,
        exchange: str,
        reason: NoBidReason,
        arrival_ns: int,
        context: Context | None = None,
    ) -> None:
        """Tell of a request that was not worth deciding, or came too late to be looked at (no `context`)."""
        ticket = _ticket(request.id)
        try:
            if ticket < self._no_bids_below:
                self._tell_no_bid(request, exchange, reason, arrival_ns, context, None)
            if ticket < self._requests_below:
                self._tell_request(request, exchange, reason, context, None, ())
        except Exception:
            self._failed()

    def frames(self, now_ns: int, everything: bool = False) -> list[bytes]:
        """Encoded frames that are full or old enough; `everything`: what is left too. Each is given out once."""
        self.close_frame(now_ns, everything)
        ready = self._ready
        if ready:
            self._ready = []
        return ready

    def close_frame(self, now_ns: int, everything: bool = False) -> None:
        """Encode what has been gathered, where it is enough or old enough."""
        count = len(self._decisions) + len(self._requests)
        if count and (everything or count >= FRAME_EVENTS or now_ns - self._since_ns >= FRAME_NS):
            decisions, requests = self._decisions, self._requests
            self._decisions, self._requests = [], []
            self._since_ns = now_ns
            self._pack(decisions, requests)

    def forget(self) -> None:
        """Drop what has been gathered: it was a rehearsal."""
        self._decisions, self._requests, self._ready = [], [], []

    def _tell(self, decision: Decision, ticket: int, arrival_ns: int) -> None:
        context, person, wins = decision.context, decision.person, decision.wins
        request, exchange = context.request, context.exchange_name
        if wins:
            if ticket < self._bids_below:
                self._tell_bids(decision, arrival_ns)
            if ticket < self._requests_below:
                self._tell_request(request, exchange, None, context, person, wins)
            return
        reason = decision.reason or NoBidReason.NO_CAMPAIGN
        if ticket < self._no_bids_below:
            self._tell_no_bid(request, exchange, reason, arrival_ns, context, person)
        if ticket < self._requests_below:
            self._tell_request(request, exchange, reason, context, person, ())

    def _tell_bids(self, decision: Decision, arrival_ns: int) -> None:
        context = decision.context
        inventory = context.inventory
        wall_ms = self._wall_ms
        user = self._user(decision.person)
        kind = "site" if inventory is _SITE else "app" if inventory is _APP else "dooh" if inventory is _DOOH else ""
        place = (inventory is _APP and context.bundle) or context.domain
        contextual = context.consent.contextual
        latency_us = (self._now_ns - arrival_ns) // 1000
        test = context.request.test == 1
        for win in decision.wins:
            advertiser, campaign, creative, media, size = win.line.names
            deal = win.deal
            self._decisions.append(
                DecisionEvent(
                    "bid",
                    key_of(context, win),
                    wall_ms,
                    context.exchange_name,
                    advertiser,
                    campaign,
                    creative,
                    "",
                    self._bid_weight,
                    win.price_micros,
                    win.floor_micros,
                    int(win.pctr * 1e6),
                    int(win.pcvr * 1e6),
                    "" if deal is None else deal.id,
                    media,
                    size,
                    kind,
                    place,
                    context.country,
                    context.region,
                    context.device_type,
                    context.os,
                    user,
                    contextual,
                    self._catalog,
                    self._model,
                    latency_us,
                    test,
                )
            )

    def _tell_no_bid(
        self,
        request: BidRequest,
        exchange: str,
        reason: NoBidReason,
        arrival_ns: int,
        context: Context | None,
        person: UserState | None,
    ) -> None:
        facts: tuple[str, str, str, str, int, str] = ("", "", "", "", 0, "")
        contextual = True  # of what was not looked at nothing personal is told
        if context is not None:
            inventory = context.inventory
            place = (inventory is _APP and context.bundle) or context.domain
            kind = "" if inventory is None else inventory.value
            facts = (kind, place, context.country, context.region, context.device_type, context.os)
            contextual = context.consent.contextual
        kind, place, country, region, device, os = facts
        self._decisions.append(
            DecisionEvent(
                "no-bid",
                request_key(exchange, request.id),
                self._wall_ms,
                exchange,
                *("", "", ""),
                reason.value,
                self._no_bid_weight,
                *(0, 0, 0, 0),
                *("", "", ""),
                kind,
                place,
                country,
                region,
                device,
                os,
                self._user(person),
                contextual,
                self._catalog,
                self._model,
                (self._now_ns - arrival_ns) // 1000,
                request.test == 1,
            )
        )

    def _tell_request(
        self,
        request: BidRequest,
        exchange: str,
        reason: NoBidReason | None,
        context: Context | None,
        person: UserState | None,
        wins: Sequence[Win],
    ) -> None:
        own_id = request_key(exchange, request.id)
        contextual = context is None or context.consent.contextual
        body = _write(stripped(request, own_id, contextual, at_home=context is not None and context.at_home))
        self._requests.append(
            RequestEvent(
                own_id,
                self._wall_ms,
                exchange,
                body if len(body) <= MAX_BODY else b"",
                context.segments if context is not None else (),
                tuple([Chosen(win.slot.imp.id, *win.line.names[1:3], win.price_micros) for win in wins]),
                "" if reason is None else reason.value,
                self._user(person),
                self._catalog,
                self._model,
                self._request_weight,
            )
        )

    def _user(self, person: UserState | None) -> str:
        if person is None or len(person.key) != _REAL:
            return ""
        return self._pseudonym(person.key, self._wall_ms)

    def _failed(self) -> None:
        self.failures += 1
        if self.failures & (self.failures - 1) == 0:  # 1st, 2nd, 4th, ...: a storm must not fill the log
            logger.exception("telling of a decision failed", extra={"failures": self.failures})

    def _pack(self, decisions: list[DecisionEvent], requests: list[RequestEvent]) -> None:
        """Make a frame of these events, or several where it were too large."""
        name = f"{self._name}-{self._frames}"
        try:
            payload = encode_frame(DecisionFrame(SCHEMA, name, decisions, requests))
        except UnicodeEncodeError:  # half of a surrogate pair in one of the texts
            payload = b""
        if payload and len(payload) <= MAX_FRAME:
            self._frames += 1
            self._ready.append(payload)
        elif len(decisions) + len(requests) == 1:
            self._pack([_tame(one) for one in decisions], [_tame(one) for one in requests])
        else:
            first, other = (len(decisions) + 1) // 2, (len(requests) + 1) // 2
            if not decisions or not requests:
                self._pack(decisions[:first], requests[:other])
                self._pack(decisions[first:], requests[other:])
            else:
                self._pack(decisions, [])
                self._pack([], requests)


def _ticket(request_id: str) -> int:
    try:
        raw = request_id.encode()
    except UnicodeEncodeError:
        raw = request_id.encode("utf-8", "surrogatepass")
    return crc32(raw) * _SPREAD & _WORD


def _terms(share: float) -> tuple[int, int]:
    """(below which of 2^32 tickets a request is told of, what an event weighs)."""
    return round(share * (_WORD + 1)), round(1 / share) if share else 0


def _tame(value: Any) -> Any:
    """An event of which a hostile request has made a monster, cut to what fits into a frame."""
    if isinstance(value, str):
        return value[:MAX_TEXT].encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return tuple([_tame(one) for one in value[:MAX_ITEMS]])
    if isinstance(value, Struct):
        return type(value)(*[_tame(getattr(value, name)) for name in value.__struct_fields__])
    return value
