"""Profiles and frequency counts of persons in Redis, as bidding reads them: one round trip a batch.

`fetch` leaves a *pending weight* with each person and then reads what is counted. Of two agents that do so at the same
time at least one sees the other's weight, and takes it into account. `settle` turns the weight into the holds of the
bids that were made; it waits for the next `fetch` and travels with it. What Redis does not answer in time is unknown,
and whatever has a cap does not bid on it. docs/profiles.md has the keys, and what may be lost when.

All of this is plain commands, pipelined: a script would cost the server three times as much. Scripts (users_lua.py)
do what changes counts for good, away from bidding: see `users_counts.py`.
"""

from __future__ import annotations

import logging
import os
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any, Self

import msgspec

from campaign_express.adapters import users_lua
from campaign_express.adapters.redis_batch import Command, RedisBatch, slot_of
from campaign_express.adapters.redis_link import UNANSWERED, NoReply, pack
from campaign_express.adapters.users_cache import Known, KnownPersons
from campaign_express.adapters.users_keys import MAX_IDS, counts_key, profile_key
from campaign_express.adapters.users_links import UserLinks
from campaign_express.adapters.users_state import (
    NO_PROFILE,
    NOTHING_ELSE,
    Reading,
    hold_of,
    profile_of,
    read_counts,
    stamp,
)
from campaign_express.config import Settings
from campaign_express.ports import Hold, UserState, UserWant

log = logging.getLogger(__name__)

FLUSH_S = 0.05  # a flush waits this long, with nobody waiting for it
MAX_QUEUED = (
    2048  # tasks that wait for Redis; the oldest are dropped, and what they would have freed stays until it ends
)
PER_BATCH = 256  # of them travel with one fetch
SAID_AGAIN = 4096  # settlements that are remembered
SAID_AGAIN_S = 5.0  # and for how long: what a failing master had not passed on, its successor hears again
REFUSED_AGAIN = 100  # how often a hold that the server has no room for is sent
CANCEL_AGAIN_S = (0.5, 2.0, 10.0)  # a fetch that was given up may be carried out later than what takes it back
MAX_WEIGHT = 999

# Commands of the hot path as RESP, with the person's token (20 characters) and the name of a weight (12) to fill in:
# one formatting each, where packing part by part costs as much as all the rest of `settle`.
_GIVE_BACK = b"*3\r\n$4\r\nHDEL\r\n$24\r\nu:{%b}\r\n$13\r\nn%b\r\n"
_HOLD = b"*4\r\n$6\r\nHSETNX\r\n$24\r\nu:{%b}\r\n$%d\r\nh%b\r\n$%d\r\n%b\r\n"
_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
_SEEN = (  # first and last seen; then how long the counts live at least, where they have no end and where they have one
    b"*4\r\n$6\r\nHSETNX\r\n$24\r\nu:{%(token)b}\r\n$1\r\nf\r\n$13\r\n%(now)b\r\n"
    b"*4\r\n$4\r\nHSET\r\n$24\r\nu:{%(token)b}\r\n$1\r\nl\r\n$13\r\n%(now)b\r\n"
    b"*4\r\n$7\r\nPEXPIRE\r\n$24\r\nu:{%(token)b}\r\n$%(digits)d\r\n%(ttl)b\r\n$2\r\nNX\r\n"
    b"*4\r\n$7\r\nPEXPIRE\r\n$24\r\nu:{%(token)b}\r\n$%(digits)d\r\n%(ttl)b\r\n$2\r\nGT\r\n"
)
_SEEN_COMMANDS = 4


class _Task:
    """Commands that wait for the next round trip. Sent again until they are answered: all may be sent twice."""

    __slots__ = ("at", "command", "kind", "persons", "tries")

    def __init__(self, known_slot: int, kind: str, count: int, packed: bytes) -> None:
        self.command: Command = (known_slot, packed, count)
        self.kind = kind  # settle, hold (settle with holds), cancel, clean, adopt
        self.persons: tuple[str, str] | None = None  # of an adoption: canonical and other token
        self.at = 0.0  # when it was answered, or is due
        self.tries = 0


class RedisUsers:
    """`ports.UserStore` on one Redis or a cluster, for one thread.

    `hold_ms`: how long a bid may still become a counted impression, the longest `exp` of all exchanges and the lateness
    of notices together; `lateness_ms` is that lateness alone. `wait_s`: how long to wait for connections at the start.
    """

    def __init__(
        self,
        url: str,
        *,
        hold_ms: int,
        lateness_ms: int,
        profile_ttl_s: int = 90 * 86_400,
        cache_entries: int = 20_000,
        cache_bytes: int = 16_000_000,
        cache_ttl_s: float = 60.0,
        wait_s: float = 0.0,
        flush_s: float = FLUSH_S,
        said_again_s: float = SAID_AGAIN_S,
    ) -> None:
        """Raises ConfigError for a bad url; a Redis that is away is waited for in the background."""
        self.fetches = 0  # persons asked for
        self.unknown = 0  # of which the state stayed unknown
        self.l1_hits = 0  # profiles that were remembered
        self.l1_misses = 0
        self._batch = RedisBatch(url, [script.text for script in users_lua.ALL], wait_s)
        self._links = UserLinks(url, profile_ttl_s)
        self._hold_ms = hold_ms
        self._hold_ttl = b"%d" % (hold_ms + 60_000)
        self._lateness_ms = lateness_ms
        self._cache_ttl_s = cache_ttl_s
        self._flush_s = flush_s
        self._said_again_s = said_again_s
        self._known = KnownPersons(cache_entries, cache_bytes)
        self._profile_ttl = b"%d" % (profile_ttl_s * 1000)
        self._nonce = urlsafe_b64encode(os.urandom(5))[:6]  # tells our weights from other agents'
        self._serial = 0
        self._wall_ms = 0
        self._queue: deque[_Task] = deque(maxlen=MAX_QUEUED)
        self._later: list[_Task] = []
        self._said: deque[_Task] = deque(maxlen=SAID_AGAIN)
        self._generation = 0
        self._unlinked: dict[str, list[Known]] = {}  # of the last fetch, by canonical token: with `absent` ones
        self._complained = 0.0

    @classmethod
    def from_settings(cls, settings: Settings, longest_exp_s: int, wait_s: float = 1.0) -> Self:
        """`longest_exp_s`: the largest `exp` of the exchanges, in seconds."""
        return cls(
            settings.redis_url,
            hold_ms=(longest_exp_s + settings.notice_lateness_s) * 1000,
            lateness_ms=settings.notice_lateness_s * 1000,
            profile_ttl_s=settings.profile_ttl_days * 86_400,
            cache_entries=settings.profile_cache_entries,
            cache_bytes=settings.profile_cache_bytes,
            cache_ttl_s=settings.profile_cache_s,
            wait_s=wait_s,
        )

    @property
    def round_trips(self) -> int:
        return self._batch.round_trips

    @property
    def timeouts(self) -> int:
        """Round trips that were not answered whole in time."""
        return self._batch.timeouts

    @property
    def breaker_state(self) -> int:
        """0 closed, 1 half open, 2 open: the worst of all masters."""
        return self._batch.breaker_state

    def fetch(self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float) -> list[UserState | None]:
        states: list[UserState | None] = [None] * len(wants)
        try:
            self._fetch(wants, wall_ms, timeout_s, states)
        except Exception:  # of ours: nobody's bid is worth a broken batch
            log.exception("Reading the state of users fails")
        return states

    def settle(self, state: UserState, holds: Sequence[Hold]) -> None:
        if not state.token:
            return
        person = state.key.encode()
        slot = slot_of(b"u:{%b}" % person)
        give_back = _GIVE_BACK % (person, state.token)
        if not holds:
            self._queue.append(_Task(slot, "settle", 1, give_back))
            return
        # All or nothing: a server that has no room for a hold must not take the weight back.
        packed = _MULTI
        for one in holds:
            bid, value = hold_of(one, self._lateness_ms)
            packed += _HOLD % (person, len(bid) + 1, bid, len(value), value)
        packed += give_back + _EXEC + self._seen(person, self._hold_ttl)
        self._queue.append(_Task(slot, "hold", len(holds) + 3 + _SEEN_COMMANDS, packed))
        for known in self._unlinked.pop(state.key, ()):
            self._adopt(state.key, known.absent)
            known.absent = []

    def flush(self) -> None:
        tasks = self._due()
        if tasks:
            self._outcome(tasks, self._batch.run([task.command for task in tasks], self._flush_s))

    def close(self) -> None:
        """Sends what is queued, if Redis answers."""
        self.flush()
        self._links.close()
        self._batch.close()

    def _seen(self, person: bytes, ttl: bytes) -> bytes:
        """The person was seen now; the counts live `ttl` ms at least."""
        return _SEEN % {b"token": person, b"now": stamp(self._wall_ms), b"ttl": ttl, b"digits": len(ttl)}

    def _fetch(
        self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float, states: list[UserState | None]
    ) -> None:
        self._wall_ms = wall_ms
        self._unlinked.clear()
        now = monotonic()
        tasks = self._due()
        commands: list[Command] = [task.command for task in tasks]
        asked: list[tuple[int, Known, bytes, bool, int]] = []
        ends = b"%013d\r\n" % (wall_ms + self._hold_ms)
        ttl = b"$%d\r\n%b\r\n$2\r\nNX\r\n" % (len(self._hold_ttl), self._hold_ttl)
        for place, want in enumerate(wants):
            if want is None or not want.ids:
                continue
            known = self._known.get(want.ids[:MAX_IDS])
            self._serial = (self._serial + 1) & 0xFFFFFF
            token = b"%b%06x" % (self._nonce, self._serial)
            packed = b"%b%b\r\n$16\r\n%03d%b%b%b" % (
                *(known.give, token, min(want.weight, MAX_WEIGHT)),
                *(ends, known.read, ttl),
            )
            fresh = known.fresh_until > now
            asked.append((place, known, token, fresh, len(commands)))
            if fresh:
                self.l1_hits += 1
                commands.append((known.slot, packed, 3))
                if not known.others:
                    continue
            else:
                self.l1_misses += 1
                commands.append((known.slot, packed + known.profile, 4))
                known.doubt()
            for other in known.others:
                key = counts_key(other)
                commands.append((slot_of(key), pack(b"HMGET", key, b"@", b"f"), 1))
        replies = self._batch.run(commands, timeout_s)
        if tasks:
            self._outcome(tasks, replies)
        stamped = stamp(wall_ms)
        for place, known, token, fresh, at in asked:
            reply = replies[at]
            if isinstance(reply, NoReply):
                if reply is UNANSWERED:
                    self._cancel(known, token)
                continue
            was = known.token
            try:
                others = replies[at + 1 : at + 1 + len(known.others)]
                states[place] = self._read(known, token, fresh, reply, stamped, others)
            except (msgspec.DecodeError, ValueError, TypeError, LookupError) as error:  # not ours to read, or an error
                self._complain(next((one for one in reply if isinstance(one, Exception)), error))
            if states[place] is None:
                self.settle(UserState(was, token), ())
        self.fetches += len(asked)
        self.unknown += sum([states[place] is None for place, *_ in asked])

    def _read(
        self, known: Known, token: bytes, fresh: bool, reply: list[Any], now: bytes, others: Sequence[Any]
    ) -> UserState | None:
        """The state in the replies of one person's commands, None where it is unknown."""
        if reply[0].__class__ is not int:  # the weight was not written
            raise TypeError
        if not fresh:
            self._remember(known, reply[3])
        valid = known.valid_until_ms > self._wall_ms
        state = UserState(
            known.token, token, known.segments if valid else (), known.interests if valid else (), known.first_seen_ms
        )
        fields = reply[1]
        if len(fields) > 2:  # more than our own weight
            found = read_counts(state, fields, now)
            if found is not NOTHING_ELSE and not self._act(known, found):
                return None
            if known.first_seen_ms and known.first_seen_ms < (state.first_seen_ms or known.first_seen_ms + 1):
                state.first_seen_ms = known.first_seen_ms
        if known.others and not self._whole(known, others):
            return None
        if known.absent:
            self._unlinked.setdefault(known.token, []).append(known)
        return state

    def _act(self, known: Known, found: Reading) -> bool:
        """Tidy up after a look at a person. False where the look is no good."""
        if found.alias:  # the next request of this person asks in the right place
            self._keep_alias(known.token)
            known.rename(found.alias)
            known.fresh_until = 0.0
            return False
        key = counts_key(known.token)
        if found.stale:
            self._queue.append(_Task(known.slot, "clean", 1, pack(b"HDEL", key, *found.stale)))
        if found.ended:
            call = users_lua.ripen.call((key,), stamp(self._wall_ms), self._profile_ttl, *found.ended)
            self._queue.append(_Task(known.slot, "clean", 1, call))
        return not found.crowded

    def _remember(self, known: Known, value: bytes | None) -> None:
        try:
            found = profile_of(value)
        except (msgspec.DecodeError, ValueError) as error:
            self._complain(error)
            found = NO_PROFILE
        held = len(known.segments) + len(known.interests)
        known.valid_until_ms, known.first_seen_ms, known.segments, known.interests = found
        known.fresh_until = monotonic() + self._cache_ttl_s
        self._known.grown(known, 70 * (len(found.segments) + len(found.interests) - held))
        if found.valid_until_ms > self._wall_ms:
            packed = self._seen(known.token.encode(), self._profile_ttl)
            self._queue.append(_Task(known.slot, "clean", _SEEN_COMMANDS, packed))

    def _keep_alias(self, token: str) -> None:
        """An alias that is met lives on, as the counts do that it leads to."""
        key = counts_key(token)
        self._queue.append(_Task(slot_of(key), "clean", 1, pack(b"PEXPIRE", key, self._profile_ttl)))

    def _adopt(self, canonical: str, others: list[str]) -> None:
        """Make others, of which nothing was known a moment ago, aliases. It travels with the next fetch; what has come
        to be known of one meanwhile is for `UserLinks`, which takes some ten round trips."""
        if canonical > min(others):
            self._links.ask([canonical, *others], self._wall_ms)
            return
        for other in others:
            key = counts_key(other)
            call = users_lua.adopt.call((key, profile_key(other)), canonical.encode(), self._profile_ttl)
            task = _Task(slot_of(key), "adopt", 1, call)
            task.persons = (canonical, other)
            self._queue.append(task)

    def _cancel(self, known: Known, token: bytes) -> None:
        self._queue.append(_Task(known.slot, "cancel", 1, _GIVE_BACK % (known.token.encode(), token)))

    def _whole(self, known: Known, replies: Sequence[Any]) -> bool:
        """Whether the other ids have no state of their own; else they are linked, and the person is unknown for now."""
        absent: list[str] = []
        apart: list[str] = []
        for token, reply in zip(known.others, replies, strict=True):
            if not isinstance(reply, list):
                return False
            pointer, seen = reply
            if pointer:
                self._keep_alias(token)
                if pointer.decode() != known.token:
                    apart += (token, pointer.decode())
            elif seen:
                apart.append(token)
            else:
                absent.append(token)
        if apart:
            self._links.ask([known.token, *known.tokens, *apart], self._wall_ms)
            return False
        known.others = []
        known.absent = absent
        return True

    def _due(self) -> list[_Task]:
        """The tasks of the next round trip, in the order in which they were made."""
        queued = self._queue
        if self._batch.generation != self._generation:
            self._generation = self._batch.generation
            since = monotonic() - self._said_again_s
            queued.extendleft([task for task in reversed(self._said) if task.at >= since])
            self._said.clear()
        if self._later and self._later[0].at <= monotonic():
            queued.append(self._later.pop(0))
        return [queued.popleft() for _ in range(min(len(queued), PER_BATCH))]

    def _outcome(self, tasks: list[_Task], replies: Sequence[Any]) -> None:
        now = monotonic()
        again: list[_Task] = []
        for task, reply in zip(tasks, replies, strict=False):
            if isinstance(reply, NoReply):
                again.append(task)
            elif task.kind == "hold":
                refused = next((one for one in reply if isinstance(one, Exception)), None)
                if refused is None:
                    task.at = now
                    self._said.append(task)
                else:  # the weight stays as well, for as long as a hold would have
                    self._complain(refused)
                    task.tries += 1
                    if task.tries < REFUSED_AGAIN:
                        again.append(task)
            elif task.kind == "cancel" and reply == 0 and task.tries < len(CANCEL_AGAIN_S):
                task.at = now + CANCEL_AGAIN_S[task.tries]
                task.tries += 1
                self._later = sorted([*self._later, task], key=lambda one: one.at)[:MAX_QUEUED]
            elif task.persons is not None and reply == 0:
                self._links.ask(task.persons, self._wall_ms)
            if isinstance(reply, Exception):
                self._complain(reply)
        self._queue.extendleft(reversed(again))

    def _complain(self, error: Any) -> None:
        """Once in ten seconds: whatever is wrong is wrong for many."""
        if monotonic() - self._complained > 10.0:
            self._complained = monotonic()
            log.error("Redis at %s answers for users: %s", self._batch.where, error)
