"""What became of bids, told to the counts of persons: the writer's side, for the consumer of money events.

An impression or a billing notice (or the win, where a campaign wants it so) makes an impression of a hold, a win marks
it, a loss releases it. All of it may come late, twice or in any order: see users_lua.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Self

from campaign_express.adapters import users_lua
from campaign_express.adapters.redis_batch import Command, RedisBatch, slot_of
from campaign_express.adapters.redis_link import NoReply
from campaign_express.adapters.users_keys import counts_key
from campaign_express.adapters.users_state import bid_of, hold_of, stamp
from campaign_express.bidding.frequency import Counted
from campaign_express.config import Settings
from campaign_express.events import MoneyEvent
from campaign_express.ports import Hold

log = logging.getLogger(__name__)

AT_ONCE = 256  # events of one round trip
TIMEOUT_S = 1.0
MAX_ALIASES = 8  # one alias leads to another, at most so often


class UserCounts:
    """For one thread. `counted` is asked for each event: it may change with the catalogue.

    `hold_ms` and `lateness_ms` as for `RedisUsers`; `replicas` must have a change before its event counts as applied.
    """

    def __init__(
        self,
        url: str,
        counted: Callable[[str, str], Counted],  # (campaign, creative); frequency.CountedEntities
        *,
        hold_ms: int,
        lateness_ms: int,
        profile_ttl_s: int = 90 * 86_400,
        replicas: int = 0,
        wait_s: float = 1.0,
        timeout_s: float = TIMEOUT_S,
        reveal: Callable[[str], str | None] = lambda user: user,
    ) -> None:
        """`reveal`: the token behind the `user` of an event, see `PseudonymKeeper.person`. Raises ConfigError for a bad
        url."""
        self.counted = counted
        self._reveal = reveal
        self.applied = 0
        self._batch = RedisBatch(url, [script.text for script in users_lua.ALL], wait_s)
        self._hold_ms = hold_ms
        self._lateness_ms = lateness_ms
        self._ttl = b"%d" % (profile_ttl_s * 1000)
        self._replicas = replicas
        self._timeout_s = timeout_s

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        counted: Callable[[str, str], Counted],
        longest_exp_s: int,
        replicas: int,
        reveal: Callable[[str], str | None],
    ) -> Self:
        """`longest_exp_s`: the largest `exp` of the exchanges, as for `RedisUsers.from_settings`."""
        return cls(
            settings.redis_url,
            counted,
            hold_ms=(longest_exp_s + settings.notice_lateness_s) * 1000,
            lateness_ms=settings.notice_lateness_s * 1000,
            profile_ttl_s=settings.profile_ttl_days * 86_400,
            replicas=replicas,
            reveal=reveal,
        )

    @property
    def breaker_state(self) -> int:
        return self._batch.breaker_state

    def apply(self, events: Sequence[MoneyEvent]) -> list[MoneyEvent]:
        """Returns the events that could not be applied, to come again. Those without a user are none of ours, nor those
        whose user was erased since."""
        failed: list[MoneyEvent] = []
        todo: list[tuple[MoneyEvent, str]] = []
        for event in events:
            if event.user and not event.test:
                token = self._reveal(event.user)
                if token is None:
                    failed.append(event)
                elif token:
                    todo.append((event, token))
        for start in range(0, len(todo), AT_ONCE):
            waiting = todo[start : start + AT_ONCE]
            for _ in range(MAX_ALIASES):
                waiting = self._run(waiting, failed)
                if not waiting:
                    break
            failed += [event for event, _ in waiting]
        return failed

    def close(self) -> None:
        self._batch.close()

    def _run(self, todo: list[tuple[MoneyEvent, str]], failed: list[MoneyEvent]) -> list[tuple[MoneyEvent, str]]:
        """Apply events to the counts of tokens; returns those that turned out to be aliases, with what they lead to."""
        commands: list[Command] = []
        sent: list[MoneyEvent] = []
        for event, token in todo:
            call = self._call(event, counts_key(token))
            if call is not None:
                commands.append((slot_of(counts_key(token)), call, 1))
                sent.append(event)
        again: list[tuple[MoneyEvent, str]] = []
        for event, reply in zip(sent, self._batch.run(commands, self._timeout_s, self._replicas), strict=True):
            if reply == 1:
                self.applied += 1
            elif isinstance(reply, bytes):
                again.append((event, reply.decode()))
            else:
                failed.append(event)
                if not isinstance(reply, NoReply):
                    log.error("Redis at %s does not count event %s: %s", self._batch.where, event.id, reply)
        return again

    def _call(self, event: MoneyEvent, key: bytes) -> bytes | None:
        bid, digest = bid_of(event.bid_key)
        if event.kind == "loss":
            return users_lua.release.call((key,), bid)
        counted = self.counted(event.campaign, event.creative)
        # Never earlier than the impression itself, so that it stays in a window at least as long as it should.
        now = max(event.received_ms, event.bid_ms)
        if event.kind in ("impression", "billing") or (event.kind == "win" and counted.on_win):
            entities = [part for entity, keep in counted.entities for part in (entity.encode(), b"%d" % keep)]
            return users_lua.confirm.call((key,), stamp(now), self._ttl, bid, digest, stamp(now), *entities)
        if event.kind == "win":
            names = tuple(entity for entity, _ in counted.entities)
            _, hold = hold_of(Hold(event.bid_key, names, event.bid_ms + self._hold_ms), self._lateness_ms, won=True)
            return users_lua.won.call((key,), stamp(now), self._ttl, bid, hold if names else b"")
        return None
