"""How time is cut for budgets: leases, hours and days of any time zone, also when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.bidding.budget import Accounts, LeaseClock, day_bounds_ms, day_key, hour_key, limits, settle_s
from campaign_express.bidding.model import Budget
from campaign_express.errors import ConfigError
from tests.support.catalogs import catalog_of


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_lease_is_named_by_its_end() -> None:
    clock = LeaseClock(60)
    noon = ms("2026-05-01T12:00:00Z")
    assert clock.lease_at(noon) == clock.lease_at(noon + 59_999) == noon // 1000 + 60
    assert clock.lease_at(noon - 1) == noon // 1000
    assert clock.lease_at(clock.deadline_ms(noon // 1000)) == noon // 1000 + 60  # its end is in the next one
    assert clock.start_ms(clock.lease_at(noon)) == noon


@pytest.mark.parametrize("lease_s", [0, -60, 7, 1800, 3600])
def test_leases_divide_a_quarter_of_an_hour(lease_s: int) -> None:
    with pytest.raises(ConfigError, match=f"lease_s: {lease_s} does not divide 900"):
        LeaseClock(lease_s)


@pytest.mark.parametrize(
    ("zone", "moment", "day", "hour"),
    [
        ("UTC", "2026-11-25T14:59:59.999Z", "d20261125", "h2026112514"),
        ("Asia/Kolkata", "2026-11-25T18:29:59Z", "d20261125", "h2026112523"),  # midnight is 18:30 UTC
        ("Asia/Kolkata", "2026-11-25T18:30:00Z", "d20261126", "h2026112600"),
        ("Asia/Kathmandu", "2026-11-25T18:14:59Z", "d20261125", "h2026112523"),  # and here 18:15
        ("Asia/Kathmandu", "2026-11-25T18:15:00Z", "d20261126", "h2026112600"),
        ("America/New_York", "2026-03-08T06:59:59Z", "d20260308", "h2026030801"),  # 2 o'clock is left out
        ("America/New_York", "2026-03-08T07:00:00Z", "d20260308", "h2026030803"),
        ("America/New_York", "2026-11-01T05:30:00Z", "d20261101", "h2026110101"),  # 1 o'clock comes twice
        ("America/New_York", "2026-11-01T06:30:00Z", "d20261101", "h2026110101x"),
        ("Australia/Lord_Howe", "2026-04-04T14:45:00Z", "d20260405", "h2026040501"),  # back by half an hour
        ("Australia/Lord_Howe", "2026-04-04T15:15:00Z", "d20260405", "h2026040501x"),
        ("Pacific/Apia", "2026-06-30T11:00:00Z", "d20260701", "h2026070100"),  # 13 hours ahead
    ],
)
def test_hours_and_days_are_the_zone_s(zone: str, moment: str, day: str, hour: str) -> None:
    assert (day_key(zone, ms(moment)), hour_key(zone, ms(moment))) == (day, hour)


@pytest.mark.parametrize(
    ("zone", "moment", "hours"),
    [
        ("America/New_York", "2026-03-08T12:00:00-04:00", 23),
        ("America/New_York", "2026-11-01T23:59:59-05:00", 25),
        ("America/New_York", "2026-11-01T00:30:00-04:00", 25),
        ("Asia/Kolkata", "2026-11-01T00:00:00+05:30", 24),
        ("Australia/Lord_Howe", "2026-04-05T00:00:00+11:00", 24.5),
    ],
)
def test_days_have_the_length_of_their_zone(zone: str, moment: str, hours: float) -> None:
    start, end = day_bounds_ms(zone, ms(moment))
    assert end - start == hours * 3_600_000
    assert start <= ms(moment) < end
    assert day_key(zone, start) == day_key(zone, end - 1) == day_key(zone, ms(moment)) != day_key(zone, end)


@given(
    st.sampled_from(sorted(available_timezones())),
    st.datetimes(datetime(2024, 1, 1), datetime(2036, 1, 1)),
    st.sampled_from([1, 5, 60, 300, 900]),
)
def test_a_lease_lies_in_one_hour_of_any_zone(zone: str, moment: datetime, lease_s: int) -> None:
    clock = LeaseClock(lease_s)
    wall_ms = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
    lease = clock.lease_at(wall_ms)
    for at in (clock.start_ms(lease), wall_ms, clock.deadline_ms(lease) - 1):
        assert hour_key(zone, at) == hour_key(zone, wall_ms)
        assert hour_key(zone, at)[1:11] == f"{datetime.fromtimestamp(at / 1000, ZoneInfo(zone)):%Y%m%d%H}"


def test_headroom_is_of_the_day_where_there_is_one() -> None:
    found = limits(Budget(total=1_000_000, daily=100_000, hourly=10_000), 0.005)
    assert found.grantable == (1_000_000 - 500, 100_000 - 500, 10_000 - 50)
    assert limits(Budget(total=1_000_000), 0.005).grantable == (995_000, None, None)
    assert limits(Budget(daily=1001), 0.005).daily_headroom == 6  # rounded up: 5.005
    assert limits(Budget(hourly=200), 0.005).grantable == (None, None, 199)


def test_scopes_of_a_campaign() -> None:
    catalog = catalog_of(
        "acme",
        ("America/New_York", Budget(total=900_000)),
        {"own": ("Asia/Kolkata", Budget(daily=50_000)), "none": ("UTC", Budget())},
    )
    accounts = Accounts(catalog)
    at = ms("2026-11-25T19:00:00Z")
    assert [(s.name, s.period, s.limit, s.grantable) for s in accounts.scopes("own", at)] == [
        ("budget.total", "", None, None),
        ("budget.daily", "d20261126", 50_000, 49_750),
        ("budget.hourly", "h2026112600", None, None),
        ("account.budget.total", "", 900_000, 895_500),
        ("account.budget.daily", "d20261125", None, None),
        ("account.budget.hourly", "h2026112514", None, None),
    ]
    assert accounts.campaigns["none"].limited  # by its account
    assert not Accounts(catalog_of("a", ("UTC", Budget()), {"c": ("UTC", Budget())})).campaigns["c"].limited
    assert accounts.campaigns["own"].cost_micros >= 1000  # a CPM of 1 USD


def test_zones_of_campaigns_that_are_gone_are_remembered() -> None:
    before = Accounts(catalog_of("acme", ("UTC", Budget()), {"old": ("Asia/Kolkata", Budget())}))
    after = Accounts(catalog_of("acme", ("UTC", Budget()), {"new": ("UTC", Budget())})).remembering(before)
    at = ms("2026-11-25T19:00:00Z")
    assert after.periods("acme", "old", at).day == "d20261126"
    assert after.periods("acme", "never", at).day == "d20261125"
    assert "old" not in after.campaigns
    again = Accounts(catalog_of("acme", ("UTC", Budget()), {})).remembering(after)
    assert again.periods("acme", "old", at).day == "d20261126"


def test_sweeping_waits_for_the_longest_exchange() -> None:
    assert settle_s({"a": 300, "b": 3600, "c": 60}, 600) == 4200
