"""What a keeper fetches and gives back, by a clock of the test's own and a ledger without Redis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from campaign_express.adapters.leases import IDLE_S, STAKE, LeaseKeeper
from campaign_express.adapters.ledger_terms import Grant, Order
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.model import Budget, Catalog, Flight, Status
from campaign_express.bidding.purse import Purse
from campaign_express.clock import Clock
from campaign_express.control import Stop, Switches
from campaign_express.errors import Unavailable
from tests.support.catalogs import catalog_of
from tests.support.reference_ledger import ReferenceLedger

LEASES = LeaseClock(60)
NOW = 1_795_000_000_000 // 60_000 * 60_000 + 1000  # a second into a lease
COST = 1000  # of one impression at a CPM of 1 USD, see events.impression_cost
HEADROOM = 0.0


class Wall(Clock):
    """Stands still until the test moves it; real and wall time pass alike."""

    now = NOW

    def now_ms(self) -> int:
        return Wall.now

    def monotonic(self) -> float:
        return Wall.now / 1000


class Counting(ReferenceLedger):
    """Also knows what it was asked, and may be away."""

    def __init__(self, accounts: Accounts) -> None:
        super().__init__(accounts, 4200, 3600)
        self.orders: list[Order] = []
        self.away = False

    def trade(self, orders: Sequence[Order], wall_ms: int) -> list[list[Grant] | Unavailable]:  # type: ignore[override]
        if self.away:
            return [Unavailable("away") for _ in orders]
        self.orders += orders
        return list(super().trade(orders, wall_ms))


class Play:
    def __init__(self, agents: int = 1, **budgets: Budget) -> None:
        Wall.now = NOW
        self.clock = Wall()
        self.catalog = catalog_of("acme", ("UTC", Budget()), {name: ("UTC", b) for name, b in budgets.items()})
        accounts = Accounts(self.catalog, HEADROOM)
        self.ledger = Counting(accounts)
        self.purses = [Purse(accounts, LEASES) for _ in range(agents)]
        self.keepers = [
            LeaseKeeper(
                self.ledger,
                purse,
                self.catalog,
                LEASES,
                self.clock,
                headroom=HEADROOM,
                monotonic=self.clock.monotonic,
            )
            for purse in self.purses
        ]
        self.purse, self.keeper = self.purses[0], self.keepers[0]

    def pass_ms(self, ms: int, every: int = 250) -> None:
        """Time with all keepers at work."""
        for _ in range(ms // every):
            Wall.now += every
            for keeper in self.keepers:
                keeper.round()

    def lease(self) -> int:
        return LEASES.lease_at(Wall.now)

    def reserved(self, name: str = "a") -> int:
        return self.ledger.reserved(name)

    def held(self, name: str = "a") -> int:
        return sum(purse.balance(name, self.lease() + more) for purse in self.purses for more in (0, 60))


@pytest.fixture
def rich() -> Play:
    play = Play(a=Budget(daily=10**9), b=Budget(total=10**9), free=Budget())
    play.keeper.round()
    return play


def test_every_campaign_gets_a_stake_in_one_call(rich: Play) -> None:
    assert rich.purse.balance("a", rich.lease()) == rich.purse.balance("b", rich.lease()) == STAKE * COST
    assert len(rich.ledger.orders) == 1
    rich.pass_ms(2000)
    assert len(rich.ledger.orders) == 1  # nobody bids, nothing is asked


def test_what_is_spent_is_fetched_again_in_advance(rich: Play) -> None:
    for _ in range(40):
        for _ in range(20):
            rich.purse.authorise("a", COST, Wall.now)
        rich.pass_ms(250)
    # 80 impressions a second, with a purse for more than a second of that: nothing was refused lately.
    assert rich.purse.look("a").short == 0
    assert rich.purse.balance("a", rich.lease()) >= 60 * COST
    assert rich.purse.balance("a", rich.lease()) <= 6 * 20 * COST


def test_bidding_goes_on_across_the_change_of_lease(rich: Play) -> None:
    before = rich.lease()
    rich.pass_ms(59_000 - 500)
    assert rich.purse.balance("a", before + 60) == STAKE * COST  # fetched ahead
    Wall.now = LEASES.deadline_ms(before)
    assert rich.purse.authorise("a", COST, Wall.now) == before + 60  # without the keeper
    rich.keeper.round()
    assert rich.ledger.outstanding(("a", before)) == rich.ledger.outstanding(("b", before)) == 0  # given back


def test_a_silent_campaign_keeps_its_stake_only(rich: Play) -> None:
    authorised = 0
    for _ in range(8):
        for _ in range(50):
            authorised += COST * (rich.purse.authorise("a", COST, Wall.now) > 0)
        rich.pass_ms(250)
    assert rich.purse.balance("a", rich.lease()) > 50 * COST
    rich.pass_ms(int(IDLE_S * 1000) + 500)
    assert rich.purse.balance("a", rich.lease()) == STAKE * COST
    assert rich.reserved() == authorised + STAKE * COST  # no notice has come


def test_agents_share_scarce_money_and_spend_it_to_the_last_impression() -> None:
    budget = 200 * COST + 17
    play = Play(agents=5, a=Budget(total=budget))
    spent = [0] * 5
    for keeper in play.keepers:
        keeper.round()
    for _ in range(400):
        for number, purse in enumerate(play.purses):
            for _ in range(2):
                if purse.funded("a") and purse.authorise("a", COST, Wall.now) > 0:
                    spent[number] += 1
        play.pass_ms(250)
        if sum(spent) == 200:
            break
    assert sum(spent) == 200
    assert min(spent) >= 10  # nobody had it all
    play.pass_ms(3000)
    assert not any(purse.funded("a") and purse.authorise("a", COST, Wall.now) > 0 for purse in play.purses)


def test_small_bids_spend_what_large_ones_leave() -> None:
    play = Play(a=Budget(total=COST + 500))
    play.keeper.round()
    assert play.purse.authorise("a", COST, Wall.now) > 0
    assert play.purse.authorise("a", COST, Wall.now) == -1
    small = 0
    for _ in range(40):
        play.pass_ms(250)
        if play.purse.funded("a") and play.purse.authorise("a", 100, Wall.now) > 0:
            small += 1
    assert small == 5


def test_added_budget_is_bid_with_within_two_seconds() -> None:
    play = Play(agents=3, a=Budget(total=4 * COST))
    for keeper in play.keepers:
        keeper.round()
    for _ in range(20):
        for purse in play.purses:
            purse.authorise("a", COST, Wall.now)
        play.pass_ms(250)
    assert not any(purse.funded("a") for purse in play.purses)
    (campaign,) = play.catalog.campaigns
    more = msgspec.structs.replace(
        play.catalog, campaigns=(msgspec.structs.replace(campaign, budget=Budget(total=1000 * COST)),)
    )
    for keeper in play.keepers:
        keeper.replace_catalog(more)
    play.pass_ms(2000)
    assert all(purse.funded("a") for purse in play.purses)


def test_freed_money_is_found_without_being_told() -> None:
    play = Play(agents=2, a=Budget(total=4 * COST))
    for keeper in play.keepers:
        keeper.round()
    assert play.purses[0].funded("a")
    assert not play.purses[1].funded("a")
    play.purses[0].withdraw("a")
    play.keepers[0].tell_switches(Switches(campaigns={"a": Stop()}))
    play.pass_ms(1500)
    assert play.purses[1].funded("a")


@pytest.mark.parametrize(
    "switches",
    [Switches(campaigns={"a": Stop()}), Switches(advertisers={"acme": Stop()}), Switches(everything=Stop())],
)
def test_a_stopped_campaign_gives_back_and_comes_back(rich: Play, switches: Switches) -> None:
    rich.keeper.tell_switches(switches)
    rich.keeper.round()
    assert rich.reserved() == 0
    assert not rich.purse.funded("a")
    assert rich.purse.funded("b") == (switches.campaigns != {})
    rich.keeper.tell_switches(Switches(exchanges={"x": Stop()}))  # of an exchange is the bidder's business
    rich.keeper.round()
    assert rich.purse.funded("a")


def test_flights_begin_and_end() -> None:
    play = Play(a=Budget(daily=10**9), b=Budget(daily=10**9))
    first, second = play.catalog.campaigns
    start = datetime.fromtimestamp(NOW / 1000 + 10, UTC)
    end = datetime.fromtimestamp(NOW / 1000 + 20, UTC)
    play.keeper.replace_catalog(
        Catalog(
            advertisers=play.catalog.advertisers,
            campaigns=(
                msgspec.structs.replace(first, flight=Flight(start=start, end=end)),
                msgspec.structs.replace(second, status=Status.PAUSED),
            ),
        )
    )
    play.pass_ms(9_000)
    assert (play.held("a"), play.held("b")) == (0, 0)
    play.pass_ms(2_500)
    assert play.held("a") == STAKE * COST
    play.pass_ms(10_000)
    assert (play.held("a"), play.reserved("a")) == (0, 0)


def test_without_the_ledger_bidding_goes_on_while_the_lease_has_money(rich: Play) -> None:
    rich.ledger.away = True
    assert rich.purse.authorise("a", 3 * COST, Wall.now) > 0
    rich.pass_ms(1000)
    assert rich.purse.authorise("a", COST, Wall.now) > 0
    rich.pass_ms(1000)
    assert not rich.purse.funded("a")
    assert rich.keeper.failures > 0
    rich.ledger.away = False
    rich.pass_ms(1500)
    assert rich.purse.funded("a")


def test_on_shutdown_everything_goes_back(rich: Play) -> None:
    rich.purse.authorise("a", COST, Wall.now)
    rich.keeper.stop()
    assert (rich.reserved("a"), rich.reserved("b")) == (COST, 0)
    assert not rich.purse.funded("a")


def test_the_thread_works_and_ends() -> None:
    play = Play(a=Budget(daily=10**9))
    play.keeper.start()
    deadline = datetime.now(UTC).timestamp() + 60
    while not play.purse.funded("a"):
        assert datetime.now(UTC).timestamp() < deadline
    play.keeper.stop()
    assert play.reserved() == 0
