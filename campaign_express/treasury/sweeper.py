"""Releases what no notice can settle any more, about once a second: see `Ledger.sweep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from campaign_express.adapters.ledger_terms import Swept

PERIOD_S = 1.0


class Sweepable(Protocol):
    def sweep(self, wall_ms: int) -> Swept: ...


class Sweeper:
    """A `Loop`. `applied_ms` tells up to which wall clock events are applied, 0 where that is not known.

    While it is not known, and while it stands still because events wait, nothing is released: an event that settles a
    lease may be among them.
    """

    name = "sweeper"
    period_s = PERIOD_S

    def __init__(self, ledger: Sweepable, applied_ms: Callable[[], int]) -> None:
        self.leases = 0
        self.micros = 0  # that were never settled, and are free again
        self.swept_ms = 0  # of the last sweep that was complete
        self._ledger = ledger
        self._applied_ms = applied_ms

    def run_once(self) -> None:
        wall_ms = self._applied_ms()
        if wall_ms <= self.swept_ms:
            return
        swept = self._ledger.sweep(wall_ms)
        self.leases += swept.leases
        self.micros += swept.micros
        self.swept_ms = wall_ms
