"""The work queue of notifications: stream NOTIFY, from which each letter is taken once, and what was told already.

A work queue keeps a letter until it is acknowledged. One that could not be delivered is put back with a delay; one that
never could be goes to the stream DEAD (subject `dead.notify`). Which conditions were told stands in Redis, a key each
(`{notify}:<id>`) that expires: it outlives the queue's own memory of message ids.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from campaign_express.adapters.nats import ACK_S, EXISTS, StreamTerms, connect, ensure_stream, redact
from campaign_express.adapters.redis import Pipelines
from campaign_express.errors import Unavailable
from campaign_express.events import DEAD_STREAM, DEAD_SUBJECTS
from campaign_express.notifications import STREAM, SUBJECTS, Letter, decode_letter, encode_letter

CONSUMER = "notifier"
DEAD_NOTIFY = "dead.notify"
ACK_WAIT_S = 120.0  # longer than a letter of a whole batch may wait for its turn and for an answer
KEEP_S = 7 * 86_400
TOLD_S = 3 * 86_400  # a condition's day may lie in any zone, and clocks may differ

_TROUBLE = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class Taken(NamedTuple):
    """A letter out of the queue; None where it cannot be read. `attempt` counts from 1."""

    letter: Letter | None
    attempt: int
    message: Msg


class NotifyQueue:
    """For one event loop. Methods raise Unavailable when JetStream does not answer; the next call connects anew."""

    def __init__(self, url: str, terms: StreamTerms, *, name: str) -> None:
        self.where = redact(url)
        self._url = url
        self._terms = terms
        self._name = name
        self._client: Client | None = None
        self._context: JetStreamContext | None = None
        self._pull: JetStreamContext.PullSubscription | None = None

    async def put(self, letter: Letter) -> None:
        """Returns when the letter is durable. The same letter again is dropped, for a while."""
        context, _ = await self._connected()
        try:
            await context.publish(
                f"notify.{letter.channel}", encode_letter(letter), headers={"Nats-Msg-Id": letter.id}, timeout=ACK_S
            )
        except _TROUBLE as error:
            raise await self._lost(error) from error

    async def take(self, most: int, wait_s: float) -> list[Taken]:
        """At most `most` letters; waits up to `wait_s` for the first."""
        _, pull = await self._connected()
        try:
            return [_taken(message) for message in await pull.fetch(most, timeout=wait_s)]
        except (TimeoutError, nats.errors.TimeoutError):
            return []
        except _TROUBLE as error:
            raise await self._lost(error) from error

    async def done(self, taken: Taken) -> None:
        """It is delivered and leaves the queue."""
        try:
            await taken.message.ack()
        except _TROUBLE as error:
            raise await self._lost(error) from error

    async def later(self, taken: Taken, delay_s: float) -> None:
        """It comes again after this time."""
        try:
            await taken.message.nak(delay=delay_s)
        except _TROUBLE as error:
            raise await self._lost(error) from error

    async def bury(self, taken: Taken, problem: str) -> None:
        """Keep it in the stream DEAD, out of the way."""
        context, _ = await self._connected()
        sequence = taken.message.metadata.sequence.stream
        headers = {"Nats-Msg-Id": f"{STREAM}:{sequence}", "Problem": problem.replace("\n", " ")[:500]}
        try:
            await context.publish(DEAD_NOTIFY, taken.message.data, headers=headers, timeout=ACK_S)
        except _TROUBLE as error:
            raise await self._lost(error) from error
        await self.done(taken)

    async def close(self) -> None:
        client, self._client, self._context, self._pull = self._client, None, None, None
        if client is not None:
            with contextlib.suppress(*_TROUBLE):
                await client.flush(timeout=2)
            with contextlib.suppress(*_TROUBLE):
                await client.close()

    async def _connected(self) -> tuple[JetStreamContext, JetStreamContext.PullSubscription]:
        if self._client is not None and self._client.is_closed:
            self._client = self._context = self._pull = None
        if self._context is not None and self._pull is not None:
            return self._context, self._pull
        client = await connect(self._url, self._name)
        try:
            context = client.jetstream(timeout=ACK_S)
            await _ensure_work_queue(context, self._terms)
            await ensure_stream(client, self._terms, DEAD_STREAM, DEAD_SUBJECTS)
            wanted = ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S)
            await context.add_consumer(STREAM, wanted)
            pull = await context.pull_subscribe_bind(CONSUMER, STREAM)
        except _TROUBLE as error:
            with contextlib.suppress(*_TROUBLE):
                await client.close()
            raise Unavailable(f"JetStream at {self.where}: {error or type(error).__name__}") from error
        self._client, self._context, self._pull = client, context, pull
        return context, pull

    async def _lost(self, error: Exception) -> Unavailable:
        await self.close()
        return Unavailable(f"JetStream at {self.where}: {error or type(error).__name__}")


async def _ensure_work_queue(context: JetStreamContext, terms: StreamTerms) -> None:
    config = StreamConfig(
        name=STREAM,
        subjects=[SUBJECTS],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=KEEP_S,  # what nobody could be told for a week is no news
        duplicate_window=terms.duplicate_window_s,
        num_replicas=terms.replicas,
    )
    try:
        await context.add_stream(config)
    except nats.js.errors.APIError as error:
        if error.err_code != EXISTS:
            raise
        await context.update_stream(config)


def _taken(message: Msg) -> Taken:
    attempt = message.metadata.num_delivered or 1
    try:
        return Taken(decode_letter(message.data), attempt, message)
    except msgspec.DecodeError:
        return Taken(None, attempt, message)


class Told:
    """Which conditions were told. Methods block, and raise Unavailable when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self._redis = Pipelines(url)

    def known(self, ids: list[str]) -> set[str]:
        """Those of `ids` that were told."""
        if not ids:
            return set()
        answers = self._redis.run(lambda pipeline: [pipeline.exists(f"{{notify}}:{one}") for one in ids])
        return {one for one, answer in zip(ids, answers, strict=True) if answer}

    def mark(self, told: str) -> None:
        self._redis.run(lambda pipeline: pipeline.set(f"{{notify}}:{told}", "1", ex=TOLD_S))

    def close(self) -> None:
        self._redis.close()
