"""Pacing on a real Redis: requests counted by agents, the ledger of a whole day, paces as agents get them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from valkey_server import ValkeyProcess

from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Want
from campaign_express.adapters.pacing_store import PacingStore
from campaign_express.adapters.supply import SupplyMeter, SupplyStore
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Advertiser, Budget, Catalog, Exchange, Exchanges
from campaign_express.clock import Clock
from campaign_express.control import Pace, Paces
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent, bid_key, event_id
from campaign_express.exchange.traffic import DIURNAL, Traffic
from campaign_express.treasury.pacing import PacingLoop, teach
from tests.support.pacing_world import DAY_MS, START_MS, campaign, spike_at

USD = 1_000_000
HOUR_MS = 3_600_000
EXCHANGES = Exchanges(default="x", exchanges=(Exchange(name="x"), Exchange(name="y")))
CATALOG = Catalog(
    advertisers=(Advertiser(id="a", name="A", domain="a.example"),),
    campaigns=tuple(campaign(f"c{n}", budget=Budget(daily=n * 50 * USD)) for n in (1, 2, 3)),
)


NOW = [START_MS]


class Hand(Clock):
    """Moved by hand, by NOW."""

    def now_ms(self) -> int:
        return NOW[0]


def test_requests_of_all_agents_are_counted(valkey: str) -> None:
    agents = [SupplyMeter(valkey), SupplyMeter(valkey)]
    for number, agent in enumerate(agents):
        for _ in range(1000):
            agent.count("x", START_MS + number)
        agent.count("y", START_MS + HOUR_MS, 16)
        assert agent.flush()
        assert agent.flush()  # nothing new
    found = SupplyStore(valkey).read()
    assert found.requests == {"x": 2000, "y": 32}
    assert found.hours == {START_MS // HOUR_MS: 2000, START_MS // HOUR_MS + 1: 32}
    assert found.asked_ms == {"x": START_MS + 1, "y": START_MS + HOUR_MS}
    SupplyStore(valkey).forget([START_MS // HOUR_MS])
    assert SupplyStore(valkey).read().hours == {START_MS // HOUR_MS + 1: 32}


def test_a_meter_keeps_counting_while_redis_is_away(
    valkey_process: ValkeyProcess, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    meter = SupplyMeter(valkey_process.url)
    meter.start()
    meter.count("x", START_MS, 5)
    eventually(lambda: SupplyStore(valkey_process.url).read().requests == {"x": 5})
    valkey_process.stop()
    meter.count("x", START_MS, 7)
    assert not meter.flush()
    with pytest.raises(Unavailable, match="does not answer"):
        SupplyStore(valkey_process.url).read()
    valkey_process.start()
    eventually(lambda: SupplyStore(valkey_process.url).read().requests == {"x": 12})
    meter.count("y", START_MS)
    meter.close()
    assert SupplyStore(valkey_process.url).read().requests == {"x": 12, "y": 1}


class Parts(NamedTuple):
    ledger: Ledger
    control: ControlStore
    loop: PacingLoop


def parts(url: str, epoch: int) -> Parts:
    ledger = Ledger(url, Accounts(CATALOG), settle_s=4200)
    control = ControlStore(url)
    loop = PacingLoop(
        ledger,
        SupplyStore(url),
        control,
        PacingStore(url),
        catalog=lambda: CATALOG,
        exchanges=EXCHANGES,
        epoch=lambda: epoch,
        clock=Hand(),
    )
    return Parts(ledger, control, loop)


def spend(ledger: Ledger, name: str, micros: int, number: int) -> int:
    """Lease, bid, win and be told of it at once: as one event of the whole amount. Returns what the ledger granted."""
    wall_ms = NOW[0]
    lease = LeaseClock().lease_at(wall_ms)
    (grant,) = ledger.grant("a", [Want(name, lease, micros, share_floor=micros)], wall_ms)
    if not grant.micros:
        return 0
    key = bid_key("x", str(number), "1", name)
    win = MoneyEvent(
        id=event_id("win", key),
        bid_key=key,
        kind="win",
        exchange="x",
        auction=str(number),
        imp="1",
        bid="1",
        advertiser="a",
        campaign=name,
        creative="k",
        bid_ms=wall_ms,
        authorised_micros=grant.micros,
        lease=lease,
        clear_micros=grant.micros,
        sets_price=True,
    )
    ledger.apply([win])
    return grant.micros


def expected(traffic: Traffic, start_ms: int, end_ms: int) -> float:
    """Requests of a step, of a day of half a million and what spikes add."""
    factor = max((s.factor for s in traffic.spikes if s.start_ms <= start_ms < s.start_ms + s.length_ms), default=1.0)
    return 500_000 * factor * traffic.usual(start_ms, end_ms) / traffic.usual(START_MS, START_MS + DAY_MS)


def test_a_day_on_the_real_ledger_with_a_spike_and_two_treasuries(valkey: str) -> None:
    """Five times the traffic at 13:00; at 15:00 another treasury takes over."""
    teach(PacingStore(valkey), DIURNAL)
    traffic, steps = spike_at(13), 480
    NOW[0] = START_MS
    ledger, control, loop = parts(valkey, 1)
    fence = ledger.fences(["a"])["a"]
    ledger.set_fence("a", fence.run_id)
    meter, rng = SupplyMeter(valkey), np.random.default_rng(1)
    chance = {one.id: 0.004 * number for number, one in enumerate(CATALOG.campaigns, 1)}
    spent: dict[str, float] = dict.fromkeys(chance, 0.0)
    apart = 0.0
    for number in range(steps):
        NOW[0] = at_ms = START_MS + number * DAY_MS // steps
        if number == 300:
            ledger, control, loop = parts(valkey, 2)
        loop.run_once()
        paces = control.paces()
        assert paces.at_ms == at_ms
        requests = int(rng.poisson(expected(traffic, at_ms, at_ms + DAY_MS // steps)))
        meter.count("x", at_ms, requests)
        meter.flush()
        for name in chance:
            pace = paces.campaigns.get(name, Pace())
            won = int(rng.binomial(requests, pace.participation * chance[name]))
            if won:
                spent[name] += spend(ledger, name, won * 90_000, number)
        for one in CATALOG.campaigns:
            ideal = (one.budget.daily or 0) * Traffic(DIURNAL).share(
                at_ms + DAY_MS // steps, START_MS, START_MS + DAY_MS
            )
            apart = max(apart, abs(spent[one.id] - ideal) / (one.budget.daily or 1))
    for one in CATALOG.campaigns:
        assert 0.97 <= spent[one.id] / (one.budget.daily or 1) <= 1.0, spent
    assert apart <= 0.05


def test_agents_hear_of_paces(valkey: str, eventually: Callable[[Callable[[], bool]], None]) -> None:
    NOW[0] = START_MS
    heard: list[Paces] = []
    stop = threading.Event()
    _, control, loop = parts(valkey, 1)
    watching = control.watch(lambda switches: None, heard.append, stop)
    loop.run_once()
    eventually(lambda: bool(heard))
    stop.set()
    watching.join(5)
    assert set(heard[-1].campaigns) == {"c1", "c2", "c3"}


def test_a_treasury_that_was_replaced_changes_no_paces(valkey: str) -> None:
    NOW[0] = START_MS
    old, new = parts(valkey, 1), parts(valkey, 2)
    new.loop.run_once()
    before = new.control.paces()
    NOW[0] = START_MS + 60_000
    old.loop.run_once()
    assert new.control.paces() == before
