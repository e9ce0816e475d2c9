"""Clicks and views in a real Redis: kept for their windows, written once, found by click and by person."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from valkey_server import ValkeyProcess

from campaign_express.adapters import redis_async
from campaign_express.adapters.touches import BATCH, RedisTouches
from campaign_express.clock import Clock
from campaign_express.errors import ConfigError, Unavailable
from campaign_express.ports import Touch

HOUR = 3_600_000


def store(url: str, clock: Clock | None = None) -> RedisTouches:
    connect = functools.partial(redis_async.connect, url)
    return RedisTouches(connect, clock or Clock(), click_window_ms=10 * HOUR, view_window_ms=HOUR)


def touch(kind: str, bid: str, age_ms: int = 0, user: str = "person", advertiser: str = "acme") -> Touch:
    now = time.time_ns() // 1_000_000
    return Touch(kind, bid, "x", "a", "i", "b", advertiser, "c", "cr", 5, 0, now - age_ms, now, user, False)


async def written(touches: RedisTouches) -> None:
    deadline = time.monotonic() + 60
    while touches._writer is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 150))


def test_what_was_recorded_is_found(valkey: str) -> None:
    async def test() -> None:
        touches = store(valkey)
        click, view = touch("click", "click-1"), touch("impression", "view-1")
        others = [touch("click", "click-2", advertiser="other"), touch("click", "click-3", user="")]
        for one in (click, view, *others):
            touches.record(one)
        touches.record(touch("impression", "view-2", user=""))
        touches.record(touch("win", "win-1"))
        await written(touches)
        assert await touches.find("acme", "click-1", "") == [click]
        assert await touches.find("acme", "", "person") == [click, view]
        assert await touches.find("acme", "click-3", "person") == [others[1], click, view]
        assert await touches.find("acme", "view-1", "") == []  # a view is no click
        assert await touches.find("acme", "", "stranger") == []
        assert await touches.find("acme", "", "") == []
        await touches.close()

    run(test)
    with Redis.from_url(valkey) as client:
        assert client.keys("*win-1*") == []
        assert sorted(client.keys("touch:*")) == [
            b"touch:u:{person}:acme",
            b"touch:u:{person}:other",
            b"touch:{click-1}",
            b"touch:{click-2}",
            b"touch:{click-3}",
        ]


def test_a_touch_lives_as_long_as_its_window_from_the_bid(valkey: str) -> None:
    async def test() -> None:
        touches = store(valkey)
        touches.record(touch("click", "c", age_ms=HOUR))
        touches.record(touch("impression", "v", age_ms=HOUR // 2))
        touches.record(touch("impression", "w", age_ms=HOUR // 2, user="viewer"))
        touches.record(touch("impression", "late", age_ms=HOUR + 1, user="late"))
        await written(touches)
        await touches.close()

    run(test)
    with Redis.from_url(valkey) as client:
        assert 9 * HOUR - 10_000 < client.pttl("touch:{c}") <= 9 * HOUR
        assert HOUR // 2 - 10_000 < client.pttl("touch:u:{viewer}:acme") <= HOUR // 2
        assert not client.exists("touch:u:{late}:acme")
        assert 9 * HOUR - 10_000 < client.pttl("touch:u:{person}:acme") <= 9 * HOUR  # the longest of them


def test_windows_pass_as_fast_as_the_clock(valkey: str) -> None:
    now = time.time_ns() // 1_000_000
    clock = Clock(now, now, 100.0)

    async def test() -> None:
        touches = store(valkey, clock)
        touches.record(touch("click", "c"))
        await written(touches)
        await touches.close()

    run(test)
    with Redis.from_url(valkey) as client:
        assert HOUR // 10 - 10_000 < client.pttl("touch:{c}") <= HOUR // 10


def test_the_same_notice_again_changes_nothing(valkey: str) -> None:
    async def test() -> None:
        touches = store(valkey)
        older, first, view = touch("click", "b", age_ms=5), touch("click", "c"), touch("impression", "v")
        for one in (older, first, view):
            touches.record(one)
        await written(touches)
        for again in (older, first, view):
            values = [getattr(again, name) for name in Touch.__struct_fields__]
            touches.record(Touch(*values[:12], 9**12, *values[13:]))
        await written(touches)
        assert await touches.find("acme", "c", "person") == [first, view]
        assert await touches.find("acme", "b", "") == [older]
        await touches.close()

    run(test)


def test_more_than_a_batch_is_written_in_order(valkey: str) -> None:
    async def test() -> None:
        touches = store(valkey)
        for number in range(BATCH + 50):
            touches.record(touch("click", f"c{number}", age_ms=1000 - number))
        await written(touches)
        assert [one.bid_key for one in await touches.find("acme", "", "person")] == [f"c{BATCH + 49}"]
        assert len(await touches.find("acme", "c0", "")) == 1
        await touches.close()

    run(test)


def test_what_is_queued_at_the_end_is_written(valkey: str) -> None:
    async def test() -> None:
        touches = store(valkey)
        touches.record(touch("click", "click-1"))
        await touches.close()

    run(test)
    with Redis.from_url(valkey) as client:
        assert client.exists("touch:{click-1}")


def test_redis_away(valkey_process: ValkeyProcess) -> None:
    async def test() -> None:
        touches = store(valkey_process.url)
        valkey_process.stop()
        touches.record(touch("click", "c"))
        with pytest.raises(Unavailable, match="cannot be looked up"):
            await touches.find("acme", "c", "")
        await asyncio.to_thread(valkey_process.start)
        await written(touches)
        assert len(await touches.find("acme", "c", "")) == 1
        await touches.close()

    run(test)


def test_the_queue_is_bounded(valkey_process: ValkeyProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("campaign_express.adapters.touches.MAX_QUEUE", 3)

    async def test() -> None:
        touches = store(valkey_process.url)
        for number in range(5):
            touches.record(touch("click", f"c{number}"))
        await written(touches)
        assert touches.dropped == 2
        assert [len(await touches.find("acme", f"c{n}", "")) for n in range(5)] == [0, 0, 1, 1, 1]
        await touches.close()

    run(test)


def test_a_url_that_is_none_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        redis_async.connect("http://:secret@host")
    assert "secret" not in str(caught.value)


def test_on_a_cluster(tmp_path: Path) -> None:
    node = ValkeyProcess(tmp_path, cluster=True)
    node.start()
    try:
        with Redis(port=node.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 60
            while client.cluster("info")["cluster_state"] != "ok":
                assert time.monotonic() < deadline
                time.sleep(0.05)

        async def test() -> None:
            touches = store(node.url.replace("redis://", "redis+cluster://").removesuffix("/0"))
            found = [touch("click", "c"), touch("impression", "v")]
            for one in found:
                touches.record(one)
            await written(touches)
            assert await touches.find("acme", "c", "person") == found
            await touches.close()

        run(test)
    finally:
        node.kill()
