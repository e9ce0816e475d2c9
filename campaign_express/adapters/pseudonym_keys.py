"""Keys of pseudonyms in Redis: made once for all, followed by every process, destroyed to erase. See `pseudonyms`.

`{pseudonyms}:<period>` is a hash of a period's 4,096 keys by bucket, made by whoever needs it first;
`{pseudonyms}:changed` says when each was changed last (microseconds), so that following them costs one small read.
"""

from __future__ import annotations

import logging
import operator
import os
import threading
from collections.abc import Callable
from typing import Any, Protocol, Self

from redis import Redis, RedisCluster

from campaign_express.adapters.pseudonyms import (
    BUCKETS,
    CHARACTERS,
    DAY_MS,
    KEY,
    Pseudonyms,
    bucket_of,
    parse,
    period_of,
    pseudonym,
)
from campaign_express.adapters.redis import REDIS_ERRORS, connect, redact
from campaign_express.clock import Clock, parse_clock
from campaign_express.config import Settings
from campaign_express.errors import Unavailable

log = logging.getLogger(__name__)

CHANGED_KEY = "{pseudonyms}:changed"
REFRESH_S, AWAY_S = 30.0, 1.0  # AWAY_S: while Redis does not answer
GRACE_S = 600.0  # for which a replaced key is still remembered, by whoever applies events that were under way

# KEYS: a period's hash, CHANGED_KEY. ARGV: 4,096 random keys, life in ms, base64's characters, the period.
_MAKE = """
local made = 0
for i = 0, 4095 do
  local high, low = math.floor(i / 64) + 1, i % 64 + 1
  local bucket = string.sub(ARGV[3], high, high) .. string.sub(ARGV[3], low, low)
  made = made + redis.call('HSETNX', KEYS[1], bucket, string.sub(ARGV[1], 16 * i + 1, 16 * i + 16))
end
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if made > 0 then
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[2], ARGV[4], string.format('%.0f', now[1] * 1000000 + now[2]))
end
return made
"""
# KEYS: as before. ARGV: bucket, the key in its place or "" for none, the period.
_DESTROY = """#!lua flags=allow-oom
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[2], ARGV[3], string.format('%.0f', now[1] * 1000000 + now[2]))
return 1
"""


class KeySource(Protocol):
    """Where keys are kept. Methods raise Unavailable."""

    def changed(self) -> dict[int, int]:
        """Every period that has keys, with a number that is another one after each change."""
        ...

    def read(self, period: int) -> dict[str, bytes]: ...

    def make(self, period: int) -> None:
        """Make the keys that this period lacks. Of several who do so at once all find the same afterwards."""
        ...


class PseudonymKeys:
    """`KeySource` in Redis, and what erasing a person needs. Methods raise Unavailable when it does not answer."""

    def __init__(self, url: str, *, days: int, keep_days: int) -> None:
        self.where = redact(url)
        self._url = url
        self._days = days
        # Made up to a period before it begins, used until its end, then kept for as long as archives are.
        self._life_ms = (keep_days + 2 * days) * DAY_MS
        self._client: Redis | RedisCluster | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.redis_url, days=settings.pseudonym_days, keep_days=settings.pseudonym_keep_days)

    def changed(self) -> dict[int, int]:
        found: dict[bytes, bytes] = self._ask(lambda client: client.hgetall(CHANGED_KEY))
        return {int(period): int(at) for period, at in found.items()}

    def read(self, period: int) -> dict[str, bytes]:
        found: dict[bytes, bytes] = self._ask(lambda client: client.hgetall(_key(period)))
        return {bucket.decode(): key for bucket, key in found.items()}

    def make(self, period: int) -> None:
        arguments = (os.urandom(BUCKETS * KEY), str(self._life_ms), CHARACTERS, str(period))
        self._ask(lambda client: client.eval(_MAKE, 2, _key(period), CHANGED_KEY, *arguments))

    def all_of(self, token: str) -> list[str]:
        """The person's pseudonyms under every key that lives: what to look for before the keys are destroyed."""
        found = []
        for period in sorted(self.changed()):
            key = self._ask(operator.methodcaller("hget", _key(period), bucket_of(token)))
            if key is not None:
                found.append(pseudonym(period, token, key))
        return found

    def destroy(self, token: str, wall_ms: int) -> None:
        """Forget who is behind the pseudonyms of this person, and of all others in the bucket, up to now.

        Keys of past periods are deleted, those of this one and the next replaced. May be repeated.
        """
        current = period_of(wall_ms, self._days)
        for period in self.changed():
            past = period < current
            arguments = (bucket_of(token), b"" if past else os.urandom(KEY), str(period))
            self._ask(operator.methodcaller("eval", _DESTROY, 2, _key(period), CHANGED_KEY, *arguments))

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _ask(self, command: Callable[[Any], Any]) -> Any:
        try:
            with self._lock:
                if self._client is None:
                    self._client = connect(self._url)
                client = self._client
            return command(client)
        except REDIS_ERRORS as error:
            raise Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}") from error


def _key(period: int) -> str:
    return f"{{pseudonyms}}:{period}"


class PseudonymKeeper:
    """Keeps `pseudonyms` up to date from a thread of its own: new periods, and keys that were destroyed."""

    def __init__(self, source: KeySource, clock: Clock, days: int, *, history: bool = False) -> None:
        """`history`: keys of past periods are known too, and replaced ones for GRACE_S, so that all is revealed."""
        self.pseudonyms = Pseudonyms(days, GRACE_S if history else 0.0)
        self._source = source
        self._clock = clock
        self._history = history
        self._seen: dict[int, int] = {}
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False

    @classmethod
    def from_settings(cls, settings: Settings, *, history: bool = False) -> Self:
        """One that follows the keys in the Redis of `settings`."""
        keys = PseudonymKeys.from_settings(settings)
        return cls(keys, parse_clock(settings.simulated_clock), settings.pseudonym_days, history=history)

    def start(self) -> None:
        """Read the keys, and follow them from now on. Where Redis is away, later."""
        self._try()
        self._thread = threading.Thread(target=self._run, name="pseudonym-keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def refresh(self) -> None:
        """Learn what has changed. Raises Unavailable."""
        with self._refreshing:
            first = period_of(self._clock.now_ms(), self.pseudonyms.days)
            used = (first, first + self.pseudonyms.days)
            changed = self._source.changed()
            if not changed.keys() >= set(used):
                for period in used:
                    self._source.make(period)
                changed = self._source.changed()
            for period, at in changed.items():
                if self._seen.get(period) == at or not (self._history or period in used):
                    continue
                keys = self._source.read(period)
                if period in used and len(keys) < BUCKETS:  # Redis has lost them, or some
                    self._source.make(period)
                    keys = self._source.read(period)
                self.pseudonyms.learn(period, keys)
                self._seen[period] = at

    def person(self, user: str) -> str | None:
        """The token behind the `user` of an event; "" where its key was destroyed, None where that is not known yet.

        What is unknown is looked for in Redis: its key may have been made a moment ago.
        """
        found = self.pseudonyms.reveal(user)
        if found or parse(user) is None:
            return found
        try:
            self.refresh()
        except Unavailable:
            return None
        return self.pseudonyms.reveal(user)

    def _run(self) -> None:
        while not self._stop.wait(AWAY_S if self._away else REFRESH_S):
            self._try()

    def _try(self) -> None:
        try:
            self.refresh()
            self._away = False
        except Unavailable as error:
            if not self._away:
                log.warning("keys of pseudonyms are not followed: %s", error)
            self._away = True
        except Exception:  # following must not end
            log.exception("a fault while following the keys of pseudonyms")
