"""Parameters of reports: what is understood, what is refused and by which name; dates and periods of time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.analytics.report_kinds import KINDS
from campaign_express.analytics.report_query import ReportQuery, parse
from campaign_express.analytics.report_range import MAX_PERIODS, read_range
from campaign_express.analytics.report_sql import plan
from campaign_express.errors import InvalidRequest

NOW = int(datetime(2026, 11, 28, 13, 5, 7, tzinfo=UTC).timestamp())


def read(*pairs: tuple[str, str], **given: str) -> ReportQuery:
    named = {"since": "from", "until": "to"}
    return parse([*pairs, *((named.get(name, name), value) for name, value in given.items())], NOW * 1000)


def shown(second: int, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(second, ZoneInfo(zone)).isoformat(timespec="minutes")


def test_what_is_meant_where_nothing_is_said() -> None:
    query = read(report="delivery")
    assert (shown(query.range.first), shown(query.range.end)) == ("2026-11-28T00:00+00:00", "2026-11-29T00:00+00:00")
    assert (query.keys, query.order[0], query.limit, query.format) == (
        ("advertiser", "campaign"),
        ("spend", True),
        1000,
        "json",
    )
    assert read(report="spend").keys == ("period",)
    assert read(report="landscape", period="day", group_by="exchange").keys == ("period", "price_from", "exchange")
    for kind in KINDS:
        assert read(report=kind).report == kind


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("today", "America/New_York", "2026-11-28T00:00-05:00"),
        ("today", "Pacific/Auckland", "2026-11-29T00:00+13:00"),
        ("yesterday", "UTC", "2026-11-27T00:00+00:00"),
        ("-7d", "Asia/Kolkata", "2026-11-21T00:00+05:30"),
        ("-3h", "UTC", "2026-11-28T10:00+00:00"),
        ("-1h", "Asia/Kolkata", "2026-11-28T17:00+05:30"),
        ("2026-11-28T12:34", "Europe/Berlin", "2026-11-28T12:34+01:00"),
        ("2026-11-28T12:34:00", "Europe/Berlin", "2026-11-28T12:34+01:00"),
        ("2026-11-28T12:34Z", "Europe/Berlin", "2026-11-28T13:34+01:00"),
        ("2026-11-28T12:34-05:00", "UTC", "2026-11-28T17:34+00:00"),
        ("2026-11-01T01:30", "America/New_York", "2026-11-01T01:30-04:00"),  # the first of two
        ("2026-11-01T01:30-05:00", "America/New_York", "2026-11-01T01:30-05:00"),  # the second
        ("2026-04-24", "Africa/Cairo", "2026-04-24T01:00+03:00"),  # a midnight that there is not
    ],
)
def test_dates(text: str, zone: str, moment: str) -> None:
    assert shown(read(report="delivery", since=text, until="tomorrow", timezone=zone).range.first, zone) == moment


def test_now_is_with_the_minute_that_is_under_way() -> None:
    assert shown(read(report="delivery", until="now").range.end) == "2026-11-28T13:06+00:00"


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({}, "report"),
        ({"report": "deliveries"}, "report"),
        ({"report": "delivery", "colour": "red"}, "colour"),
        ({"report": "delivery", "since": "28.11.2026"}, "from"),
        ({"report": "delivery", "since": "2026-02-30"}, "from"),
        ({"report": "delivery", "since": "2026-11-28T13:00:30"}, "from"),
        ({"report": "delivery", "since": "2026-11-28T25:00"}, "from"),
        ({"report": "delivery", "since": "2026-11-28T13:00+99:00"}, "from"),
        ({"report": "delivery", "since": "1969-01-01"}, "from"),
        ({"report": "delivery", "since": "-9999d"}, "from"),
        ({"report": "delivery", "since": ""}, "from"),
        ({"report": "delivery", "since": "2026-03-08T02:30", "timezone": "America/New_York"}, "from"),
        ({"report": "delivery", "since": "today", "until": "yesterday"}, "to"),
        ({"report": "delivery", "since": "today", "until": "today"}, "to"),
        ({"report": "delivery", "timezone": "Mars/Olympus"}, "timezone"),
        ({"report": "delivery", "timezone": "../../etc/passwd"}, "timezone"),
        ({"report": "delivery", "period": "week"}, "period"),
        ({"report": "delivery", "period": "minute", "since": "-30d"}, "period"),
        ({"report": "delivery", "group_by": "colour"}, "group_by"),
        ({"report": "delivery", "group_by": "campaign,campaign"}, "group_by"),
        ({"report": "delivery", "group_by": "campaign,creative,place,country,device"}, "group_by"),
        ({"report": "funnel", "group_by": "campaign"}, "group_by"),
        ({"report": "changes", "group_by": "campaign"}, "group_by"),
        ({"report": "delivery", "filter.reason": "floor"}, "filter.reason"),
        ({"report": "funnel", "filter.campaign": "x"}, "filter.campaign"),
        ({"report": "delivery", "filter.campaign": "x" * 1001}, "filter.campaign"),
        ({"report": "delivery", "filter.campaign": "\ud800"}, "filter.campaign"),
        ({"report": "delivery", "order": "colour"}, "order"),
        ({"report": "delivery", "order": "exchange"}, "order"),
        ({"report": "delivery", "order": "spend desc"}, "order"),
        ({"report": "delivery", "limit": "0"}, "limit"),
        ({"report": "delivery", "limit": "-1"}, "limit"),
        ({"report": "delivery", "limit": "1e3"}, "limit"),
        ({"report": "delivery", "limit": "٣"}, "limit"),
        ({"report": "delivery", "limit": "100001"}, "limit"),
        ({"report": "delivery", "limit": "9" * 5000}, "limit"),
        ({"report": "delivery", "format": "xml"}, "format"),
        ({"report": "pacing", "until": "tomorrow"}, "to"),
        ({"report": "pacing", "since": "tomorrow"}, "from"),
        ({"report": "pacing", "since": "-3h"}, "from"),
        ({"report": "pacing", "period": "hour"}, "period"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, str], parameter: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(**given)
    assert refused.value.path == parameter
    assert refused.value.message.startswith(f"{parameter} ")
    assert refused.value.http_status == 400


def test_what_is_allowed_is_listed() -> None:
    for wrong, words in (
        ({"report": "x"}, ("delivery", "landscape")),
        ({"report": "delivery", "colour": "red"}, ("group_by", "filter.DIMENSION")),
        ({"report": "delivery", "group_by": "x"}, ("campaign", "country")),
        ({"report": "delivery", "order": "x"}, ("spend", "campaign")),
        ({"report": "delivery", "since": "x"}, ("2026-11-28T13:00", "-7d")),
        ({"report": "funnel", "filter.x": "1"}, ("filter.reason", "filter.exchange")),
    ):
        with pytest.raises(InvalidRequest) as refused:
            read(**wrong)
        assert all(word in refused.value.message for word in words)


def test_given_twice() -> None:
    with pytest.raises(InvalidRequest, match="period is given twice"):
        read(("period", "day"), ("period", "day"), report="delivery")
    query = read(("filter.campaign", "a"), ("filter.campaign", "b"), ("filter.campaign", "a"), report="delivery")
    assert query.filtered() == {"campaign": ("a", "b")}


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kolkata", "2026-11-01", 24),
        ("Australia/Lord_Howe", "2026-04-05", 25),  # put back by half an hour: the second half hour is one of its own
        ("Australia/Lord_Howe", "2026-10-04", 24),
        ("Africa/Cairo", "2026-04-24", 23),
    ],
)
def test_hours_of_a_day(zone: str, day: str, hours: int) -> None:
    after = f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}"
    found = read_range(day, after, zone, "hour", NOW)
    assert len(found.starts) == hours
    assert len({found.shown(start) for start in found.starts}) == hours, "each has a name of its own"
    assert len(read_range(day, after, zone, "day", NOW).starts) == 1


@settings(deadline=None)  # a slow machine is no fault
@given(
    zone=st.sampled_from(
        ("UTC", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo", "Asia/Beirut")
    ),
    first=st.integers(NOW // 60 - 400_000, NOW // 60),
    minutes=st.integers(1, 60_000),
    at=st.floats(0, 1, exclude_max=True),
    period=st.sampled_from(("hour", "day")),
)
def test_every_moment_is_in_the_period_that_its_clock_shows(
    zone: str, first: int, minutes: int, at: float, period: str
) -> None:
    since, until = (shown(60 * minute).replace("+00:00", "Z") for minute in (first, first + minutes))
    found = read_range(since, until, zone, period, NOW)
    assert list(found.starts) == sorted(set(found.starts))
    assert found.starts[0] <= found.first
    assert found.starts[-1] < found.end
    second = found.first + int(at * minutes) * 60
    start = found.period_of(second)
    clock, begun = (datetime.fromtimestamp(one, ZoneInfo(zone)) for one in (second, start))
    assert clock.date() == begun.date()
    if period == "hour":
        assert (clock.hour, clock.utcoffset()) == (begun.hour, begun.utcoffset())
        before = datetime.fromtimestamp(start - 60, ZoneInfo(zone))
        assert (before.hour, before.utcoffset()) != (begun.hour, begun.utcoffset())
    edges = {found.first, found.end, *(edge for edge in found.starts if edge > found.first)}
    assert all(edge % found.grain == 0 for edge in edges)


def test_the_most_periods() -> None:
    whole = read_range("2026-11-01", "2026-11-04T11:20", "UTC", "minute", NOW)
    assert len(whole.starts) == MAX_PERIODS
    with pytest.raises(InvalidRequest, match="more than 5000"):
        read_range("2026-11-01", "2026-11-04T11:21", "UTC", "minute", NOW)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("pacing", "changes")])
def test_values_are_bound_and_never_in_the_text(kind: str) -> None:
    value = "zq'};--"
    pairs = [(f"filter.{name}", value) for name in KINDS[kind].dimensions[:3]]
    query = read(*pairs, report=kind, period="hour")
    made = plan(query, query.keys, 10)
    assert value not in made.sql
    assert sum(value in bound for bound in made.parameters.values() if isinstance(bound, list)) == len(pairs)


def test_what_is_not_kept_any_more_is_said() -> None:
    def source(**given: Any) -> str:
        query = read(report=given.pop("report", "delivery"), **given)
        return plan(query, query.keys, 10).source

    assert source(since="2016-01-01", until="2026-01-01") == "rollup_day"
    assert source(since="-300d", timezone="Europe/Berlin") == "rollup_hour"
    assert source(since="-10d", timezone="Asia/Kolkata") == "rollup_minute"
    assert source(report="spend", since="-300d", timezone="Asia/Kolkata") == "decisions and events"
    for old in (
        {"since": "-500d", "timezone": "Europe/Berlin"},
        {"since": "-50d", "timezone": "Asia/Kolkata"},
        {"since": "-31d", "group_by": "exchange,country"},
        {"report": "landscape", "since": "-31d"},
        {"report": "latency", "since": "-31d"},
        {"report": "funnel", "since": "-31d", "group_by": "exchange"},
    ):
        with pytest.raises(InvalidRequest, match=r"from is more than \d+ days ago") as refused:
            source(**old)
        assert refused.value.path == "from"
