"""Replays and erasures keep out of each other's way, and nobody waits for the dead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest
from valkey_server import ValkeyProcess

from campaign_express.adapters.rebuild_lock import alone
from campaign_express.errors import Unavailable

_spawned = multiprocessing.get_context("spawn")
LIFE_S = 1.0
LONGER_S = 2.0  # where the thread that keeps it may have to wait for its turn on a busy machine


def test_a_second_one_is_refused_while_the_first_goes_on_however_long(valkey: str) -> None:
    with alone(valkey, "events replay", LONGER_S) as still_alone:
        time.sleep(1.5 * LONGER_S)  # the thread keeps it
        still_alone()
        with (
            pytest.raises(Unavailable, match=rf"another one works on the tables: events replay, process {os.getpid()}"),
            alone(valkey, "privacy erase", LIFE_S),
        ):
            pytest.fail("two at once")
        still_alone()
    with alone(valkey, "privacy erase", LIFE_S) as still_alone:  # at once
        still_alone()


def test_one_that_waits_gets_it_when_the_first_has_ended(valkey: str) -> None:
    order: list[str] = []

    def second() -> None:
        with alone(valkey, "second", 20.0):
            order.append("second")

    with alone(valkey, "first", 20.0):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def hold_until_killed(url: str, held: object) -> None:
    with alone(url, "events replay", LIFE_S):
        held.set()  # type: ignore[attr-defined]
        time.sleep(60)


def test_the_lock_of_a_killed_process_is_taken_over(valkey: str) -> None:
    held = _spawned.Event()
    process = _spawned.Process(target=hold_until_killed, args=(valkey, held))
    process.start()
    assert held.wait(90)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    with alone(valkey, "events replay", LIFE_S) as still_alone:
        still_alone()


def test_one_whose_redis_was_away_stops_before_it_goes_on(valkey_process: ValkeyProcess) -> None:
    with alone(valkey_process.url, "events replay", LIFE_S) as still_alone:
        still_alone()
        valkey_process.kill()
        time.sleep(LIFE_S)
        with pytest.raises(Unavailable, match="events replay has lost its lock"):
            still_alone()
        valkey_process.start()
        time.sleep(0.5 * LIFE_S)  # it has it again by now, and so may another have had it
        with pytest.raises(Unavailable, match="events replay has lost its lock"):
            still_alone()
    with pytest.raises(Unavailable), alone("redis://127.0.0.1:1/0", "events replay", LIFE_S):
        pytest.fail("without Redis")
