"""The treasury on a Redis Cluster of six nodes, one master of which is killed: others' money moves all the time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nats_server import NatsProcess
from test_treasury import ADVERTISER, answers, event, publish, run, treasury, until
from valkey_server import ValkeyCluster

from campaign_express.adapters.ledger import Ledger, prefix
from campaign_express.bidding.budget import Accounts
from campaign_express.bidding.model import Budget, Catalog
from campaign_express.config import Settings
from tests.support.catalogs import catalog_of

pytestmark = pytest.mark.timeout(150)

ADVERTISERS = [ADVERTISER, *(f"brand-{number}" for number in range(8))]


def catalog() -> Catalog:
    parts = [
        catalog_of(name, ("UTC", Budget()), {f"{name}-c": ("UTC", Budget(daily=10_000_000_000))})
        for name in ADVERTISERS
    ]
    return Catalog(
        advertisers=tuple(a for part in parts for a in part.advertisers),
        campaigns=tuple(c for part in parts for c in part.campaigns),
    )


def test_a_failover(valkey_cluster: ValkeyCluster, nats_process: NatsProcess, tmp_path: Path) -> None:
    settings = Settings(
        redis_url=valkey_cluster.url,
        nats_url=nats_process.url,
        data_dir=str(tmp_path),
        ledger_replicas=1,
    )
    ledger = Ledger(settings.redis_url, Accounts(catalog()), settle_s=4200, replicas=1)
    dying = valkey_cluster.master_of(prefix(ADVERTISER))
    others = [name for name in ADVERTISERS if valkey_cluster.master_of(prefix(name)) != dying]
    assert others

    def whole(names: list[str]) -> bool:
        return answers(lambda: all(fence.whole for fence in ledger.fences(names).values()))

    def have(names: list[str], micros: int) -> bool:
        return answers(lambda: all(ledger.books(name).committed(f"{name}-c") == micros for name in names))

    async def tell(first: int, last: int) -> None:
        events = [
            event(number * 100 + at, advertiser=name, campaign=f"{name}-c")
            for number in range(first, last)
            for at, name in enumerate(ADVERTISERS)
        ]
        await publish(settings.nats_url, events)

    async def test() -> None:
        async with treasury(settings, catalog()) as parts:
            await until(lambda: whole(ADVERTISERS))
            await tell(0, 20)
            await until(lambda: have(ADVERTISERS, 20_000))
            await asyncio.to_thread(valkey_cluster.nodes[dying].kill)
            await tell(20, 40)
            # The new master has no replica: what it has is not safe, and its events are not acknowledged.
            await until(lambda: have(others, 40_000))
            await asyncio.to_thread(valkey_cluster.nodes[dying].start)
            await until(lambda: have(ADVERTISERS, 40_000))
            await until(lambda: whole(ADVERTISERS))
            await until(lambda: parts.consumer.tallies.lag_events == 0)
            assert parts.reconciler.lost == set()

    run(test)
    ledger.close()
