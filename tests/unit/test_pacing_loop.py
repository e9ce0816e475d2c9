"""The pacing loop with ledgers, counters and documents in memory: who is paced, towards what, and across restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from campaign_express.adapters.ledger_terms import Applied, Outcome, Spent
from campaign_express.adapters.supply import Supply
from campaign_express.bidding.budget import Accounts
from campaign_express.bidding.model import (
    Advertiser,
    AuctionType,
    Budget,
    Campaign,
    Catalog,
    Exchange,
    Exchanges,
    Flight,
    Pacing,
    Status,
)
from campaign_express.clock import Clock
from campaign_express.control import Pace, Paces, Stop, Switches
from campaign_express.events import MoneyEvent
from campaign_express.treasury.goals import goals_of_today
from campaign_express.treasury.pacing import TOLD, PacingLoop, teach
from tests.support.pacing_world import DIURNAL, START_MS, campaign

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
USD = 1_000_000
EXCHANGES = Exchanges(
    default="first",
    exchanges=(Exchange(name="first"), Exchange(name="second", auction=AuctionType.SECOND_PRICE)),
)


@dataclass
class Place:
    """Everything around the loop: a ledger, counts, control documents, memory, and a clock that stands still."""

    catalog: Catalog
    wall_ms: int = START_MS
    money: dict[str, Spent] = field(default_factory=dict)
    accounts_money: dict[str, Spent] = field(default_factory=dict)
    supply: Supply = field(default_factory=lambda: Supply({}, {}, {}))
    stops: Switches = field(default_factory=Switches)
    written: list[tuple[Paces, int]] = field(default_factory=list)
    blob: bytes = b""
    forgotten: list[int] = field(default_factory=list)

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.catalog)

    def spent_of_all(self, wall_ms: int) -> tuple[dict[str, Spent], dict[str, Spent]]:
        assert wall_ms == self.wall_ms
        return self.money, self.accounts_money

    def read(self) -> Supply:
        return self.supply

    def forget(self, hours: list[int]) -> None:
        self.forgotten += hours

    def switches(self) -> Switches:
        return self.stops

    def paces(self) -> Paces:
        return self.written[-1][0] if self.written else Paces()

    def write_paces(self, paces: Paces, epoch: int) -> bool:
        self.written.append((paces, epoch))
        return True

    def load(self) -> bytes:
        return self.blob

    def save(self, blob: bytes) -> None:
        self.blob = blob

    def loop(self, epoch: int = 1, least_multiplier: float = 1.0) -> PacingLoop:
        place = self

        class Still(Clock):
            def now_ms(self) -> int:
                return place.wall_ms

        return PacingLoop(
            self,
            self,
            self,
            self,
            catalog=lambda: self.catalog,
            exchanges=EXCHANGES,
            epoch=lambda: epoch,
            clock=Still(),
            least_multiplier=least_multiplier,
        )

    def pass_time(self, loop: PacingLoop, minutes: int, requests: int, worth: float = 0.0) -> None:
        """Minute by minute: so many requests, each worth so much to every campaign that takes part in it."""
        for _ in range(minutes):
            paces = self.paces().campaigns
            for one in self.catalog.campaigns:
                gain = int(requests * worth * paces.get(one.id, Pace()).participation)
                had = self.money.get(one.id, Spent())
                self.money[one.id] = had._replace(total=had.total + gain, today=had.today + gain)
            self.wall_ms += MINUTE_MS
            self.supply.requests["first"] = self.supply.requests.get("first", 0) + requests
            hour = self.wall_ms // HOUR_MS
            self.supply.hours[hour] = self.supply.hours.get(hour, 0) + requests
            loop.run_once()


def catalog(*campaigns: Campaign, **account: object) -> Catalog:
    return Catalog(advertisers=(Advertiser(id="a", name="A", domain="a.example", **account),), campaigns=campaigns)  # type: ignore[arg-type]


def daily(name: str = "c", usd: float = 100.0, **fields: object) -> Campaign:
    return campaign(name, **{"budget": Budget(daily=int(usd * USD)), **fields})


def goals(made: Catalog, share: float = 1.0, **spent: Spent) -> dict[str, float]:
    return goals_of_today(made, Accounts(made), spent, lambda one: share)


def test_a_goal_is_what_the_ledger_lends_of_the_day() -> None:
    assert goals(catalog(daily(usd=100))) == {"c": 99.5 * USD}


def test_a_goal_of_a_total_is_todays_part_of_what_is_left_of_it() -> None:
    """1,000 less 0.5 % headroom, 300 of it spent, 100 of those today: a tenth of 795 is today's."""
    made = catalog(campaign(budget=Budget(total=1000 * USD)))
    spent = Spent(total=300 * USD, today=100 * USD)
    assert goals(made, share=0.1, c=spent) == {"c": pytest.approx(79.5 * USD)}


def test_an_account_that_has_less_than_its_campaigns_cuts_all_alike() -> None:
    made = catalog(daily("x", 300), daily("y", 100), campaign("z"), budget=Budget(daily=200 * USD))
    own, account = {"x": 199.0, "y": 99.5, "z": 199.0}, 199.0
    assert goals(made) == {name: pytest.approx(usd * account / 497.5 * USD) for name, usd in own.items()}


def test_who_has_no_goal() -> None:
    made = catalog(
        campaign("free"), daily("paused", status=Status.PAUSED), campaign("hourly", budget=Budget(hourly=USD))
    )
    assert goals(made) == {}


def test_only_even_campaigns_are_paced() -> None:
    place = Place(catalog(daily("even"), daily("asap", pacing=Pacing.ASAP), campaign("unlimited")))
    place.loop(epoch=7).run_once()
    ((paces, epoch),) = place.written
    assert set(paces.campaigns) == {"even"}
    assert (paces.at_ms, epoch) == (START_MS, 7)


def test_a_ledger_with_another_catalogue_is_no_fault() -> None:
    """A campaign was taken out: the ledger hears of it a moment before pacing does."""
    made = catalog(daily("stays"), daily("goes"))
    assert set(goals_of_today(made, Accounts(catalog(daily("stays"))), {}, lambda one: 1.0)) == {"stays"}


def test_spending_follows_the_curve_that_was_taught() -> None:
    place = Place(catalog(daily()))
    teach(place, DIURNAL)
    loop = place.loop()
    for hour in range(6):
        place.pass_time(loop, 60, int(1000 * DIURNAL[hour]), worth=200.0)
    spent = place.money["c"].today / (99.5 * USD)
    assert spent == pytest.approx(sum(DIURNAL[:6]) / sum(DIURNAL), abs=0.02)
    assert loop.progress["c"].goal == pytest.approx(99.5 * USD)
    assert abs(loop.progress["c"].behind) < 0.02
    assert loop.places() == {"near": 1, "behind": 0, "ahead": 0}
    place.pass_time(loop, 120, 0)
    assert loop.places() == {"near": 0, "behind": 1, "ahead": 0}
    told = loop.furthest()["c"]
    assert told["goal"] == 99.5
    assert told["behind"] > 0.05
    assert told["due"] - told["spent"] == pytest.approx(told["behind"] * 99.5, abs=0.01)
    assert told["participation"] == loop.progress["c"].pace.participation


def test_an_operator_is_told_of_those_furthest_from_their_curves_first() -> None:
    place = Place(catalog(*(daily(f"c{number:02}") for number in range(30))))
    loop = place.loop()
    place.pass_time(loop, 60, 0)
    loop.progress["c07"] = loop.progress["c07"]._replace(behind=-0.5)  # ahead counts as much as behind
    loop.progress["c11"] = loop.progress["c11"]._replace(behind=0.4)
    loop.progress["c12"] = loop.progress["c12"]._replace(behind=0.9, runs=False)  # one that may not bid is no news
    told = list(loop.furthest())
    assert told[:2] == ["c07", "c11"]
    assert len(told) == TOLD
    assert "c12" not in told


def test_the_curve_of_a_day_is_that_of_its_beginning() -> None:
    """What is learned during the day shapes the next one, not this one."""
    place = Place(catalog(daily()))
    loop = place.loop()
    for hour in range(24):
        place.pass_time(loop, 60, int(1000 * DIURNAL[hour]))
        if hour < 23:
            assert loop.progress["c"].due == pytest.approx(99.5 * USD * (hour + 1) / 24, rel=1e-3)
    place.pass_time(loop, 6 * 60, 500)
    assert loop.progress["c"].due == pytest.approx(99.5 * USD * sum(DIURNAL[:6]) / sum(DIURNAL), rel=0.03)


def test_a_successor_goes_on_where_the_last_one_ended() -> None:
    """Also with what it did not save: the paces tell."""
    place = Place(catalog(daily()))
    teach(place, DIURNAL)
    loop = place.loop()
    place.pass_time(loop, 120, 500, worth=200.0)
    loop.save()
    before = loop.progress["c"]
    place.written.append((Paces(place.wall_ms, {"c": Pace(0.123, 1.0)}), 1))
    successor = place.loop(epoch=2)
    successor.run_once()
    after = successor.progress["c"]
    assert after.due == before.due
    assert after.pace.participation == 0.123  # no time has passed
    place.pass_time(successor, 60, 500, worth=200.0)
    assert abs(successor.progress["c"].behind) < 0.01


def test_without_its_memory_a_successor_begins_from_the_ledger() -> None:
    """The plan is then from now on: the rest of the money over the rest of the day."""
    place = Place(catalog(daily()), wall_ms=START_MS + 12 * HOUR_MS, money={"c": Spent(90 * USD, 60 * USD)})
    loop = place.loop()
    loop.run_once()
    assert loop.progress["c"].due == 60 * USD
    place.wall_ms += 6 * HOUR_MS
    loop.run_once()
    assert loop.progress["c"].due == pytest.approx((60 + 39.5 / 2) * USD)


def test_a_memory_that_cannot_be_read_is_begun_anew() -> None:
    place = Place(catalog(daily()), blob=b"\x93nonsense")
    place.loop().run_once()
    assert "c" in place.paces().campaigns


def test_a_changed_budget_makes_a_new_plan_from_here_on() -> None:
    place = Place(catalog(daily(usd=100)), wall_ms=START_MS)
    loop = place.loop()
    loop.run_once()
    place.wall_ms = START_MS + 12 * HOUR_MS
    place.money["c"] = Spent(50 * USD, 50 * USD)
    place.catalog = catalog(daily(usd=200))
    loop.run_once()
    assert loop.progress["c"].due == pytest.approx(50 * USD, rel=0.01)
    place.wall_ms = START_MS + 18 * HOUR_MS
    loop.run_once()
    assert loop.progress["c"].due == pytest.approx((50 + 149 / 2) * USD, rel=0.01)


def test_a_day_begins_in_the_campaigns_zone() -> None:
    """Midnight in Berlin, 23:00 UTC: the account of the new day is empty, and its plan at its beginning."""
    place = Place(catalog(daily(time_zone="Europe/Berlin")), wall_ms=START_MS + 22 * HOUR_MS)
    place.money["c"] = Spent(90 * USD, 90 * USD)
    loop = place.loop()
    loop.run_once()
    first = loop.progress["c"].day
    place.wall_ms = START_MS + 23 * HOUR_MS + MINUTE_MS
    place.money["c"] = Spent(90 * USD, 0)
    loop.run_once()
    assert loop.progress["c"].day == first + 24 * HOUR_MS == START_MS + 23 * HOUR_MS
    assert loop.progress["c"].due == pytest.approx(99.5 * USD / 1440)


@pytest.mark.parametrize(
    "stops", [Switches(everything=Stop()), Switches(campaigns={"c": Stop()}), Switches(advertisers={"a": Stop()})]
)
def test_a_stopped_campaign_does_not_run(stops: Switches) -> None:
    place = Place(catalog(daily()), stops=stops)
    loop = place.loop()
    loop.run_once()
    assert not loop.progress["c"].runs


def test_out_of_money_teaches_nothing() -> None:
    """An hour's budget is spent: the requests that it then could not bid on do not make it look worthless."""
    place = Place(catalog(campaign("c", budget=Budget(daily=100 * USD, hourly=10 * USD))))
    loop = place.loop()
    place.pass_time(loop, 60, 500, worth=200.0)
    unit = loop._kept.records["c"].course.unit
    place.money["c"] = place.money["c"]._replace(this_hour=10 * USD)
    place.pass_time(loop, 45, 500, worth=0.0)
    assert loop._kept.records["c"].course.unit == unit


def test_bids_are_lowered_only_where_all_auctions_are_first_price() -> None:
    place = Place(catalog(daily("one", 10, exchanges=("first",)), daily("both", 10)))
    loop = place.loop(least_multiplier=0.5)
    place.pass_time(loop, 6 * 60, 5000, worth=200.0)
    paces = place.paces().campaigns
    assert 0.5 <= paces["one"].multiplier < 0.9
    assert paces["both"].multiplier == 1.0


def test_supply_is_that_of_the_campaigns_exchanges() -> None:
    supply = Supply({}, {"first": 10, "second": 5}, {})
    assert [supply.of(()), supply.of(("second",)), supply.of(("second", "unknown"))] == [15, 5, 5]


def test_whole_hours_are_learned_and_old_ones_forgotten() -> None:
    place = Place(catalog(daily()))
    this_hour = START_MS // HOUR_MS
    place.supply.hours.update({this_hour - 60: 700, this_hour - 1: 900, this_hour: 5})
    loop = place.loop()
    loop.run_once()
    assert loop._kept.history.last_hour == this_hour - 60  # an hour that has just ended may not be whole
    place.wall_ms += 6 * MINUTE_MS
    loop.run_once()
    assert loop._kept.history.last_hour == this_hour - 1
    assert this_hour - 60 in place.forgotten
    assert this_hour - 1 not in place.forgotten


def event(bid_ms: int) -> MoneyEvent:
    names = ("id", "bid_key", "kind", "exchange", "auction", "imp", "bid", "advertiser", "campaign", "creative")
    return MoneyEvent(**dict.fromkeys(names, "x"), authorised_micros=1, bid_ms=bid_ms)  # type: ignore[arg-type]


def test_the_delay_of_notices_is_that_of_money() -> None:
    """Ten minutes on average; a loss and a price that came later say nothing of when money shows."""
    place = Place(catalog(daily()))
    loop = place.loop()
    now = place.wall_ms
    loop.heard([Applied(event(now - minutes * MINUTE_MS), Outcome.APPLIED, 5) for minutes in (5, 10, 15)])
    loop.heard([Applied(event(0), Outcome.APPLIED, 0), Applied(event(0), Outcome.DUPLICATE, 0)])
    assert loop._kept.delay_ms == pytest.approx(10 * MINUTE_MS)


def test_a_total_over_a_flight_is_spread_over_its_days() -> None:
    start = datetime(2026, 11, 25, tzinfo=UTC)
    flight = Flight(start=start, end=start + timedelta(days=4))
    place = Place(catalog(campaign(budget=Budget(total=400 * USD), flight=flight)))
    loop = place.loop()
    loop.run_once()
    assert loop.progress["c"].goal == pytest.approx(398 / 4 * USD)
