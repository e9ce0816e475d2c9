"""Applies money events: to the counts of persons, then to the ledger, then acknowledges them.

In that order, and each step idempotent: a treasury that dies anywhere in between has what it did not acknowledge
applied once more by its successor, and nothing changes by that. What could not be applied, since a master of Redis is
away, goes back into the queue and comes again; other advertisers' events are applied meanwhile. A message that cannot
be read is set aside in the stream DEAD. An event that can be read and not be applied (a fault of ours) is never set
aside: it is money. It comes again and again, holds up only itself, and keeps leases from being swept until somebody
looks (metric `treasury_stuck_events`).
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

    async def put_back(self, deliveries: Sequence[Delivery]) -> None: ...

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

    def settle(self, events: Sequence[MoneyEvent]) -> list[Applied | Exception]: ...


class Tallies:
    """What the consumer has done, since this process began."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()  # by Outcome
        self.buried = 0
        self.committed_micros = 0
        self.quarantined_micros = 0  # authorised for events whose price was not believed
        self.stuck: set[str] = set()  # ids of events that cannot be applied; they come again and again
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
        self._pause = FIRST_PAUSE_S

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
        good = [delivery for delivery in deliveries if delivery.event is not None]
        events = [delivery.event for delivery in good if delivery.event is not None]
        done, problem = await asyncio.get_running_loop().run_in_executor(self._thread, self._apply, events)
        await self._queue.confirm(
            [delivery for delivery in good if delivery.event is not None and delivery.event.id in done]
        )
        await self._queue.put_back(
            [delivery for delivery in good if delivery.event is not None and delivery.event.id not in done]
        )
        if problem is None:
            self._pause = FIRST_PAUSE_S
            self._health.succeeded(self.name, time.monotonic() - began)
        else:
            self._health.failed(self.name, problem)
        if good and not done:  # so it is Redis, and not one master of it
            await sleep(stop, self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)

    def _apply(self, events: Sequence[MoneyEvent]) -> tuple[set[str], Exception | None]:
        """In a thread. (ids of those that are applied, what held up some of the others)."""
        uncounted = {event.id for event in self._counts.apply(events)}
        problem: Exception | None = None
        if uncounted:
            problem = Unavailable(f"counts of persons: {len(uncounted)} events wait")
        settled = self._settle([event for event in events if event.id not in uncounted])
        applied = [result for result in settled if isinstance(result, Applied)]
        problem = next((result for result in settled if isinstance(result, Exception)), problem)
        self._tell(applied)
        return {result.event.id for result in applied}, problem

    def _settle(self, events: Sequence[MoneyEvent]) -> list[Applied | Exception]:
        """Where something is wrong with one event, those of its advertiser are settled one by one."""
        results = self._ledger.settle(events)
        for at, result in enumerate(results):
            if isinstance(result, Exception) and not isinstance(result, Unavailable):
                (results[at],) = self._ledger.settle([events[at]])
        stuck = self.tallies.stuck
        for event, result in zip(events, results, strict=True):
            if isinstance(result, Exception):
                if not isinstance(result, Unavailable):
                    stuck.add(event.id)
            elif stuck:
                stuck.discard(event.id)
        return results

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
