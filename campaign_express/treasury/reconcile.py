"""Lets ledgers grant again after their node has changed: a failover, a restart, a slot that moved.

A node that was promoted or restarted may lack the last moments before. Its ledgers grant nothing until what became
durable in the event log meanwhile was applied to them again (`adapters/rebuild.py`), which takes well under a second.

Two kinds of loss are told apart from that. A ledger without any fence never granted anything; if the log has events
with leases of its advertiser, it was *lost* with its Redis. It is left closed, and rebuilt by a command (runbook). And
where no replica must confirm a grant (`ledger_replicas` 0), a node that has *forgotten* a sweep which this treasury has
seen done may have forgotten grants too, which agents spend all the same: its ledgers are opened only when no bid of
those can cost anything more.
"""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Fence
from campaign_express.adapters.rebuild import Log, reconcile
from campaign_express.bidding.budget import Accounts
from campaign_express.bidding.settlement import KINDS
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent

log = logging.getLogger(__name__)

PERIOD_S = 0.5
MARGIN_S = 30.0  # real time: what is read again of the log lies at least so far before the last sweep
FORGOTTEN_S = 3.0  # real time: sweeps come every second, and a mark this much behind was forgotten


class EventLog(Log, Protocol):
    """`adapters.event_log.EventLog`."""

    def advertisers(self, kinds: Collection[str]) -> set[str]: ...


MOST_FAILURES = 3  # in one step: each takes as long as a replica is waited for
SAMPLE = 64  # ledgers looked at in a step where nothing is known to have changed


class Reconciler:
    """A `Loop`. `swept_ms`: wall clock of the last sweep that was complete, 0 where there was none."""

    name = "reconciler"
    period_s = PERIOD_S

    def __init__(
        self,
        ledger: Ledger,
        event_log: EventLog,
        clock: Clock,
        swept_ms: Callable[[], int],
        *,
        lease_s: int,
        replicas: int,
    ) -> None:
        self.reconciled = 0  # ledgers that were let grant again
        self.restored = 0  # events that a ledger had lost
        self.lost: set[str] = set()  # advertisers whose ledger has to be rebuilt
        self._ledger, self._log, self._clock = ledger, event_log, clock
        self._swept_ms = swept_ms
        self._lease_s, self._replicas = lease_s, replicas
        self._known: Accounts | None = None  # all of whose ledgers were looked at
        self._next = 0

    def run_once(self) -> None:
        accounts = self._ledger.accounts
        names = list(accounts.of_advertiser)
        closed = self._closed(self._sample(names) if accounts is self._known else names)
        if not closed.keys() - self.lost and accounts is self._known:
            return
        closed = self._closed(names)
        self.lost &= closed.keys()
        waiting = closed.keys() - self.lost
        first = sorted(name for name in waiting if not closed[name].fence)
        again = sorted(waiting.difference(first))
        if first:
            self._open_first(first, closed)
        if again:
            self._open_again(again)
        self._known = accounts

    def _closed(self, advertisers: list[str]) -> dict[str, Fence]:
        fences = self._ledger.fences(advertisers)
        return {name: fence for name, fence in fences.items() if not fence.whole and not fence.rebuilding}

    def _sample(self, names: list[str]) -> list[str]:
        """The next few in turn. Those of one node change together, and some of each are among any few dozen."""
        start = self._next % max(len(names), 1)
        self._next = start + SAMPLE
        return [*names[start:], *names[:start]][:SAMPLE]

    def _open_first(self, advertisers: Sequence[str], fences: Mapping[str, Fence]) -> None:
        """Ledgers that never granted anything, as far as they know."""
        logged = self._log.advertisers(KINDS)
        for name in advertisers:
            if name in logged and any(event.lease and not event.test for event in self._log.read(name)):
                self.lost.add(name)
                log.error(
                    "a ledger knows of no grant, and the event log does: it grants nothing until it is rebuilt",
                    extra={"advertiser": name},
                )
            elif name in logged:  # of campaigns without a budget, which ask for no grant
                reconcile(self._ledger, self._log, name)
            else:
                self._ledger.set_fence(name, fences[name].run_id)

    def _open_again(self, advertisers: Sequence[str]) -> None:
        wall_ms = self._clock.now_ms()
        marks = {name: self._ledger.books(name).marks.get("swept", 0) for name in advertisers}
        # A sweep at T marks T - settle_s: so this is when each ledger was surely as it is now.
        as_of_ms = {name: (mark + self._ledger.settle_s) * 1000 for name, mark in marks.items() if mark}
        once: Log = self._log
        if as_of_ms:
            once = _ReadOnce(self._log, as_of_ms, self._real_time(min(as_of_ms.values()), wall_ms))
        failures: list[Unavailable] = []
        for name in random.sample(advertisers, len(advertisers)):  # those that fail are not always first
            if len(failures) == MOST_FAILURES:
                break
            source = once if name in as_of_ms else self._log
            try:
                self._open_one(name, source, as_of_ms.get(name, 0), wall_ms)
            except Unavailable as error:  # its master has no replica yet; others may
                failures.append(error)
        if failures:
            raise failures[0]

    def _open_one(self, advertiser: str, source: Log, as_of_ms: int, wall_ms: int) -> None:
        opens_ms = 0
        if not self._replicas and self._swept_ms() - as_of_ms > FORGOTTEN_S * 1000 * self._clock.speed:
            # A lease of now, or the one fetched ahead, then all that a bid from it may take.
            opens_ms = wall_ms + (2 * self._lease_s + self._ledger.settle_s) * 1000
            log.error(
                "a ledger has forgotten what was booked last: it grants nothing for a while",
                extra={"advertiser": advertiser, "opens_ms": opens_ms},
            )
        done = reconcile(self._ledger, source, advertiser, opens_ms=opens_ms)
        self.reconciled += 1
        self.restored += done.changed
        log.warning(
            "a ledger was compared with the event log after its node changed",
            extra={"advertiser": advertiser, "events": done.events, "restored": done.changed},
        )

    def _real_time(self, as_of_ms: int, wall_ms: int) -> datetime:
        """From when the log is to be read."""
        ago_s = (wall_ms - as_of_ms) / 1000 / self._clock.speed
        return datetime.fromtimestamp(time.time() - max(ago_s, 0.0) - MARGIN_S, UTC)


class _ReadOnce:
    """A `Log` of some advertisers since a moment, read in one pass: after a failover there are hundreds of them."""

    def __init__(self, source: Log, advertisers: Collection[str], since: datetime) -> None:
        self._events: dict[str, list[MoneyEvent]] = defaultdict(list)
        one = next(iter(advertisers)) if len(advertisers) == 1 else None
        for event in source.read(one, since):
            if event.advertiser in advertisers:
                self._events[event.advertiser].append(event)

    def read(self, advertiser: str | None = None, since: datetime | None = None) -> Iterator[MoneyEvent]:
        return iter(self._events[advertiser or ""])
