"""The ledger in one real Redis: what random play does not reach."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError
from valkey_server import ValkeyProcess

from campaign_express.adapters.leases import LeaseKeeper
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Applied, Order, Outcome, Refusal, Spent, Want
from campaign_express.adapters.scripts import Answer, is_away
from campaign_express.bidding.books import broken_invariants
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Budget, Catalog
from campaign_express.bidding.purse import Left, Purse
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent, bid_key, event_id
from tests.support.catalogs import catalog_of

Eventually = Callable[[Callable[[], bool]], None]

LEASES = LeaseClock(60)
SETTLE_S = 420
NOW = 1_795_000_000_000
LEASE = LEASES.lease_at(NOW)
CATALOG = catalog_of(
    "acme",
    ("America/New_York", Budget(total=10_000_000)),
    {"a": ("Asia/Kolkata", Budget(daily=1_000_000)), "b": ("UTC", Budget())},
)


@pytest.fixture
def ledger(valkey: str) -> Iterator[Ledger]:
    made = opened(Ledger(valkey, Accounts(CATALOG), settle_s=SETTLE_S))
    yield made
    made.close()


def opened(ledger: Ledger) -> Ledger:
    fence = ledger.fences(["acme"])["acme"]
    assert ledger.set_fence("acme", fence.run_id)
    return ledger


def event(number: int = 1, kind: str = "win", **changes: Any) -> MoneyEvent:
    key = bid_key("x", str(number), "1", "b")
    base = MoneyEvent(
        id=event_id(kind, key),
        bid_key=key,
        kind=kind,
        exchange="x",
        auction=str(number),
        imp="1",
        bid="b",
        advertiser="acme",
        campaign="a",
        creative="k",
        authorised_micros=1000,
        lease=LEASE,
        bid_ms=NOW,
    )
    return msgspec.structs.replace(base, **changes)


def test_a_new_ledger_grants_when_its_fence_is_set(valkey: str) -> None:
    ledger = Ledger(valkey, Accounts(CATALOG), settle_s=SETTLE_S)
    want = [Want("a", LEASE, 500), Want("b", LEASE, 500)]
    assert [g.refused for g in ledger.grant("acme", want, NOW)] == [Refusal.RECONCILE] * 2
    fence = ledger.fences(["acme"])["acme"]
    assert (fence.fence, fence.empty, fence.whole, fence.rebuilding) == ("", True, False, False)
    assert not ledger.set_fence("acme", "0" * 40)  # believed to be on another node
    assert ledger.set_fence("acme", fence.run_id)
    assert [g.micros for g in ledger.grant("acme", want, NOW)] == [500, 500]
    fence = ledger.fences(["acme"])["acme"]
    assert (fence.whole, fence.empty) == (True, False)
    ledger.close()


def test_a_share_of_what_is_free(ledger: Ledger) -> None:
    # Free of campaign a: a day of 1,000,000 less half a percent.
    assert ledger.grant("acme", [Want("a", LEASE, 10**9)], NOW)[0].micros == 995_000 // 8
    left = 995_000 - 995_000 // 8
    assert ledger.grant("acme", [Want("a", LEASE, 10**9, share_floor=300_000)], NOW)[0].micros == 300_000
    left -= 300_000
    assert ledger.grant("acme", [Want("a", LEASE, 10**9, 10**9)], NOW)[0].micros == left
    spent = ledger.grant("acme", [Want("a", LEASE, 1), Want("b", LEASE, 1)], NOW)
    assert [(g.micros, g.refused) for g in spent] == [(0, Refusal.SPENT), (1, Refusal.NONE)]


def test_less_than_is_of_use_is_not_granted(ledger: Ledger) -> None:
    ledger.grant("acme", [Want("a", LEASE, 994_900, 994_900)], NOW)
    assert ledger.grant("acme", [Want("a", LEASE, 500, 500, least=101)], NOW)[0].refused is Refusal.SPENT
    assert ledger.grant("acme", [Want("a", LEASE, 500, 500, least=100)], NOW)[0].micros == 100


def test_what_is_given_back_twice_counts_once(ledger: Ledger) -> None:
    ledger.grant("acme", [Want("a", LEASE, 500, 500)], NOW)
    ledger.give_back([Left("acme", "a", LEASE, 400)], NOW)
    ledger.give_back([Left("acme", "a", LEASE, 400), Left("acme", "a", LEASE + 60, 7)], NOW)
    books = ledger.books("acme")
    assert (books.reserved("a"), books.flows["returned"]) == (0, 500)
    assert list(broken_invariants(books, ledger.accounts, NOW)) == []


def test_a_master_that_takes_no_writes_costs_others_nothing(valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others were granted in the same call is theirs; and a fault of ours is the one advertiser's alone."""
    two = Catalog(
        advertisers=(*CATALOG.advertisers, msgspec.structs.replace(CATALOG.advertisers[0], id="other")),
        campaigns=(*CATALOG.campaigns, msgspec.structs.replace(CATALOG.campaigns[0], id="o", advertiser="other")),
    )
    ledger = Ledger(valkey, Accounts(two), settle_s=SETTLE_S)
    for name, fence in ledger.fences(["acme", "other"]).items():
        ledger.set_fence(name, fence.run_id)
    run = ledger._runner.run
    orders = [Order("acme", [Want("a", LEASE, 1000)]), Order("other", [Want("o", LEASE, 1000)])]
    for error in (OutOfMemoryError("used memory"), ResponseError("MISCONF cannot save"), ResponseError("script: oh")):
        monkeypatch.setattr(ledger._runner, "run", lambda calls, e=error: [Answer(error=e), *run(calls[1:])])
        refused, granted = ledger.trade(orders, NOW)
        assert isinstance(refused, Unavailable)
        assert isinstance(granted, list)
        assert granted[0].micros == 1000
    assert is_away(OutOfMemoryError("used memory"))
    assert not is_away(ResponseError("script: oh"))
    ledger.close()


def test_a_zone_that_changes_within_a_lease_leaves_no_period_out_of_balance(ledger: Ledger) -> None:
    ledger.grant("acme", [Want("a", LEASE, 1000)], NOW)
    elsewhere = catalog_of(
        "acme", ("Asia/Tokyo", Budget(total=10_000_000)), {"a": ("America/Los_Angeles", Budget(daily=1_000_000))}
    )
    ledger.follow(Accounts(elsewhere))
    ledger.grant("acme", [Want("a", LEASE, 500)], NOW)
    ledger.give_back([Left("acme", "a", LEASE, 1500)], NOW)
    books = ledger.books("acme")
    reserved = {f"{p} {n}": v for p, fields in books.periods.items() for n, v in fields.items() if n[0] == "r"}
    assert set(reserved.values()) == {0}
    assert books.total["r"] == 0


def test_an_advertiser_that_left_the_catalogue_is_swept_by_whoever_sweeps(ledger: Ledger, valkey: str) -> None:
    ledger.grant("acme", [Want("a", LEASE, 1000)], NOW)
    ledger.sweep(NOW)
    rest = Ledger(valkey, Accounts(catalog_of("rest", ("UTC", Budget()), {"r": ("UTC", Budget())})), settle_s=SETTLE_S)
    swept = rest.sweep((LEASE + SETTLE_S + 1) * 1000)
    assert (swept.leases, swept.micros) == (1, 1000)
    assert rest.books("acme").total["r"] == 0
    rest.close()


def test_an_event_not_of_this_world_does_not_hold_up_another_advertiser(ledger: Ledger) -> None:
    ledger.grant("acme", [Want("a", LEASE, 5000)], NOW)
    bad, good = ledger.settle([event(2, lease=0, bid_ms=10**17), event(1, advertiser="other")])
    assert isinstance(bad, Exception)
    assert isinstance(good, Applied)


def test_leases_that_are_over_and_campaigns_of_others(ledger: Ledger) -> None:
    wants = [Want("a", NOW // 1000, 1), Want("a", LEASE, 1), Want("nobody", LEASE, 1)]
    assert [g.refused for g in ledger.grant("acme", wants, NOW)] == [Refusal.ENDED, Refusal.NONE, Refusal.ENDED]
    assert ledger.grant("other", [Want("a", LEASE, 1)], NOW)[0].refused is not Refusal.NONE


def test_a_slow_clock_gets_nothing_of_a_swept_lease(ledger: Ledger) -> None:
    ledger.sweep(NOW + (SETTLE_S + 120) * 1000)
    assert ledger.grant("acme", [Want("a", LEASE, 1)], NOW)[0].refused is Refusal.ENDED


def test_what_an_event_costs(ledger: Ledger) -> None:
    ledger.grant("acme", [Want("a", LEASE, 10_000, 10_000)], NOW)
    told = [
        (event(1), "applied", 1000),
        (event(1), "duplicate", 0),
        (event(1, "billing", sets_price=True, clear_micros=700), "applied", -300),
        (event(1, "impression"), "applied", 0),
        (event(2, "billing", sets_price=True, clear_micros=600), "applied", 600),
        (event(2, "win"), "applied", 0),
        (event(3, "loss"), "applied", 0),
        (event(3, "win"), "unreserved", 1000),
        (event(4, "billing", sets_price=True, clear_micros=1001), "quarantined", 1000),
        (event(5, "win", sets_price=True, quarantined="cannot be decrypted"), "quarantined", 1000),
        (event(6, "win", test=True), "test", 0),
        (event(7, "click"), "no-money", 0),
        (event(8, "conversion"), "no-money", 0),
        (event(9, "win", lease=0), "applied", 1000),
        (event(10, "win", sets_price=True), "applied", 1000),  # and the price is not in it
        (event(11, "win", campaign="gone"), "unreserved", 1000),
    ]
    applied = ledger.apply([one for one, _, _ in told])
    assert [(one.event, one.outcome.value, one.committed) for one in applied] == told
    books = ledger.books("acme")
    assert books.committed("a") == 700 + 600 + 1000 + 1000 + 1000 + 1000 + 1000
    assert books.reserved("a") == 10_000 - 6 * 1000
    assert books.committed() == books.committed("a") + 1000
    assert (books.flows["n:quarantined"], books.flows["n:unreserved"]) == (2, 2)


def test_ten_thousand_duplicates_change_nothing(ledger: Ledger) -> None:
    ledger.apply([event(number, lease=0) for number in range(500)])
    before = ledger.books("acme")
    for _ in range(20):
        applied = ledger.apply([event(number, lease=0) for number in range(500)])
        assert {one.outcome for one in applied} == {Outcome.DUPLICATE}
    assert ledger.books("acme") == before


def test_what_was_spent_by_period(ledger: Ledger) -> None:
    ledger.grant("acme", [Want("a", LEASE, 5000, 5000)], NOW)
    ledger.apply([event(1)])
    assert ledger.spent(NOW) == {"a": Spent(1000, 1000, 1000, 4000, 4000, 4000), "b": Spent()}
    assert ledger.account_spent(NOW)["acme"] == Spent(1000, 1000, 1000, 4000, 4000, 4000)
    later = NOW + 3_600_000
    assert ledger.spent(later)["a"] == Spent(1000, 1000, 0, 4000, 4000, 0)
    assert ledger.spent(NOW + 86_400_000)["a"] == Spent(1000, 0, 0, 4000, 0, 0)


def test_a_late_notice_belongs_to_the_day_of_its_bid(ledger: Ledger) -> None:
    ledger.grant("acme", [Want("a", LEASE, 1000, 1000)], NOW)
    late = NOW + 86_400_000
    assert ledger.sweep(late).micros == 1000
    assert ledger.apply([event(1, received_ms=late)])[0].outcome is Outcome.LATE
    assert ledger.spent(late)["a"].today == 0
    assert ledger.spent(NOW)["a"].today == 1000


def test_old_periods_and_bids_are_forgotten_and_nothing_is_paid_twice(ledger: Ledger, valkey: str) -> None:
    ledger.grant("acme", [Want("a", LEASE, 5000, 5000)], NOW)
    ledger.apply([event(1), event(2, "loss")])
    ledger.sweep(NOW + 2 * 3_600_000)
    with Redis.from_url(valkey) as client:
        assert not list(client.scan_iter("{acme}:lost:*"))
        assert len(list(client.scan_iter("{acme}:bids:*"))) == 1
    ledger.sweep(NOW + 50 * 86_400_000)
    applied = ledger.apply([event(1), event(3)])
    assert [one.outcome for one in applied] == [Outcome.EXPIRED] * 2
    books = ledger.books("acme")
    assert (books.committed("a"), dict(books.periods), dict(books.leases)) == (1000, {}, {})
    with Redis.from_url(valkey) as client:
        assert {key.decode() for key in client.scan_iter("{acme}:*")} == {
            "{acme}:total",
            "{acme}:flows",
            "{acme}:marks",
            "{acme}:fence",
        }
        assert all(client.ttl(key) == -1 for key in client.scan_iter("{acme}:*"))  # nothing of it ever expires


def test_a_restart_is_a_reason_to_look(valkey_process: ValkeyProcess, eventually: Eventually) -> None:
    ledger = opened(Ledger(valkey_process.url, Accounts(CATALOG), settle_s=SETTLE_S))
    assert ledger.grant("acme", [Want("a", LEASE, 10)], NOW)[0].micros == 10
    valkey_process.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        ledger.grant("acme", [Want("a", LEASE, 10)], NOW)
    (answer,) = ledger.trade([Order("acme", [Want("a", LEASE, 10)])], NOW)
    assert isinstance(answer, Unavailable)
    valkey_process.start()
    eventually(lambda: answers(ledger))
    assert ledger.grant("acme", [Want("a", LEASE, 10)], NOW)[0].refused is Refusal.RECONCILE
    fence = ledger.fences(["acme"])["acme"]
    assert (fence.empty, fence.whole) == (False, False)
    opened(ledger)
    assert ledger.grant("acme", [Want("a", LEASE, 10)], NOW)[0].micros == 10
    ledger.close()


def answers(ledger: Ledger) -> bool:
    try:
        ledger.fences(["acme"])
    except Unavailable:
        return False
    return True


def test_a_user_with_few_rights_and_a_password_suffice(valkey_process: ValkeyProcess) -> None:
    with Redis.from_url(valkey_process.url) as client:
        client.execute_command(
            *("ACL", "SETUSER", "ledger", "on", ">s3cret", "~{*}:*", "resetchannels", "-@all"),
            *("+@scripting", "+@hash", "+@sortedset", "+@set", "+exists", "+del", "+unlink", "+info", "+wait", "+ping"),
            *("+client", "+hello"),
        )
    url = valkey_process.url.replace("redis://", "redis://ledger:s3cret@")
    ledger = opened(Ledger(url, Accounts(CATALOG), settle_s=SETTLE_S))
    assert "s3cret" not in ledger.where
    assert ledger.grant("acme", [Want("a", LEASE, 1000)], NOW)[0].micros == 1000
    ledger.apply([event(1)])
    ledger.sweep(NOW + 86_400_000)
    ledger.books("acme")
    ledger.forget("acme")
    ledger.close()
    bad = Ledger(url.replace("s3cret", "other"), Accounts(CATALOG), settle_s=SETTLE_S)
    with pytest.raises(Unavailable) as caught:
        bad.fences(["acme"])
    assert "other" not in str(caught.value)


def test_a_node_that_forgot_the_scripts_is_taught_again(ledger: Ledger, valkey: str) -> None:
    with Redis.from_url(valkey) as client:
        client.script_flush()
    assert ledger.grant("acme", [Want("a", LEASE, 10)], NOW)[0].micros == 10
    with Redis.from_url(valkey) as client:
        client.script_flush()
    assert ledger.apply([event(1), event(2)])[1].outcome is Outcome.UNRESERVED
    assert ledger.books("acme").flows["granted"] == 10


class Agent:
    """A purse with its keeper on the real clock."""

    def __init__(self, ledger: Ledger, catalog: Catalog) -> None:
        clock = Clock()
        self.purse = Purse(Accounts(catalog), LEASES)
        self.keeper = LeaseKeeper(ledger, self.purse, catalog, LEASES, clock, headroom=0.005)
        self.clock = clock
        self.spent = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._bid)

    def start(self) -> None:
        self.keeper.start()
        self.thread.start()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(10)
        self.keeper.stop()

    def _bid(self) -> None:
        while not self.stop.is_set():
            if self.purse.funded("a") and self.purse.authorise("a", 1000, self.clock.now_ms()) > 0:
                self.spent += 1000
            time.sleep(0.002)


def test_agents_stop_when_the_money_is_gone_and_go_on_when_there_is_more(valkey: str, eventually: Eventually) -> None:
    catalog = catalog_of("acme", ("UTC", Budget()), {"a": ("UTC", Budget(total=400_000))})
    ledgers = [Ledger(valkey, Accounts(catalog), settle_s=SETTLE_S) for _ in range(3)]
    opened(ledgers[0])
    agents = [Agent(ledger, catalog) for ledger in ledgers]
    for agent in agents:
        agent.start()
    eventually(lambda: sum(agent.spent for agent in agents) == 398_000)  # less headroom, to the last impression
    (campaign,) = catalog.campaigns
    richer = msgspec.structs.replace(
        catalog, campaigns=(msgspec.structs.replace(campaign, budget=Budget(total=800_000)),)
    )
    for agent in agents:
        agent.keeper.replace_catalog(richer)
    before = [agent.spent for agent in agents]
    eventually(lambda: all(agent.spent > was for agent, was in zip(agents, before, strict=True)))
    eventually(lambda: sum(agent.spent for agent in agents) == 796_000)
    for agent in agents:
        agent.end()
    books = ledgers[0].books("acme")
    assert books.reserved("a") == 796_000  # bids without a notice; all else was given back
    for ledger in ledgers:
        ledger.close()
