"""Kill switches and paces in a real Redis: no change is lost, all are heard within a second, none is forgotten."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from valkey_server import ValkeyProcess

from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.documents import POLL_S
from campaign_express.control import (
    ALL,
    PACES_KEY,
    SWITCHES_KEY,
    Pace,
    Paces,
    Stop,
    Switched,
    Switches,
    stops,
    with_stop,
    without_stop,
)
from campaign_express.errors import ControlError, Unavailable

Eventually = Callable[[Callable[[], bool]], None]
STOP = Stop("too dear", "operator", 1)


class Follower:
    """What an agent would see."""

    def __init__(self, url: str) -> None:
        self.switches: list[Switches] = []
        self.paces: list[Paces] = []
        self.stop = threading.Event()
        self.store = ControlStore(url)
        self.thread = self.store.watch(self.switches.append, self.paces.append, self.stop)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.store.close()


@pytest.fixture
def store(valkey: str) -> Iterator[ControlStore]:
    made = ControlStore(valkey)
    yield made
    made.close()


@pytest.fixture
def follower(valkey: str) -> Iterator[Follower]:
    made = Follower(valkey)
    yield made
    made.end()


def stop_campaign(store: ControlStore, name: str) -> Switches:
    return store.update(lambda switches: with_stop(switches, Switched("campaign", name), STOP))


def test_nothing_is_stopped_at_first(store: ControlStore) -> None:
    assert store.switches() == Switches()
    assert store.paces() == Paces()


def test_writers_at_once_lose_nothing(valkey: str) -> None:
    stores = [ControlStore(valkey) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: stop_campaign(stores[n % 8], f"c{n}"), range(48)))
    assert set(stores[0].switches().campaigns) == {f"c{n}" for n in range(48)}
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: stores[n % 8].update(lambda s: without_stop(s, Switched("campaign", f"c{n}"))),
                range(0, 48, 2),
            )
        )
    assert set(stores[0].switches().campaigns) == {f"c{n}" for n in range(1, 48, 2)}
    for made in stores:
        made.close()


def test_every_agent_hears_within_a_second(store: ControlStore, follower: Follower, eventually: Eventually) -> None:
    assert POLL_S <= 0.5  # what makes it a second where nobody is held up; the test waits longer, for a busy machine
    for what in (Switched("campaign", "a"), Switched("advertiser", "b"), Switched("exchange", "c"), ALL):
        after = store.update(lambda switches: with_stop(switches, what, STOP))  # noqa: B023 (called at once)
        assert what in stops(after)
        eventually(lambda: follower.switches[-1:] == [after])  # noqa: B023
    assert follower.paces == []


def test_a_lost_announcement_is_made_up_for(
    store: ControlStore, valkey: str, follower: Follower, eventually: Eventually
) -> None:
    stop_campaign(store, "a")
    eventually(lambda: [*follower.switches[-1].campaigns] == ["a"] if follower.switches else False)
    other = ControlStore(valkey)
    before = other.switches()
    with Redis.from_url(valkey) as client:
        script = client.register_script("return redis.call('HSET', KEYS[1], 'version', 7, 'blob', ARGV[1])")
        script([SWITCHES_KEY], [b'{"campaigns":{"z":{}}}'])
    eventually(lambda: [*follower.switches[-1].campaigns] == ["z"])
    assert before != other.switches()
    other.close()


def test_a_change_that_changes_nothing_is_not_announced(store: ControlStore, valkey: str) -> None:
    stop_campaign(store, "a")
    stop_campaign(store, "a")
    with Redis.from_url(valkey) as client:
        assert client.hget(SWITCHES_KEY, "version") == b"1"


def test_redis_away_or_empty_clears_no_switch(valkey_process: ValkeyProcess, eventually: Eventually) -> None:
    store = ControlStore(valkey_process.url)
    follower = Follower(valkey_process.url)
    stopped = stop_campaign(store, "a")
    eventually(lambda: follower.switches == [stopped])
    valkey_process.kill()
    with pytest.raises(Unavailable):
        store.switches()
    with pytest.raises(Unavailable):
        stop_campaign(store, "b")
    time.sleep(0.7)
    valkey_process.start()
    with Redis.from_url(valkey_process.url) as client:
        client.flushall()
    time.sleep(1.2)  # two looks
    assert follower.switches == [stopped]
    both = store.update(lambda s: with_stop(with_stop(s, Switched("campaign", "a"), STOP), ALL, STOP))
    eventually(lambda: follower.switches == [stopped, both])
    follower.end()
    store.close()


def test_paces_of_a_treasury_that_was_replaced_are_not_taken(
    store: ControlStore, follower: Follower, eventually: Eventually
) -> None:
    old, new = Paces(1, {"a": Pace(0.5)}), Paces(2, {"a": Pace(0.25, 1.5)})
    assert store.write_paces(old, epoch=10)
    assert store.write_paces(new, epoch=11)
    assert not store.write_paces(old, epoch=10)
    assert store.paces() == new
    eventually(lambda: follower.paces[-1:] == [new])
    assert store.write_paces(old, epoch=11)
    eventually(lambda: follower.paces[-1:] == [old])
    assert follower.switches == []


@pytest.mark.parametrize("key", [SWITCHES_KEY, PACES_KEY])
def test_what_does_not_decode_is_told_once_and_changes_nothing(
    store: ControlStore,
    valkey: str,
    follower: Follower,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
    key: str,
) -> None:
    stop_campaign(store, "a")
    store.write_paces(Paces(1), 1)
    eventually(lambda: (len(follower.switches), len(follower.paces)) == (1, 1))
    with Redis.from_url(valkey) as client:
        client.hset(key, mapping={"version": 9, "blob": b'{"campaigns": 5}'})
    eventually(lambda: "does not decode" in caplog.text)
    time.sleep(1.1)
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    assert (len(follower.switches), len(follower.paces)) == (1, 1)
    with pytest.raises(ControlError, match=f"{key} in Redis, version 9"):
        store.switches() if key == SWITCHES_KEY else store.paces()
