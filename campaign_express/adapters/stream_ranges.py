"""One partition of a stream, read in ranges that stay the same whoever reads them: docs/pipeline.md, "Exactly once".

The position is a record in the KV bucket PIPELINE: the range that is being inserted, or was the last one. It is written
before the range is given out, compared and set, so a second owner of the partition fails at its first range. Whoever
opens the partition gets the recorded range first, whole and alone, then what comes behind it.

A durable pull consumer delivers, made anew at each opening right behind the record, under a name of its own: nothing is
in the hands of an owner who is dead, and an owner who is only slow gets nothing any more. It is acknowledged when a
range is done, which is what its lag is seen by.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from typing import NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig, StorageType
from nats.js.kv import KeyValue

from campaign_express.adapters.nats import ACK_S, StreamTerms, close, connect, ensure_stream, redact
from campaign_express.adapters.pull import Pull
from campaign_express.errors import Unavailable
from campaign_express.events import DEAD_STREAM, DEAD_SUBJECTS
from campaign_express.ports import Message, Unreadable

log = logging.getLogger(__name__)

BUCKET = "PIPELINE"
ACK_WAIT_S = 600.0  # nothing is delivered a second time to an owner; a new one has a consumer of its own
PREFIX = "pipeline-"
PULL = 1000  # messages asked for at once
PULL_BYTES = 8_000_000
RECORDED_S = 30.0  # for all of a range that was begun before
INACTIVE_S = 7 * 86_400.0  # a consumer that nobody has read from for so long is forgotten by the server

_TROUBLE = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError, Unavailable)


class Partition(NamedTuple):
    """Some subjects of a stream that are read in order by one owner."""

    name: str  # letters, digits, - and _
    stream: str
    subjects: tuple[str, ...]  # of the stream, to filter by


class Position(Struct, frozen=True, array_like=True):
    """The record. `first` and `last` are stream sequences, `last` inclusive; 0 and 0: nothing was inserted yet."""

    stream_made: str  # when the stream was made: another one begins anew
    first: int
    last: int


class Range(NamedTuple):
    """A batch of messages, and the token that its insert is known by."""

    messages: list[Message]
    first: int
    last: int
    token: str
    reply: str  # acknowledges all up to it


class Lag(NamedTuple):
    """How far behind the reader is."""

    messages: int
    seconds: float  # age of the oldest message that is not inserted


class RangeReader:
    """For one event loop. All methods raise Unavailable; the next `take` opens anew."""

    def __init__(
        self,
        url: str,
        partition: Partition,
        terms: StreamTerms,
        stream_subjects: str,
        *,
        owner: str,
        most: int,
        most_bytes: int,
        linger_s: float,
    ) -> None:
        """`owner` names the consumer. A range has at most `most` messages and some `most_bytes`, and is closed
        `linger_s` after its first message came."""
        self.partition = partition
        self.where = redact(url)
        self._url = url
        self._terms = terms
        self._stream_subjects = stream_subjects
        self._owner = owner
        self._most = most
        self._most_bytes = most_bytes
        self._linger_s = linger_s
        self._client: Client | None = None
        self._context: JetStreamContext
        self._kv: KeyValue
        self._pull: Pull
        self._consumer = ""
        self._position = Position("", 0, 0)
        self._revision = 0
        self._again: Position | None = None  # the recorded range, until it was given out
        self._held: deque[Msg] = deque()  # delivered, and in no range yet
        self._delivered = 0  # consumer sequence of the last message
        self._opened = 0
        self._reply = ""  # of the last message of the range

    async def take(self, wait_s: float) -> Range | None:
        """The next range; None where nothing has come for `wait_s`."""
        try:
            await self._open()
            if self._again is not None:
                found = await self._recorded(self._again)
                self._again = None
                if found is not None:
                    return found
            messages = await self._gather(wait_s)
            if not messages:
                return None
            first, last = messages[0].seq, messages[-1].seq
            await self._record(Position(self._position.stream_made, first, last))
            reply = self._reply
            return Range(messages, first, last, self._token(first, last), reply)
        except _TROUBLE as error:
            raise await self._lost(error) from error

    async def done(self, taken: Range) -> None:
        """All rows of the range are durable."""
        if taken.reply and self._client is not None:
            try:
                await self._client.publish(taken.reply)
            except _TROUBLE as error:
                raise await self._lost(error) from error

    async def bury(self, unreadable: Unreadable) -> None:
        """Keep a message that has no place in the tables in the stream DEAD."""
        message = unreadable.message
        headers = {
            "Nats-Msg-Id": f"{self.partition.stream}:{message.seq}",
            "Problem": unreadable.problem.replace("\n", " ")[:500],
            "Subject-Of-Origin": message.subject,
            "Sequence-Of-Origin": str(message.seq),
        }
        try:
            await self._open()
            subject = f"dead.{self.partition.stream.lower()}"
            await self._context.publish(subject, message.data, headers=headers, timeout=ACK_S)
        except _TROUBLE as error:
            raise await self._lost(error) from error

    async def lag(self) -> Lag:
        """Asked of JetStream."""
        try:
            await self._open()
            info = await self._context.consumer_info(self.partition.stream, self._consumer)
            waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
            if not waiting:
                return Lag(0, 0.0)
            floor = max(info.ack_floor.stream_seq if info.ack_floor else 0, self._position.last if waiting else 0)
            oldest = await self._context.get_msg(
                self.partition.stream, seq=floor + 1, subject=self.partition.subjects[0], next=True
            )
            stored = oldest.time.timestamp() if oldest.time else time.time()
            return Lag(waiting, max(0.0, time.time() - stored))
        except nats.js.errors.NotFoundError:
            return Lag(0, 0.0)
        except _TROUBLE as error:
            raise await self._lost(error) from error

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*_TROUBLE):
                await client.flush(timeout=2)
            await close(client)

    # Opening

    async def _open(self) -> None:
        if self._client is not None and not self._client.is_closed:
            return
        client = await connect(self._url, f"campaign-express pipeline {self.partition.name}")
        try:
            await ensure_stream(client, self._terms, self.partition.stream, self._stream_subjects)
            await ensure_stream(client, StreamTerms(replicas=self._terms.replicas), DEAD_STREAM, DEAD_SUBJECTS)
            self._context = client.jetstream(timeout=ACK_S)
            self._kv = await self._bucket()
            await self._read_record()
            self._client = client
            await self._make_consumer(client)
        except BaseException:
            self._client = None
            await close(client)
            raise

    async def _bucket(self) -> KeyValue:
        try:
            return await self._context.key_value(BUCKET)
        except nats.js.errors.BucketNotFoundError:
            config = KeyValueConfig(BUCKET, storage=StorageType.FILE, replicas=self._terms.replicas)
            return await self._context.create_key_value(config)

    async def _read_record(self) -> None:
        """And write it once more: of two openers the first one's next record fails."""
        made = str((await self._context.stream_info(self.partition.stream)).created)
        try:
            entry = await self._kv.get(self.partition.name)
            found = msgspec.msgpack.decode(entry.value or b"", type=Position)
            self._revision = int(entry.revision or 0)
        except nats.js.errors.KeyNotFoundError:
            found = Position("", 0, 0)
            self._revision = 0
        if found.stream_made != made:
            if found.last:
                log.warning("the stream was made anew: it is read from its beginning", extra=self._named())
            found = Position(made, 0, 0)
        self._again = found if found.last else None
        await self._record(found)

    async def _record(self, position: Position) -> None:
        """Raises Unavailable where another owner has written since."""
        blob = msgspec.msgpack.encode(position)
        try:
            if self._revision:
                self._revision = await self._kv.update(self.partition.name, blob, last=self._revision)
            else:
                self._revision = await self._kv.create(self.partition.name, blob)
        except nats.js.errors.KeyWrongLastSequenceError:
            raise Unavailable(f"partition {self.partition.name} has another owner") from None
        self._position = position

    async def _make_consumer(self, client: Client) -> None:
        self._opened += 1
        stale = [
            info.name
            for info in await self._context.consumers_info(self.partition.stream)
            if info.name and info.name.startswith(f"{PREFIX}{self.partition.name}-")
        ]
        self._consumer = f"{PREFIX}{self.partition.name}-{self._owner}-{self._opened}"
        config = ConsumerConfig(
            durable_name=self._consumer,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._position.last + 1,
            ack_policy=AckPolicy.ALL,
            ack_wait=ACK_WAIT_S,
            max_ack_pending=-1,
            filter_subjects=list(self.partition.subjects),
            inactive_threshold=INACTIVE_S,
        )
        await self._context.add_consumer(self.partition.stream, config)
        for name in stale:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                await self._context.delete_consumer(self.partition.stream, name)
        self._pull = Pull(client, self.partition.stream, self._consumer)
        await self._pull.start()
        self._held.clear()
        self._delivered = 0

    async def _lost(self, error: Exception) -> Unavailable:
        client, self._client = self._client, None
        if client is not None:
            await close(client)
        self._held.clear()
        return Unavailable(f"JetStream at {self.where}: {error or type(error).__name__}")

    # Reading

    async def _gather(self, wait_s: float) -> list[Message]:
        """Messages of one range: what is there, and what comes within `linger_s` of the first."""
        messages: list[Message] = []
        size = 0
        until = 0.0
        while len(messages) < self._most and size < self._most_bytes:
            if not self._held:
                left = until - time.monotonic() if messages else wait_s
                if left <= 0:
                    break
                await self._fetch(min(left, 5.0))
                if not self._held:
                    if messages:
                        continue
                    break
            if not messages:
                until = time.monotonic() + self._linger_s
            message = self._held.popleft()
            messages.append(Message(message.metadata.sequence.stream, message.subject, message.data))
            size += len(message.data)
            self._reply = message.reply
        return messages

    async def _fetch(self, wait_s: float) -> None:
        for message in await self._pull.take(PULL, wait_s, PULL_BYTES):
            sequence = message.metadata.sequence.consumer
            if message.metadata.num_delivered > 1:
                continue
            if sequence != self._delivered + 1:
                raise Unavailable(f"messages of partition {self.partition.name} went to somebody else")
            self._delivered = sequence
            self._held.append(message)

    async def _recorded(self, position: Position) -> Range | None:
        """The messages of a range that was given out before, by a consumer of their own.

        None where the stream holds none of them any more.
        """
        client = self._client
        assert client is not None
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=position.first,
            ack_policy=AckPolicy.NONE,
            filter_subjects=list(self.partition.subjects),
            inactive_threshold=60.0,
            mem_storage=True,
        )
        info = await self._context.add_consumer(self.partition.stream, config)
        pull = Pull(client, self.partition.stream, info.name)
        await pull.start()
        messages: list[Message] = []
        pending = info.num_pending or 0
        patience = time.monotonic() + RECORDED_S
        while pending:
            found = await pull.take(PULL, ACK_S, PULL_BYTES)
            if not found and time.monotonic() > patience:
                raise Unavailable("a range that was begun is not delivered")
            for message in found:
                if message.metadata.sequence.stream > position.last:
                    pending = 0
                    break
                pending = message.metadata.num_pending
                messages.append(Message(message.metadata.sequence.stream, message.subject, message.data))
        with contextlib.suppress(*_TROUBLE):
            await self._context.delete_consumer(self.partition.stream, info.name)
        if not messages:
            return None
        return Range(messages, position.first, position.last, self._token(position.first, position.last), "")

    def _token(self, first: int, last: int) -> str:
        return f"{self.partition.name}@{self._position.stream_made}:{first}-{last}"

    def _named(self) -> dict[str, str]:
        return {"partition": self.partition.name}
