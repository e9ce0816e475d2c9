"""What Redis and the event log hold of one person: found, and removed.

Nothing in Redis leads from a person to its aliases or clicks, so all keys are looked through, in small steps that
nobody notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import nats.errors
import nats.js.errors

from campaign_express.adapters.nats import close
from campaign_express.adapters.nats import connect as connect_nats
from campaign_express.adapters.nats import redact as redact_nats
from campaign_express.adapters.pseudonym_keys import PseudonymKeys
from campaign_express.adapters.pseudonyms import Pseudonyms
from campaign_express.adapters.redis import REDIS_ERRORS, connect, redact
from campaign_express.adapters.users_keys import TOKEN
from campaign_express.errors import Unavailable
from campaign_express.events import STREAM, decode_event, encode_event
from campaign_express.ports import Touch

AT_ONCE = 1000  # keys of one round trip
HOPS = 8  # an alias points to the canonical token, or to one that has become an alias since
_PERSON = (b"u:{", b"p:{")
_OF_USER, _CLICK = b"touch:u:{", b"touch:{"

_read_touch = msgspec.msgpack.Decoder(Touch).decode


class Held(NamedTuple):
    """One person in Redis: every token that leads there, and the keys, by what they hold."""

    tokens: frozenset[str]
    keys: dict[str, list[bytes]]

    @property
    def size(self) -> int:
        return sum(map(len, self.keys.values()))


class PersonalKeys:
    """Methods raise Unavailable when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self.where = redact(url)
        try:
            self._client: Any = connect(url)
        except REDIS_ERRORS as error:
            raise self._away(error) from error

    def find(self, token: str, told: Callable[[int], None] = lambda keys: None, others: Collection[str] = ()) -> Held:
        """All that is held of the person with this token, and `others`. `told` of keys that were looked at."""
        try:
            tokens = {*self._leads_to(token), *others}
            while True:
                known = len(tokens)
                held = self._search(tokens, told)
                if len(tokens) == known:
                    return Held(frozenset(tokens), held)
        except REDIS_ERRORS as error:
            raise self._away(error) from error

    def delete(self, keys: Collection[bytes]) -> None:
        try:
            for batch in _batches(iter(keys)):
                self._pipelined(batch, lambda pipeline, key: pipeline.delete(key))
        except REDIS_ERRORS as error:
            raise self._away(error) from error

    def close(self) -> None:
        self._client.close()

    def _leads_to(self, token: str) -> Iterator[str]:
        for _ in range(HOPS):
            yield token
            pointer = self._client.hget(f"u:{{{token}}}", "@")
            if not pointer:
                return
            token = pointer.decode()

    def _search(self, tokens: set[str], told: Callable[[int], None]) -> dict[str, list[bytes]]:
        """Keys of these tokens; adds the aliases that lead to one of them, for another search."""
        held: dict[str, list[bytes]] = {"profiles": [], "counts and aliases": [], "clicks and views": []}
        looked = 0
        for batch in _batches(self._client.scan_iter(count=AT_ONCE)):
            persons = [key for key in batch if key.startswith(_PERSON[0])]
            for key, pointer in zip(persons, self._pipelined(persons, lambda p, k: p.hget(k, "@")), strict=True):
                token = _token(key)
                if token in tokens or (pointer and pointer.decode() in tokens):
                    tokens.add(token)
                    held["counts and aliases"].append(key)
            held["profiles"] += [key for key in batch if key.startswith(_PERSON[1]) and _token(key) in tokens]
            held["clicks and views"] += [key for key in batch if key.startswith(_OF_USER) and _token(key) in tokens]
            clicks = [key for key in batch if key.startswith(_CLICK)]
            for key, content in zip(clicks, self._pipelined(clicks, lambda p, k: p.get(k)), strict=True):
                if content and _user_of(content) in tokens:
                    held["clicks and views"].append(key)
            looked += len(batch)
            told(looked)
        return held

    def _pipelined(self, keys: Sequence[bytes], command: Callable[[Any, bytes], object]) -> list[Any]:
        if not keys:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            command(pipeline, key)
        replies: list[Any] = pipeline.execute()
        return replies

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}")


def revealed(keys: PseudonymKeys, days: int, users: Collection[str], tokens: Collection[str]) -> list[str]:
    """Those of `users` (pseudonyms) that any key that lives still leads to one of `tokens`. Raises Unavailable."""
    known = Pseudonyms(days)
    for period in keys.changed():
        known.learn(period, keys.read(period))
    return [user for user in users if len(user) != TOKEN and known.reveal(user) in tokens]


def blank_messages(url: str, sequences: Collection[int], tokens: Collection[str]) -> int:
    """Put events of the event log that name one of `tokens` into it once more without, and delete them there.

    An event named a person by token while keys of pseudonyms could not be read. Returns how many there were. Where this
    breaks off an event may be in the log twice, which is once in effect. Raises Unavailable.
    """

    async def blank() -> int:
        client = await connect_nats(url, "erasure")
        context = client.jetstream(timeout=5.0)
        count = 0
        try:
            for sequence in sorted(sequences):
                try:
                    message = await context.get_msg(STREAM, seq=sequence)
                    event = decode_event(message.data or b"")
                except (nats.js.errors.NotFoundError, msgspec.DecodeError):
                    continue
                if event.user in tokens and message.subject:
                    without = encode_event(msgspec.structs.replace(event, user=""))
                    await context.publish(message.subject, without)
                    await context.delete_msg(STREAM, sequence)
                    count += 1
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
            raise Unavailable(f"NATS at {redact_nats(url)}: {error or type(error).__name__}") from error
        finally:
            await close(client)
        return count

    with asyncio.Runner() as runner:
        return runner.run(blank())


def _batches(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(keys, AT_ONCE)):
        yield batch


def _token(key: bytes) -> str:
    return key.partition(b"{")[2].partition(b"}")[0].decode(errors="replace")


def _user_of(content: bytes) -> str:
    try:
        return _read_touch(content).user
    except msgspec.DecodeError:
        return ""
