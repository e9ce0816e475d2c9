"""Logged requests decided once more, by the serving core, with a changed catalogue or model: what would be otherwise.

A logged request is taken as it stands: whether its person's data could be used, the segments and the time are those of
then. Persons have seen nothing yet, money is without end and nothing is paced or stopped: requests that any of these
decided are counted apart. What is not logged (`bidding/stripping.py`) cannot decide again: cities, ids and how many of
them, keywords of persons. A creative among several of the same worth is drawn by the auction's id, which is not kept,
so outcomes are compared by campaign and price.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from campaign_express.bidder import Bidder
from campaign_express.bidding.context import Context, build_context
from campaign_express.bidding.frequency import CapTable
from campaign_express.bidding.pipeline import Decision, Pipeline
from campaign_express.bidding.privacy import Consent
from campaign_express.bidding.standing import NOBODY, Standing
from campaign_express.errors import InvalidRequest
from campaign_express.events import Chosen
from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.ports import UserState

BID = "bid"
BATCH = 64  # requests decided together; as a busy agent would
# What decides a request beside itself and the catalogue.
STATE = frozenset(
    reason.value
    for reason in (
        NoBidReason.STOPPED,
        NoBidReason.BUDGET,
        NoBidReason.PACING,
        NoBidReason.STATE_UNKNOWN,
        NoBidReason.TIMEOUT,
        NoBidReason.TECHNICAL_ERROR,
    )
)
_CAPPED = NoBidReason.FREQUENCY.value
_PERSONAL = Consent(identify=True, personalise=True, measure=True, reason="", query="")


class Logged(Struct, frozen=True):
    """A row of the table `requests`."""

    wall_ms: int
    exchange: str
    body: str
    segments: tuple[str, ...]
    bids: tuple[Chosen, ...]
    reason: str
    user: str
    weight: int

    @property
    def by_state(self) -> bool:
        """Whether budget, cap, pace, switch or haste decided it. A cap without a person is a rule like another."""
        return self.reason in STATE or (self.reason == _CAPPED and self.user != "")


class Bid(NamedTuple):
    """One bid, then or now. `pctr`, `pcvr` by the model, 0 where they are not known."""

    imp: str
    campaign: str
    price_micros: int
    pctr: float = 0.0
    pcvr: float = 0.0


class Side(Struct):
    """Totals of one side. Numbers are of requests as they were, each logged one standing for its weight."""

    requests_with_bid: int = 0
    bids: int = 0
    price_micros: int = 0  # sum of CPM
    spend_micros: float = 0.0  # if every bid were won at its price
    clicks: float = 0.0  # expected, if every bid were shown
    conversions: float = 0.0

    def add(self, bids: Sequence[Bid], weight: int) -> None:
        self.requests_with_bid += weight if bids else 0
        for bid in bids:
            self.bids += weight
            self.price_micros += bid.price_micros * weight
            self.spend_micros += bid.price_micros * weight / 1000
            self.clicks += bid.pctr * weight
            self.conversions += bid.pctr * bid.pcvr * weight


class OfCampaign(Struct):
    """One campaign's bids. `gained`: now and not then."""

    before: Side
    after: Side
    gained: int = 0
    lost: int = 0
    repriced: int = 0


class Report(Struct):
    """What a backtest found. `same`: requests with the same campaigns and prices, or none for the same reason."""

    requests: int = 0
    logged: int = 0  # rows that were compared
    same: int = 0
    before: Side = msgspec.field(default_factory=Side)
    after: Side = msgspec.field(default_factory=Side)
    campaigns: dict[str, OfCampaign] = {}
    reasons: list[tuple[str, str, int]] = []  # then, now, requests; "bid" for a bid; only what has changed
    left_out: dict[str, int] = {}  # rows that were not compared, by why
    by_state_now_bid: int = 0  # requests that budget, cap, pace or switch decided, and that would be bid on without


class Backtest:
    """Decides with `bidder`, whose catalogue and model are the changed ones."""

    def __init__(self, bidder: Bidder) -> None:
        self._bidder = bidder
        served = bidder.pipeline
        # As an agent's, but for its purse: caps hold where a request tells of nobody.
        standing = Standing(served.lines, None, CapTable(served.lines))
        self._pipeline = Pipeline(
            served.lines, served.scorer, served.rates, served.max_candidates, served.version, standing
        )
        self.report = Report()
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._left_out: Counter[str] = Counter()
        self._campaigns: defaultdict[str, OfCampaign] = defaultdict(lambda: OfCampaign(Side(), Side()))

    def run(self, rows: Iterable[Logged]) -> Iterator[int]:
        """Yields the number of rows that are done, now and then; `report` is whole in the end."""
        done = 0
        for batch in _batches(rows):
            contexts: list[Context] = []
            taken: list[Logged] = []
            for row in batch:
                context = self._context(row)
                if context is not None:
                    contexts.append(context)
                    taken.append(row)
            for row, (bids, reason) in zip(taken, self._decide(contexts, taken), strict=True):
                self._compare(row, bids, reason)
            done += len(batch)
            yield done
        report = self.report
        report.campaigns = dict(sorted(self._campaigns.items()))
        report.reasons = [(*pair, count) for pair, count in self._reasons.most_common()]
        report.left_out = dict(self._left_out.most_common())

    def _context(self, row: Logged) -> Context | None:
        exchange = self._bidder.exchanges.get(row.exchange)
        if not row.body:
            self._left_out["logged without its body, which was too long"] += 1
            return None
        if exchange is None:
            self._left_out[f"of the exchange {row.exchange}, which is no more"] += 1
            return None
        try:
            request = decode_request(row.body.encode())
        except InvalidRequest:
            self._left_out["not valid any more"] += 1
            return None
        context = build_context(request, exchange, self._bidder.enricher, self._bidder.privacy, row.wall_ms)
        # Consent strings are not kept; what came of them is.
        if row.user or row.segments or request.user is not None:
            context.consent = _PERSONAL
            context.segments = row.segments
            context.user_id = row.user
        return context

    def _decide(self, contexts: Sequence[Context], rows: Sequence[Logged]) -> Iterator[tuple[list[Bid], str]]:
        refused = [self._bidder.refuse(context) for context in contexts]
        asked = [
            (context, _person(row))
            for context, row, reason in zip(contexts, rows, refused, strict=True)
            if reason is None
        ]
        people: list[UserState | None] = [person for _, person in asked]
        decisions = iter(self._pipeline.decide([context for context, _ in asked], people) if asked else [])
        for reason in refused:
            yield ([], reason.value) if reason is not None else _outcome(next(decisions))

    def _compare(self, row: Logged, bids: list[Bid], reason: str) -> None:
        report, weight = self.report, row.weight
        if row.by_state:
            self._left_out[f"decided by {row.reason}"] += 1
            report.by_state_now_bid += weight if bids else 0
            return
        report.logged += 1
        report.requests += weight
        then = [Bid(bid.imp, bid.campaign, bid.price_micros) for bid in row.bids]
        report.before.add(then, weight)
        report.after.add(bids, weight)
        was = {(bid.imp, bid.campaign): bid for bid in then}
        now = {(bid.imp, bid.campaign): bid for bid in bids}
        if not then and not bids:
            same = row.reason == reason
        else:
            same = was.keys() == now.keys() and all(
                was[key].price_micros == bid.price_micros for key, bid in now.items()
            )
        report.same += weight if same else 0
        before, after = BID if then else row.reason, BID if bids else reason
        if before != after:
            self._reasons[before, after] += weight
        for key in was.keys() | now.keys():
            old, new = was.get(key), now.get(key)
            campaign = self._campaigns[key[1]]
            campaign.before.add([old] if old else [], weight)
            campaign.after.add([new] if new else [], weight)
            campaign.gained += weight if old is None else 0
            campaign.lost += weight if new is None else 0
            campaign.repriced += weight if old and new and old.price_micros != new.price_micros else 0


def _person(row: Logged) -> UserState:
    return UserState(row.user, segments=row.segments) if row.user else NOBODY


def _outcome(decision: Decision) -> tuple[list[Bid], str]:
    bids = [Bid(win.slot.imp.id, win.line.campaign.id, win.price_micros, win.pctr, win.pcvr) for win in decision.wins]
    return bids, "" if bids else (decision.reason or NoBidReason.NO_CAMPAIGN).value


def _batches(rows: Iterable[Logged]) -> Iterator[list[Logged]]:
    batch: list[Logged] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
