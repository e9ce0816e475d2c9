"""A ledger that keeps facts and adds them up when it is asked: slow, and hard to get wrong in the way a fast one is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from campaign_express.adapters.ledger_terms import Applied, Grant, Order, Outcome, Refusal, Swept
from campaign_express.bidding.books import Books
from campaign_express.bidding.budget import QUARTER_S, Accounts
from campaign_express.bidding.settlement import TOTAL, Seen, Tally, settle
from campaign_express.bidding.settlement import Bid as Record
from campaign_express.events import MoneyEvent

Key = tuple[str, int]  # campaign, lease


class ReferenceLedger:
    """Of one advertiser. Same answers as `adapters.ledger.Ledger`."""

    def __init__(self, accounts: Accounts, settle_s: int, remember_s: int) -> None:
        self.accounts = accounts
        self.settle_s = settle_s
        self.remember_s = remember_s
        self.tally = Tally(accounts)
        self.booked: dict[str, dict[Key, int]] = defaultdict(lambda: defaultdict(int))  # flow -> where -> micros
        self.lost: dict[str, int] = {}  # bid -> its hour
        self.swept_to = 0
        self.purged_to = 0

    def outstanding(self, where: Key) -> int:
        debit = sum(self.booked[flow][where] for flow in ("returned", "settled", "cancelled", "swept"))
        return self.booked["granted"][where] - debit

    def reserved(self, campaign: str, period: str = TOTAL) -> int:
        """`campaign` "" is the account."""
        micros = 0
        for name, lease in list(self.booked["granted"]):
            periods = self.accounts.periods("", name, lease * 1000 - 1)
            if (campaign in ("", name)) and (
                period == TOTAL or period in (periods[2:] if campaign == "" else periods[:2])
            ):
                micros += self.outstanding((name, lease))
        return micros

    def free(self, campaign: str, lease: int) -> int:
        """Unreserved money in the tightest scope."""
        found = []
        for scope in self.accounts.scopes(campaign, lease * 1000 - 1):
            if scope.grantable is not None:
                of = "" if scope.name.startswith("account.") else campaign
                committed = self.tally.committed[scope.period][of]
                found.append(scope.grantable - committed - self.reserved(of, scope.period))
        return min(found)

    def follow(self, accounts: Accounts) -> None:
        self.accounts = self.tally.accounts = accounts.remembering(self.accounts)

    def trade(self, orders: Sequence[Order], wall_ms: int) -> list[list[Grant]]:
        return [self._trade(order, wall_ms) for order in orders]

    def _trade(self, order: Order, wall_ms: int) -> list[Grant]:
        for left in order.returns:
            where = (left.campaign, left.lease)
            self.booked["returned"][where] += min(left.micros, self.outstanding(where))
        grants = []
        for want in order.wants:
            if want.lease * 1000 <= wall_ms or want.lease <= self.swept_to:
                grants.append(Grant(want.campaign, want.lease, 0, Refusal.ENDED))
                continue
            free = self.free(want.campaign, want.lease)
            micros = min(want.micros, free, max(free // 8, want.share_floor))
            if micros < max(want.least, 1):
                grants.append(Grant(want.campaign, want.lease, 0, Refusal.SPENT))
                continue
            self.booked["granted"][(want.campaign, want.lease)] += micros
            grants.append(Grant(want.campaign, want.lease, micros))
        return grants

    def apply(self, events: Sequence[MoneyEvent]) -> list[Applied]:
        return [self._apply(event) for event in events]

    def _apply(self, event: MoneyEvent) -> Applied:
        if event.bid_ms // 3_600_000 <= self.purged_to:
            return Applied(event, Outcome.EXPIRED)
        before = self.tally.bids.get(event.bid_key, Record())
        effect = settle(before, event)
        self.tally.add(event)
        if event.kind == "loss":
            self.lost[event.bid_key] = event.bid_ms // 3_600_000
        if effect.duplicate:
            return Applied(event, Outcome.DUPLICATE)
        where, taken = (event.campaign, event.lease), 0
        if effect.releases:
            taken = min(event.authorised_micros, self.outstanding(where))
            self.booked["cancelled" if event.kind == "loss" else "settled"][where] += taken
        outcome = Outcome.APPLIED
        first = event.kind != "loss" and not before.seen & 7
        if effect.disbelieved:
            outcome = Outcome.QUARANTINED
        elif first and event.lease and taken < event.authorised_micros:
            late = effect.releases and event.lease <= self.swept_to
            outcome = Outcome.LATE if late else Outcome.UNRESERVED
        return Applied(event, outcome, effect.bid.committed - before.committed)

    def sweep(self, wall_ms: int) -> Swept:
        last = wall_ms // 1000 - self.settle_s
        found = Swept()
        for where in list(self.booked["granted"]):
            if where[1] <= last and (micros := self.outstanding(where)):
                self.booked["swept"][where] += micros
                found = Swept(found.leases, found.micros + micros)
        self.swept_to = max(self.swept_to, last)
        for key, hour in list(self.lost.items()):
            if hour <= (last - QUARTER_S) // 3600 - 1:
                del self.lost[key]
                if self.tally.bids[key].seen == Seen.LOSS:
                    del self.tally.bids[key]  # nobody will ask: its lease is swept
        self.purged_to = max(self.purged_to, (wall_ms // 1000 - self.remember_s) // 3600 - 1)
        return found

    def books(self, advertiser: str) -> Books:
        """Without periods in which nothing is left, and without marks."""
        periods: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        leases: dict[int, dict[str, int]] = defaultdict(dict)
        for period, hash_ in self.tally.committed.items():
            for campaign, micros in hash_.items():
                periods[period][f"c:{campaign}" if campaign else "c"] = micros
        for name, lease in list(self.booked["granted"]):
            if micros := self.outstanding((name, lease)):
                leases[lease][name] = micros
                day, hour, account_day, account_hour = self.accounts.periods(advertiser, name, lease * 1000 - 1)
                for period in (TOTAL, day, hour):
                    periods[period][f"r:{name}"] += micros
                for period in (TOTAL, account_day, account_hour):
                    periods[period]["r"] += micros
        flows = {flow: sum(micros.values()) for flow, micros in self.booked.items()}
        return Books(periods.pop(TOTAL, {}), periods, leases, flows)


def same_money(ours: Books, theirs: Books) -> bool:
    """Whether books agree; a field that is 0 and one that is not there are the same."""

    def full(books: Books) -> dict[str, dict[str, int]]:
        flows = ("granted", "returned", "settled", "cancelled", "swept")
        named = {"total": books.total, **books.periods, **{str(k): v for k, v in books.leases.items()}}
        named["flows"] = {flow: books.flows.get(flow, 0) for flow in flows}
        return {name: kept for name, hash_ in named.items() if (kept := {k: v for k, v in hash_.items() if v})}

    return full(ours) == full(theirs)
