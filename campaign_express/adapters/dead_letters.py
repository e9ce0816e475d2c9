"""The stream DEAD: messages that a consumer could not read, looked at and published once more. docs/runbook.md.

For commands, which have no event loop: a connection is made for each call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import Header

from campaign_express.adapters.nats import ACK_S, close, connect, redact
from campaign_express.errors import Unavailable
from campaign_express.events import CHANGES, DEAD_STREAM, DECISIONS, STREAM

ORIGINS = {"money": STREAM, "decisions": DECISIONS, "changes": CHANGES}  # whose messages can be published again
_TROUBLE = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)


class DeadLetter(NamedTuple):
    """One message of DEAD."""

    seq: int  # in DEAD
    buried: datetime
    stream: str  # where it was: money, decisions, changes, notify
    subject: str  # that it had there, "" where it is not known
    origin_seq: str  # and its sequence there
    problem: str
    data: bytes

    @property
    def replayable(self) -> bool:
        """Only to where it came from: a header is not to name any other stream's subject."""
        return self.stream in ORIGINS and self.subject.startswith(f"{self.stream}.")


class DeadLetters:
    """All methods raise Unavailable."""

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self, stream: str = "", most: int = 0) -> list[DeadLetter]:
        """Those that are there, oldest first; of one stream of origin, and so many at most (0: all)."""
        return asyncio.run(self._each(stream, most, None))

    def replay(self, done: Callable[[DeadLetter], None], stream: str = "", most: int = 0) -> list[DeadLetter]:
        """Publish those that are there to the subjects that they had, and remove each that is acknowledged.

        `done` is told each; returns those that stay because they have nowhere to go. Breaking off loses nothing: a
        letter that was published and not removed yet is published again, and is then the same message (or, beyond the
        window of duplicates, the same event).
        """
        return [one for one in asyncio.run(self._each(stream, most, done)) if not one.replayable]

    async def _each(self, stream: str, most: int, done: Callable[[DeadLetter], None] | None) -> list[DeadLetter]:
        client = await connect(self._url, "campaign-express command")
        letters: list[DeadLetter] = []
        counted = 0  # what has nowhere to go does not keep others from being replayed
        try:
            async for letter in _letters(client, stream):
                letters.append(letter)
                if done is not None and letter.replayable:
                    await _publish_again(client, letter)
                    done(letter)
                counted += done is None or letter.replayable
                if most and counted == most:
                    break
            return letters
        except _TROUBLE as error:
            raise Unavailable(f"JetStream at {redact(self._url)}: {error or type(error).__name__}") from error
        finally:
            await close(client)


async def _letters(client: Client, stream: str) -> AsyncIterator[DeadLetter]:
    """Up to the end that the stream has now: what is buried while it is read is not read."""
    context = client.jetstream(timeout=ACK_S)
    subject = f"dead.{stream or '*'}"
    try:
        state = (await context.stream_info(DEAD_STREAM)).state
        seq = state.first_seq
        while seq <= state.last_seq:
            found = await context.get_msg(DEAD_STREAM, seq=seq, subject=subject, next=True)
            number = int(found.seq or 0)
            if number > state.last_seq:
                return
            headers = found.headers or {}
            yield DeadLetter(
                seq=number,
                buried=found.time or datetime.fromtimestamp(0, UTC),
                stream=str(found.subject).partition(".")[2],
                subject=headers.get("Subject-Of-Origin", ""),
                origin_seq=headers.get("Sequence-Of-Origin", ""),
                problem=headers.get("Problem", ""),
                data=found.data or b"",
            )
            seq = number + 1
    except nats.js.errors.NotFoundError:  # no such stream, or no (further) message of that subject
        return


async def _publish_again(client: Client, letter: DeadLetter) -> None:
    context = client.jetstream(timeout=ACK_S)
    headers = {Header.MSG_ID.value: f"replay:{letter.seq}"}
    await context.publish(letter.subject, letter.data, stream=ORIGINS[letter.stream], headers=headers, timeout=ACK_S)
    with contextlib.suppress(nats.js.errors.NotFoundError):  # somebody else has removed it meanwhile
        await context.delete_msg(DEAD_STREAM, letter.seq)
