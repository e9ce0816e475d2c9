"""The whole treasury on real servers: events applied once whatever dies, one leader, a breaker that trips by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from nats_server import NatsProcess
from redis import Redis
from valkey_server import ValkeyProcess

from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.event_queue import EventQueue
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Fence, Want
from campaign_express.adapters.nats import StreamTerms, ensure_stream
from campaign_express.bidding.budget import Accounts, LeaseClock, settle_s
from campaign_express.bidding.model import Budget, Catalog
from campaign_express.bootstrap_treasury import Parts, build_treasury
from campaign_express.config import Settings
from campaign_express.control import Switched, without_stop
from campaign_express.errors import Unavailable
from campaign_express.events import DEAD_STREAM, MoneyEvent, bid_key, encode_event, event_id, subject
from campaign_express.packaged import read_exchanges
from tests.support.catalogs import catalog_of

ADVERTISER = "acme"
LEASES = LeaseClock(60)


def catalog(daily: int = 1_000_000_000) -> Catalog:
    """One evenly paced campaign; 1,000 USD a day unless said otherwise."""
    return catalog_of(ADVERTISER, ("UTC", Budget()), {"c": ("UTC", Budget(daily=daily))})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def event(number: int, kind: str = "billing", cost: int = 1000, lease: int = 0, **more: Any) -> MoneyEvent:
    key = bid_key("x", f"a{number}", "1", "b")
    fields: dict[str, Any] = {
        "id": event_id(kind, key),
        "bid_key": key,
        "kind": kind,
        "exchange": "x",
        "auction": f"a{number}",
        "imp": "1",
        "bid": "b",
        "advertiser": ADVERTISER,
        "campaign": "c",
        "creative": "c-k",
        "authorised_micros": cost,
        "lease": lease,
        "bid_ms": now_ms(),
        "received_ms": now_ms(),
    }
    return MoneyEvent(**{**fields, **more})


async def opened(ledger: Ledger) -> None:
    await until(lambda: ledger.fences([ADVERTISER])[ADVERTISER].whole)


async def publish(url: str, events: Sequence[MoneyEvent | bytes]) -> None:
    client = await nats.connect(url)
    await ensure_stream(client, StreamTerms())
    context = client.jetstream()
    for one in events:
        if isinstance(one, bytes):
            await context.publish("money.acme.win", one)
        else:
            await context.publish(subject(one), encode_event(one), headers={"Nats-Msg-Id": one.id})
    await client.close()


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.02)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 170))


@pytest.fixture
def settings(valkey_process: ValkeyProcess, nats_process: NatsProcess, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey_process.url, nats_url=nats_process.url, data_dir=str(tmp_path))


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    made = Ledger(settings.redis_url, Accounts(catalog()), settle_s=4200)
    yield made
    made.close()


@asynccontextmanager
async def treasury(settings: Settings, published: Catalog | None = None) -> AsyncIterator[Parts]:
    parts = await asyncio.to_thread(build_treasury, settings, published or catalog(), calm_s=0.5)
    await parts.treasury.start()
    try:
        yield parts
    finally:
        await parts.treasury.stop()


def committed(ledger: Ledger) -> int:
    return ledger.books(ADVERTISER).committed("c")


def answers(condition: Callable[[], bool]) -> bool:
    """The condition, False while Redis is away."""
    try:
        return condition()
    except Unavailable:
        return False


def test_events_are_applied_and_what_cannot_be_read_is_set_aside(settings: Settings, ledger: Ledger) -> None:
    async def test() -> None:
        async with treasury(settings) as parts:
            await until(lambda: parts.treasury.leads)
            await opened(ledger)
            await publish(
                settings.nats_url, [event(1), b"rubbish", event(2), msgspec.msgpack.encode({"id": 5}), event(3)]
            )
            await until(lambda: committed(ledger) == 3000)
            tallies = parts.consumer.tallies
            await until(lambda: tallies.buried == 2)
            await until(lambda: tallies.lag_events == 0 and tallies.outcomes["applied"] == 3)
            async with asyncio.timeout(60):
                while (await parts.consumer.progress()).unconfirmed:  # noqa: ASYNC110  # acknowledgements are not answered
                    await asyncio.sleep(0.02)
            shown = {f.name: f.samples for f in parts.families()}
            assert shown["treasury_dead_events"] == {"": 2}
            assert shown["treasury_leader"] == {"": 1}
            assert parts.status()["parts"]["consumer"]["problem"] == ""
        client = await nats.connect(settings.nats_url)
        context = client.jetstream()
        assert (await context.stream_info(DEAD_STREAM)).state.messages == 2
        first = await context.get_msg(DEAD_STREAM, seq=1)
        assert first.data == b"rubbish"
        assert first.headers is not None
        assert first.headers["Subject-Of-Origin"] == "money.acme.win"
        assert "does not decode" in first.headers["Problem"]
        await client.close()

    run(test)


def test_a_treasury_that_dies_between_applying_and_acknowledging_applies_once(
    settings: Settings, ledger: Ledger
) -> None:
    async def test() -> None:
        events = [event(number) for number in range(600)]
        await publish(settings.nats_url, events)
        # The first applies a batch as a treasury does, and dies before it can acknowledge.
        queue = EventQueue(settings.nats_url, StreamTerms(), name="dies")
        deliveries = await queue.fetch(256, 2.0)
        assert len(deliveries) == 256
        ledger.apply([delivery.event for delivery in deliveries if delivery.event is not None])
        await queue.close()
        assert committed(ledger) == 256_000
        async with treasury(settings) as parts:
            # What it had comes again after ACK_WAIT_S; until then nothing is swept, as some of it may not be applied.
            await until(lambda: parts.consumer.tallies.outcomes["applied"] == 344)
            assert parts.consumer.tallies.lag_events > 0
            await until(lambda: parts.consumer.tallies.outcomes["duplicate"] == 256)
            await until(lambda: parts.consumer.tallies.lag_events == 0)
        assert committed(ledger) == 600_000

    run(test)


@pytest.mark.parametrize("away", ["redis", "nats"])
def test_a_server_may_go_and_come_back(
    settings: Settings,
    ledger: Ledger,
    valkey_process: ValkeyProcess,
    nats_process: NatsProcess,
    away: str,
) -> None:
    async def test() -> None:
        async with treasury(settings) as parts:
            await until(lambda: parts.treasury.leads)
            await publish(settings.nats_url, [event(number) for number in range(100)])
            await until(lambda: committed(ledger) == 100_000)
            if away == "redis":
                await asyncio.to_thread(valkey_process.kill)
                await publish(settings.nats_url, [event(number) for number in range(100, 200)])
                await until(lambda: not parts.treasury.leads)
                await asyncio.to_thread(valkey_process.start)
            else:
                await asyncio.to_thread(nats_process.kill)
                await asyncio.sleep(2)
                assert parts.treasury.leads
                await asyncio.to_thread(nats_process.start)
                await publish(settings.nats_url, [event(number) for number in range(100, 200)])

            await until(lambda: answers(lambda: committed(ledger) == 200_000))
            await until(lambda: ledger.fences([ADVERTISER])[ADVERTISER].whole)
            await until(lambda: parts.treasury.leads and parts.consumer.tallies.lag_events == 0)
        parts_failed = parts.healths["consumer"].failures
        assert parts_failed >= (away == "nats")

    run(test)


def test_one_of_two_leads_and_the_other_takes_over(settings: Settings, ledger: Ledger) -> None:
    async def test() -> None:
        first = await asyncio.to_thread(build_treasury, settings, catalog())
        second = await asyncio.to_thread(build_treasury, settings, catalog())
        await first.treasury.start()
        await until(lambda: first.treasury.leads)
        await second.treasury.start()
        await publish(settings.nats_url, [event(number) for number in range(50)])
        await until(lambda: committed(ledger) == 50_000)
        await asyncio.sleep(1.5)
        assert (first.treasury.leads, second.treasury.leads) == (True, False)
        assert second.consumer.tallies.outcomes.total() == 0
        before = first.treasury.lock.epoch
        await first.treasury.stop()
        assert await asyncio.to_thread(second.treasury.lock.holder) != first.treasury.lock.owner  # it was given back
        await until(lambda: second.treasury.leads)
        assert second.treasury.lock.epoch > before
        await publish(settings.nats_url, [event(number) for number in range(50, 80)])
        await until(lambda: committed(ledger) == 80_000)
        await second.treasury.stop()

    run(test)


def test_a_leader_that_is_gone_without_a_word_is_replaced_within_seconds(settings: Settings, ledger: Ledger) -> None:
    async def test() -> None:
        first = await asyncio.to_thread(build_treasury, settings, catalog())
        await asyncio.to_thread(first.treasury.lock.hold)  # and is never heard of again
        async with treasury(settings) as second:
            await asyncio.sleep(1)
            assert not second.treasury.leads
            await until(lambda: second.treasury.leads)
            assert second.treasury.lock.epoch > first.treasury.lock.epoch

    run(test)


def test_spending_too_fast_is_stopped_and_stays_so(settings: Settings, ledger: Ledger) -> None:
    quick = msgspec.structs.replace(settings, breaker_floor_micros=1_000_000)

    async def test() -> None:
        # 100 USD a day are 0.35 in 5 minutes: ten times that are less than 10 USD.
        async with treasury(quick, catalog(daily=100_000_000)) as parts:
            control = ControlStore(settings.redis_url)
            await publish(settings.nats_url, [event(number, cost=1_000_000) for number in range(3)])
            await until(lambda: committed(ledger) == 3_000_000)
            await asyncio.sleep(1)
            assert control.switches().campaigns == {}
            await publish(settings.nats_url, [event(number, cost=1_000_000) for number in range(3, 10)])
            await until(lambda: "c" in control.switches().campaigns)
            stop = control.switches().campaigns["c"]
            assert stop.by == "velocity-breaker"
            assert "USD in 300 s, where its budget allows 0.35" in stop.reason
            await until(lambda: parts.breaker.trips == 1)
            control.update(lambda switches: without_stop(switches, Switched("campaign", "c")))
            await asyncio.sleep(1.5)
            assert control.switches().campaigns == {}  # it is not stopped again for what it did before
            control.close()

    run(test)


def test_a_lease_that_nothing_settles_is_swept_only_when_all_events_are_applied(
    settings: Settings, ledger: Ledger
) -> None:
    async def test() -> None:
        exchanges = read_exchanges(settings).exchanges
        settle = settle_s({exchange.name: exchange.exp for exchange in exchanges}, settings.notice_lateness_s)
        long_ago = now_ms() - (settle + 3600) * 1000
        lease = LEASES.lease_at(long_ago)
        fence = ledger.fences([ADVERTISER])[ADVERTISER]
        assert ledger.set_fence(ADVERTISER, fence.run_id)
        (grant,) = ledger.grant(ADVERTISER, [Want("c", lease, 80_000)], long_ago)
        assert grant.micros == 80_000
        # An event of that lease has waited in a spool all the time.
        await publish(settings.nats_url, [event(1, cost=1000, lease=lease, bid_ms=long_ago)])
        async with treasury(settings) as parts:
            await until(lambda: committed(ledger) == 1000)
            await until(lambda: parts.consumer.tallies.outcomes == {"applied": 1})  # not late
            await until(lambda: ledger.books(ADVERTISER).reserved("c") == 0)
            await until(lambda: (parts.sweeper.leases, parts.sweeper.micros) == (1, 79_000))  # counted a moment later

    run(test)


def test_the_auditor_finds_what_somebody_changed(settings: Settings, ledger: Ledger) -> None:
    often = msgspec.structs.replace(settings, audit_period_s=1)

    async def test() -> None:
        async with treasury(often) as parts:
            await publish(settings.nats_url, [event(number) for number in range(20)])
            await until(lambda: committed(ledger) == 20_000)
            await until(lambda: parts.auditor.findings.comparisons >= 2)
            assert parts.auditor.findings.different == {}
            assert parts.auditor.findings.broken == {}
            hour = ledger.accounts.periods(ADVERTISER, "c", now_ms()).hour
            with Redis.from_url(settings.redis_url) as client:
                client.hincrby(f"{{{ADVERTISER}}}:{hour}", "c:c", -5)
            await until(lambda: ADVERTISER in parts.auditor.findings.different)
            assert parts.auditor.findings.different[ADVERTISER] == [
                f"c {hour}: 19995 is committed, and 20000 by the event log"
            ]
            shown = {f.name: f.samples for f in parts.families()}
            assert shown["treasury_audit_findings"]["event-log"] == 1
            with Redis.from_url(settings.redis_url) as client:
                client.hincrby(f"{{{ADVERTISER}}}:total", "c:c", 7)
            await until(lambda: ADVERTISER in parts.auditor.findings.broken)

    run(test)


def test_a_ledger_that_was_lost_with_redis_stays_closed(settings: Settings, ledger: Ledger) -> None:
    async def test() -> None:
        async with treasury(settings) as parts:
            await opened(ledger)
            await publish(settings.nats_url, [event(number, lease=LEASES.lease_at(now_ms())) for number in range(20)])
            await until(lambda: committed(ledger) == 20_000)
            with Redis.from_url(settings.redis_url) as client:
                client.flushall()
            await publish(settings.nats_url, [event(20)])  # a notice that comes at once makes it no whole ledger
            await until(lambda: parts.reconciler.lost == {ADVERTISER})
            await asyncio.sleep(1)
            assert not ledger.fences([ADVERTISER])[ADVERTISER].whole

    run(test)


def test_a_restart_that_forgot_nothing_opens_at_once_and_one_that_did_waits(
    settings: Settings, ledger: Ledger, valkey_process: ValkeyProcess
) -> None:
    async def test() -> None:
        async with treasury(settings) as parts:
            await opened(ledger)
            await publish(settings.nats_url, [event(number) for number in range(20)])
            await until(lambda: parts.sweeper.swept_ms > 0)
            await asyncio.to_thread(valkey_process.stop)
            await asyncio.to_thread(valkey_process.start)

            def fence() -> Fence:
                return ledger.fences([ADVERTISER])[ADVERTISER]

            await until(lambda: answers(lambda: fence().whole))
            assert fence().opens_ms == 0
            await until(lambda: parts.reconciler.reconciled == 1)
            # As if it had come back from an older copy of its file: events and sweeps of the last minute are gone.
            await until(lambda: parts.treasury.leads)
            parts.sweeper._applied_ms = lambda: 0
            await asyncio.sleep(1.2)
            with Redis.from_url(settings.redis_url) as client:
                client.hincrby(f"{{{ADVERTISER}}}:marks", "swept", -60)
                client.hset(f"{{{ADVERTISER}}}:fence", "run_id", "another")
            await until(lambda: fence().whole)
            opens_in_s = (fence().opens_ms - now_ms()) / 1000
            assert parts.ledger.settle_s < opens_in_s <= parts.ledger.settle_s + 120

    run(test)
