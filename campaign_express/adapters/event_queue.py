"""Money events from JetStream, for the one who applies them: fetched in batches, acknowledged one by one when applied.

One durable pull consumer. What was fetched and never acknowledged (the treasury died, Redis was away) comes again after
`ACK_WAIT_S`, to whoever fetches then. What cannot be read goes to the stream DEAD, and is out of the way. Streams,
subjects and the consumer: docs/treasury.md, "Events".
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from campaign_express.adapters.nats import ACK_S, StreamTerms, connect, ensure_stream, redact
from campaign_express.adapters.pull import Pull
from campaign_express.bidding.settlement import problem_of
from campaign_express.errors import Unavailable
from campaign_express.events import DEAD_STREAM, DEAD_SUBJECTS, STREAM, MoneyEvent, decode_event

CONSUMER = "treasury"
DEAD_MONEY = "dead.money"
ACK_WAIT_S = 10.0
MAX_UNCONFIRMED = 65_536  # a master of Redis may be away, and the others go on
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 8.0  # until what could not be applied comes again
CLOSE_S = 2.0

_TROUBLE = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class Delivery(NamedTuple):
    """One message. `event` is None where it cannot be read; `problem` says why."""

    event: MoneyEvent | None
    problem: str
    message: Msg


class Progress(NamedTuple):
    """How far the consumer has come."""

    waiting: int  # events that were not fetched yet
    unconfirmed: int  # fetched and not acknowledged
    floor: int  # stream sequence up to which everything is acknowledged
    applied_ms: int  # real time, Unix ms: everything stored before it is acknowledged


class _Link(NamedTuple):
    """One connection, and the consumer on it."""

    client: Client
    context: JetStreamContext
    pull: Pull


class EventQueue:
    """For one event loop. All methods raise Unavailable when JetStream does not answer; the next call connects anew."""

    def __init__(self, url: str, terms: StreamTerms, *, name: str) -> None:
        self._url = url
        self._terms = terms
        self._name = name
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self.connected_at = 0.0  # monotonic: since when there is a connection
        self.where = redact(url)

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        """At most `most` events, oldest first; waits up to `wait_s` for the first."""
        link = await self._connected()
        try:
            return [_read(message) for message in await link.pull.take(most, wait_s)]
        except (*_TROUBLE, Unavailable) as error:
            raise await self._lost(link, error) from error

    async def confirm(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge: they do not come again."""
        link = await self._connected()
        try:
            for delivery in deliveries:
                # As Msg.ack does, which would refuse where a message is acknowledged a second time.
                await link.client.publish(delivery.message.reply)
        except _TROUBLE as error:
            raise await self._lost(link, error) from error

    async def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """They are not applied yet: they come again soon, and later each time."""
        link = await self._connected()
        try:
            for delivery in deliveries:
                again = delivery.message.metadata.num_delivered
                delay_s = min(FIRST_DELAY_S * 2 ** min(again - 1, 10), LONGEST_DELAY_S)
                terms = msgspec.json.encode({"delay": int(delay_s * 1e9)})
                await link.client.publish(delivery.message.reply, b"-NAK " + terms)
        except _TROUBLE as error:
            raise await self._lost(link, error) from error

    async def bury(self, delivery: Delivery) -> None:
        """Keep a message that cannot be read in the stream DEAD, then acknowledge it."""
        link = await self._connected()
        message = delivery.message
        sequence = message.metadata.sequence.stream
        headers = {
            "Nats-Msg-Id": f"{STREAM}:{sequence}",
            "Problem": delivery.problem.replace("\n", " ")[:500],
            "Subject-Of-Origin": message.subject,
            "Sequence-Of-Origin": str(sequence),
        }
        try:
            await link.context.publish(DEAD_MONEY, message.data, headers=headers, timeout=ACK_S)
        except _TROUBLE as error:
            raise await self._lost(link, error) from error
        await self.confirm([delivery])

    async def progress(self) -> Progress:
        """Asked of JetStream, so that what an earlier treasury left unacknowledged counts too."""
        link = await self._connected()
        asked_ms = time.time_ns() // 1_000_000
        try:
            info = await link.context.consumer_info(STREAM, CONSUMER)
            waiting, unconfirmed = info.num_pending or 0, info.num_ack_pending or 0
            floor = info.ack_floor.stream_seq if info.ack_floor else 0
            if not waiting and not unconfirmed:
                return Progress(0, 0, floor, asked_ms)
            oldest = await link.context.get_msg(STREAM, seq=floor + 1, subject=">", next=True)
        except nats.js.errors.NotFoundError:  # the log is shorter than the consumer remembers
            return Progress(waiting, unconfirmed, floor, 0)
        except _TROUBLE as error:
            raise await self._lost(link, error) from error
        stored = oldest.time or datetime.fromtimestamp(0, UTC)
        return Progress(waiting, unconfirmed, floor, min(asked_ms, int(stored.timestamp() * 1000)))

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(*_TROUBLE):
                await link.client.flush(timeout=int(CLOSE_S))  # acknowledgements that were not sent yet
            await _close(link.client)

    async def _connected(self) -> _Link:
        async with self._connecting:
            if self._link is not None and not self._link.client.is_closed:
                return self._link
            client = await connect(self._url, self._name)
            try:
                await ensure_stream(client, self._terms)
                await ensure_stream(client, self._terms, DEAD_STREAM, DEAD_SUBJECTS)
                context = client.jetstream(timeout=ACK_S)
                wanted = ConsumerConfig(
                    durable_name=CONSUMER,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=ACK_WAIT_S,
                    max_ack_pending=MAX_UNCONFIRMED,
                )
                await context.add_consumer(STREAM, wanted)
                pull = Pull(client, STREAM, CONSUMER)
                await pull.start()
                self._link = _Link(client, context, pull)
            except _TROUBLE as error:
                await _close(client)
                raise Unavailable(f"JetStream at {self.where}: {error or type(error).__name__}") from error
            self.connected_at = time.monotonic()
            return self._link

    async def _lost(self, link: _Link, error: Exception) -> Unavailable:
        if self._link is link:
            self._link = None
        await _close(link.client)
        return Unavailable(f"JetStream at {self.where}: {error or type(error).__name__}")


async def _close(client: Client) -> None:
    with contextlib.suppress(*_TROUBLE):
        await asyncio.wait_for(client.close(), CLOSE_S)


def _read(message: Msg) -> Delivery:
    try:
        event = decode_event(message.data)
    except msgspec.DecodeError as error:
        return Delivery(None, f"does not decode: {error}", message)
    problem = problem_of(event)
    return Delivery(None if problem else event, problem, message)
