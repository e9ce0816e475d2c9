"""Pseudonyms: what stands for a person in events. docs/privacy.md says why, decision 7 how it was chosen.

A person's canonical token (`users_keys`) is encrypted, one AES block, under a key of the person's *bucket* (the first
12 bits of the token) and *period* (`pseudonym_days` of wall clock, named by its first day since 1970):

    <period, base 36><bucket, 2 characters><block, 22 characters of base64url>

One key, one block: so a pseudonym is the same wherever it is made within its period, nobody without the key can tell
two periods' apart from two persons', and with the key the person is found again. A key that is destroyed takes with it
the persons behind every pseudonym that was made with it, wherever copies of those lie.

`{pseudonyms}:<period>` in Redis is a hash of a period's 4,096 keys by bucket, made by whoever needs it first;
`{pseudonyms}:changed` says when each was changed last (microseconds), so that following them costs one small read.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from redis import Redis, RedisCluster
from redis.exceptions import RedisError

from campaign_express.adapters.redis import connect, redact
from campaign_express.adapters.users_keys import TOKEN
from campaign_express.clock import Clock, parse_clock
from campaign_express.config import Settings
from campaign_express.errors import Unavailable

log = logging.getLogger(__name__)

CHANGED_KEY = "{pseudonyms}:changed"
DAY_MS = 86_400_000
KEY = 16  # bytes
BUCKETS = 4096
REFRESH_S = 30.0
GRACE_S = 600.0  # for which a replaced key is still remembered, by whoever applies events that were under way
REMEMBERED = 8192  # pseudonyms of one process
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # of base64url, by value
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_BLOCK = 22  # characters of one block
_VERSION = b"\x01"  # first byte of what is encrypted; the token's 15 follow

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
_DESTROY = """
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


def period_of(wall_ms: int, days: int) -> int:
    """First day of the period: a number of days since 1970, so that periods of another length are others."""
    return wall_ms // DAY_MS // days * days


def bucket_of(token: str) -> str:
    """A token's first 12 bits, which in base64url are its first two characters."""
    return token[:2]


def pseudonym(period: int, token: str, key: bytes) -> str:
    return _named(period, token, _encrypting(key))


def _named(period: int, token: str, encrypt: Callable[[bytes], bytes]) -> str:
    block = encrypt(_VERSION + urlsafe_b64decode(token))
    return f"{_base36(period)}{token[:2]}{urlsafe_b64encode(block)[:_BLOCK].decode()}"


class _Parsed(NamedTuple):
    period: int
    bucket: str
    block: bytes


def _parse(written: str) -> _Parsed | None:
    """The parts of a pseudonym, None for what is none."""
    try:
        block = urlsafe_b64decode(written[-_BLOCK:] + "==")
        period = int(written[: -_BLOCK - 2], 36)
    except ValueError:
        return None
    return _Parsed(period, written[-_BLOCK - 2 : -_BLOCK], block) if len(block) == KEY else None


def _open(key: bytes, parsed: _Parsed) -> str:
    """The token, "" where it was made with another key: the version and the bucket, 20 bits, do not come out right."""
    plain = _decrypting(key)(parsed.block)
    token = urlsafe_b64encode(plain[1:]).decode()
    return token if plain[:1] == _VERSION and token[:2] == parsed.bucket else ""


# One block under a key is a permutation and nothing else: what makes ECB unsafe is a second block.
def _encrypting(key: bytes) -> Callable[[bytes], bytes]:
    return Cipher(AES(key), ECB()).encryptor().update  # noqa: S305


def _decrypting(key: bytes) -> Callable[[bytes], bytes]:
    return Cipher(AES(key), ECB()).decryptor().update  # noqa: S305


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


class _Ring:
    """One period's keys as they were read, and what was made with them so far."""

    __slots__ = ("encrypt", "end_ms", "keys", "made", "period", "start_ms")

    def __init__(self, period: int, days: int, keys: Mapping[str, bytes], before: _Ring | None = None) -> None:
        self.period = period
        self.start_ms = period * DAY_MS
        self.end_ms = (period + days) * DAY_MS
        self.keys = keys
        self.made: dict[str, str] = {}
        # Contexts are dear to make; those of keys that have stayed are kept.
        kept = before.encrypt if before is not None else {}
        self.encrypt = {
            bucket: context for bucket, context in kept.items() if before and keys.get(bucket) == before.keys[bucket]
        }

    def make(self, token: str) -> str:
        bucket = token[:2]
        encrypt = self.encrypt.get(bucket)
        if encrypt is None:
            key = self.keys.get(bucket)
            if key is None:
                return ""
            encrypt = self.encrypt[bucket] = _encrypting(key)
        if len(self.made) >= REMEMBERED:
            self.made.clear()
        made = self.made[token] = _named(self.period, token, encrypt)
        return made


_NO_RING = _Ring(0, 0, {})


class Pseudonyms:
    """Keys in memory. `of` is for one thread, `learn` and `reveal` may be called from others."""

    def __init__(self, days: int, grace_s: float = 0.0, clock_s: Callable[[], float] = time.monotonic) -> None:
        """`grace_s`: for so long what was made with a key that has been replaced is still revealed."""
        self.days = days
        self._grace_s = grace_s
        self._clock_s = clock_s
        self._rings: dict[int, _Ring] = {}
        self._replaced: list[tuple[float, int, str, bytes]] = []  # (until, period, bucket, key)
        self._current = _NO_RING
        self._lock = threading.Lock()

    def of(self, token: str, wall_ms: int) -> str:
        """The person's pseudonym at this time, "" where no key is known.

        Without this period's keys (Redis has been away since before it began) those of the one before serve on.
        """
        ring = self._current
        if not ring.start_ms <= wall_ms < ring.end_ms:
            ring = self._turn(wall_ms)
        return ring.made.get(token) or ring.make(token)

    def reveal(self, user: str) -> str:
        """The token behind a pseudonym, "" where its key is not known (any more). A token is returned as it is."""
        if len(user) == TOKEN:
            return user
        parsed = _parse(user)
        if parsed is None:
            return ""
        with self._lock:
            ring = self._rings.get(parsed.period)
            keys = [] if ring is None else [ring.keys[parsed.bucket]] if parsed.bucket in ring.keys else []
            now = self._clock_s()
            keys += [
                key
                for until, period, bucket, key in self._replaced
                if until > now and (period, bucket) == (parsed.period, parsed.bucket)
            ]
        return next((token for key in keys if (token := _open(key, parsed))), "")

    def learn(self, period: int, keys: Mapping[str, bytes]) -> None:
        """Use these keys for this period, instead of those known before."""
        with self._lock:
            before = self._rings.get(period)
            if before is not None:
                now = self._clock_s()
                self._replaced = [one for one in self._replaced if one[0] > now]
                if self._grace_s:
                    gone = [bucket for bucket, key in before.keys.items() if keys.get(bucket) != key]
                    self._replaced += [(now + self._grace_s, period, one, before.keys[one]) for one in gone]
            # A new ring as a whole: the thread in `of` goes on with the one it has in hand.
            self._rings[period] = _Ring(period, self.days, keys, before)
            self._current = _NO_RING

    def _turn(self, wall_ms: int) -> _Ring:
        with self._lock:
            begun = [ring for ring in self._rings.values() if ring.start_ms <= wall_ms]
            self._current = max(begun, key=lambda ring: ring.start_ms, default=_NO_RING)
            return self._current


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
        arguments = (os.urandom(BUCKETS * KEY), str(self._life_ms), _CHARACTERS, str(period))
        self._ask(lambda client: client.eval(_MAKE, 2, _key(period), CHANGED_KEY, *arguments))

    def all_of(self, token: str) -> list[str]:
        """The person's pseudonyms under every key that lives: what to look for before the keys are destroyed."""
        found = []
        for period in sorted(self.changed()):
            key = self._ask(lambda client, period=period: client.hget(_key(period), bucket_of(token)))
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
            self._ask(
                lambda client, period=period, arguments=arguments: client.eval(
                    _DESTROY, 2, _key(period), CHANGED_KEY, *arguments
                )
            )

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
        except (RedisError, OSError) as error:
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
        if found or _parse(user) is None:
            return found
        try:
            self.refresh()
        except Unavailable:
            return None
        return self.pseudonyms.reveal(user)

    def _run(self) -> None:
        while not self._stop.wait(REFRESH_S if not self._away else 1.0):
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
