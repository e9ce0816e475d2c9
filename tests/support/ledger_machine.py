"""Agents, notices and time against a ledger, in any order: what hypothesis plays with, and what must always hold.

`MoneyMachine` runs on the reference ledger alone. A subclass adds a second ledger (`second`), which is then asked the
same and must answer the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from campaign_express.adapters.ledger_terms import Order, Outcome, Want
from campaign_express.bidding.books import broken_invariants, differences, overspent
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Budget
from campaign_express.bidding.purse import Purse
from campaign_express.events import MoneyEvent, bid_key, event_id
from tests.support.catalogs import catalog_of
from tests.support.reference_ledger import ReferenceLedger, same_money

ADVERTISER = "acme"
SETTLE_S = 420  # an exchange's exp of 300 and 120 of lateness
REMEMBER_S = 8000
CLOCK = LeaseClock(60)
START_MS = 1_795_000_000_000
# Budgets of a few bids each, of which the narrowest differs: hour, day, total; and an account narrower than their sum.
BUDGETS = {
    "hours": ("Asia/Kolkata", Budget(hourly=2_500, daily=8_000)),
    "days": ("America/New_York", Budget(daily=3_000)),
    "ever": ("UTC", Budget(total=5_000)),
    "account": ("Pacific/Chatham", Budget()),
}
ACCOUNT = ("Australia/Lord_Howe", Budget(hourly=4_000, daily=6_000, total=15_000))
HEADROOM = 0.02


def accounts() -> Accounts:
    return Accounts(catalog_of(ADVERTISER, ACCOUNT, BUDGETS), HEADROOM)


@dataclass
class Bid:
    key: str
    campaign: str
    lease: int
    authorised: int
    clear: int
    price_kind: str  # the exchange's price notice
    bid_ms: int
    won: bool
    seen: set[str] = field(default_factory=set)


campaigns = st.sampled_from(list(BUDGETS))
agents = st.integers(0, 1)
price_kinds = st.sampled_from(["win", "billing", "impression", "none"])
kinds = st.sampled_from(["win", "billing", "impression"])
# What a bid costs, the share of that which is paid, who sets the price, whether it is won, what is reported at once.
offers = st.tuples(st.integers(1, 1_500), st.floats(0, 1), price_kinds, st.booleans(), st.lists(kinds, max_size=3))
Offer = tuple[int, float, str, bool, list[str]]


class MoneyMachine(RuleBasedStateMachine):
    second: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.accounts = accounts()
        self.ledger = ReferenceLedger(self.accounts, SETTLE_S, REMEMBER_S)
        self.wall_ms = START_MS
        self.purses = [Purse(self.accounts, CLOCK) for _ in range(2)]
        self.bids: list[Bid] = []
        self.unreserved = 0  # micros committed that the ledger could not have reserved: late, contradicted
        self.expired = False

    @initialize(offset=st.integers(0, 86_400))
    def some_time_of_day(self, offset: int) -> None:
        self.wall_ms += offset * 1000

    # Both ledgers are asked the same.

    def trade(self, order: Order) -> list[Any]:
        (grants,) = self.ledger.trade([order], self.wall_ms)
        if self.second is not None:
            assert self.second.trade([order], self.wall_ms) == [grants]
        return grants

    def apply(self, events: list[MoneyEvent]) -> list[Any]:
        applied = self.ledger.apply(events)
        if self.second is not None:
            assert self.second.apply(events) == applied
        return applied

    # Agents.

    @rule(agent=agents, wants=st.lists(st.tuples(campaigns, st.integers(1, 3_000)), max_size=4), ahead=st.booleans())
    def top_up(self, agent: int, wants: list[tuple[str, int]], ahead: bool) -> None:
        purse = self.purses[agent]
        lease = CLOCK.lease_at(self.wall_ms) + (CLOCK.lease_s if ahead else 0)
        order = Order(ADVERTISER, [Want(name, lease, micros, 500) for name, micros in wants], purse.drain())
        for grant in self.trade(order):
            if grant.micros:
                purse.credit(grant.campaign, grant.lease, grant.micros, self.wall_ms)

    @rule(name=campaigns, micros=st.integers(1, 3_000))
    def a_grant_gets_lost(self, name: str, micros: int) -> None:
        """Frozen for want of a replica, or its answer never came."""
        self.trade(Order(ADVERTISER, [Want(name, CLOCK.lease_at(self.wall_ms), micros)]))

    @rule(agent=agents, name=campaigns, bids=st.lists(offers, min_size=1, max_size=6), fetch=st.integers(0, 3))
    def bid(self, agent: int, name: str, bids: list[Offer], fetch: int) -> None:
        if fetch:
            self.top_up(agent, [(name, sum(offer[0] for offer in bids))], False)
        for cost, paid, price_kind, won, reported in bids:
            lease = self.purses[agent].authorise(name, cost, self.wall_ms)
            if lease > 0:
                number = f"b{len(self.bids)}"
                key = bid_key("x", number, "1", number)
                bid = Bid(key, name, lease, cost, int(cost * paid), price_kind, self.wall_ms, won)
                self.bids.append(bid)
                for kind in reported:
                    self.tell(bid, self.event(bid, kind if won else "loss"))

    @rule(agent=agents, name=campaigns)
    def give_back(self, agent: int, name: str) -> None:
        self.purses[agent].withdraw(name)
        self.trade(Order(ADVERTISER, (), self.purses[agent].drain()))

    @rule(agent=agents)
    def an_agent_dies(self, agent: int) -> None:
        self.purses[agent] = Purse(self.accounts, CLOCK)

    # Notices.

    def event(self, bid: Bid, kind: str, clear: int | None = None) -> MoneyEvent:
        sets_price = kind == bid.price_kind
        return MoneyEvent(
            id=event_id(kind, bid.key),
            bid_key=bid.key,
            kind=kind,
            exchange="x",
            auction="a",
            imp="1",
            bid="b",
            advertiser=ADVERTISER,
            campaign=bid.campaign,
            creative="k",
            authorised_micros=bid.authorised,
            lease=bid.lease,
            clear_micros=(bid.clear if clear is None else clear) if sets_price else -1,
            sets_price=sets_price,
            bid_ms=bid.bid_ms,
        )

    def in_time(self, bid: Bid) -> bool:
        return self.wall_ms <= (bid.lease + SETTLE_S) * 1000

    def tell(self, bid: Bid, event: MoneyEvent) -> None:
        (applied,) = self.apply([event])
        if event.kind in bid.seen and event.kind != "loss":  # of a loss it may be forgotten
            assert applied.outcome in (Outcome.DUPLICATE, Outcome.EXPIRED)
        bid.seen.add(event.kind)
        if applied.outcome is Outcome.EXPIRED:
            self.expired = True
        elif applied.outcome in (Outcome.LATE, Outcome.UNRESERVED) or not self.in_time(bid):
            self.unreserved += max(applied.committed, 0)

    @rule(news=st.lists(st.tuples(st.integers(1, 9), kinds), min_size=1, max_size=6))
    def notices(self, news: list[tuple[int, str]]) -> None:
        """Of the bids made last: of each its own outcome, once or again, in any order, in time or not."""
        for back, kind in news:
            if back <= len(self.bids):
                bid = self.bids[-back]
                self.tell(bid, self.event(bid, kind if bid.won else "loss"))

    @precondition(lambda self: self.bids)
    @rule(data=st.data(), more=st.integers(1, 10**6))
    def a_price_beyond_the_bid(self, data: st.DataObject, more: int) -> None:
        bid = data.draw(st.sampled_from(self.bids[-8:]))
        if bid.won and bid.price_kind != "none":
            self.tell(bid, self.event(bid, bid.price_kind, bid.authorised + more))

    @precondition(lambda self: self.bids)
    @rule(data=st.data())
    def a_contradiction(self, data: st.DataObject) -> None:
        """A bid is reported lost, and then won."""
        bid = data.draw(st.sampled_from(self.bids[-8:]))
        self.tell(bid, self.event(bid, "loss"))
        self.tell(bid, self.event(bid, "win"))

    # Time.

    @rule(seconds=st.sampled_from([1, 7, 60, 300, 420, 3_600, 40_000]))
    def time_passes(self, seconds: int) -> None:
        self.wall_ms += seconds * 1000

    @rule()
    def sweep(self) -> None:
        swept = self.ledger.sweep(self.wall_ms)
        if self.second is not None:
            assert self.second.sweep(self.wall_ms).micros == swept.micros

    @rule(back=st.integers(1, 9), kind=kinds)
    def a_notice_after_the_sweep(self, back: int, kind: str) -> None:
        self.wall_ms += (SETTLE_S + 2 * CLOCK.lease_s) * 1000
        self.sweep()
        self.notices([(back, kind)])

    # What always holds.

    @invariant()
    def the_books_are_right(self) -> None:
        books = self.ledger.books(ADVERTISER)
        if self.second is not None:
            found = self.second.books(ADVERTISER)
            assert same_money(found, books), (found, books)
            books = found
        broken = set(broken_invariants(books, self.accounts, self.wall_ms))
        if self.unreserved:  # its bounds: see below
            broken -= set(overspent(books, self.accounts, self.wall_ms))
        assert not broken
        if not self.expired and self.second is None:
            assert list(differences(books, self.ledger.tally)) == []

    @invariant()
    def no_budget_is_overspent(self) -> None:
        """Nor is it by what came late or contradicted itself, as far as the headroom goes."""
        tally = self.ledger.tally
        for name in BUDGETS:
            for bid in [bid for bid in self.bids if bid.campaign == name][-3:]:
                for scope in self.accounts.scopes(name, bid.lease * 1000 - 1):
                    of = "" if scope.name.startswith("account.") else name
                    if scope.limit is not None:
                        beyond = max(self.unreserved - scope.headroom, 0)
                        assert tally.committed[scope.period][of] <= scope.limit + beyond

    @invariant()
    def what_may_still_be_spent_is_reserved(self) -> None:
        """Balances in purses and bids whose notice may still come in time are outstanding in their lease."""
        claims: dict[tuple[str, int], int] = defaultdict(int)
        for purse in self.purses:
            for name in BUDGETS:
                for lease in range(CLOCK.lease_at(self.wall_ms), CLOCK.lease_at(self.wall_ms) + 61, 60):
                    claims[(name, lease)] += purse.balance(name, lease)
        for bid in self.bids:
            if not bid.seen and bid.lease > self.ledger.swept_to:
                claims[(bid.campaign, bid.lease)] += bid.authorised
        for where, micros in claims.items():
            assert micros <= self.ledger.outstanding(where), where


__all__ = ["ADVERTISER", "REMEMBER_S", "SETTLE_S", "MoneyMachine", "accounts"]
