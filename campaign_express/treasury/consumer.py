"""Applies money events: to the counts of persons, then to the ledger, then acknowledges them.

In that order, and each step idempotent: a treasury that dies anywhere in between has what it did not acknowledge
applied once more by its successor, and nothing changes by that. A Redis that is away holds the batch up; it is tried
again until it is applied, and nothing is acknowledged meanwhile. A message that cannot be read is set aside in the
stream DEAD. An event that can be read and not be applied (a fault of ours) is never set aside: it is money. It holds up
only itself, comes again, and keeps leases from being swept until somebody looks (metric `treasury_stuck_events`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from campaign_express.adapters.event_queue import Delivery, Progress
from campaign_express.adapters.ledger_terms import Applied, Outcome
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent
from campaign_express.treasury.loops import FIRST_PAUSE_S, Health, sleep

log = logging.getLogger(__name__)

BATCH = 1024  # at most: what has come meanwhile
WAIT_S = 0.5  # for the first event of a batch
LOOK_S = 0.5  # how often JetStream is asked how far we are
LONGEST_PAUSE_S = 1.0
CALM_S = 10.0  # after a connection was lost: cells may still hold events of that time in their spools


class Queue(Protocol):
    """`adapters.event_queue.EventQueue`."""

    connected_at: float

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]: ...

    async def confirm(self, deliveries: Sequence[Delivery]) -> None: ...

    async def bury(self, delivery: Delivery) -> None: ...

    async def progress(self) -> Progress: ...

    async def close(self) -> None: ...


class Counts(Protocol):
    """`adapters.users_counts.UserCounts`."""

    def apply(self, events: Sequence[MoneyEvent]) -> list[MoneyEvent]:
        """Returns those that could not be applied."""
        ...


class Books(Protocol):
    """What of `adapters.ledger.Ledger` applies events."""

    def apply(self, events: Sequence[MoneyEvent]) -> list[Applied]: ...


class Tallies:
    """What the consumer has done, since this process began."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()  # by Outcome
        self.buried = 0
        self.committed_micros = 0
        self.quarantined_micros = 0  # authorised for events whose price was not believed
        self.stuck = 0  # events of the last batch that could not be applied
        self.lag_events = 0
        self.lag_s = 0.0  # age of the oldest event that is not applied


class Consumer:
    """A `Worker`. `listeners` are told what was applied, in the thread that applied it."""

    name = "consumer"

    def __init__(
        self,
        queue: Queue,
        counts: Counts,
        ledger: Books,
        clock: Clock,
        health: Health,
        listeners: Sequence[Callable[[Sequence[Applied]], None]] = (),
        calm_s: float = CALM_S,
    ) -> None:
        self.tallies = Tallies()
        self.quiet = asyncio.Lock()  # held while a batch is under way; whoever else holds it sees the books at rest
        self._queue, self._counts, self._ledger = queue, counts, ledger
        self._clock, self._health = clock, health
        self._thread = ThreadPoolExecutor(1, "treasury-apply")  # one: counts are for one thread
        self._listeners = listeners
        self._calm_s = calm_s
        self._applied_ms = 0

    @property
    def applied_ms(self) -> int:
        """Wall clock up to which everything that was stored is applied, 0 while that is not known."""
        return self._applied_ms

    async def run(self, stop: asyncio.Event) -> None:
        over = asyncio.Event()
        looking = asyncio.ensure_future(self._look(over))
        try:
            while not stop.is_set():
                deliveries = await self._queue.fetch(BATCH, WAIT_S)
                if deliveries:
                    async with self.quiet:
                        await self._work(deliveries, stop)
        finally:
            over.set()
            await asyncio.wait([looking])
            self._applied_ms = 0
            await self._queue.close()

    def close(self) -> None:
        """When it has ended."""
        self._thread.shutdown()

    async def progress(self) -> Progress:
        """How far the consumer has come, asked now. Raises Unavailable."""
        return await self._queue.progress()

    async def _work(self, deliveries: Sequence[Delivery], stop: asyncio.Event) -> None:
        began = time.monotonic()
        for delivery in deliveries:
            if delivery.event is None:
                log.error("a message that cannot be applied goes to the dead", extra={"problem": delivery.problem})
                await self._queue.bury(delivery)
                self.tallies.buried += 1
        good = {delivery.event.id: delivery for delivery in deliveries if delivery.event is not None}
        left = [delivery.event for delivery in deliveries if delivery.event is not None]
        pause = FIRST_PAUSE_S
        while left and not stop.is_set():
            left, stuck = await asyncio.get_running_loop().run_in_executor(self._thread, self._apply, left)
            waiting = {event.id for event in (*left, *stuck)}
            done = [d for d in deliveries if d.event is not None and d.event.id not in waiting]
            await self._queue.confirm(done)
            deliveries = [d for d in deliveries if d.event is not None and d.event.id in waiting]
            self.tallies.stuck = len(stuck)
            if left:
                await sleep(stop, pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        if good and not left:
            self._health.succeeded(self.name, time.monotonic() - began)

    def _apply(self, events: Sequence[MoneyEvent]) -> tuple[list[MoneyEvent], list[MoneyEvent]]:
        """In a thread. (those to try again at once, those that something is wrong with)."""
        failed = {event.id for event in self._counts.apply(events)}
        again = [event for event in events if event.id in failed]
        counted = [event for event in events if event.id not in failed]
        if again:
            self._health.failed(self.name, Unavailable(f"counts of persons: {len(again)} events wait"))
        stuck: list[MoneyEvent] = []
        try:
            self._tell(self._ledger.apply(counted))
        except Unavailable as error:
            self._health.failed(self.name, error)
            again = list(events)
        except Exception as error:
            self._health.failed(self.name, error)
            waiting, stuck = self._one_by_one(counted)
            again += waiting
        return again, stuck

    def _one_by_one(self, events: Sequence[MoneyEvent]) -> tuple[list[MoneyEvent], list[MoneyEvent]]:
        """So that one event that cannot be applied holds up no other; returns as `_apply`."""
        again: list[MoneyEvent] = []
        stuck: list[MoneyEvent] = []
        problem = ""
        for event in events:
            try:
                self._tell(self._ledger.apply([event]))
            except Unavailable:
                again.append(event)
            except Exception as error:
                stuck.append(event)
                problem = str(error)
        if stuck:
            log.error(
                "events cannot be applied",
                extra={"events": len(stuck), "first": stuck[0].id, "campaign": stuck[0].campaign, "problem": problem},
            )
        return again, stuck

    def _tell(self, applied: Sequence[Applied]) -> None:
        tallies = self.tallies
        for _, outcome, committed in applied:
            tallies.outcomes[outcome.value] += 1
            tallies.committed_micros += committed
            if outcome is Outcome.QUARANTINED:
                tallies.quarantined_micros += committed
        for event, outcome, _ in applied:
            if outcome is Outcome.QUARANTINED:
                log.error(
                    "a price is not believed",
                    extra={"exchange": event.exchange, "campaign": event.campaign, "event": event.id},
                )
        for listener in self._listeners:
            try:
                listener(applied)
            except Exception:  # it was applied all the same
                log.exception("a fault in one who is told what was applied")

    async def _look(self, over: asyncio.Event) -> None:
        """Keep `applied_ms` and the lag up to date."""
        while not over.is_set():
            try:
                progress = await self._queue.progress()
            except Unavailable:
                pass  # fetching meets the same, and says so
            except Exception:
                log.exception("a fault while the consumer's progress is looked at")
            else:
                self._take(progress)
            await sleep(over, LOOK_S)

    def _take(self, progress: Progress) -> None:
        tallies = self.tallies
        now_ms = time.time_ns() // 1_000_000
        behind_ms = max(now_ms - progress.applied_ms, 0)
        tallies.lag_events = progress.waiting + progress.unconfirmed
        tallies.lag_s = behind_ms / 1000 if tallies.lag_events else 0.0
        if progress.applied_ms and time.monotonic() - self._queue.connected_at > self._calm_s:
            wall_ms = self._clock.now_ms() - int(behind_ms * self._clock.speed)
            self._applied_ms = max(self._applied_ms, wall_ms)
