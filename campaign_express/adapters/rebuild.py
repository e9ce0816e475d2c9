"""Makes ledgers whole again from the event log: after a failover or restart, and after Redis was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple, Protocol

from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Outcome
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent

BATCH = 2000
PURGE_MS = 3_600_000  # bids that are old are forgotten whenever the log has come on by so much


class Log(Protocol):
    """What of `event_log.EventLog` is used."""

    def read(self, advertiser: str | None = None, since: datetime | None = None) -> Iterator[MoneyEvent]: ...


class Replayed(NamedTuple):
    """`changed`: events that the ledger did not have. `opens_ms`: wall clock from which it grants."""

    events: int
    changed: int
    opens_ms: int = 0


def reconcile(ledger: Ledger, log: Log, advertiser: str, since: datetime | None = None, opens_ms: int = 0) -> Replayed:
    """After its node has changed: apply again what became durable `since`, and let the ledger grant from `opens_ms` on.

    What a new master does not know are the last moments of the old one; `since` is to be well before those. Raises
    Unavailable, also where the node has changed again meanwhile.
    """
    fence = ledger.fences([advertiser])[advertiser]
    events, changed = _apply(ledger, log.read(advertiser, since), lambda event: None)
    _open(ledger, advertiser, fence.run_id, opens_ms)
    return Replayed(events, changed, max(fence.opens_ms, opens_ms))


def rebuild(
    ledger: Ledger, log: Log, advertiser: str, wall_ms: int, lease_s: int, nothing_outstanding: bool = False
) -> Replayed:
    """Empty the ledger and fill it from the whole log.

    What is committed is then right at once. What is reserved is lost: bids and leases of before may still cost money
    that nobody reserves any more. So nothing is granted until none of them can, unless the caller knows that there are
    none. Raises Unavailable; it is then to be done again, and until then nothing is granted.
    """
    fence = ledger.fences([advertiser])[advertiser]
    ledger.forget(advertiser)
    purged_ms = 0

    def purge(event: MoneyEvent) -> None:
        """The ledger remembers bids as long as it would have, so that its size is what it would have been."""
        nonlocal purged_ms
        reached = min(event.received_ms or event.bid_ms, wall_ms)
        if reached - purged_ms >= PURGE_MS:
            purged_ms = reached
            ledger.sweep(reached, [advertiser], rebuild=True)

    events, changed = _apply(ledger, log.read(advertiser), purge)
    # A lease of now, or the one fetched ahead, then all that a bid from it may take.
    opens_ms = -1 if nothing_outstanding else wall_ms + (2 * lease_s + ledger.settle_s) * 1000
    _open(ledger, advertiser, fence.run_id, opens_ms)
    return Replayed(events, changed, max(opens_ms, 0))


def _open(ledger: Ledger, advertiser: str, run_id: str, opens_ms: int) -> None:
    if not ledger.set_fence(advertiser, run_id, opens_ms):
        raise Unavailable(f"the ledger of {advertiser} has moved to another node meanwhile: do it again")


def _apply(ledger: Ledger, events: Iterable[MoneyEvent], after: Callable[[MoneyEvent], None]) -> tuple[int, int]:
    source = iter(events)
    count = changed = 0
    while batch := list(islice(source, BATCH)):
        applied = ledger.apply(batch)
        count += len(batch)
        changed += sum(one.outcome not in _NO_CHANGE for one in applied)
        after(batch[-1])
    return count, changed


_NO_CHANGE = (Outcome.DUPLICATE, Outcome.EXPIRED, Outcome.TEST, Outcome.NO_MONEY)
