"""Messages to one stream of JetStream in atomic batches: what comes while one is under way makes up the next.

A server with `sync_interval: always` syncs its disk once a batch, and acknowledges the batch after that: so the more
wait, the less a sync costs each (group commit), and nobody waits for a timer. docs/decisions/0008 has the figures.

A batch is stored as a whole or not at all. JetStream refuses one that holds a message which it has already; it is then
sent again in halves, down to the message itself, which is acknowledged as a duplicate. What this process knows to be
there goes alone from the start, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from msgspec import Struct

from campaign_express.adapters.nats import MESSAGE_ID, Ack, Publisher, StreamTerms
from campaign_express.ports import Kept

log = logging.getLogger(__name__)

MOST = 256  # of a batch; JetStream takes 1,000
FEW = 8  # are sent one by one: to stage a batch costs the server more than to sync so many
AT_A_STRETCH = 32  # so many are handed to the client before anybody else on the event loop has a turn
KNOWN = 8192  # ids of late, of which a repetition is expected
DUPLICATE_IN_BATCH = 10201  # JetStream's error code
TELL_S = 10.0  # refusals are logged so often at most

BATCH_ID, BATCH_SEQUENCE, BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"


class Parcel(Struct, eq=False):
    """One message; `over` when nobody waits for its acknowledgement any more."""

    subject: str
    id: str
    payload: bytes
    over: bool = False


P = TypeVar("P", bound=Parcel)


class BatchPublisher(Generic[P]):
    """Of the event loop that connects it. Every parcel is told of once, to `settled`, unless it is given up before."""

    def __init__(
        self,
        url: str,
        name: str,
        terms: StreamTerms,
        stream: tuple[str, str],
        settled: Callable[[P, Kept | None], None],
        lost: Callable[[], Awaitable[None]],
    ) -> None:
        """`settled` is told how a parcel was kept; None: JetStream refuses it or is gone. The rest as `Publisher`."""
        self._link = Publisher(url, name, terms, stream, self._on_ack, lost)
        self._settled = settled
        self._waiting: deque[P] = deque()
        self._alone: deque[P] = deque()  # known to be there
        self._parts: deque[list[P]] = deque()  # of refused batches
        self._under_way: dict[str, list[P]] = {}  # by token
        self._turn: set[str] = set()  # those tokens that the next batch waits for
        self._sending: asyncio.Task[None] | None = None
        self._known: dict[str, None] = {}  # oldest first
        self._number = 0
        self._prefix = secrets.token_urlsafe(6)  # batches of all cells share the stream
        self._told_at = -TELL_S
        self._told = 0
        self.refused = 0  # messages

    @property
    def connected(self) -> bool:
        return self._link.connected

    async def connect(self) -> None:
        """As `Publisher.connect`."""
        await self._link.connect()

    def offer(self, parcel: P) -> None:
        """Publish in the next batch."""
        (self._alone if parcel.id in self._known else self._waiting).append(parcel)
        self._go_on()

    def give_up(self, parcel: P) -> None:
        """Nobody waits for it any more; a batch of which that is true of all holds up the next no longer."""
        parcel.over = True
        for token in list(self._turn):
            if all(one.over for one in self._under_way[token]):
                del self._under_way[token]
                self._turn.discard(token)
        self._go_on()

    async def disconnect(self) -> None:
        """Nothing more is acknowledged; what was to be published and is not over is settled with None."""
        left = [one for group in [*self._under_way.values(), *self._parts] for one in group]
        left += [*self._alone, *self._waiting]
        for held in (self._under_way, self._parts, self._alone, self._waiting, self._turn):
            held.clear()
        self._settle(left, None)
        await self._link.disconnect()

    def _go_on(self) -> None:
        if self._sending is None and (self._alone or (not self._turn and (self._parts or self._waiting))):
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        """Give the client what may be published now."""
        try:
            while self._link.connected and (group := self._next()):
                await self._dispatch(group)
        finally:
            self._sending = None

    def _next(self) -> list[P]:
        """What goes next, and together; nothing while a batch is under way."""
        while self._alone:
            parcel = self._alone.popleft()
            if not parcel.over:
                return [parcel]
        while not self._turn and (self._parts or self._waiting):
            if self._parts:
                group = self._parts.popleft()
            else:
                group = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            if group := [one for one in group if not one.over]:
                return group
        return []

    async def _dispatch(self, group: list[P]) -> None:
        batched = len(group) > FEW
        batch = f"{self._prefix}{self._number}"
        for groups in [group] if batched else [[one] for one in group]:
            self._number += 1
            token = str(self._number)
            self._under_way[token] = groups
            if groups[0].id not in self._known:
                self._turn.add(token)
            try:
                for place, one in enumerate(groups, 1):
                    headers = {MESSAGE_ID: one.id}
                    if batched:
                        headers[BATCH_ID], headers[BATCH_SEQUENCE] = batch, str(place)
                    if place < len(groups):
                        await self._link.send("", one.subject, one.payload, headers)
                        if place % AT_A_STRETCH == 0:
                            await asyncio.sleep(0)
                        continue
                    if batched:
                        headers[BATCH_COMMIT] = "1"
                    await self._link.send(token, one.subject, one.payload, headers)
            except Exception:  # it is closing, or worse
                self._turn.discard(token)
                self._settle(self._under_way.pop(token, []), None)

    def _on_ack(self, token: str, ack: Ack | None) -> None:
        group = self._under_way.pop(token, None)
        if group is None:
            return
        self._turn.discard(token)
        if ack is None:
            self._settle(group, None)
        elif ack.error is not None and ack.error.err_code == DUPLICATE_IN_BATCH and len(group) > 1:
            middle = len(group) // 2
            self._parts.extendleft([group[middle:], group[:middle]])
        elif ack.error is not None or not ack.stream or (len(group) > 1 and ack.count != len(group)):
            self._refuse(len(group), ack)
            self._settle(group, None)
        else:
            self._remember(group)
            self._settle(group, Kept.DUPLICATE if ack.duplicate else Kept.PUBLISHED)
        self._go_on()

    def _settle(self, group: list[P], kept: Kept | None) -> None:
        for parcel in group:
            if not parcel.over:
                parcel.over = True
                self._settled(parcel, kept)

    def _remember(self, group: list[P]) -> None:
        for parcel in group:
            self._known[parcel.id] = None
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def _refuse(self, messages: int, ack: Ack) -> None:
        """Count them, and tell now and then: a server that ends refuses all that it is sent."""
        self.refused += messages
        now = time.monotonic()
        if now - self._told_at >= TELL_S:
            error = ack.error.description if ack.error else f"{ack.count} of {messages} messages"
            log.error("JetStream refuses messages", extra={"error": error, "refused": self.refused - self._told})
            self._told_at, self._told = now, self.refused
