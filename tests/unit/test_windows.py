"""When periods of caps begin, over changes of clocks too. Expected moments are written out as ISO times."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.bidding.model import CapPeriod
from campaign_express.bidding.windows import CalendarWindow, period_start

ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "America/Havana"),
    *("Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo"),
)
PERIODS = (CapPeriod.HOUR, CapPeriod.DAY, CapPeriod.WEEK)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("per", "zone", "now", "start"),
    [
        (CapPeriod.HOUR, "UTC", "2026-07-01T12:34:56Z", "2026-07-01T12:00:00Z"),
        # Half past by UTC is a full hour in India.
        (CapPeriod.HOUR, "Asia/Kolkata", "2026-07-01T12:40:00Z", "2026-07-01T12:30:00Z"),
        # The hour from 02:00 comes twice in Berlin's autumn night: two hours.
        (CapPeriod.HOUR, "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+02:00"),
        (CapPeriod.HOUR, "Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-10-25T02:00:00+01:00"),
        (CapPeriod.DAY, "Europe/Berlin", "2026-07-01T00:30:00+02:00", "2026-07-01T00:00:00+02:00"),
        # 25 hours in autumn, 23 in spring: midnight is that of the day, whatever the clock says later.
        (CapPeriod.DAY, "Europe/Berlin", "2026-10-25T23:30:00+01:00", "2026-10-25T00:00:00+02:00"),
        (CapPeriod.DAY, "Europe/Berlin", "2026-03-29T23:30:00+02:00", "2026-03-29T00:00:00+01:00"),
        # São Paulo's clocks skipped midnight on 2018-11-04: the day began at 01:00.
        (CapPeriod.DAY, "America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "2018-11-04T01:00:00-02:00"),
        # Havana's clocks go from 01:00 back to 00:00 on 2026-11-01: the day begins with the first of the two.
        (CapPeriod.DAY, "America/Havana", "2026-11-01T00:30:00-05:00", "2026-11-01T00:00:00-04:00"),
        # 2026-11-01 is a Sunday: its week began on Monday, before the change of clocks in New York.
        (CapPeriod.WEEK, "America/New_York", "2026-11-01T23:00:00-05:00", "2026-10-26T00:00:00-04:00"),
        (CapPeriod.WEEK, "America/New_York", "2026-11-02T00:00:00-05:00", "2026-11-02T00:00:00-05:00"),
        (CapPeriod.LIFETIME, "UTC", "2026-11-02T00:00:00Z", "1970-01-01T00:00:00Z"),
    ],
)
def test_period_start(per: CapPeriod, zone: str, now: str, start: str) -> None:
    assert period_start(per, ZoneInfo(zone), ms(now)) == ms(start)


@given(st.sampled_from(PERIODS), st.sampled_from(ZONES), st.integers(ms("2015-01-01T00Z"), ms("2035-01-01T00Z")))
def test_a_period_is_entered_once_and_never_left_backwards(per: CapPeriod, zone: str, now: int) -> None:
    start = period_start(per, ZoneInfo(zone), now)
    assert start <= now
    assert period_start(per, ZoneInfo(zone), start) == start
    assert period_start(per, ZoneInfo(zone), start - 1) < start  # the moment before belongs to another one
    longest = {CapPeriod.HOUR: 2, CapPeriod.DAY: 25, CapPeriod.WEEK: 7 * 24 + 1}[per]
    assert now - start < timedelta(hours=longest) / timedelta(milliseconds=1)


def test_a_calendar_window_moves_on_with_the_clock() -> None:
    window = CalendarWindow(CapPeriod.HOUR, "Asia/Kolkata")
    full = ms("2026-07-01T12:30:00Z")
    assert window.since(full - 1) == ms("2026-07-01T11:30:00Z") - 1
    assert window.since(full) == full - 1
    assert window.since(full + 59_000) == full - 1
    assert window.since(full + 3_600_000) == full + 3_600_000 - 1
    assert window.since(full) == full - 1  # a request may be older than the one before
