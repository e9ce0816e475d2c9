"""The treasury: of all that run, the one that leads keeps every loop and worker going; the others wait for its end.

Leadership is a lock in Redis (`adapters/leader.py`). Who loses it, or cannot renew it because Redis is away, ends its
work between two steps and waits to lead again. Nothing that Redis or NATS do ends the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from campaign_express.errors import Unavailable
from campaign_express.treasury.loops import Health, Loop, Worker, keep, repeat, sleep

log = logging.getLogger(__name__)

ASKS = 5  # how often the lock is renewed in its life
END_S = 10.0  # for what is under way when the work ends; blocking steps wait a second for each answer


class Lock(Protocol):
    """`adapters.leader.LeaderLock`."""

    owner: str
    life_s: float
    epoch: int

    @property
    def held(self) -> bool: ...

    def hold(self) -> bool: ...

    def let_go(self) -> None: ...


class Treasury:
    """`start` it in the event loop that is to run it; `stop` waits until nothing of it works any more."""

    def __init__(
        self,
        lock: Lock,
        loops: Sequence[Loop],
        workers: Sequence[Worker],
        healths: dict[str, Health],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """`healths` gets one of each part by name. `close` is called in a thread when all parts have ended."""
        self.lock = lock
        self.leads = False
        self.terms = 0  # how often this one began to lead
        self._threads = ThreadPoolExecutor(max(len(loops), 1), "treasury")
        self._loops, self._workers = loops, workers
        self._healths = healths
        parts: list[Loop | Worker] = [*loops, *workers]
        for part in parts:
            healths.setdefault(part.name, Health())
        self._close = close
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._began = time.monotonic()

    async def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Leave the lead to another at once."""
        self._stop.set()
        if self._running is not None:
            await asyncio.wait([self._running])
            self._running = None
            await asyncio.to_thread(self._threads.shutdown)
            await asyncio.to_thread(self._close)

    def status(self) -> dict[str, Any]:
        """For an operator: whether it leads, how each part fares, and what there is to worry about."""
        parts: list[Loop | Worker] = [*self._loops, *self._workers]
        return {
            "leads": self.leads,
            "owner": self.lock.owner,
            "epoch": self.lock.epoch,
            "up_s": round(time.monotonic() - self._began),
            "parts": {
                part.name: {
                    "runs": health.runs,
                    "failures": health.failures,
                    "last_ms": round(health.last_s * 1000, 1),
                    "problem": health.problem,
                }
                for part in parts
                for health in (self._healths[part.name],)
            },
        }

    async def _run(self) -> None:
        waiting_since = 0.0
        while not self._stop.is_set():
            try:
                if await asyncio.to_thread(self.lock.hold):
                    waiting_since = 0.0
                    await self._lead()
                    continue
            except Unavailable as error:
                if not waiting_since:
                    log.warning("the treasury cannot lead: %s", error)
                waiting_since = waiting_since or time.monotonic()
            except Exception:
                log.exception("a fault while the treasury's lock is asked for")
            await sleep(self._stop, self.lock.life_s / ASKS)

    async def _lead(self) -> None:
        """Work until the lock is lost or `stop` is called; nothing of it works any more when this returns."""
        self.leads = True
        self.terms += 1
        log.info("this treasury leads", extra={"owner": self.lock.owner, "epoch": self.lock.epoch})
        over = asyncio.Event()
        tasks = [
            *(
                repeat(loop, self._healths[loop.name], over, lambda: self.lock.held, self._threads)
                for loop in self._loops
            ),
            *(keep(worker, self._healths[worker.name], over) for worker in self._workers),
        ]
        running = [asyncio.ensure_future(task) for task in tasks]
        try:
            while await self._still_leads():
                await sleep(self._stop, self.lock.life_s / ASKS)
        finally:
            self.leads = False
            over.set()
            _, late = await asyncio.wait(running, timeout=END_S)
            for task in late:
                task.cancel()
            if late:
                log.error("parts of the treasury did not end in time", extra={"parts": len(late)})
                await asyncio.wait(late)
            with contextlib.suppress(Unavailable):
                await asyncio.to_thread(self.lock.let_go)
            log.info("this treasury leads no longer")

    async def _still_leads(self) -> bool:
        if self._stop.is_set():
            return False
        try:
            return await asyncio.to_thread(self.lock.hold)
        except Unavailable:
            return self.lock.held  # by our own clock, until it has run out
