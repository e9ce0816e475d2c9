"""Who spends too fast, by the time of bids: what a budget allows, and when a switch falls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.adapters.ledger_terms import Applied, Outcome
from campaign_express.bidding.model import Budget, Flight, Pacing
from campaign_express.clock import Clock
from campaign_express.control import Stop, Switched, Switches, with_stop, without_stop
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent
from campaign_express.treasury.breaker import (
    BY,
    PARTS,
    Velocity,
    VelocityBreaker,
    allowed_rate,
    allowed_rates,
)
from tests.support.catalogs import catalog_of

HOUR, DAY = 3_600_000, 86_400_000
WINDOW = 300_000
C = Switched("campaign", "c")


def velocity(rate: float = 1.0, factor: float = 10, floor: int = 0) -> Velocity:
    made = Velocity(factor, WINDOW, floor)
    made.rates = {C: rate}
    return made


@pytest.mark.parametrize(
    ("budget", "even", "flight_ms", "rate"),
    [
        (Budget(), True, None, None),
        (Budget(hourly=3_600_000), True, None, 1.0),  # micros a millisecond
        (Budget(hourly=3_600_000), False, None, 1.0),
        (Budget(daily=86_400_000), True, None, 1.0),
        (Budget(daily=86_400_000), False, None, 24.0),  # as fast as it can: in an hour
        (Budget(daily=86_400_000, hourly=7_200_000), False, None, 2.0),  # the tightest
        (Budget(total=864_000_000), True, 10 * DAY, 1.0),  # by the end of its flight
        (Budget(total=3_600_000), True, None, 1.0),  # without an end: in an hour, as nothing says slower
        (Budget(total=3_600_000), True, 60_000, 1.0),  # a flight of a minute
        (Budget(total=3_600_000), False, 10 * DAY, 1.0),
    ],
)
def test_what_a_budget_allows(budget: Budget, even: bool, flight_ms: int | None, rate: float | None) -> None:
    assert allowed_rate(budget, even, flight_ms) == (None if rate is None else pytest.approx(rate))


def test_rates_of_a_catalogue() -> None:
    daily = Budget(daily=86_400_000)
    made = catalog_of("acme", ("UTC", daily), {"even": ("UTC", daily), "free": ("UTC", Budget())})
    assert allowed_rates(made) == {Switched("campaign", "even"): 1.0, Switched("advertiser", "acme"): 1.0}
    first, second = made.campaigns
    flight = Flight(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 11, tzinfo=UTC))
    total = msgspec.structs.replace(second, budget=Budget(total=864_000_000), flight=flight)
    asap = msgspec.structs.replace(first, pacing=Pacing.ASAP)
    made = msgspec.structs.replace(made, campaigns=(asap, total))
    assert allowed_rates(made) == {
        Switched("campaign", "even"): 24.0,
        Switched("campaign", "free"): 1.0,
        Switched("advertiser", "acme"): 24.0,  # one of its campaigns may spend it at once
    }


def test_a_trip_is_beyond_the_factor_not_at_it() -> None:
    watched = velocity(rate=1.0, factor=10)  # 300,000 allowed in a window
    watched.add(C, 10 * HOUR, 3_000_000)
    assert list(watched.trips()) == []
    watched.add(C, 10 * HOUR + 1, 1)
    [trip] = watched.trips()
    assert (trip.what, trip.spent_micros, trip.allowed_micros) == (C, 3_000_001, 300_000)
    assert trip.reason == "3.00 USD in 300 s, where its budget allows 0.30"


def test_small_money_trips_nothing() -> None:
    watched = velocity(rate=0.001, factor=10, floor=20_000_000)
    watched.add(C, HOUR, 20_000_000)
    assert list(watched.trips()) == []
    watched.add(C, HOUR, 1)
    assert len(list(watched.trips())) == 1


def test_notices_that_arrive_all_at_once_are_judged_by_their_bids() -> None:
    """An hour at the allowed rate, told in a moment after an outage."""
    watched = velocity(rate=1.0, factor=1.5)
    for second in range(3600):
        watched.add(C, 5 * HOUR + second * 1000, 1000)
    assert list(watched.trips()) == []


@given(st.lists(st.tuples(st.integers(0, 3 * WINDOW), st.integers(1, 400_000)), max_size=60), st.integers(1, 20))
def test_it_trips_on_a_window_that_is_too_dear_and_only_then(bids: list[tuple[int, int]], factor: int) -> None:
    """Windows begin at parts of a window, so one of full length is judged to within a part."""
    watched = velocity(rate=1.0, factor=factor)
    part = WINDOW // PARTS
    for at_ms, micros in bids:
        watched.add(C, at_ms, micros)
    dearest = max(
        (sum(m for t, m in bids if first <= t // part < first + PARTS) for first in range(-PARTS, 3 * PARTS + 1)),
        default=0,
    )
    assert bool(list(watched.trips())) == (dearest > factor * WINDOW)


def test_a_price_notice_takes_money_back() -> None:
    watched = velocity(factor=1)
    watched.add(C, HOUR, 400_000)
    watched.add(C, HOUR, -200_000)
    assert list(watched.trips()) == []


def test_memory_is_bounded_however_long_it_runs() -> None:
    watched = velocity()
    for part in range(10_000):
        watched.add(C, part * WINDOW // PARTS, 1)
    assert len(watched._spent[C]) <= 3 * PARTS + 1


def test_what_is_forgiven_is_not_held_against_it_again() -> None:
    watched = velocity()
    watched.add(C, HOUR, 10**9)
    assert len(list(watched.trips())) == 1
    watched.forgive(C, HOUR + 1000)
    watched.add(C, HOUR + 500, 10**9)  # a late notice of a bid before
    assert list(watched.trips()) == []
    watched.add(C, HOUR + WINDOW, 10**9)
    assert len(list(watched.trips())) == 1


def test_nothing_is_too_fast_for_a_factor_of_0_or_without_a_budget() -> None:
    off = velocity(factor=0)
    off.add(C, HOUR, 10**12)
    free = velocity()
    free.add(Switched("campaign", "other"), HOUR, 10**12)
    assert [*off.trips(), *free.trips()] == []


class Control:
    """Switches in memory."""

    def __init__(self) -> None:
        self.now = Switches()
        self.away = False

    def update(self, change: Callable[[Switches], Switches]) -> Switches:
        if self.away:
            raise Unavailable("away")
        self.now = change(self.now)
        return self.now


def applied(micros: int, bid_ms: int) -> list[Applied]:
    event = MoneyEvent(
        id="i",
        bid_key="b",
        kind="win",
        exchange="x",
        auction="a",
        imp="1",
        bid="1",
        advertiser="acme",
        campaign="c",
        creative="k",
        authorised_micros=micros,
        bid_ms=bid_ms,
    )
    return [Applied(event, Outcome.APPLIED, micros)]


def test_the_breaker_stops_campaign_and_account_and_never_resumes() -> None:
    control = Control()
    clock = Clock()
    breaker = VelocityBreaker(Velocity(10, WINDOW, 0), control, clock)
    daily = Budget(daily=86_400_000)
    breaker.follow(catalog_of("acme", ("UTC", daily), {"c": ("UTC", daily)}))
    breaker.take(applied(10**9, clock.now_ms()))
    control.away = True
    with pytest.raises(Unavailable):
        breaker.run_once()
    control.away = False
    breaker.run_once()  # what could not be stopped is not forgotten
    assert set(control.now.campaigns) == {"c"}
    assert set(control.now.advertisers) == {"acme"}
    assert control.now.campaigns["c"].by == BY
    assert breaker.trips == 2
    breaker.run_once()
    assert breaker.trips == 2
    control.now = without_stop(control.now, C)
    breaker.run_once()
    assert control.now.campaigns == {}
    assert set(control.now.advertisers) == {"acme"}


def test_an_operators_stop_is_left_as_it_is() -> None:
    control = Control()
    stop = Stop("mine", "operator")
    control.now = with_stop(Switches(), C, stop)
    breaker = VelocityBreaker(Velocity(10, WINDOW, 0), control, Clock())
    breaker.follow(catalog_of("acme", ("UTC", Budget()), {"c": ("UTC", Budget(daily=86_400_000))}))
    breaker.take(applied(10**9, Clock().now_ms()))
    breaker.run_once()
    assert control.now.campaigns == {"c": stop}
    assert breaker.trips == 0
