"""What a money event does to an advertiser's books: the rules, free of where the books are kept.

The Lua script `ledger_settle` does the same in Redis. `Tally` does it in memory for a whole event log, which is what
audits and drills compare Redis with.

Of each bid it matters which kinds of event came. The first win, billing or impression settles it: what was authorised
stops being reserved, and the bid costs what was authorised, or the clear price where the event says it. Later the
exchange's price notice puts the clear price in place of that. A loss frees what was authorised if nothing has settled
the bid; a win that contradicts it costs money nobody reserved. A price above what was authorised is not believed: the
bid then costs what was authorised. So a bid never costs more than was authorised, in any order of its events, and the
order matters only to what is reserved.
"""

from __future__ import annotations

from collections import defaultdict
from enum import IntFlag
from typing import NamedTuple

from campaign_express.bidding.budget import Accounts
from campaign_express.events import MoneyEvent


class Seen(IntFlag):
    """Kinds of event that were applied to a bid, and whether its price is final. Values as in Redis."""

    NOTHING = 0
    WIN = 1
    BILLING = 2
    IMPRESSION = 4
    LOSS = 8
    PRICED = 16


KINDS = {"win": Seen.WIN, "billing": Seen.BILLING, "impression": Seen.IMPRESSION, "loss": Seen.LOSS}
_SETTLED = Seen.WIN | Seen.BILLING | Seen.IMPRESSION


class Bid(NamedTuple):
    """What the books know of one bid."""

    seen: Seen = Seen.NOTHING
    committed: int = 0  # micros


class Effect(NamedTuple):
    """What an event changes. `releases`: what was authorised is no longer reserved."""

    bid: Bid
    duplicate: bool = False
    disbelieved: bool = False
    releases: bool = False


def settle(bid: Bid, event: MoneyEvent) -> Effect:
    """The bid after the event, which is one of KINDS."""
    kind = KINDS[event.kind]
    if bid.seen & kind:
        return Effect(bid, duplicate=True)
    settled = bool(bid.seen & _SETTLED)
    releases = bool(event.lease) and not settled and not bid.seen & Seen.LOSS
    seen = bid.seen | kind
    if kind is Seen.LOSS:
        return Effect(Bid(seen, bid.committed), releases=releases)
    disbelieved = bool(event.quarantined)
    committed = bid.committed if settled else event.authorised_micros
    if event.sets_price and not bid.seen & Seen.PRICED:
        if disbelieved or event.clear_micros > event.authorised_micros:
            seen, committed, disbelieved = seen | Seen.PRICED, event.authorised_micros, True
        elif event.clear_micros >= 0:
            seen, committed = seen | Seen.PRICED, event.clear_micros
    return Effect(Bid(seen, committed), disbelieved=disbelieved, releases=releases)


LAST_MS = 253_370_764_800_000  # 9999-01-01: what is later has no date
TOTAL = ""  # the period of what is counted for ever


class Tally:
    """What events have committed, by period and campaign: `committed[period][campaign]`, "" is the whole account.

    Events of one advertiser, in any order, any number of times. Keeps a record of every bid.
    """

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.bids: dict[str, Bid] = {}
        self.committed: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.disbelieved = 0

    def add(self, event: MoneyEvent) -> Effect | None:
        """None where the event is of a test or costs nothing by its kind."""
        if event.test or event.kind not in KINDS:
            return None
        before = self.bids.get(event.bid_key, Bid())
        effect = settle(before, event)
        self.bids[event.bid_key] = effect.bid
        self.disbelieved += effect.disbelieved
        if change := effect.bid.committed - before.committed:
            day, hour, account_day, account_hour = self.accounts.periods(
                event.advertiser, event.campaign, event_ms(event)
            )
            for period in (TOTAL, day, hour):
                self.committed[period][event.campaign] += change
            for period in (TOTAL, account_day, account_hour):
                self.committed[period][""] += change
        return effect


def event_ms(event: MoneyEvent) -> int:
    """Wall clock by which an event is filed: its lease's, which is its bid's also where agents' clocks differ."""
    return event.lease * 1000 - 1 if event.lease else event.bid_ms


def problem_of(event: MoneyEvent) -> str:
    """Why an event that decodes can be applied nowhere; "" where it can."""
    if not event.advertiser:
        return "names no advertiser"
    if event.kind in KINDS and not (event.campaign and event.bid_key):  # a conversion may be due to nothing of ours
        return "names no campaign or bid"
    if "{" in event.advertiser or "}" in event.advertiser:
        return "the advertiser's id holds a brace"
    if not 0 <= event.authorised_micros < 2**53 or event.clear_micros >= 2**53:
        return "an amount is out of range"
    if not 0 <= event.lease < LAST_MS // 1000 or not 0 <= event.bid_ms < LAST_MS:
        return "a time is before 1970 or after 9998"
    if not 0 <= event.received_ms < LAST_MS:
        return "a time is before 1970 or after 9998"
    return ""
