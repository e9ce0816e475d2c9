"""The event pipeline as a service: the store, a worker a partition, and whoever keeps the sums.

Any number of replicas may run. A partition, and the keeping of sums, are one replica's at a time, by a lock each; they
are taken as they are free, so another replica takes over what a dead one had within the life of its locks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from campaign_express.analytics import retention, rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.analytics.retention import Kept
from campaign_express.errors import Unavailable
from campaign_express.families import Family
from campaign_express.pipeline.metrics import families
from campaign_express.pipeline.worker import Lock, PartitionWorker
from campaign_express.ports import Warehouse
from campaign_express.treasury.loops import Health, sleep

log = logging.getLogger(__name__)

SUMS_S = 1.0  # how often it is asked what is to be summed
OPEN_PAUSE_S = 2.0


class Store:
    """The warehouse, opened and migrated when it is first wanted, by whoever wants it first."""

    def __init__(self, open_: Callable[[], Warehouse], kept: Kept) -> None:
        """`kept`: for how long its tables are to keep rows."""
        self._open = open_
        self._kept = kept
        self._opening = threading.Lock()
        self._warehouse: Warehouse | None = None
        self._not_before = 0.0

    def __call__(self) -> Warehouse:
        """Raises Unavailable."""
        with self._opening:
            if self._warehouse is None:
                if time.monotonic() < self._not_before:
                    raise Unavailable("the store of events was away a moment ago")
                self._not_before = time.monotonic() + OPEN_PAUSE_S
                warehouse = self._open()
                try:
                    migrate(warehouse)
                    retention.apply(warehouse, self._kept)
                except BaseException:
                    warehouse.close()
                    raise
                self._warehouse = warehouse
            return self._warehouse

    def close(self) -> None:
        with self._opening:
            if self._warehouse is not None:
                self._warehouse.close()
                self._warehouse = None


class Summer:
    """Keeps the sums, while this replica holds their lock."""

    name = "sums"

    def __init__(self, store: Callable[[], Warehouse], lock: Lock) -> None:
        self.health = Health()
        self.minutes = 0  # summed
        self.waiting = 0  # minutes that were to be summed when it was asked last
        self._store = store
        self._lock = lock

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                if await asyncio.to_thread(self._lock.hold):
                    done = await asyncio.to_thread(lambda: rollups.catch_up(self._store()))
                    self.minutes += done
                    self.waiting = done
                    self.health.succeeded(self.name, time.monotonic() - began)
            except Exception as error:
                self.health.failed(self.name, error)
            await sleep(stop, SUMS_S)
        try:
            await asyncio.to_thread(self._lock.let_go)
        except Unavailable:
            log.info("the sums are left to their lock's end")


class EventPipeline:
    """`start` it in the event loop that is to run it; `stop` waits until nothing of it works any more."""

    def __init__(
        self,
        store: Store,
        workers: Sequence[PartitionWorker],
        summer: Summer,
        answer: Callable[[Warehouse, Sequence[tuple[str, str]]], tuple[str, bytes]],
    ) -> None:
        """`answer` makes the report of some parameters: (media type, body)."""
        self._answer = answer
        self.store = store
        self.workers = workers
        self.summer = summer
        self._stop = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns at once: for a NATS or a store that is away it waits in the background."""
        loop = asyncio.get_running_loop()
        parts: list[PartitionWorker | Summer] = [*self.workers, self.summer]
        self._running = [loop.create_task(part.run(self._stop)) for part in parts]

    async def stop(self) -> None:
        """Leave every partition to another replica at once."""
        self._stop.set()
        if self._running:
            await asyncio.wait(self._running)
        await asyncio.to_thread(self.store.close)

    async def report(self, parameters: Sequence[tuple[str, str]]) -> tuple[str, bytes]:
        """(media type, body). Raises InvalidRequest, or Unavailable where the store is away or another replica's."""
        return await asyncio.to_thread(lambda: self._answer(self.store(), parameters))

    def status(self) -> dict[str, Any]:
        """For an operator: what each partition does, and what there is to worry about."""
        return {
            "partitions": {
                worker.name: {
                    "owned": worker.tally.owned,
                    "events": worker.tally.events,
                    "lag_messages": worker.tally.lag_messages,
                    "lag_s": round(worker.tally.lag_s, 1),
                    "unreadable": worker.tally.buried,
                    "problem": worker.tally.problem,
                }
                for worker in self.workers
            },
            "sums": {"minutes": self.summer.minutes, "problem": self.summer.health.problem},
        }

    def families(self) -> list[Family]:
        """Everything that it counts."""
        tallies = {worker.name: worker.tally for worker in self.workers}
        return families(tallies, self.summer.minutes, self.summer.health.failures)
