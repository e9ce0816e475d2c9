"""The ledger on a Redis Cluster of six nodes, of which one master is killed while money moves."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from valkey_server import ValkeyCluster

from campaign_express.adapters.ledger import Ledger, prefix
from campaign_express.adapters.ledger_terms import Order, Refusal, Want
from campaign_express.adapters.rebuild import reconcile
from campaign_express.bidding.books import broken_invariants, differences, overspent
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Budget, Catalog
from campaign_express.bidding.settlement import Tally
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent, bid_key, event_id
from tests.support.catalogs import catalog_of

Eventually = Callable[[Callable[[], bool]], None]

pytestmark = pytest.mark.timeout(150)

LEASES = LeaseClock(60)
SETTLE_S = 420
NOW = 1_795_000_000_000
ADVERTISERS = [f"brand-{number}" for number in range(6)]


def accounts() -> Accounts:
    parts = [
        catalog_of(name, ("UTC", Budget(total=60_000_000)), {f"{name}-c": ("Asia/Kolkata", Budget(daily=40_000_000))})
        for name in ADVERTISERS
    ]
    return Accounts(
        Catalog(
            advertisers=tuple(a for part in parts for a in part.advertisers),
            campaigns=tuple(c for part in parts for c in part.campaigns),
        )
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    made = ValkeyCluster(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.kill()


class Log:
    """The event log, as durable as this process."""

    def __init__(self) -> None:
        self.events: list[MoneyEvent] = []

    def read(self, advertiser: str | None = None, since: datetime | None = None) -> Iterator[MoneyEvent]:
        return iter([event for event in self.events if advertiser in (None, event.advertiser)])


class Traffic:
    """An agent and a treasury that work at the same time: grants become bids, bids become events, and these settle."""

    def __init__(self, ledger: Ledger, log: Log) -> None:
        self.ledger, self.log = ledger, log
        self.stop = threading.Event()
        self.granted: list[tuple[float, str, int]] = []  # when, to whom, how much
        self.refused: list[tuple[str, Refusal]] = []
        self.failures = 0
        self.applied = 0
        self.errors: list[BaseException] = []
        self.threads = [threading.Thread(target=self._guard, args=(work,)) for work in (self._bid, self._settle)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(30)
        assert self.errors == []

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.errors.append(error)

    def _bid(self) -> None:
        draw = random.Random(7)
        lease = LEASES.lease_at(NOW)
        number = 0
        while not self.stop.is_set():
            orders = [Order(name, [Want(f"{name}-c", lease, 3_000, 3_000)]) for name in ADVERTISERS]
            for order, grants in zip(orders, self.ledger.trade(orders, NOW), strict=True):
                if isinstance(grants, Unavailable):
                    self.failures += 1
                    continue
                (grant,) = grants
                if not grant.micros:
                    self.refused.append((order.advertiser, grant.refused))
                    continue
                self.granted.append((time.monotonic(), order.advertiser, grant.micros))
                key = bid_key("x", str(number), "1", "b")
                number += 1
                for kind in draw.choice([["loss"], ["win", "billing"], ["impression"], ["win"]]):
                    self.log.events.append(
                        MoneyEvent(
                            id=event_id(kind, key),
                            bid_key=key,
                            kind=kind,
                            exchange="x",
                            auction="a",
                            imp="1",
                            bid="b",
                            advertiser=order.advertiser,
                            campaign=grant.campaign,
                            creative="k",
                            authorised_micros=grant.micros,
                            lease=lease,
                            clear_micros=draw.randint(0, grant.micros) if kind == "billing" else -1,
                            sets_price=kind == "billing",
                            bid_ms=NOW,
                        )
                    )
            time.sleep(0.005)

    def _settle(self) -> None:
        """As a durable consumer: what is not known to be applied is applied again."""
        done = 0
        while not self.stop.is_set() or done < len(self.log.events):
            batch = self.log.events[done : done + 100]
            try:
                self.ledger.apply(batch)
            except Unavailable:
                time.sleep(0.05)
                continue
            done += len(batch)
            self.applied = done
            time.sleep(0.01)


def fenced(ledger: Ledger) -> bool:
    """Declare all ledgers whole where they are; False while a replica has not caught up."""
    try:
        return all(ledger.set_fence(name, fence.run_id) for name, fence in ledger.fences(ADVERTISERS).items())
    except Unavailable:
        return False


def reconciled(ledger: Ledger, log: Log, advertiser: str) -> bool:
    try:
        reconcile(ledger, log, advertiser)
    except Unavailable:
        return False
    return True


def test_a_failover_while_money_moves(cluster: ValkeyCluster, eventually: Eventually) -> None:
    ledger = Ledger(cluster.url, accounts(), settle_s=SETTLE_S, replicas=1)
    eventually(lambda: fenced(ledger))
    masters = {name: cluster.master_of(prefix(name)) for name in ADVERTISERS}
    assert len(set(masters.values())) == 3
    dead = masters[ADVERTISERS[0]]
    struck = [name for name in ADVERTISERS if masters[name] == dead]
    log = Log()
    traffic = Traffic(ledger, log)
    traffic.start()
    eventually(lambda: len(traffic.granted) > 300)

    cluster.nodes[dead].kill()
    killed_at = time.monotonic()
    eventually(lambda: (struck[0], Refusal.RECONCILE) in traffic.refused)
    time.sleep(0.5)
    # Nobody got money of the struck ones after that, and the others go on.
    assert not [name for at, name, _ in traffic.granted if name in struck and at > killed_at + 1.5]
    eventually(
        lambda: {name for at, name, _ in traffic.granted if at > killed_at + 3} == set(ADVERTISERS) - set(struck)
    )

    # Without a replica the new master can promise nothing: not even that an event is applied.
    for name in struck:
        assert not ledger.fences([name])[name].whole
        with pytest.raises(Unavailable, match="too few replicas"):
            reconcile(ledger, log, name)
    cluster.nodes[dead].start()
    time.sleep(0.5)
    assert not [name for at, name, _ in traffic.granted if name in struck and at > killed_at + 1.5]
    for name in struck:
        eventually(lambda name=name: reconciled(ledger, log, name))  # type: ignore[misc]
    reconciled_at = time.monotonic()
    eventually(lambda: {name for at, name, _ in traffic.granted if at > reconciled_at} == set(ADVERTISERS))
    traffic.end()

    for name in ADVERTISERS:
        tally = Tally(ledger.accounts)
        for event in log.read(name):
            tally.add(event)
        books = ledger.books(name)
        assert list(differences(books, tally)) == []
        assert list(broken_invariants(books, ledger.accounts, NOW)) == []
        assert list(overspent(books, ledger.accounts, NOW)) == []
        # What agents were given is accounted for: it was granted here, and no failover lost it.
        assert books.flows["granted"] >= sum(micros for _, to, micros in traffic.granted if to == name)
    ledger.close()


def test_without_a_replica_a_grant_is_frozen(cluster: ValkeyCluster) -> None:
    patient, ledger = (
        Ledger(cluster.url, accounts(), settle_s=SETTLE_S, replicas=1, wait_ms=wait_ms) for wait_ms in (900, 100)
    )
    name = ADVERTISERS[0]
    fence = ledger.fences([name])[name]
    assert ledger.set_fence(name, fence.run_id)
    want = [Want(f"{name}-c", LEASES.lease_at(NOW), 1000)]
    assert patient.grant(name, want, NOW)[0].micros == 1000
    patient.close()
    cluster.nodes[cluster.master_of(prefix(name)) + 3].kill()
    frozen = ledger.grant(name, want, NOW)[0]
    assert (frozen.micros, frozen.refused) == (0, Refusal.FROZEN)
    assert ledger.books(name).reserved() == 2000  # it leaks, until it is swept
    assert ledger.sweep(NOW + (60 + SETTLE_S) * 1000 + 60_000, [name]).micros == 2000
    with pytest.raises(Unavailable, match="too few replicas"):
        ledger.apply([_win(name)])
    ledger.close()


def _win(name: str) -> MoneyEvent:
    return MoneyEvent(
        id="e",
        bid_key="k",
        kind="win",
        exchange="x",
        auction="a",
        imp="1",
        bid="b",
        advertiser=name,
        campaign=f"{name}-c",
        creative="k",
        authorised_micros=1,
        bid_ms=NOW,
    )
