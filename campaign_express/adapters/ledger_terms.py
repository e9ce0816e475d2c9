"""What the ledger is asked and what it answers: plain values, shared by agents, treasury and commands."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from campaign_express.bidding.purse import Left
from campaign_express.events import MoneyEvent


class Want(NamedTuple):
    """What an agent would like to have of one lease."""

    campaign: str
    lease: int
    micros: int  # all that it could use
    share_floor: int = 1  # it gets an eighth of what is free, or this, whichever is more
    least: int = 1  # less than this is of no use: nothing is granted then


class Refusal(StrEnum):
    """Why nothing was granted."""

    NONE = ""
    SPENT = "spent"  # some budget has nothing free
    ENDED = "ended"  # the lease is over, or the campaign has no terms
    RECONCILE = "reconcile"  # the node may have lost something: the treasury has to look first
    CLOSED = "closed"  # rebuilt, and bids from before may still cost something
    FROZEN = "frozen"  # granted, but no replica has it in time: not to be used, and swept later


class Grant(NamedTuple):
    """The answer to a want."""

    campaign: str
    lease: int
    micros: int  # 0: nothing
    refused: Refusal = Refusal.NONE


class Order(NamedTuple):
    """What an agent asks of one advertiser's ledger in one step: returns are booked first."""

    advertiser: str
    wants: Sequence[Want] = ()
    returns: Sequence[Left] = ()


class Outcome(StrEnum):
    """What an event did to the ledger."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"  # its kind was applied for this bid before
    LATE = "late"  # committed after its lease was swept: out of the headroom
    UNRESERVED = "unreserved"  # committed though nothing was reserved: after a loss, or in a rebuilt ledger
    QUARANTINED = "quarantined"  # its price was not believed: the authorised amount stands instead
    EXPIRED = "expired"  # so old that nobody knows whether it was applied: not applied
    TEST = "test"  # of a test bid: nothing was done
    NO_MONEY = "no-money"  # a click or conversion: costs nothing


class Applied(NamedTuple):
    event: MoneyEvent
    outcome: Outcome
    committed: int = 0  # change of the campaign's committed money, micros


class Spent(NamedTuple):
    """Money of one campaign or account, micros: committed, and reserved beside it."""

    total: int = 0
    today: int = 0
    this_hour: int = 0
    reserved: int = 0
    reserved_today: int = 0
    reserved_this_hour: int = 0


class Fence(NamedTuple):
    """Whether an advertiser's ledger may grant: `whole`, and the wall clock has reached `opens_ms`."""

    run_id: str  # of the node that holds it now
    fence: str  # of the node for which it was last known to be whole, "": never
    opens_ms: int
    empty: bool  # nothing was ever booked in it
    rebuilding: bool

    @property
    def whole(self) -> bool:
        return self.fence == self.run_id


class Swept(NamedTuple):
    """What a sweep released."""

    leases: int = 0
    micros: int = 0
