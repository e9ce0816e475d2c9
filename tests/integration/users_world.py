"""Agents and people of the tests of `RedisUsers`, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.adapters.users_keys import token_of
from campaign_express.adapters.users_profiles import UserProfiles
from campaign_express.bidding.frequency import Counted
from campaign_express.events import MoneyEvent, event_id
from campaign_express.ports import Hold, UserState, UserWant

Eventually = Callable[[Callable[[], bool]], None]


NOW = 1_783_000_000_000


EXP, LATENESS = 3_600_000, 600_000


ENDS = NOW + EXP + LATENESS


ANN = UserWant(("ifa:ann",), 1)


COUNTED = Counted((("c:1", 3), ("k:2", 2)), False)


OPTIONS: dict[str, Any] = {"hold_ms": EXP + LATENESS, "lateness_ms": LATENESS}
# A busy machine is no slow Redis: patience ends only where a test says so.
PATIENT: dict[str, Any] = {**OPTIONS, "wait_s": 60.0, "flush_s": 20.0, "said_again_s": 120.0}
PATIENT_COUNTS: dict[str, Any] = {**OPTIONS, "wait_s": 60.0, "timeout_s": 20.0}


@pytest.fixture
def agent(valkey: str) -> Iterator[RedisUsers]:
    made = RedisUsers(valkey, **PATIENT)
    yield made
    made.close()


@pytest.fixture
def other_agent(valkey: str) -> Iterator[RedisUsers]:
    made = RedisUsers(valkey, **PATIENT)
    yield made
    made.close()


@pytest.fixture
def counts(valkey: str) -> Iterator[UserCounts]:
    made = UserCounts(valkey, lambda campaign, creative: COUNTED, **PATIENT_COUNTS)
    yield made
    made.close()


@pytest.fixture
def profiles(valkey: str) -> Iterator[UserProfiles]:
    made = UserProfiles(valkey, 86_400)
    yield made
    made.close()


@pytest.fixture
def client(valkey: str) -> Iterator[Redis]:
    with Redis.from_url(valkey) as made:
        yield made


def look(users: RedisUsers, want: UserWant = ANN, now: int = NOW) -> UserState:
    """The state, without leaving a weight."""
    [state] = users.fetch([want], now, 60.0)
    assert state is not None
    users.settle(state, ())
    users.flush()
    return state


def event(kind: str, bid: str, received: int = NOW + 1000, **fields: Any) -> MoneyEvent:
    defaults: dict[str, Any] = {"campaign": "1", "user": token_of("ifa:ann"), "test": False}
    return MoneyEvent(
        id=event_id(kind, bid),
        bid_key=bid,
        kind=kind,
        exchange="x",
        auction="a",
        imp="1",
        bid="1",
        advertiser="a",
        creative="2",
        authorised_micros=1,
        bid_ms=NOW,
        received_ms=received,
        **{**defaults, **fields},
    )


def bid(users: RedisUsers, key: str, want: UserWant = ANN, now: int = NOW) -> None:
    [state] = users.fetch([want], now, 60.0)
    assert state is not None
    users.settle(state, [Hold(key, ("c:1", "k:2"), now + EXP + LATENESS)])
    users.flush()
