"""What keeps the treasury's parts going: steps repeated, failures outlived, nothing begun without the lead."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from campaign_express.errors import Unavailable
from campaign_express.families import Family, decode_families, encode_families, merge_families
from campaign_express.treasury.loops import Health
from campaign_express.treasury.metrics import METRICS, families
from campaign_express.treasury.service import Treasury
from campaign_express.treasury.sweeper import Sweeper


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 90))


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)


class Lock:
    """A lock that does as it is told."""

    owner = "me"
    life_s = 0.2

    def __init__(self) -> None:
        self.mine = True
        self.away = False
        self.held = False
        self.epoch = 0
        self.given_back = 0

    def hold(self) -> bool:
        if self.away:
            self.held = False
            raise Unavailable("away")
        self.held = self.mine
        return self.held

    def let_go(self) -> None:
        self.held = False
        self.given_back += 1


class Step:
    """A loop that counts, and raises what it is told to."""

    name = "step"
    period_s = 0.01

    def __init__(self) -> None:
        self.steps = 0
        self.error: Exception | None = None

    def run_once(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.steps += 1
        if self.error is not None:
            raise self.error


class Work:
    name = "work"

    def __init__(self) -> None:
        self.started = self.ended = 0
        self.error: Exception | None = None

    async def run(self, stop: asyncio.Event) -> None:
        self.started += 1
        if self.error is not None:
            raise self.error
        await stop.wait()
        self.ended += 1


def test_only_who_leads_works_and_all_ends_with_the_lead() -> None:
    async def test() -> None:
        lock, step, work = Lock(), Step(), Work()
        lock.mine = False
        closed: list[bool] = []
        treasury = Treasury(lock, [step], [work], {}, lambda: closed.append(True))
        await treasury.start()
        await asyncio.sleep(0.1)
        assert (step.steps, work.started, treasury.leads) == (0, 0, False)
        lock.mine = True
        await until(lambda: step.steps > 3)
        assert treasury.leads
        assert treasury.status()["parts"]["step"]["problem"] == ""
        lock.mine = False
        await until(lambda: not treasury.leads and work.ended == 1)
        await asyncio.sleep(0.05)
        steps = step.steps
        await asyncio.sleep(0.1)
        assert step.steps == steps
        lock.mine = True
        await until(lambda: step.steps > steps)
        assert (treasury.terms, work.started) == (2, 2)
        await treasury.stop()
        assert work.ended == 2
        assert lock.given_back == 2
        assert closed == [True]

    run(test)


def test_without_redis_the_lead_ends_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        lock, step = Lock(), Step()
        treasury = Treasury(lock, [step], [], {})
        await treasury.start()
        await until(lambda: treasury.leads)
        lock.away = True
        await until(lambda: not treasury.leads)
        await asyncio.sleep(0.15)
        assert len([r for r in caplog.records if "cannot lead" in r.message]) == 1  # told once
        lock.away = False
        await until(lambda: treasury.leads)
        await treasury.stop()

    run(test)


def test_a_step_that_fails_is_tried_again_and_told_as_it_deserves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test() -> None:
        lock, step, work = Lock(), Step(), Work()
        step.error = Unavailable("Redis is away")
        work.error = RuntimeError("ours")
        healths: dict[str, Health] = {}
        treasury = Treasury(lock, [step], [work], healths)
        await treasury.start()
        await until(lambda: healths["step"].failures >= 3)
        await until(lambda: healths["work"].failures >= 2)
        assert len([r for r in caplog.records if "step waits: Redis is away" in r.message]) == 1
        faults = [r for r in caplog.records if "a fault in work" in r.message]
        assert faults
        assert all(r.exc_info for r in faults)
        step.error = work.error = None
        await until(lambda: healths["step"].runs > 0 and healths["step"].problem == "")
        assert "step goes on" in caplog.text
        await treasury.stop()

    run(test)


class Ledger:
    def __init__(self) -> None:
        self.swept: list[int] = []
        self.away = False

    def sweep(self, wall_ms: int) -> Any:
        from campaign_express.adapters.ledger_terms import Swept

        if self.away:
            raise Unavailable("away")
        self.swept.append(wall_ms)
        return Swept(1, 50)


def test_nothing_is_swept_beyond_what_is_applied() -> None:
    ledger, applied = Ledger(), [0]
    sweeper = Sweeper(ledger, lambda: applied[0])
    sweeper.run_once()
    assert ledger.swept == []  # not known yet
    applied[0] = 1000
    sweeper.run_once()
    sweeper.run_once()  # the consumer stands still
    applied[0] = 500  # a clock was put back
    sweeper.run_once()
    assert ledger.swept == [1000]
    applied[0] = 2000
    ledger.away = True
    with pytest.raises(Unavailable):
        sweeper.run_once()
    assert sweeper.swept_ms == 1000
    ledger.away = False
    sweeper.run_once()
    assert (ledger.swept, sweeper.leases, sweeper.micros, sweeper.swept_ms) == ([1000, 2000], 2, 100, 2000)


def test_metrics_of_several_treasuries_are_one() -> None:
    values: dict[str, Any] = {metric.name: {} if metric.label else 0 for metric in METRICS}
    leading = families({**values, "treasury_leader": 1, "treasury_events": {"applied": 5, "late": 1}})
    waiting = families({**values, "treasury_leader": 0, "treasury_events": {"applied": 2}})
    merged = {family.name: family for family in merge_families([leading, decode_families(encode_families(waiting))])}
    assert merged["treasury_leader"].samples == {"": 1}
    assert merged["treasury_events"].samples == {"applied": 7, "late": 1}
    assert merged["treasury_leader"] == Family("treasury_leader", "gauge", METRICS[0].help, "", {"": 1.0})
    with pytest.raises(KeyError):
        families({})


def test_no_step_begins_once_the_lead_may_be_over() -> None:
    """By our own clock, before anybody has noticed."""

    async def test() -> None:
        lock, step = Lock(), Step()
        lock.life_s = 60.0  # asked for again only after 12 s
        treasury = Treasury(lock, [step], [], {})
        await treasury.start()
        await until(lambda: step.steps > 0)
        lock.held = False
        await asyncio.sleep(0.05)
        steps = step.steps
        await asyncio.sleep(0.1)
        assert treasury.leads
        assert step.steps == steps
        await treasury.stop()

    run(test)
