"""What the treasury does again and again: how a task is described, and how it is kept going while its parts fail.

A *loop* is a short blocking step that is repeated; it runs in a thread. A *worker* is a coroutine that runs as long as
this treasury leads. Both live through whatever their steps raise: parts that are away are logged once, faults of ours
with a traceback, and the next round begins all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from msgspec import Struct

from campaign_express.errors import Unavailable

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # after failures


class Loop(Protocol):
    """A step every `period_s` real seconds."""

    @property
    def name(self) -> str: ...

    @property
    def period_s(self) -> float: ...

    def run_once(self) -> None:
        """Blocking; called from one thread at a time. May raise: Unavailable means that something is away."""
        ...


class Worker(Protocol):
    """A task of its own, with its own waiting."""

    @property
    def name(self) -> str: ...

    async def run(self, stop: asyncio.Event) -> None:
        """Returns soon after `stop` is set, between two steps. May raise before; it is then started again."""
        ...


class Health(Struct):
    """How a loop or worker has fared."""

    runs: int = 0  # steps that succeeded
    failures: int = 0
    last_s: float = 0.0  # how long the last step took
    problem: str = ""  # of the last one, "" when it succeeded

    def succeeded(self, name: str, seconds: float) -> None:
        if self.problem:
            log.info("%s goes on", name)
        self.runs += 1
        self.last_s = seconds
        self.problem = ""

    def failed(self, name: str, error: Exception) -> None:
        self.failures += 1
        if not isinstance(error, Unavailable):
            log.error("a fault in %s", name, exc_info=error)
        elif not self.problem:
            log.warning("%s waits: %s", name, error)
        self.problem = f"{type(error).__name__}: {error}"


async def repeat(loop: Loop, health: Health, stop: asyncio.Event, may: Callable[[], bool], threads: Executor) -> None:
    """Run the steps of `loop` until `stop` is set, each only if `may()` at its beginning. Ends between two steps."""
    pause = FIRST_PAUSE_S
    while not stop.is_set():
        wait = loop.period_s
        if may():
            began = time.monotonic()
            try:
                await asyncio.get_running_loop().run_in_executor(threads, loop.run_once)
            except Exception as error:
                health.failed(loop.name, error)
                wait, pause = pause, min(2 * pause, LONGEST_PAUSE_S)
            else:
                took = time.monotonic() - began
                health.succeeded(loop.name, took)
                pause, wait = FIRST_PAUSE_S, max(loop.period_s - took, 0.0)
        await sleep(stop, wait)


async def keep(worker: Worker, health: Health, stop: asyncio.Event) -> None:
    """Run `worker` until `stop` is set, and again whenever it fails before that."""
    pause = FIRST_PAUSE_S
    while not stop.is_set():
        began = time.monotonic()
        try:
            await worker.run(stop)
        except Exception as error:
            health.failed(worker.name, error)
        lasted = time.monotonic() - began
        pause = FIRST_PAUSE_S if lasted > LONGEST_PAUSE_S else min(2 * pause, LONGEST_PAUSE_S)
        await sleep(stop, pause)


async def sleep(stop: asyncio.Event, seconds: float) -> None:
    """Wait, or less if `stop` is set meanwhile."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
