"""Money events to NATS JetStream, and to the local spool while it is away or slow. Stream and subjects: docs/events.md.

`JetStreamSink.publish` returns when the event is durable, whichever way:

- Usually JetStream acknowledges, in batches: `batches.py`.
- What is not acknowledged in `patience_s` is appended to the spool. When nothing at all was acknowledged in that time,
  all events go to the spool at once, until JetStream has acknowledged what the spool held.

So an event may reach the stream twice. Its id is the message id: JetStream drops the second within its window, and
consumers know it by its id for ever. One task tends the stream: it connects, looks after the stream, empties the spool
and adopts the spools of dead processes. The client's own reconnecting is not used: it would keep in memory what is in
the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from campaign_express.adapters.batches import BatchPublisher, Parcel
from campaign_express.adapters.nats import ACK_S, CLOSE_S, CONNECT_S, TROUBLE, StreamTerms, keep_up
from campaign_express.adapters.spool import Spool
from campaign_express.errors import Unavailable
from campaign_express.events import STREAM, SUBJECTS, MoneyEvent, encode_event, subject
from campaign_express.ports import Kept

log = logging.getLogger(__name__)

LAST_CALL_S = 0.003
GATHER_S = 0.05
LOOK_S = 5.0  # how often the spools of dead processes are looked for


class _Letter(Struct, frozen=True, array_like=True):
    """An event as it lies in the spool: all that is needed to publish it, so that it need not be understood."""

    subject: str
    id: str
    payload: bytes


class _Flight(Parcel, eq=False, kw_only=True):
    until: float  # of the loop's clock
    landed: asyncio.Future[Kept]
    spools: bool  # when it is not acknowledged; else it comes from there


_write_letter = msgspec.msgpack.Encoder().encode
_read_letter = msgspec.msgpack.Decoder(_Letter).decode


class JetStreamSink:
    """`ports.EventSink`. `start` in the event loop that publishes; counts are read by whoever shows them."""

    def __init__(
        self,
        url: str,
        spool: Spool,
        *,
        name: str,
        terms: StreamTerms,
        patience_s: float,
        ack_s: float = ACK_S,
        close_s: float = CLOSE_S,
    ) -> None:
        """`ack_s`: how long what comes from the spool waits for its acknowledgement. `close_s`: how long each step of
        closing waits for JetStream and the disk."""
        self._publisher: BatchPublisher[_Flight] = BatchPublisher(
            url, name, terms, (STREAM, SUBJECTS), self._on_settled, self._disconnect
        )
        self._patience_s = patience_s
        self._close_s = close_s
        self._ack_s = ack_s
        self._flights: dict[_Flight, None] = {}  # oldest first
        self._spooling: set[asyncio.Task[None]] = set()
        self._acked_at = 0.0  # of the loop's clock
        self._watching = False  # a timer waits for the oldest flight
        self._tending: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._tended = asyncio.Event()  # JetStream has acknowledged once
        self.spool = spool
        self.up = False  # JetStream acknowledges, as far as is known
        self.spooled = 0  # events that went to the spool
        self.drained = 0  # and from there to JetStream

    async def start(self) -> None:
        """Open the spool and begin to connect; waits a little for JetStream, and goes on without it.

        Raises Unavailable when the spool cannot be opened.
        """
        await self.spool.open()
        self._tending = asyncio.get_running_loop().create_task(
            keep_up(
                self._work,
                self._rest,
                self._disconnect,
                tell=("JetStream is away: events go to the local spool", "JetStream is back"),
                counts=lambda: {"drained": self.drained},
            )
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._tended.wait(), CONNECT_S)

    def publish(self, event: MoneyEvent) -> asyncio.Future[Kept]:
        """See `ports.EventSink`. A future and no coroutine: a task for each event would cost more than sending it."""
        letter = _Letter(subject(event), event.id, encode_event(event))
        loop = asyncio.get_running_loop()
        if self.up and self._publisher.connected:
            return self._take_off(loop, letter, self._patience_s, True)
        return self._spool(letter, loop.create_future())

    @property
    def refused(self) -> int:
        """Events that JetStream refused, each time that it did: they go to the spool."""
        return self._publisher.refused

    async def close(self) -> None:
        """End when what is under way has landed; what is in the spool stays there for the next process."""
        self.up = False
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        if self._flights:
            await asyncio.wait([flight.landed for flight in self._flights], timeout=self._close_s)
        if self._spooling:  # what was given up a moment ago, and is not in the spool yet
            await asyncio.wait(self._spooling, timeout=self._close_s)
        with contextlib.suppress(*TROUBLE):
            if self._publisher.connected and not self.spool.empty:
                await asyncio.wait_for(self._drain(), self._close_s)
        await self._disconnect()
        if self._spooling:
            await asyncio.wait(self._spooling)
        await self.spool.close()

    # Sending

    def _take_off(
        self, loop: asyncio.AbstractEventLoop, letter: _Letter, patience_s: float, spools: bool
    ) -> asyncio.Future[Kept]:
        """Publish. What is not acknowledged in time is appended to the spool, unless it lies there anyway: SPOOLED."""
        landed: asyncio.Future[Kept] = loop.create_future()
        until = loop.time() + patience_s
        flight = _Flight(letter.subject, letter.id, letter.payload, until=until, landed=landed, spools=spools)
        self._flights[flight] = None
        if not self._watching:
            self._watch(loop)
        self._publisher.offer(flight)
        return landed

    def _on_settled(self, flight: _Flight, kept: Kept | None) -> None:
        self._flights.pop(flight, None)
        if kept is None:
            self._lose(flight)
        elif not flight.landed.done():
            self._acked_at = asyncio.get_running_loop().time()
            flight.landed.set_result(kept)

    def _lose(self, flight: _Flight) -> None:
        """No acknowledgement has come, and none is waited for any more."""
        if flight.landed.done():
            return
        if not flight.spools:
            flight.landed.set_result(Kept.SPOOLED)
            return
        if asyncio.get_running_loop().time() - self._acked_at > self._patience_s:
            self._distrust()  # else it is only slow, and this one alone takes the other way
        self._spool(_Letter(flight.subject, flight.id, flight.payload), flight.landed)

    def _spool(self, letter: _Letter, landed: asyncio.Future[Kept]) -> asyncio.Future[Kept]:
        task = asyncio.get_running_loop().create_task(self._append(letter, landed))
        self._spooling.add(task)
        task.add_done_callback(self._spooling.discard)
        return landed

    async def _append(self, letter: _Letter, landed: asyncio.Future[Kept]) -> None:
        try:
            await self.spool.append(_write_letter(letter))
        except Exception as error:
            if not landed.done():
                landed.set_exception(error)
        else:
            self.spooled += 1
            self._wake.set()
            if not landed.done():
                landed.set_result(Kept.SPOOLED)

    def _watch(self, loop: asyncio.AbstractEventLoop, last_call: bool = False) -> None:
        """Give up what has waited too long; one timer for all. Few flights are more patient than others.

        What is overdue gets a last call first: where this process itself was held up, acknowledgements wait in the
        socket, and reading them costs less than a fsync.
        """
        self._watching = False
        now = loop.time()
        soonest = None
        for flight in list(self._flights):
            if flight.until <= now and last_call:
                del self._flights[flight]
                self._lose(flight)
                self._publisher.give_up(flight)
            elif soonest is None or flight.until < soonest:
                soonest = flight.until
        if soonest is None:
            return
        self._watching = True
        if soonest <= now:
            loop.call_later(LAST_CALL_S, self._watch, loop, True)
        else:
            loop.call_at(min(soonest, now + self._patience_s), self._watch, loop)

    def _distrust(self) -> None:
        if self.up:
            self.up = False
            self._wake.set()
            log.debug("JetStream does not acknowledge in time: events go to the local spool")

    # Tending

    async def _work(self) -> None:
        if not self._publisher.connected:
            await self._publisher.connect()
        await self.spool.adopt()
        await self._drain()
        self.up = True
        self._tended.set()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), LOOK_S)
        await asyncio.sleep(GATHER_S)  # for more to come into the spool
        self._wake.clear()

    async def _disconnect(self) -> None:
        """Nothing more will land."""
        self._distrust()
        await self._publisher.disconnect()

    async def _drain(self) -> None:
        if not self.spool.empty:
            await self.spool.drain(self._deliver)

    async def _deliver(self, letters: Sequence[bytes]) -> None:
        """Publish records of the spool; returns when all are acknowledged, raises Unavailable when one is not."""
        loop = asyncio.get_running_loop()
        landings = []
        for raw in letters:
            if not self._publisher.connected:
                raise Unavailable("the connection was lost")
            landings.append(self._take_off(loop, _read_letter(raw), self._ack_s, False))
        kept = await asyncio.gather(*landings)
        lost = kept.count(Kept.SPOOLED)
        self.drained += len(kept) - lost
        if lost:
            raise Unavailable("JetStream does not acknowledge what the spool holds")
