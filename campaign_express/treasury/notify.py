"""The watch: looks every few seconds which conditions hold, and puts each new one into the work queue, once a day.

First into the queue, durably and under an id of its own, then marked as told: a treasury that dies in between says it
again, and the queue drops it. Delivery is another's: `notify_sender.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from campaign_express.notifications import Letter, Notification
from campaign_express.treasury.loops import Health, sleep
from campaign_express.treasury.notify_conditions import Conditions, Look

log = logging.getLogger(__name__)

PERIOD_S = 2.0


class Recipients(Struct, frozen=True):
    """Who is told, by channel; "" and () are nobody."""

    webhook: bool = False
    email: str = ""  # addresses with commas between
    sms: tuple[str, ...] = ()  # numbers

    def letters(self, notification: Notification) -> list[Letter]:
        """One for each recipient that is to be told on its own."""
        made = [Letter(notification=notification, channel="webhook")] if self.webhook else []
        if self.email:
            made.append(Letter(notification=notification, channel="email", to=self.email))
        return [*made, *(Letter(notification=notification, channel="sms", to=number) for number in self.sms)]


class Queue(Protocol):
    """`adapters.notify_queue.NotifyQueue`."""

    async def put(self, letter: Letter) -> None: ...

    async def close(self) -> None: ...


class Told(Protocol):
    """`adapters.notify_queue.Told`."""

    def known(self, ids: list[str]) -> set[str]: ...

    def mark(self, told: str) -> None: ...


class Watch:
    """A `treasury.loops.Worker`. `look` blocks, and is called in a thread."""

    name = "notify-watch"

    def __init__(
        self,
        conditions: Conditions,
        look: Callable[[], Look],
        queue: Queue,
        told: Told,
        recipients: Recipients,
        health: Health,
        period_s: float = PERIOD_S,
    ) -> None:
        self._conditions = conditions
        self._look = look
        self._queue = queue
        self._told = told
        self._recipients = recipients
        self._health = health
        self._period_s = period_s
        self._known: set[str] = set()  # of those that hold now: told
        self.found: dict[str, int] = {}  # how many were told, by condition

    async def run(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                began = time.monotonic()
                await self.once()
                self._health.succeeded(self.name, time.monotonic() - began)
                await sleep(stop, self._period_s)
        finally:
            await self._queue.close()

    async def once(self) -> None:
        """Look, and tell what is new. Raises Unavailable."""
        for notification in await asyncio.to_thread(self._new):
            for letter in self._recipients.letters(notification):
                await self._queue.put(letter)
            log.warning(
                "%s", notification.text, extra={"condition": notification.condition, "subject": notification.subject}
            )
            await asyncio.to_thread(self._told.mark, notification.id)
            self._known.add(notification.id)
            self.found[notification.condition] = self.found.get(notification.condition, 0) + 1

    def _new(self) -> Sequence[Notification]:
        holding = {found.id: found for found in self._conditions.found(self._look())}
        self._known &= holding.keys()
        unknown = [one for one in holding if one not in self._known]
        told = self._told.known(unknown)
        self._known |= told
        return [holding[one] for one in unknown if one not in told]
