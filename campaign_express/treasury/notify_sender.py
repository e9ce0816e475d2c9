"""The sender: takes letters from the work queue and delivers them, again and again where that may help.

A letter that its service refuses (a wrong key, an unknown number) goes to the dead at once, with an error in the log;
one that cannot be delivered now is put back, and waits twice as long each time or as long as the service asks for. Each
channel and recipient has letters of its own, so that one which fails holds up no other. A letter is delivered at least
once: an answer that is lost on its way means that it is sent again, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from campaign_express.adapters.http_post import Refused, Undelivered
from campaign_express.adapters.notify_queue import Taken
from campaign_express.notifications import Letter
from campaign_express.treasury.loops import Health

log = logging.getLogger(__name__)

BATCH = 8
WAIT_S = 1.0
ATTEMPTS = 12  # with the pauses below some two hours
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 1800.0


class Channel(Protocol):
    """One way to reach people: `adapters.webhook`, `sendgrid`, `twilio`."""

    def send(self, letter: Letter) -> None:
        """Blocking. Raises Undelivered, or Refused."""
        ...


class Queue(Protocol):
    """`adapters.notify_queue.NotifyQueue`."""

    async def take(self, most: int, wait_s: float) -> Sequence[Taken]: ...

    async def done(self, taken: Taken) -> None: ...

    async def later(self, taken: Taken, delay_s: float) -> None: ...

    async def bury(self, taken: Taken, problem: str) -> None: ...

    async def close(self) -> None: ...


class Sender:
    """A `treasury.loops.Worker`. `outcomes` counts by "channel outcome": sent, retried, refused, given-up."""

    name = "notify-sender"

    def __init__(
        self,
        queue: Queue,
        channels: Mapping[str, Channel],
        health: Health,
        *,
        attempts: int = ATTEMPTS,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._queue = queue
        self._channels = channels
        self._health = health
        self._attempts = attempts
        self._first_pause_s = first_pause_s
        self.outcomes: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                taken = await self._queue.take(BATCH, WAIT_S)
                began = time.monotonic()
                await asyncio.gather(*(self._deliver(one) for one in taken))
                self._health.succeeded(self.name, time.monotonic() - began)
        finally:
            await self._queue.close()

    async def _deliver(self, taken: Taken) -> None:
        letter = taken.letter
        channel = self._channels.get(letter.channel) if letter is not None else None
        if letter is None or channel is None:
            name = letter.channel if letter is not None else "unknown"
            await self._give_up(taken, name, "refused", "nothing delivers letters like this")
            return
        try:
            await asyncio.to_thread(channel.send, letter)
        except Refused as error:
            await self._give_up(taken, letter.channel, "refused", str(error))
        except Undelivered as error:
            if taken.attempt >= self._attempts:
                await self._give_up(taken, letter.channel, "given-up", str(error))
                return
            pause = min(self._first_pause_s * 2.0 ** (taken.attempt - 1), LONGEST_PAUSE_S)
            self.outcomes[f"{letter.channel} retried"] += 1
            log.warning("a notification waits: %s", error, extra={"channel": letter.channel, "attempt": taken.attempt})
            await self._queue.later(taken, max(pause, error.retry_s))
        else:
            self.outcomes[f"{letter.channel} sent"] += 1
            await self._queue.done(taken)

    async def _give_up(self, taken: Taken, channel: str, outcome: str, problem: str) -> None:
        self.outcomes[f"{channel} {outcome}"] += 1
        log.error("a notification is not delivered: %s", problem, extra={"channel": channel})
        await self._queue.bury(taken, problem)
