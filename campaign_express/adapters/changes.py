"""Changes to NATS JetStream: stream `CHANGES`, kept for ever, each message acknowledged. docs/events.md, "Changes".

For commands and for threads, which have no event loop: a connection is made for each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Self

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import Header

from campaign_express.adapters.nats import ACK_S, StreamTerms, close, connect, ensure_stream, redact
from campaign_express.config import Settings
from campaign_express.errors import Unavailable
from campaign_express.events import CHANGE_SUBJECTS, CHANGES, ChangeEvent, change_subject, encode_change

AT_ONCE = 256  # under way


class ChangeLog:
    """Where changes are published."""

    def __init__(self, url: str, terms: StreamTerms, name: str) -> None:
        self._url = url
        self._terms = terms
        self._name = name

    @classmethod
    def from_settings(cls, settings: Settings, name: str) -> Self:
        terms = StreamTerms(settings.stream_replicas, duplicate_window_s=settings.stream_duplicate_window_s)
        return cls(settings.nats_url, terms, name)

    def publish(self, changes: Iterable[ChangeEvent]) -> int:
        """Returns how many there were when all are durable; blocks. Raises Unavailable: some may be.

        Not to be called where an event loop runs.
        """
        return asyncio.run(self._publish(changes))

    async def _publish(self, changes: Iterable[ChangeEvent]) -> int:
        client = await connect(self._url, self._name)
        count = 0
        try:
            await ensure_stream(client, self._terms, CHANGES, CHANGE_SUBJECTS)
            context = client.jetstream(timeout=ACK_S)
            batch: list[ChangeEvent] = []
            for change in changes:
                batch.append(change)
                if len(batch) == AT_ONCE:
                    count += await _send(context, batch)
                    batch = []
            return count + await _send(context, batch)
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            raise Unavailable(f"NATS at {redact(self._url)} does not take changes: {error}") from error
        finally:
            await close(client)


async def _send(context: JetStreamContext, batch: list[ChangeEvent]) -> int:
    await asyncio.gather(
        *(
            context.publish(change_subject(one), encode_change(one), headers={Header.MSG_ID.value: one.id})
            for one in batch
        )
    )
    return len(batch)
