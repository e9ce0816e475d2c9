"""Profiles and frequency counts of persons in Redis. See docs/profiles.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from campaign_express.bidding.frequency import Counted
from campaign_express.events import MoneyEvent
from campaign_express.ports import Hold, UserState, UserWant


class RedisUsers:
    """`ports.UserStore` on one Redis or a cluster. Connects in the background; never raises, never waits longer."""

    def __init__(
        self,
        url: str,
        *,
        hold_ms: int,  # the longest `exp` of an exchange and the lateness of notices together
        lateness_ms: int,
        profile_ttl_s: int = 90 * 86_400,
        cache_entries: int = 20_000,
        cache_bytes: int = 16_000_000,
        cache_ttl_s: float = 60.0,
    ) -> None:
        self.fetches = 0  # wants
        self.unknown = 0  # of which got None
        self.timeouts = 0  # fan-outs that were not answered whole in time
        self.l1_hits = 0
        self.l1_misses = 0
        raise NotImplementedError

    @property
    def round_trips(self) -> int:
        raise NotImplementedError

    @property
    def breaker_state(self) -> int:
        """0 closed, 1 half open, 2 open: the worst of all masters."""
        raise NotImplementedError

    def fetch(self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float) -> list[UserState | None]:
        raise NotImplementedError

    def settle(self, state: UserState, holds: Sequence[Hold]) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class UserCounts:
    """The consumer's side: what became of bids, told to the counts."""

    def __init__(
        self,
        url: str,
        counted: Callable[[str, str], Counted],  # frequency.CountedEntities of the current catalogue
        *,
        hold_ms: int,
        lateness_ms: int,
        profile_ttl_s: int = 90 * 86_400,
        replicas: int = 0,  # that must have it before an event counts as applied
    ) -> None:
        raise NotImplementedError

    def apply(self, events: Sequence[MoneyEvent]) -> list[MoneyEvent]:
        """Returns the events that could not be applied and are to come again; idempotent. Never raises."""
        raise NotImplementedError
