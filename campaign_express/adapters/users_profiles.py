"""Profiles written in bulk, and one person looked at: what `campaign-express profiles` uses.

Writing is idempotent, so a run that broke off is simply run again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from campaign_express.adapters import users_lua
from campaign_express.adapters.redis_batch import Command, RedisBatch, slot_of
from campaign_express.adapters.redis_link import NoReply, pack
from campaign_express.adapters.users_keys import counts_key, profile_key, tokens_of
from campaign_express.adapters.users_links import UserLinks
from campaign_express.adapters.users_state import (
    Profile,
    profile_arguments,
    profile_of,
    profile_value,
    read_counts,
    stamp,
)
from campaign_express.config import Settings
from campaign_express.errors import Unavailable
from campaign_express.ports import UserState

TIMEOUT_S = 5.0  # for one round trip
PATIENCE_S = 30.0  # for a Redis that is away
MAX_ALIASES = 8


class Row(NamedTuple):
    """What is told of one person: all of their ids, and the profile that replaces the one before."""

    ids: tuple[str, ...]
    segments: tuple[str, ...]
    interests: tuple[float, ...] = ()  # none: as they are
    ttl_s: int = 0  # 0: the setting's


class UserProfiles:
    """For one thread. All methods raise Unavailable when Redis stays away."""

    def __init__(self, url: str, ttl_s: int) -> None:
        """Raises ConfigError for a bad url."""
        self._batch = RedisBatch(url, [script.text for script in users_lua.ALL], wait_s=2.0)
        self._links = UserLinks(url, ttl_s)
        self._ttl_s = ttl_s

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.redis_url, settings.profile_ttl_days * 86_400)

    def write(self, rows: Sequence[Row], wall_ms: int, add: bool = False) -> None:
        """Write all of `rows`. A profile is replaced whole, but for the time at which the person was first seen.

        With `add`, segments come beside those that are there, and a row without interests leaves them as they are.
        """
        tokens = [tokens_of(row.ids) for row in rows]
        waiting = list(zip(rows, [own[0] for own in tokens], strict=True))
        for _ in range(MAX_ALIASES):
            waiting = self._add(waiting, wall_ms) if add else self._replace(waiting, wall_ms)
            if not waiting:
                break
        self._link([own for own in tokens if len(own) > 1], wall_ms)

    def read(self, user_id: str, wall_ms: int) -> tuple[UserState, dict[str, Any]] | None:
        """The person with this id, and how much memory and time their keys have; None where nothing is known."""
        token = tokens_of([user_id])[0]
        for _ in range(MAX_ALIASES):
            counts, profile = counts_key(token), profile_key(token)
            commands = [
                *(pack(b"HGETALL", counts), pack(b"GET", profile)),
                *(pack(b"PTTL", counts), pack(b"PTTL", profile)),
                *(pack(b"MEMORY", b"USAGE", counts), pack(b"MEMORY", b"USAGE", profile)),
            ]
            [reply] = self._run([(slot_of(counts), b"".join(commands), len(commands))])
            fields, value, counts_ttl, profile_ttl, counts_bytes, profile_bytes = reply
            if not fields and value is None:
                return None
            state = UserState(token)
            alias = read_counts(state, fields, stamp(wall_ms)).alias
            if not alias:
                found = profile_of(value)
                if found.valid_until_ms > wall_ms:
                    state.segments, state.interests = found.segments, found.interests
                state.first_seen_ms = min(filter(None, (state.first_seen_ms, found.first_seen_ms)), default=0)
                return state, {
                    "counts_ttl_s": max(counts_ttl, 0) // 1000,
                    "profile_ttl_s": max(profile_ttl, 0) // 1000,
                    "counts_bytes": counts_bytes or 0,
                    "profile_bytes": profile_bytes or 0,
                }
            token = alias
        return None

    def bytes_of(self, rows: Sequence[Row]) -> float:
        """Memory of a written row's keys on average, as Redis counts it (MEMORY USAGE): profile and aliases."""
        keys: list[bytes] = []
        for row in rows:
            first, *others = tokens_of(row.ids)
            keys += (profile_key(first), *map(counts_key, others))
        commands: list[Command] = [(slot_of(key), pack(b"MEMORY", b"USAGE", key), 1) for key in keys]
        return sum(int(reply or 0) for reply in self._run(commands)) / max(len(rows), 1)

    def close(self) -> None:
        self._links.close()
        self._batch.close()

    def _add(self, rows: list[tuple[Row, str]], wall_ms: int) -> list[tuple[Row, str]]:
        """Write the profiles of tokens; returns those that are aliases, with what they lead to."""
        calls: list[Command] = []
        for row, token in rows:
            ttl_ms = (row.ttl_s or self._ttl_s) * 1000
            keys = (counts_key(token), profile_key(token))
            arguments = profile_arguments(wall_ms, ttl_ms, wall_ms + ttl_ms, wall_ms, row.segments, row.interests)
            calls.append((slot_of(keys[0]), users_lua.profile.call(keys, *arguments), 1))
        replies = zip(rows, self._run(calls), strict=True)
        return [(row, reply.decode()) for (row, _), reply in replies if isinstance(reply, bytes)]

    def _replace(self, rows: list[tuple[Row, str]], wall_ms: int) -> list[tuple[Row, str]]:
        """The same without looking at what is there, but for when the person was first seen: four times as fast."""
        keys = [(counts_key(token), profile_key(token)) for _, token in rows]
        looks: list[Command] = [
            (slot_of(counts), pack(b"HGET", counts, b"@") + pack(b"GET", profile), 2) for counts, profile in keys
        ]
        writes: list[Command] = []
        moved: list[tuple[Row, str]] = []
        for (row, _), (counts, profile), (alias, old) in zip(rows, keys, self._run(looks), strict=True):
            if alias:
                moved.append((row, alias.decode()))
                continue
            first_ms = profile_of(old).first_seen_ms if old else wall_ms
            ttl_ms = (row.ttl_s or self._ttl_s) * 1000
            value = profile_value(Profile(wall_ms + ttl_ms, first_ms, row.segments, row.interests))
            writes.append((slot_of(counts), pack(b"SET", profile, value, b"PX", b"%d" % ttl_ms), 1))
        self._run(writes)
        return moved

    def _link(self, persons: Sequence[Sequence[str]], wall_ms: int) -> None:
        """Make aliases. Where another id was alone so far nothing needs to move, which is nearly always."""
        pairs = [(canonical, other) for canonical, *others in persons for other in others]
        looks = [
            (
                slot_of(counts_key(other)),
                pack(b"HMGET", counts_key(other), b"@", b"f") + pack(b"EXISTS", profile_key(other)),
                2,
            )
            for _, other in pairs
        ]
        fresh: list[Command] = []
        for (canonical, other), ((alias, seen), profile) in zip(pairs, self._run(looks), strict=True):
            if alias == canonical.encode():
                continue
            if alias or seen or profile:
                self._links.link((canonical, other), wall_ms)
                continue
            key = counts_key(other)
            made = pack(b"HSETNX", key, b"@", canonical.encode()) + pack(b"PEXPIRE", key, b"%d" % (self._ttl_s * 1000))
            fresh.append((slot_of(key), made, 2))
        self._run(fresh)

    def _run(self, commands: list[Command]) -> list[Any]:
        """Replies to all commands; those that get none are sent again while there is patience."""
        replies = self._batch.run(commands, TIMEOUT_S)
        until = time.monotonic() + PATIENCE_S
        while missing := [place for place, reply in enumerate(replies) if isinstance(reply, NoReply)]:
            if time.monotonic() > until:
                raise Unavailable(f"Redis at {self._batch.where} does not answer")
            time.sleep(0.05)
            for place, reply in zip(missing, self._batch.run([commands[p] for p in missing], TIMEOUT_S), strict=True):
                replies[place] = reply
        for reply in replies:
            for one in reply if isinstance(reply, list) else (reply,):
                if isinstance(one, Exception):
                    raise Unavailable(f"Redis at {self._batch.where}: {one}")
        return replies
