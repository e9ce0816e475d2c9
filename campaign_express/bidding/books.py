"""An advertiser's ledger at one moment, as plain numbers, and the invariants that they obey.

A hash of the ledger has `c:<campaign>` (committed), `r:<campaign>` (reserved), and `c` and `r` of the whole account;
there is one in total and one a period. Beside them is what is outstanding of each lease, and the flows: everything that
was ever granted, returned, settled, cancelled and swept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from campaign_express.bidding.budget import Accounts
from campaign_express.bidding.settlement import TOTAL, Tally

Hash = Mapping[str, int]


@dataclass(frozen=True)
class Books:
    """Micros of USD; `marks` are Unix seconds (`swept`: leases up to it) and hours (`purged`: bids up to it)."""

    total: Hash = field(default_factory=dict)
    periods: Mapping[str, Hash] = field(default_factory=dict)
    leases: Mapping[int, Hash] = field(default_factory=dict)  # lease -> campaign -> outstanding
    flows: Hash = field(default_factory=dict)
    marks: Hash = field(default_factory=dict)

    def committed(self, campaign: str = "", period: str = TOTAL) -> int:
        """Of a campaign, or of the account; in one period, or ever."""
        return self._hash(period).get(_name("c", campaign), 0)

    def reserved(self, campaign: str = "", period: str = TOTAL) -> int:
        return self._hash(period).get(_name("r", campaign), 0)

    def _hash(self, period: str) -> Hash:
        return self.total if period == TOTAL else self.periods.get(period, {})


def _name(kind: str, campaign: str) -> str:
    return f"{kind}:{campaign}" if campaign else kind


def broken_invariants(books: Books, accounts: Accounts, wall_ms: int) -> Iterator[str]:
    """A line each for what must never be, in an advertiser's books that were read at one moment.

    Whether a budget is overspent is asked of the total and of the periods of `wall_ms`. A budget that was lowered since
    may be below what was spent before.
    """
    flows = books.flows
    credit = flows.get("granted", 0)
    debit = sum(flows.get(name, 0) for name in ("returned", "settled", "cancelled", "swept"))
    if credit != debit + books.reserved():
        yield f"granted {credit} is not returned, settled, cancelled and swept {debit} and reserved {books.reserved()}"
    outstanding: dict[str, int] = defaultdict(int)
    for lease, hash_ in books.leases.items():
        for campaign, micros in hash_.items():
            outstanding[campaign] += micros
            if micros < 0:
                yield f"lease {lease}: {campaign} has {micros} outstanding"
    for kind, meaning in (("c", "committed"), ("r", "reserved")):
        campaigns = sum(value for name, value in books.total.items() if name.startswith(f"{kind}:"))
        if campaigns != books.total.get(kind, 0):
            yield f"{meaning} of all campaigns is {campaigns}, and of the account {books.total.get(kind, 0)}"
    for name, value in books.total.items():
        if value < 0:
            yield f"{name} is {value}"
        if name.startswith("r:") and value != outstanding.get(name[2:], 0):
            yield f"{name} is {value}, and its leases have {outstanding.get(name[2:], 0)} outstanding"
    for period, hash_ in books.periods.items():
        for name, value in hash_.items():
            if value < 0 or value > books.total.get(name, 0):
                yield f"{period}: {name} is {value}, and in total {books.total.get(name, 0)}"
    yield from overspent(books, accounts, wall_ms)


def overspent(books: Books, accounts: Accounts, wall_ms: int) -> Iterator[str]:
    """Scopes in which more is committed, or committed and reserved together, than the budget."""
    campaigns = {name[2:] for name in books.total if name.startswith(("c:", "r:"))} & accounts.campaigns.keys()
    for campaign in sorted(campaigns):
        for scope in accounts.scopes(campaign, wall_ms):
            of = "" if scope.name.startswith("account.") else campaign
            committed, reserved = books.committed(of, scope.period), books.reserved(of, scope.period)
            if scope.limit is not None and committed + reserved > scope.limit:
                yield (
                    f"{campaign}: {scope.name} {scope.period or 'ever'}: {committed} is committed and {reserved} "
                    f"reserved of {scope.limit}"
                )


def differences(books: Books, tally: Tally) -> Iterator[str]:
    """Where books and event log disagree about what was committed: ever, and in the periods that books still hold."""
    for period in (TOTAL, *books.periods):
        ours = {name[2:]: v for name, v in books._hash(period).items() if name.startswith("c:")}
        ours[""] = books.committed("", period)
        theirs = tally.committed.get(period, {})
        for campaign in sorted(ours.keys() | theirs.keys()):
            if ours.get(campaign, 0) != theirs.get(campaign, 0):
                yield (
                    f"{campaign or 'account'} {period or 'ever'}: {ours.get(campaign, 0)} is committed, and "
                    f"{theirs.get(campaign, 0)} by the event log"
                )
