"""The ledger of all advertisers' money in Redis: grants leases, settles events, sweeps what is never settled.

Keys, invariants and their proofs: docs/ledger.md. One Lua script a kind of step, each on the keys of one advertiser,
which carry its hash tag, so that a campaign's and its account's money move together or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from campaign_express.bidding.budget import Accounts
from campaign_express.bidding.purse import Left
from campaign_express.events import MoneyEvent


class Want(NamedTuple):
    """What an agent would like to have of one lease."""

    campaign: str
    lease: int
    micros: int  # all that it could use
    share_floor: int = 1  # it gets an eighth of what is free, or this, whichever is more
    least: int = 1  # less than this is of no use: nothing is granted then


class Grant(NamedTuple):
    """The answer to a want, in the order of the wants."""

    campaign: str
    lease: int
    micros: int  # 0: nothing
    refused: str = (
        ""  # why nothing: "spent", "reconcile" (fence), "closed" (not open yet), "ended", "frozen" (no replica)
    )


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
    QUARANTINED = "quarantined"  # its price was not believed: the authorised amount was committed instead
    EXPIRED = "expired"  # so old that nobody knows whether it was applied: not applied
    TEST = "test"  # of a test bid: nothing was done
    NO_MONEY = "no-money"  # a click or conversion: costs nothing


class Applied(NamedTuple):
    event: MoneyEvent
    outcome: Outcome
    committed: int  # change of the campaign's committed money, micros


class Spent(NamedTuple):
    """Money of one campaign (or account), micros."""

    total: int = 0
    today: int = 0
    this_hour: int = 0
    reserved: int = 0
    reserved_today: int = 0
    reserved_this_hour: int = 0


class Fence(NamedTuple):
    """Whether an advertiser's ledger may grant. It may when `fence == run_id` and the wall clock has reached `opens_ms`."""

    run_id: str  # of the node that holds it now
    fence: str  # of the node for which it was last known to be whole, "": never
    opens_ms: int
    empty: bool  # nothing was ever booked in it
    rebuilding: bool


class Swept(NamedTuple):
    leases: int
    micros: int


# Ledger(url, settle_s, replicas=0, remember_s=...): .follow(accounts: Accounts); all raise Unavailable
#   grant(advertiser, wants, wall_ms) -> list[Grant]
#   trade(orders: Sequence[Order], wall_ms) -> list[list[Grant]]           pipelined; raises nothing for one bad master
#   give_back(lefts: Sequence[Left]) -> None
#   apply(events: Sequence[MoneyEvent]) -> list[Applied]      durable on a replica when it returns, else Unavailable
#   sweep(wall_ms, advertisers=None) -> Swept         wall_ms: everything received before then has been applied!
#   spent(catalog_accounts: Accounts, wall_ms) -> dict[campaign, Spent];  account_spent(...) -> dict[advertiser, Spent]
#   snapshot(advertiser) -> LedgerState (bidding/settlement.py);  audit(advertiser) -> list[str] of broken invariants
#   fences(advertisers) -> dict[str, Fence]; set_fence(advertiser, run_id, opens_ms=0) -> bool
#   forget(advertiser)                                   for a rebuild: no grants until set_fence
