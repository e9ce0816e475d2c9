"""deploy/redis at its memory's limit: what is refused, what goes on, and what other policies would throw away.

One real server with the deployed redis.conf, of which only the size is another, is filled with persons as agents write
them, until it takes no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from deployed_redis import PASSWORDS, DeployedNode, write_secrets
from redis.exceptions import OutOfMemoryError, RedisError

from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.leader import LeaderLock
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Want
from campaign_express.adapters.pseudonym_keys import PseudonymKeys
from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.bidding.books import broken_invariants
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.frequency import Counted
from campaign_express.bidding.model import Budget, Catalog
from campaign_express.control import Stop, Switches
from campaign_express.events import MoneyEvent, bid_key, event_id
from campaign_express.ports import Hold, UserWant
from tests.support.catalogs import catalog_of

NOW = 1_795_000_000_000
LEASE = LeaseClock(60).lease_at(NOW)
ADVERTISERS = [f"brand-{number}" for number in range(8)]
LIMIT_MB = 24


def accounts() -> Accounts:
    parts = [catalog_of(name, ("UTC", Budget()), {f"{name}-c": ("UTC", Budget(daily=10**10))}) for name in ADVERTISERS]
    return Accounts(
        Catalog(
            advertisers=tuple(a for part in parts for a in part.advertisers),
            campaigns=tuple(c for part in parts for c in part.campaigns),
        )
    )


class Full:
    """A server whose policy a test may replace; `fill` fills it."""

    def __init__(self, directory: Path, policy: str) -> None:
        changes = {
            "maxmemory 8gb": f"maxmemory {LIMIT_MB}mb",
            "maxmemory-policy noeviction": f"maxmemory-policy {policy}",
        }
        self.node = DeployedNode(directory / "node", 0, write_secrets(directory / "secrets"), changes)
        self.node.start()
        self.node.ask("CLUSTER ADDSLOTSRANGE", 0, 16383)
        password = PASSWORDS["app-password"]
        self.url = f"redis+cluster://campaign-express:{password}@{self.node.address}"
        while (self.node.ask("CLUSTER INFO") or {}).get("cluster_state") != "ok":
            pass
        self.ledger = Ledger(self.url, accounts(), settle_s=420)
        self.keys = PseudonymKeys(self.url, days=30, keep_days=400)
        self.outside: set[str] = set()

    def begin(self) -> None:
        """What may not be lost: books with money out, and the keys of pseudonyms."""
        for name, fence in self.ledger.fences(ADVERTISERS).items():
            assert self.ledger.set_fence(name, fence.run_id)
        self.trade(0)
        for period in range(3):
            self.keys.make(period)

    def trade(self, first: int) -> None:
        """Each advertiser is granted money, and half of it is spent."""
        events = []
        for name in ADVERTISERS:
            [grant] = self.ledger.grant(name, [Want(f"{name}-c", LEASE, 4000, 4000)], NOW)
            assert grant.micros == 4000, grant
            events += [_win(name, number) for number in range(first, first + 2)]
        self.ledger.apply(events)

    def kept(self) -> set[str]:
        """Keys of the ledger and of pseudonyms that are there."""
        with self.node.client() as client:
            found = {str(key) for key in client.scan_iter(count=5000)}
        return {key for key in found if key.startswith(("{brand-", "{ledger}", "{pseudonyms}"))}

    def fill(self) -> int:
        """Persons until one is refused, or there are twice as many as fit; how many were taken."""
        taken = 0
        most = 2 * LIMIT_MB * 2**20 // 500
        with self.node.client("campaign-express") as direct:
            while taken < most:
                pipeline = direct.pipeline(transaction=False)
                for number in range(taken, taken + 1000):
                    key = f"u:{{{number:020d}}}"
                    pipeline.hset(key, mapping={"i": "x" * 200, "l": str(NOW)})
                    pipeline.pexpire(key, 90 * 86_400_000 - number)
                refused = [one for one in pipeline.execute(raise_on_error=False) if isinstance(one, RedisError)]
                if refused:
                    assert any(isinstance(one, OutOfMemoryError) for one in refused), refused[0]
                    break
                taken += 1000
            in_a_row = 0
            while taken < most and in_a_row < 100:  # the pipeline's own replies took some room
                try:
                    direct.hset(f"u:{{rest-{taken:015d}}}", "l", str(NOW))
                    taken, in_a_row = taken + 1, 0
                except OutOfMemoryError:
                    in_a_row += 1
        return taken

    def close(self) -> None:
        self.ledger.close()
        self.node.kill()


def _win(name: str, number: int) -> MoneyEvent:
    key = bid_key("x", f"{name}{number}", "1", "b")
    return MoneyEvent(
        id=event_id("win", key),
        bid_key=key,
        kind="win",
        exchange="x",
        auction="a",
        imp="1",
        bid="b",
        advertiser=name,
        campaign=f"{name}-c",
        creative="k",
        authorised_micros=1000,
        lease=LEASE,
        bid_ms=NOW,
    )


def persons(kind: str, count: int) -> list[UserWant]:
    return [UserWant((f"ifa:{kind}{number}",), 1) for number in range(count)]


@pytest.fixture
def full(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Full]:
    made = Full(tmp_path, getattr(request, "param", "noeviction"))
    try:
        yield made
    finally:
        made.close()


def test_a_full_server_loses_no_key_and_money_goes_on(full: Full) -> None:
    full.begin()
    before = full.kept()
    assert len([key for key in before if key.startswith("{brand-")]) >= 5 * len(ADVERTISERS)
    assert full.fill() > 5_000
    assert full.node.ask("INFO", "stats")["evicted_keys"] == 0
    assert full.kept() == before

    # Persons are unknown, so campaigns with caps do not bid on them ...
    users = RedisUsers(full.url, hold_ms=60_000, lateness_ms=1000, wait_s=5.0)
    assert users.fetch(persons("a", 500), NOW, 5.0)[-1] is None  # the first may find what some buffer has given back
    users.close()
    # ... and all that money needs goes on: what became of bids, grants, sweeping, who leads, stopping a campaign.
    counts = UserCounts(full.url, lambda *_: Counted((("c:1", 5),), False), hold_ms=60_000, lateness_ms=1000)
    shown = [msgspec.structs.replace(_win("brand-0", n), kind="impression", user="t" * 20) for n in range(50)]
    assert counts.apply(shown) == []
    counts.close()
    for number in range(10, 20, 2):
        full.trade(number)
    lock = LeaderLock(full.url, "me")
    assert lock.hold()
    assert lock.hold()
    lock.let_go()
    lock.close()
    control = ControlStore(full.url)
    stopped = control.update(lambda _: Switches(campaigns={"c": Stop(by="operator")}))
    assert set(stopped.campaigns) == {"c"}
    control.close()
    swept = full.ledger.sweep(NOW + 600_000)
    assert swept.micros == len(ADVERTISERS) * 6 * 2000
    for name in ADVERTISERS:
        books = full.ledger.books(name)
        assert list(broken_invariants(books, full.ledger.accounts, NOW)) == []
        assert books.committed(f"{name}-c") == 12_000
    assert before - full.kept() <= {f"{{{name}}}:lease:{LEASE}" for name in ADVERTISERS} | {
        f"{{{name}}}:leases" for name in ADVERTISERS
    }  # what was swept is gone, and nothing else
    assert full.node.ask("INFO", "stats")["evicted_keys"] == 0


def test_persons_are_taken_again_as_soon_as_there_is_room(full: Full) -> None:
    full.begin()
    full.fill()
    users = RedisUsers(full.url, hold_ms=60_000, lateness_ms=1000, wait_s=5.0)
    assert users.fetch(persons("a", 500), NOW, 5.0)[-1] is None
    assert full.node.ask("CONFIG SET", "maxmemory", f"{2 * LIMIT_MB}mb")  # as the runbook says
    [state] = users.fetch(persons("b", 1), NOW, 5.0)
    assert state is not None
    users.settle(state, [Hold("bid1", ("c:1",), NOW + 60_000)])
    users.flush()
    users.close()


@pytest.mark.parametrize(
    ("full", "lost"),
    [("allkeys-lru", "{brand-"), ("volatile-lru", "{pseudonyms}")],
    indirect=["full"],
)
def test_what_other_policies_would_lose(full: Full, lost: str) -> None:
    """Budgets with the reference's policy; with the one that spares keys without TTL, the keys of pseudonyms."""
    full.begin()
    before = full.kept()
    full.fill()
    gone = before - full.kept()
    assert full.node.ask("INFO", "stats")["evicted_keys"] > 0
    assert any(key.startswith(lost) for key in gone), gone
