"""An agent's money in memory: never spent twice, never after its lease, and always on its way back somewhere."""

from __future__ import annotations

import sys
import threading

from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Budget
from campaign_express.bidding.purse import Demand, Left, Purse
from tests.support.catalogs import catalog_of

CLOCK = LeaseClock(60)
NOW = 1_795_000_000_000
LEASE = CLOCK.lease_at(NOW)
END = CLOCK.deadline_ms(LEASE)


def accounts(**campaigns: Budget) -> Accounts:
    return Accounts(catalog_of("acme", ("UTC", Budget()), {n: ("UTC", b) for n, b in campaigns.items()}))


def purse() -> Purse:
    return Purse(accounts(a=Budget(daily=10**9), free=Budget()), CLOCK)


def test_without_a_lease_there_is_no_money() -> None:
    made = purse()
    assert not made.funded("a")
    assert made.authorise("a", 1, NOW) == -1
    assert made.authorise("a", 0, NOW) == -1


def test_a_campaign_without_a_budget_is_not_limited_and_an_unknown_one_has_nothing() -> None:
    made = purse()
    assert made.funded("free")
    assert made.authorise("free", 10**12, NOW) == 0
    assert not made.funded("other")
    assert made.authorise("other", 1, NOW) == -1


def test_a_lease_is_spent_to_the_last_micro() -> None:
    made = purse()
    made.credit("a", LEASE, 1000, NOW)
    assert made.funded("a")
    assert made.authorise("a", 600, NOW) == LEASE
    assert made.authorise("a", 401, NOW) == -1
    assert not made.funded("a")  # the last bid was too much for it
    assert made.authorise("a", 400, NOW) == LEASE
    assert made.demand() == [Demand("a", 0, 1000, 401)]
    assert made.demand() == []
    made.credit("a", LEASE, 400, NOW)
    assert not made.funded("a")
    made.credit("a", LEASE, 1, NOW)
    assert made.funded("a")


def test_smaller_bids_get_their_chance() -> None:
    made = purse()
    made.credit("a", LEASE, 100, NOW)
    assert made.authorise("a", 101, NOW) == -1
    assert not made.funded("a")
    made.forgive("a")
    assert made.funded("a")
    assert made.authorise("a", 100, NOW) == LEASE


def test_nothing_is_authorised_after_the_lease() -> None:
    made = purse()
    made.credit("a", LEASE, 1000, NOW)
    assert made.authorise("a", 300, END - 1) == LEASE
    assert made.authorise("a", 300, END) == -1
    assert made.drain() == [Left("acme", "a", LEASE, 700)]
    assert made.drain() == []


def test_the_next_lease_waits_for_its_time() -> None:
    made = purse()
    made.credit("a", LEASE, 100, NOW)
    made.credit("a", LEASE + 60, 500, NOW)
    made.credit("a", LEASE + 60, 50, NOW)
    assert made.authorise("a", 101, NOW) == -1
    assert made.authorise("a", 60, NOW) == LEASE
    assert made.authorise("a", 200, END) == LEASE + 60
    assert made.balance("a", LEASE + 60) == 350
    assert made.drain() == [Left("acme", "a", LEASE, 40)]


def test_the_next_lease_is_kept_while_this_one_has_no_money() -> None:
    made = purse()
    made.credit("a", LEASE + 60, 500, NOW)
    assert made.authorise("a", 1, NOW) == -1
    assert made.drain() == []
    assert made.authorise("a", 500, END) == LEASE + 60


def test_a_lease_that_was_slept_through_goes_back() -> None:
    made = purse()
    made.credit("a", LEASE, 100, NOW)
    made.credit("a", LEASE + 60, 500, NOW)
    made.roll(END + 60_000)
    assert sorted(made.drain()) == [Left("acme", "a", LEASE, 100), Left("acme", "a", LEASE + 60, 500)]
    assert not made.funded("a")


def test_a_grant_that_comes_after_its_lease_goes_back() -> None:
    made = purse()
    made.credit("a", LEASE, 100, END)
    assert made.drain() == [Left("acme", "a", LEASE, 100)]


def test_withdrawing_keeps_what_is_asked() -> None:
    made = purse()
    made.credit("a", LEASE, 100, NOW)
    made.credit("a", LEASE + 60, 70, NOW)
    made.withdraw("a", keep=30)
    assert made.drain() == [Left("acme", "a", LEASE, 70)]
    made.withdraw("a")
    assert made.drain() == [Left("acme", "a", LEASE, 30), Left("acme", "a", LEASE + 60, 70)]
    assert not made.funded("a")


def test_a_new_catalogue() -> None:
    made = Purse(accounts(stays=Budget(daily=9), goes=Budget(daily=9), opens=Budget(daily=9), shuts=Budget()), CLOCK)
    for name in ("stays", "goes", "opens"):
        made.credit(name, LEASE, 5, NOW)
    before = made.version
    made.replace(accounts(stays=Budget(total=7), opens=Budget(), shuts=Budget(daily=9), new=Budget(daily=9)))
    assert made.version > before
    assert sorted(made.drain()) == [Left("acme", "goes", LEASE, 5), Left("acme", "opens", LEASE, 5)]
    assert made.authorise("stays", 5, NOW) == LEASE
    assert made.authorise("goes", 1, NOW) == -1
    assert made.authorise("opens", 10**9, NOW) == 0
    assert made.authorise("shuts", 1, NOW) == -1
    assert made.authorise("new", 1, NOW) == -1
    made.credit("goes", LEASE, 5, NOW)  # was under way: left for the sweep
    assert made.drain() == []


def test_an_advertiser_that_changes_takes_nothing_along() -> None:
    made = purse()
    made.credit("a", LEASE, 5, NOW)
    made.replace(Accounts(catalog_of("other", ("UTC", Budget()), {"a": ("UTC", Budget(daily=9))})))
    assert made.drain() == [Left("acme", "a", LEASE, 5)]
    assert made.authorise("a", 1, NOW) == -1


def test_the_version_tells_of_money_and_its_end() -> None:
    made = purse()
    seen = [made.version]

    def changed() -> bool:
        seen.append(made.version)
        return seen[-1] > seen[-2]

    made.credit("a", LEASE, 100, NOW)
    assert changed()
    made.credit("a", LEASE, 100, NOW)
    assert not changed()  # it was funded before
    made.authorise("a", 150, NOW)
    assert not changed()
    made.authorise("a", 51, NOW)
    assert changed()
    made.credit("a", LEASE, 1, NOW)
    assert changed()
    made.authorise("a", 51, NOW)
    assert changed()  # to the last micro
    made.credit("a", LEASE, 1, NOW)
    assert changed()
    made.withdraw("a")
    assert changed()


def test_two_threads_never_spend_the_same_money() -> None:
    made = purse()
    spent: list[int] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    stop = threading.Event()

    def bid() -> None:
        own = 0
        while not stop.is_set():
            if made.authorise("a", 3, NOW) > 0:
                own += 3
        spent.append(own)

    threads = [threading.Thread(target=bid) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        credited = returned = 0
        for number in range(3000):
            made.credit("a", LEASE, 7, NOW)
            credited += 7
            if number % 10 == 0:
                made.withdraw("a", keep=2)
            returned += sum(left.micros for left in made.drain())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert sum(spent) + returned + made.balance("a", LEASE) == credited
