"""One partition's way into the tables: takes a range, inserts it, acknowledges it, as long as this replica owns it.

A range whose insert fails is inserted again, with longer and longer pauses, until it succeeds: nothing behind it is
lost, since it stays in the stream. A range that the store refuses for good (a fault of ours, since what does not fit is
set aside before) is tried again as well, and told by `problem`: it is money.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from campaign_express.adapters.stream_ranges import Lag, Partition, Range
from campaign_express.errors import CampaignExpressError, Unavailable
from campaign_express.pipeline.loader import Loaded, Loader, mark_dirty
from campaign_express.ports import Unreadable, Warehouse
from campaign_express.treasury.loops import sleep

log = logging.getLogger(__name__)

WAIT_S = 1.0  # for the first message of a range
ASK_S = 2.0  # how often JetStream is asked for the lag
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0


class Ranges(Protocol):
    """`adapters.stream_ranges.RangeReader`."""

    partition: Partition

    async def take(self, wait_s: float) -> Range | None: ...

    async def done(self, taken: Range) -> None: ...

    async def bury(self, unreadable: Unreadable) -> None: ...

    async def lag(self) -> Lag: ...

    async def close(self) -> None: ...


class Lock(Protocol):
    """`adapters.leader.LeaderLock`, of this partition."""

    @property
    def held(self) -> bool: ...

    def hold(self) -> bool: ...

    def let_go(self) -> None: ...


class Tally(Struct):
    """What a partition's worker has done, since it was made."""

    ranges: int = 0
    messages: int = 0
    events: int = 0
    duplicates: int = 0  # conversions of an order that is stored already
    buried: int = 0  # messages that could not be read
    failures: int = 0  # inserts that did not succeed
    insert_ns: int = 0
    lag_messages: int = 0
    lag_s: float = 0.0
    owned: bool = False
    problem: str = ""  # why it waits, "" while it works


class PartitionWorker:
    """`run` until `stop`: owns the partition whenever nobody else does."""

    def __init__(
        self,
        ranges: Ranges,
        loader: Loader,
        warehouse: Callable[[], Warehouse],
        lock: Lock,
        loaded: Callable[[Loaded], None] = lambda loaded: None,
    ) -> None:
        """`warehouse`: the store, migrated; it may raise Unavailable."""
        self.name = ranges.partition.name
        self.tally = Tally()
        self._ranges = ranges
        self._loader = loader
        self._warehouse = warehouse
        self._lock = lock
        self._loaded = loaded
        self._asked_at = 0.0
        self._pause = FIRST_PAUSE_S

    async def run(self, stop: asyncio.Event) -> None:
        tally = self.tally
        try:
            while not stop.is_set():
                try:
                    if not await asyncio.to_thread(self._lock.hold):
                        tally.owned = False
                        await self._ranges.close()
                        await sleep(stop, WAIT_S)
                        continue
                    tally.owned = True
                    await self._step(stop)
                    self._succeeded()
                except CampaignExpressError as error:
                    await self._failed(stop, error)
                except Exception as error:
                    log.exception("a fault in the pipeline", extra={"partition": self.name})
                    await self._failed(stop, error)
        finally:
            tally.owned = False
            await self._ranges.close()
            try:
                await asyncio.to_thread(self._lock.let_go)
            except Unavailable:
                log.info("the partition is left to its lock's end", extra={"partition": self.name})

    async def _step(self, stop: asyncio.Event) -> None:
        taken = await self._ranges.take(WAIT_S)
        if taken is not None:
            await self._insert(taken, stop)
        if time.monotonic() - self._asked_at > ASK_S:
            lag = await self._ranges.lag()
            self.tally.lag_messages, self.tally.lag_s = lag
            self._asked_at = time.monotonic()

    async def _insert(self, taken: Range, stop: asyncio.Event) -> None:
        """Returns when the range is done, or `stop` is set before: whoever is next inserts it again."""
        tally = self.tally
        while True:
            try:
                began = time.monotonic_ns()
                loaded = await asyncio.to_thread(self._load, taken)
                break
            except CampaignExpressError as error:
                tally.failures += 1
                await self._failed(stop, error)
                # Another one may own it meanwhile, and would insert the same: harmless, and not to be kept up.
                if stop.is_set() or not await asyncio.to_thread(self._lock.hold):
                    raise Unavailable(f"range {taken.token} is left") from error
        for unreadable in loaded.unreadable:
            await self._ranges.bury(unreadable)
            log.error(
                "a message has no place in the tables",
                extra={"partition": self.name, "sequence": unreadable.message.seq, "problem": unreadable.problem},
            )
        await self._ranges.done(taken)
        tally.ranges += 1
        tally.messages += len(taken.messages)
        tally.events += loaded.events
        tally.duplicates += loaded.duplicates
        tally.buried += len(loaded.unreadable)
        tally.insert_ns += time.monotonic_ns() - began
        self._loaded(loaded)

    def _load(self, taken: Range) -> Loaded:
        warehouse = self._warehouse()
        loaded = self._loader.load(warehouse, taken.messages, taken.token)
        mark_dirty(warehouse, loaded.minutes)
        return loaded

    def _succeeded(self) -> None:
        if self.tally.problem:
            log.info("the pipeline goes on", extra={"partition": self.name})
        self.tally.problem = ""
        self._pause = FIRST_PAUSE_S

    async def _failed(self, stop: asyncio.Event, error: Exception) -> None:
        if not self.tally.problem:
            log.warning("the pipeline waits", extra={"partition": self.name, "reason": str(error)})
        self.tally.problem = str(error) or type(error).__name__
        await sleep(stop, self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
