"""Pseudonyms: what stands for a person in events. docs/privacy.md says why, decision 7 how it was chosen.

A person's canonical token (`users_keys`) is encrypted, one AES block, under a key of the person's *bucket* (the first
12 bits of the token) and *period* (`pseudonym_days` of wall clock, named by its first day since 1970):

    <period, base 36><bucket, 2 characters><block, 22 characters of base64url>

One key, one block: so a pseudonym is the same wherever it is made within its period, nobody without the key can tell
two periods' apart from two persons', and with the key the person is found again. A key that is destroyed takes with it
the persons behind every pseudonym that was made with it, wherever copies of those lie.

Keys are kept and followed by `pseudonym_keys`.
"""

from __future__ import annotations

import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from campaign_express.adapters.users_keys import TOKEN

DAY_MS = 86_400_000
KEY = 16  # bytes
BUCKETS = 4096
REMEMBERED = 8192  # pseudonyms of one process
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"  # of base64url, by value
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_BLOCK = 22  # characters of one block
_PLAIN, _URL_SAFE = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
_VERSION = b"\x01"  # first byte of what is encrypted; the token's 15 follow


def period_of(wall_ms: int, days: int) -> int:
    """First day of the period: a number of days since 1970, so that periods of another length are others."""
    return wall_ms // DAY_MS // days * days


def bucket_of(token: str) -> str:
    """A token's first 12 bits, which in base64url are its first two characters."""
    return token[:2]


def pseudonym(period: int, token: str, key: bytes) -> str:
    return _named(_base36(period), token, _encrypting(key))


def _named(prefix: str, token: str, encrypt: Callable[[bytes], bytes]) -> str:
    # As `urlsafe_b64decode` and `urlsafe_b64encode` do it, in half the time: every new person of a bid comes by here.
    plain = _VERSION + a2b_base64(token.encode().translate(_PLAIN))
    if len(plain) != KEY:
        raise ValueError("this is no token")
    block = b2a_base64(encrypt(plain), newline=False).translate(_URL_SAFE)
    return f"{prefix}{token[:2]}{block[:_BLOCK].decode()}"


class _Parsed(NamedTuple):
    period: int
    bucket: str
    block: bytes


def parse(written: str) -> _Parsed | None:
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

    __slots__ = ("_prefix", "encrypt", "end_ms", "keys", "made", "start_ms")

    def __init__(self, period: int, days: int, keys: Mapping[str, bytes], before: _Ring | None = None) -> None:
        self._prefix = _base36(period)
        self.start_ms = period * DAY_MS
        self.end_ms = (period + days) * DAY_MS
        self.keys = keys
        self.made: dict[str, str] = {}
        # Contexts are dear to make; those of keys that have stayed are kept.
        self.encrypt: dict[str, Callable[[bytes], bytes]] = {}
        if before is not None:
            stayed = [bucket for bucket in before.encrypt if keys.get(bucket) == before.keys[bucket]]
            self.encrypt = {bucket: before.encrypt[bucket] for bucket in stayed}

    def make(self, token: str) -> str:
        """ "" for what is no token, too: half a block would stay in a context and spoil what comes after."""
        bucket = token[:2]
        encrypt = self.encrypt.get(bucket)
        if encrypt is None:
            key = self.keys.get(bucket)
            if key is None:
                return ""
            encrypt = self.encrypt[bucket] = _encrypting(key)
        try:
            made = _named(self._prefix, token, encrypt)
        except ValueError:
            return ""
        if len(self.made) >= REMEMBERED:
            self.made.clear()
        self.made[token] = made
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
        parsed = parse(user)
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
