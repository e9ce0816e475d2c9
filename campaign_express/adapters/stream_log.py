"""Reads any stream of JetStream from its beginning, or a moment or sequence of it, to its end of the moment.

For what goes through many messages at once and waits for the end. Sync, with an event loop of its own, so it is called
from a thread that runs none. Nothing is acknowledged or changed; durable consumers do not notice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from campaign_express.adapters.nats import connect, redact
from campaign_express.errors import Unavailable
from campaign_express.ports import Message

log = logging.getLogger(__name__)

BATCH = 500
FETCH_S = 5.0  # a server that has messages and does not send one for so long is away
Told = TypeVar("Told")
_TROUBLE = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class Extent(NamedTuple):
    """What a stream holds: sequences, and when the first message became durable (Unix ms, 0 where there is none)."""

    first: int
    last: int
    first_ms: int
    messages: int

    @property
    def whole(self) -> bool:
        """Whether it still has the first message that it ever got."""
        return self.first <= 1


class StreamLog:
    """One stream. `where` may be logged."""

    def __init__(self, url: str, stream: str, subjects: str, name: str = "stream-log") -> None:
        self.where = redact(url)
        self._url = url
        self._stream = stream
        self._subjects = subjects
        self._name = name

    def extent(self) -> Extent | None:
        """None where there is no such stream. Raises Unavailable."""

        async def ask(client: Client) -> Extent:
            context = client.jetstream(timeout=FETCH_S)
            state = (await context.stream_info(self._stream)).state
            first_ms = 0
            if state.messages:
                first = await context.get_msg(self._stream, seq=state.first_seq)
                first_ms = int(first.time.timestamp() * 1000) if first.time is not None else 0
            return Extent(int(state.first_seq), int(state.last_seq), first_ms, int(state.messages))

        return self._ask(ask)

    def subjects(self) -> list[str]:
        """Of the messages that it holds. Raises Unavailable."""

        async def ask(client: Client) -> list[str]:
            info = await client.jetstream(timeout=FETCH_S).stream_info(self._stream, subjects_filter=self._subjects)
            return list(info.state.subjects or ())

        return self._ask(ask) or []

    def read(
        self,
        subject: str = "",
        *,
        since: datetime | None = None,
        first: int = 0,
        last: int | None = None,
    ) -> Iterator[list[Message]]:
        """Messages that are there when this begins and, mostly, while it goes on, in order; some at a time.

        `subject`: only these (wildcards), "" all. `since`: only what became durable from then on, by the server's
        clock; `first`, `last`: only sequences from and up to these. Raises Unavailable.
        """
        with asyncio.Runner() as runner:
            reading = _Reading(self._url, self._stream, self._name, subject or self._subjects, since, first, last)
            try:
                pending = runner.run(reading.begin())
                while pending:
                    messages, pending = runner.run(reading.fetch())
                    if messages:
                        yield messages
            except _TROUBLE as error:
                raise Unavailable(f"NATS at {self.where}: {error or type(error).__name__}") from error
            finally:
                runner.run(reading.end())

    def _ask(self, question: Callable[[Client], Awaitable[Told]]) -> Told | None:
        async def ask() -> Told | None:
            client = await connect(self._url, self._name)
            try:
                return await question(client)
            except nats.js.errors.NotFoundError:
                return None
            except _TROUBLE as error:
                raise Unavailable(f"NATS at {self.where}: {error or type(error).__name__}") from error
            finally:
                await client.close()

        with asyncio.Runner() as runner:
            return runner.run(ask())


class _Reading:
    """One pass over a stream: an ephemeral pull consumer that acknowledges nothing."""

    def __init__(
        self, url: str, stream: str, name: str, subject: str, since: datetime | None, first: int, last: int | None
    ) -> None:
        self._url = url
        self._stream = stream
        self._name = name
        self._subject = subject
        self._since = since
        self._first = first
        self._last = last
        self._client: Any = None
        self._subscription: Any = None

    async def begin(self) -> int:
        """How many messages there are to read."""
        self._client = await connect(self._url, self._name)
        context = self._client.jetstream(timeout=FETCH_S)
        since = None if self._since is None else self._since.astimezone(UTC)
        policy = DeliverPolicy.ALL
        if since is not None:
            policy = DeliverPolicy.BY_START_TIME
        elif self._first > 1:
            policy = DeliverPolicy.BY_START_SEQUENCE
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=policy,
            opt_start_time=since,
            opt_start_seq=self._first if policy is DeliverPolicy.BY_START_SEQUENCE else None,
            filter_subject=self._subject,
            inactive_threshold=60,
            mem_storage=True,
        )
        try:
            self._subscription = await context.pull_subscribe(self._subject, stream=self._stream, config=config)
        except nats.js.errors.NotFoundError:
            return 0  # nothing was ever published
        return int((await self._subscription.consumer_info()).num_pending or 0)

    async def fetch(self) -> tuple[list[Message], int]:
        """Some messages, and how many there are behind them."""
        fetched = await self._subscription.fetch(BATCH, timeout=FETCH_S)
        behind = int(fetched[-1].metadata.num_pending)
        messages = [Message(one.metadata.sequence.stream, one.subject, one.data) for one in fetched]
        if self._last is not None and messages[-1].seq >= self._last:
            messages = [message for message in messages if message.seq <= self._last]
            behind = 0
        return messages, behind

    async def end(self) -> None:
        if self._client is not None:
            try:
                if self._subscription is not None:
                    await self._subscription.unsubscribe()
                await self._client.close()
            except _TROUBLE:
                log.debug("closing a reading of %s", self._stream, exc_info=True)
