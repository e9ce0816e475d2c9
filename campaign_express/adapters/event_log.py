"""Reads the event log: the MONEY stream of JetStream, from its beginning to its end of the moment.

For what goes through many events at once and waits for the end: rebuilding a ledger, comparing one with the log. Sync,
with an event loop of its own, so it is called from a thread that runs none. Events come in the order in which they
became durable. Nothing is acknowledged or changed; the treasury's own consumer does not notice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from campaign_express.adapters.nats import connect, redact
from campaign_express.bidding.settlement import problem_of
from campaign_express.errors import Unavailable
from campaign_express.events import STREAM, SUBJECTS, MoneyEvent, decode_event, subject_of

log = logging.getLogger(__name__)

BATCH = 500
FETCH_S = 5.0  # a server that has messages and does not send one for so long is away
_TROUBLE = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class EventLog:
    """`unreadable` counts messages that are no event, since it was made."""

    def __init__(self, url: str) -> None:
        self.where = redact(url)
        self.unreadable = 0
        self._url = url

    def whole(self) -> bool:
        """Whether the log still has its first event; False after `max_age` has dropped some. Raises Unavailable."""
        with asyncio.Runner() as runner:
            first = runner.run(self._first_sequence())
        return first <= 1

    def advertisers(self, kinds: Collection[str]) -> set[str]:
        """Who has events of these kinds in the log, by their subjects. Raises Unavailable."""
        with asyncio.Runner() as runner:
            subjects = runner.run(self._subjects())
        parts = [subject.split(".") for subject in subjects]
        return {part[1].replace("%", ".") for part in parts if len(part) == 3 and part[2] in kinds}

    def read(
        self, advertiser: str | None = None, since: datetime | None = None, last: int | None = None
    ) -> Iterator[MoneyEvent]:
        """Events of one advertiser, or of all, that are in the log when this begins and, mostly, while it goes on.

        `since`: only what became durable from then on, by the server's clock. `last`: only up to this sequence number
        of the stream. Raises Unavailable.
        """
        with asyncio.Runner() as runner:
            reading = _Reading(self._url, advertiser, since, last)
            try:
                pending = runner.run(reading.begin())
                while pending:
                    messages, pending = runner.run(reading.fetch())
                    for message in messages:
                        try:
                            event = decode_event(message)
                        except msgspec.DecodeError:
                            self.unreadable += 1
                            log.error("a message of the event log is no event")
                            continue
                        if problem := problem_of(event):
                            self.unreadable += 1
                            log.error("an event of the event log cannot be applied: %s", problem)
                        else:
                            yield event
            except _TROUBLE as error:
                raise Unavailable(f"NATS at {self.where}: {error or type(error).__name__}") from error
            finally:
                runner.run(reading.end())

    async def _subjects(self) -> list[str]:
        client = await connect(self._url, "event-log")
        try:
            info = await client.jetstream(timeout=FETCH_S).stream_info(STREAM, subjects_filter=SUBJECTS)
            return list(info.state.subjects or ())
        except nats.js.errors.NotFoundError:
            return []
        except _TROUBLE as error:
            raise Unavailable(f"NATS at {self.where}: {error or type(error).__name__}") from error
        finally:
            await client.close()

    async def _first_sequence(self) -> int:
        client = await connect(self._url, "event-log")
        try:
            info = await client.jetstream(timeout=FETCH_S).stream_info(STREAM)
            return int(info.state.first_seq)
        except nats.js.errors.NotFoundError:
            return 0
        except _TROUBLE as error:
            raise Unavailable(f"NATS at {self.where}: {error or type(error).__name__}") from error
        finally:
            await client.close()


class _Reading:
    """One pass over the log: an ephemeral pull consumer that acknowledges nothing."""

    def __init__(self, url: str, advertiser: str | None, since: datetime | None, last: int | None) -> None:
        self._url = url
        self._filter = "money.>" if advertiser is None else subject_of(advertiser, "*")
        self._since = since
        self._last = last
        self._client: Any = None
        self._subscription: Any = None

    async def begin(self) -> int:
        """How many events there are to read."""
        self._client = await connect(self._url, "event-log")
        context = self._client.jetstream(timeout=FETCH_S)
        since = None if self._since is None else self._since.astimezone(UTC)
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.ALL if since is None else DeliverPolicy.BY_START_TIME,
            opt_start_time=since,
            filter_subject=self._filter,
            inactive_threshold=60,
            mem_storage=True,
        )
        try:
            self._subscription = await context.pull_subscribe(self._filter, stream=STREAM, config=config)
        except nats.js.errors.NotFoundError:
            return 0  # nothing was ever published
        return int((await self._subscription.consumer_info()).num_pending or 0)

    async def fetch(self) -> tuple[list[bytes], int]:
        """Some messages, and how many there are behind them."""
        messages = await self._subscription.fetch(BATCH, timeout=FETCH_S)
        behind = int(messages[-1].metadata.num_pending)
        if self._last is not None and messages[-1].metadata.sequence.stream >= self._last:
            messages = [message for message in messages if message.metadata.sequence.stream <= self._last]
            behind = 0
        return [message.data for message in messages], behind

    async def end(self) -> None:
        if self._client is not None:
            try:
                if self._subscription is not None:
                    await self._subscription.unsubscribe()
                await self._client.close()
            except _TROUBLE:
                log.debug("closing a reading of the event log", exc_info=True)
