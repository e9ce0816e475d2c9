"""What is learned of supply, and the plans of days that are made of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from campaign_express.bidding.model import Budget, Flight, Hours, Targeting
from campaign_express.bidding.plan import LEAD, plan, runs_at, today_of_total
from campaign_express.bidding.supply import HOURS, SupplyHistory, WeekCurve, hour_of_week, learned
from campaign_express.exchange.traffic import DIURNAL, Traffic
from tests.support.pacing_world import DAY, FLAT, START_MS, TRUE_CURVE, campaign

HOUR_MS = 3_600_000
FIRST_HOUR = START_MS // HOUR_MS


def test_hours_of_the_week_begin_on_monday() -> None:
    monday = int(datetime(2026, 11, 23, tzinfo=UTC).timestamp()) // 3600
    assert [hour_of_week(monday), hour_of_week(monday + 25), hour_of_week(monday - 1)] == [0, 25, 167]


def test_nothing_known_is_flat() -> None:
    assert SupplyHistory().hourly().tolist() == [1.0] * HOURS


def test_one_day_teaches_the_hours_of_all_days() -> None:
    history = SupplyHistory()
    for hour in range(24):
        history.learn(FIRST_HOUR + hour, int(1000 * DIURNAL[hour]))
    expected = np.array(DIURNAL * 7) / np.mean(DIURNAL)
    assert history.hourly() == pytest.approx(expected, rel=1e-3)


def test_weekends_become_their_own() -> None:
    """Half the traffic on Saturday and Sunday; after some weeks the curve has it."""
    history = SupplyHistory()
    for hour in range(8 * HOURS):
        weekend = hour_of_week(FIRST_HOUR + hour) >= 5 * 24
        history.learn(FIRST_HOUR + hour, 500 if weekend else 1000)
    hourly = history.hourly()
    assert 0.5 <= hourly[6 * 24] / hourly[24] < 0.65


def test_a_spike_is_not_a_habit_and_silence_is_no_news() -> None:
    history = learned([1000.0] * 24)
    history.learn(FIRST_HOUR, 50_000)
    after = history.usual(hour_of_week(FIRST_HOUR))
    assert 1000 < after < 1500  # it is taken for 2000, and weighs less than half
    history.learn(FIRST_HOUR + 24, 0)
    assert history.usual(hour_of_week(FIRST_HOUR + 24)) == pytest.approx(1200)  # 1300 any day, 1000 Thursdays


def test_hours_are_learned_once_and_in_order() -> None:
    history = SupplyHistory()
    history.learn(FIRST_HOUR, 1000)
    history.learn(FIRST_HOUR, 9000)
    history.learn(FIRST_HOUR - 1, 9000)
    assert history.week[hour_of_week(FIRST_HOUR)] == 1000
    assert history.last_hour == FIRST_HOUR


@pytest.mark.parametrize("hourly", [[1.0] * 23, [1.0] * 23 + [0.0]])
def test_a_history_from_elsewhere_is_checked(hourly: list[float]) -> None:
    with pytest.raises(ValueError, match="24 or 168"):
        learned(hourly)


def test_the_curve_is_that_of_the_traffic() -> None:
    """As another program reckons it: the exchange's own ideal curve."""
    made, traffic = plan(campaign(), TRUE_CURVE, DAY, 1e6), Traffic(DIURNAL)
    for hour in np.arange(0.1, 24.0, 0.7):
        at_ms = START_MS + int(hour * HOUR_MS)
        assert made.due(at_ms) / 1e6 == pytest.approx(traffic.share(at_ms, *DAY), abs=2e-4)
    assert made.due(DAY[0]) == 0.0
    assert made.due(DAY[1]) == made.due(DAY[1] + 1) == pytest.approx(1e6)


def test_the_aim_is_a_little_ahead_and_never_beyond_the_goal() -> None:
    made = plan(campaign(), FLAT, DAY, 1e6)
    noon = START_MS + 12 * HOUR_MS
    assert made.aim(noon) == pytest.approx(5e5 * (1 + LEAD))
    assert made.aim(DAY[1] - 60_000) == pytest.approx(1e6)


def test_a_plan_keeps_to_flight_and_hours() -> None:
    """Wednesday 9-12 and 18-20 in Berlin (UTC+1 then), and the flight ends at 18:30 there."""
    hours = Hours(hours=tuple(48 + hour for hour in (9, 10, 11, 18, 19)))
    end = datetime(2026, 11, 25, 17, 30, tzinfo=UTC)
    one = campaign(
        time_zone="Europe/Berlin",
        flight=Flight(start=datetime(2026, 1, 1, tzinfo=UTC), end=end),
        targeting=Targeting(hours=hours),
    )
    day = (DAY[0] - HOUR_MS, DAY[1] - HOUR_MS)
    made = plan(one, FLAT, day, 7e5)

    def at(hour: float) -> float:
        return made.due(START_MS + (hour - 1) * HOUR_MS)  # by the clock of Berlin

    assert [at(8), at(9), at(10), at(12), at(17.9), at(18.25), at(18.5)] == pytest.approx(
        [0, 0, 2e5, 6e5, 6e5, 6.5e5, 7e5], abs=1.0
    )
    assert runs_at(one, START_MS + 8 * HOUR_MS)
    assert not runs_at(one, START_MS + 12 * HOUR_MS)  # 13:00
    assert not runs_at(one, START_MS + int(17.75 * HOUR_MS))  # 18:45: over


def test_a_day_without_a_minute_to_run_has_nothing_due() -> None:
    over = campaign(flight=Flight(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 11, 1, tzinfo=UTC)))
    assert not plan(over, FLAT, DAY, 1e6).runs
    sundays = campaign(targeting=Targeting(hours=Hours(hours=(150,))))
    assert not plan(sundays, FLAT, DAY, 1e6).runs


def test_hourly_budgets_push_money_into_other_hours() -> None:
    """The evening wants more than 50,000 an hour of this curve: it gets that, and other hours the rest."""
    one = campaign(budget=Budget(daily=1_000_000, hourly=50_000))
    made = plan(one, TRUE_CURVE, DAY, 1_000_000)
    by_hour = np.diff([made.due(START_MS + hour * HOUR_MS) for hour in range(25)])
    assert by_hour.max() <= 50_000.001
    assert by_hour.sum() == pytest.approx(1e6)
    plain = np.diff([plan(campaign(), TRUE_CURVE, DAY, 1e6).due(START_MS + hour * HOUR_MS) for hour in range(25)])
    quiet = plain < 30_000
    assert np.ptp(by_hour[quiet] / plain[quiet]) < 1e-6  # in proportion to supply, as before


def test_hourly_budgets_may_leave_less_than_the_day() -> None:
    one = campaign(budget=Budget(daily=1_000_000, hourly=10_000))
    made = plan(one, TRUE_CURVE, DAY, 1_000_000)
    assert made.goal == pytest.approx(240_000)


def test_a_day_of_a_total_is_its_part_of_the_supply_that_is_left() -> None:
    """Four days from Wednesday, Saturday with half the traffic: 1 of 3.5 parts today; and all of it on the last day."""
    hours = np.ones(HOURS)
    hours[5 * 24 :] = 0.5
    curve = WeekCurve.of_hours(hours)
    end = datetime(2026, 11, 29, tzinfo=UTC)
    one = campaign(flight=Flight(start=datetime(2026, 1, 1, tzinfo=UTC), end=end))
    assert today_of_total(one, curve, DAY) == pytest.approx(1 / 3.5, rel=0.01)
    last = (DAY[0] + 3 * 24 * HOUR_MS, DAY[1] + 3 * 24 * HOUR_MS)
    assert today_of_total(one, curve, last) == 1.0
    assert today_of_total(campaign(), curve, DAY) == 1.0  # no end: nothing to spread over


def test_only_days_count_on_which_it_may_run() -> None:
    """Wednesdays alone, three of them left: a third."""
    wednesdays = Targeting(hours=Hours(hours=tuple(range(48, 72))))
    start = datetime(2026, 11, 25, tzinfo=UTC)
    one = campaign(targeting=wednesdays, flight=Flight(start=start, end=start + timedelta(days=20)))
    assert today_of_total(one, FLAT, DAY) == pytest.approx(1 / 3)
