"""One agent's whole job: a batch of raw requests in, their answers out. Synchronous, without I/O and without a clock
of its own.

Decode, refuse what is not OpenRTB, gather the facts (device, place, consent), decide the batch (`bidding.pipeline`),
build and encode the answers. One bad request never touches the others of its batch: whatever goes wrong with one is
its own no-bid.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from campaign_express.bidding.context import Context, build_context
from campaign_express.bidding.currency import Rates
from campaign_express.bidding.explain import explain
from campaign_express.bidding.frequency import CapTable
from campaign_express.bidding.identity import ids_of
from campaign_express.bidding.lines import Lines
from campaign_express.bidding.model import Catalog, Exchange, Inventory
from campaign_express.bidding.pipeline import Decision, Pipeline
from campaign_express.bidding.privacy import PrivacyPolicy
from campaign_express.bidding.respond import build_response, key_of, no_bid_response
from campaign_express.bidding.standing import ANYBODY, NOBODY, Standing
from campaign_express.control import Paces, Switches
from campaign_express.decision_log import DecisionLog
from campaign_express.errors import InvalidRequest
from campaign_express.frames import ACCEPT_GZIP, BODY_GZIP, PROTOBUF, Answer, Ask, Reply, StateCounts, Timings, Traced
from campaign_express.openrtb.codec import decode_request, encode_response, error_body, gunzip, gzip_response
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.openrtb.notices import NoticeSigner
from campaign_express.openrtb.protobuf import decode_request_pb, encode_response_pb
from campaign_express.openrtb.quirks import hooks
from campaign_express.openrtb.request import BidRequest
from campaign_express.openrtb.request_id import request_id
from campaign_express.ports import Enricher, Hold, Purse, Scorer, UserState, UserStore, UserWant
from campaign_express.timed_scorer import TimedScorer
from campaign_express.tracing import is_traced, trace_id

logger = logging.getLogger(__name__)

EXPLAIN_TIMEOUT_S = 1.0

_UNANSWERED = Answer(204, b"", NoBidReason.TECHNICAL_ERROR.index)
_NO_BIDS = {reason: Answer(204, b"", reason.index) for reason in NoBidReason}


@dataclass(frozen=True, slots=True)
class State:
    """Money and memory of one agent."""

    users: UserStore
    purse: Purse
    follow: Callable[[Catalog], None]  # called with each catalogue before it is bid with
    lateness_ms: int  # beyond a bid's `exp`, in which its notices may still come
    timeout_s: float  # that a batch waits for `users`
    other_users: UserStore | None = None  # a second client of the same store, for explanations in another thread
    seen: Callable[[str, int], None] = lambda exchange, wall_ms: None  # counts a request, for pacing
    counts: Callable[[], StateCounts] = StateCounts  # for the gateway's metrics
    close: Callable[[], None] = lambda: None  # gives leases back and sends what is queued


class Bidder:
    """Answers batches with the catalogue it has. `replace_catalog` may be called from another thread at any time."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        exchanges: Mapping[str, Exchange],
        default_exchange: str,
        rates: Rates,
        scorer: Scorer,
        enricher: Enricher,
        privacy: PrivacyPolicy,
        signer: NoticeSigner,
        max_candidates: int,
        max_decompressed_bytes: int,
        tmax_reserve_ms: int,
        state: State | None = None,
        log: DecisionLog | None = None,
        trace_share: float = 0.0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`state`: where money and memory are; without it budgets and caps are not kept (files replayed offline).
        `log`: what is told of decisions, None: nothing. `trace_share`: of auctions, that the gateway makes traces of.
        """
        self.exchanges = {**exchanges, "": exchanges[default_exchange]}
        self._hooks = {exchange.name: hooks(exchange.quirks) for exchange in exchanges.values()}
        self.rates = rates
        self.enricher = enricher
        self.privacy = privacy
        self.signer = signer
        self.max_candidates = max_candidates
        self.max_decompressed_bytes = max_decompressed_bytes
        self.tmax_reserve_ms = tmax_reserve_ms
        self.scorer = TimedScorer(scorer, clock_ns)
        self.state = state
        self.log = log
        self.trace_share = trace_share
        self._clock_ns = clock_ns
        self._state_ns = 0  # that the last batch waited for the store of people
        self._switches = Switches()
        self._paces = Paces()
        self._telling = threading.Lock()
        self.replace_catalog(catalog)

    def replace_catalog(self, catalog: Catalog) -> None:
        """Compile `catalog` and swap it in whole; decisions under way finish with the one before."""
        lines = Lines(catalog)
        state = self.state
        if state is not None:
            state.follow(catalog)
        standing = Standing(lines) if state is None else Standing(lines, state.purse, CapTable(lines))
        pipeline = Pipeline(lines, self.scorer, self.rates, self.max_candidates, catalog.version, standing)
        with self._telling:
            standing.tell_switches(self._switches)
            standing.tell_paces(self._paces)
            self.pipeline = pipeline

    def tell_switches(self, switches: Switches) -> None:
        """Stop, from now on, what these switches stop. May be called from another thread, as `tell_paces` may."""
        with self._telling:
            self._switches = switches
            self.pipeline.standing.tell_switches(switches)

    def tell_paces(self, paces: Paces) -> None:
        """Bid, from now on, as these paces say."""
        with self._telling:
            self._paces = paces
            self.pipeline.standing.tell_paces(paces)

    def close(self) -> None:
        """Give back what is held of money and memory; the bidder goes on without new money."""
        if self.state is not None:
            self.state.close()

    def idle(self) -> None:
        """Nobody waits for an answer: what was bid in the last batch is written to the store of people."""
        if self.state is not None:
            self.state.users.flush()
        if self.log is not None:
            self.log.close_frame(self._clock_ns())

    def events(self) -> list[bytes]:
        """Frames of all that has been decided and not been told yet."""
        return self.log.frames(self._clock_ns(), everything=True) if self.log is not None else []

    @property
    def catalog_version(self) -> int:
        return self.pipeline.version

    def answer(self, asks: list[Ask], now_ns: int, wall_ms: int) -> Reply:
        """Answers in the order of `asks`. Never raises.

        `now_ns`: CLOCK_MONOTONIC as in Ask.arrival_ns; `wall_ms`: Unix time. The batch goes through one stage after the
        other, not request by request: the code and tables of a stage are then in the processor's caches.
        """
        pipeline = self.pipeline
        version = pipeline.version
        log = self.log
        if log is not None:
            log.begin(version, wall_ms, now_ns)
        self.scorer.spent_ns = 0
        answers: list[Answer] = [_UNANSWERED] * len(asks)

        decoded: list[tuple[int, Exchange, BidRequest]] = []
        for at, ask in enumerate(asks):
            try:
                exchange = self._exchange(ask.exchange)
                body = gunzip(ask.body, self.max_decompressed_bytes) if ask.flags & BODY_GZIP else ask.body
                request = decode_request(body) if ask.encoding != PROTOBUF else decode_request_pb(body)
            except InvalidRequest as error:
                answers[at] = refusal(error)
                continue
            except Exception:
                answers[at] = self._failed("decoding a request", ask)
                continue
            allowed_ms = (request.tmax or exchange.tmax) - self.tmax_reserve_ms
            if now_ns - ask.arrival_ns > allowed_ms * 1_000_000:
                answers[at] = self._no_bid(ask, request.id, exchange, NoBidReason.TIMEOUT)
                if log is not None:
                    log.refused(request, exchange.name, NoBidReason.TIMEOUT, ask.arrival_ns)
            else:
                decoded.append((at, exchange, request))

        places: list[int] = []
        contexts: list[Context] = []
        for at, exchange, request in decoded:
            try:
                context = self._context(request, exchange, wall_ms)
                reason = self.refuse(context)
            except Exception:
                answers[at] = self._failed("reading a request", asks[at])
                continue
            if reason is not None:
                answers[at] = self._no_bid(asks[at], request.id, exchange, reason)
                if log is not None:
                    log.refused(request, exchange.name, reason, asks[at].arrival_ns, context)
            else:
                places.append(at)
                contexts.append(context)

        people = self._people(contexts, wall_ms)
        decisions = self._decide(pipeline, contexts, people)
        for at, decision in zip(places, decisions, strict=True):
            try:
                answers[at] = self._finish(asks[at], decision)
            except Exception:
                answers[at] = self._failed("building a response", asks[at])
                decision.wins, decision.reason = [], NoBidReason.TECHNICAL_ERROR
            if people is not None:
                self._settle(decision)
        arrivals = [asks[at].arrival_ns for at in places]
        events = log.decided(decisions, arrivals, self._clock_ns()) if log is not None else []
        timings = Timings(self._clock_ns() - now_ns, self.scorer.spent_ns, self._state_ns)
        reply = Reply(answers, timings, version, events, self.state.counts() if self.state is not None else None)
        if self.trace_share:
            share = self.trace_share
            reply.traced = [Traced(at, request.id) for at, _, request in decoded if is_traced(request.id, share)]
            reply.started_ns = now_ns
        return reply

    def explain(self, body: bytes, exchange: str, wall_ms: int) -> dict[str, Any]:
        """Why each campaign would or would not bid on a JSON request; raises InvalidRequest."""
        pipeline = self.pipeline
        context = self._context(decode_request(body), self._exchange(exchange), wall_ms)
        ready = self.refuse(context)
        explanation = explain(pipeline, context, ready, self._person_to_explain(context, wall_ms))
        explanation["catalog_version"] = pipeline.version
        explanation["model"] = self.scorer.version
        return explanation

    def warm_up(self) -> None:
        """Run the whole path once, so that no first request pays for lazily made things."""
        body = (
            b'{"id":"warm-up","tmax":60000,"test":1,"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]}},'
            b'{"id":"2","video":{"mimes":["video/mp4"]}}],"site":{"domain":"example.com"},'
            b'"device":{"ua":"Mozilla/5.0","ip":"203.0.113.7"}}'
        )
        for count in (1, 16):
            self.answer([Ask("", self._clock_ns(), body)] * count, self._clock_ns(), int(time.time() * 1000))
        if self.log is not None:
            self.log.forget()

    def _people(self, contexts: list[Context], wall_ms: int) -> list[UserState | None] | None:
        """What is known of each context's person, see `bidding.standing`; None where no state is kept."""
        if self.state is None:
            return None
        wants: list[UserWant | None] = []
        for context in contexts:
            ids = ids_of(context)
            weight = len(context.request.imp)
            if context.request.test == 1:
                weight = 0  # nothing is spent or counted by a test, so it need not reserve what others could use
            else:
                self.state.seen(context.exchange_name, wall_ms)
            wants.append(UserWant(ids, weight) if ids else None)
        start = self._clock_ns()
        # Where nobody is asked for too: what earlier batches have left to be written travels with it.
        found = self.state.users.fetch(wants, wall_ms, self.state.timeout_s)
        self._state_ns = self._clock_ns() - start if any(wants) else 0
        people: list[UserState | None] = []
        for context, want, state in zip(contexts, wants, found, strict=True):
            people.append(NOBODY if want is None else state)
            if state is not None and state.segments:
                context.segments += tuple(one for one in state.segments if one not in context.segments)
        return people

    def _person_to_explain(self, context: Context, wall_ms: int) -> UserState | None:
        if self.state is None or self.state.other_users is None:
            return ANYBODY
        ids = ids_of(context)
        if not ids:
            return NOBODY
        (person,) = self.state.other_users.fetch([UserWant(ids, 0)], wall_ms, EXPLAIN_TIMEOUT_S)
        return person

    def _settle(self, decision: Decision) -> None:
        """Exchange what was held back for this request for what was bid."""
        state, person = self.state, decision.person
        if state is None or person is None or not person.key:
            return
        context = decision.context
        expires_ms = context.wall_ms + context.exchange.exp * 1000 + state.lateness_ms
        holds = [Hold(key_of(context, win), win.entities, expires_ms) for win in decision.wins if win.entities]
        state.users.settle(person, holds)

    def _decide(
        self, pipeline: Pipeline, contexts: list[Context], people: list[UserState | None] | None
    ) -> list[Decision]:
        if not contexts:
            return []
        try:
            return pipeline.decide(contexts, people)
        except Exception:
            if len(contexts) == 1:
                self._log_fault("deciding a request", contexts[0].request.id)
                return [_undecided(contexts[0], people[0] if people is not None else ANYBODY)]
            # One of them breaks the batch: each alone, so that only that one is lost.
            found: list[Decision] = []
            for at, context in enumerate(contexts):
                found += self._decide(pipeline, [context], None if people is None else [people[at]])
            return found

    def _exchange(self, name: str) -> Exchange:
        exchange = self.exchanges.get(name)
        if exchange is None:
            raise InvalidRequest("no such exchange", path="/v1/bid/{exchange}", rule="exchange", http_status=404)
        return exchange

    def _context(self, request: BidRequest, exchange: Exchange, wall_ms: int) -> Context:
        adapt = self._hooks[exchange.name].on_request
        if adapt is not None:
            request = adapt(request)
        return build_context(request, exchange, self.enricher, self.privacy, wall_ms)

    def refuse(self, context: Context) -> NoBidReason | None:
        """What makes a whole request not worth deciding: invalid traffic, sellers that may not sell this."""
        if context.crawler:
            return NoBidReason.CRAWLER
        device = context.request.device
        if device is not None:
            is_data_center = self.enricher.is_data_center
            if (device.ip and is_data_center(device.ip)) or (device.ipv6 and is_data_center(device.ipv6)):
                return NoBidReason.DATA_CENTER
        in_app = context.inventory is Inventory.APP and context.bundle
        place = context.bundle if in_app else context.domain  # app-ads.txt is listed by bundle
        if place and self.enricher.seller_authorised(place, context.exchange_name, context.publisher) is False:
            return NoBidReason.UNAUTHORISED_SELLER
        return None

    def _finish(self, ask: Ask, decision: Decision) -> Answer:
        context = decision.context
        if not decision.wins:
            reason = decision.reason or NoBidReason.NO_CAMPAIGN
            return self._no_bid(ask, context.request.id, context.exchange, reason)
        response = build_response(decision, self.signer)
        adapt = self._hooks[context.exchange_name].on_response
        if adapt is not None:
            response = adapt(response)
        body = encode_response(response) if ask.encoding != PROTOBUF else encode_response_pb(response)
        prices = tuple([win.price_micros for win in decision.wins])
        if ask.flags & ACCEPT_GZIP:
            packed = gzip_response(body)
            return Answer(200, packed, -1, packed is not body, prices)
        return Answer(200, body, -1, False, prices)

    def _no_bid(self, ask: Ask, request_id: str, exchange: Exchange, reason: NoBidReason) -> Answer:
        if exchange.no_bid_status != 200 and ask.encoding != PROTOBUF:  # gRPC has no status without a message
            return _NO_BIDS[reason]
        response = no_bid_response(request_id, exchange, reason.nbr)
        body = encode_response(response) if ask.encoding != PROTOBUF else encode_response_pb(response)
        return Answer(200, body, reason.index)

    def _failed(self, doing: str, ask: Ask) -> Answer:
        """A no-bid for a request struck by a fault of ours, maybe before it was decoded: its id is read anew."""
        exchange = self.exchanges.get(ask.exchange)
        named = request_id(ask.body, protobuf=ask.encoding == PROTOBUF, gzipped=bool(ask.flags & BODY_GZIP))
        self._log_fault(doing, named)
        if exchange is None or not named:
            return _NO_BIDS[NoBidReason.TECHNICAL_ERROR]
        return self._no_bid(ask, named, exchange, NoBidReason.TECHNICAL_ERROR)

    def _log_fault(self, doing: str, auction: str) -> None:
        traced = bool(auction) and is_traced(auction, self.trace_share)
        extra = {"trace_id": trace_id(auction)} if traced else {}
        logger.exception("a fault while %s; answered with no bid", doing, extra=extra)


def refusal(error: InvalidRequest) -> Answer:
    return Answer(error.http_status, error_body(error), NoBidReason.INVALID_REQUEST.index, rule=error.rule)


def _undecided(context: Context, person: UserState | None) -> Decision:
    decision = Decision(context, person)
    decision.lose(NoBidReason.TECHNICAL_ERROR)
    return decision
