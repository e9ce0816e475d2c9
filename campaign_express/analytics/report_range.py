"""When a report is about: dates of its time zone as a range of Unix seconds, cut into periods. Pure.

A range is [from, to), both of whole minutes. Periods begin where the zone's own clock begins a day, an hour or a
minute: days of 23 and 25 hours, zones that are half an hour off, and the hour that comes twice in autumn (two periods)
are as the zone has them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from campaign_express.errors import InvalidRequest

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
PERIODS = ("minute", "hour", "day", "total")
MAX_PERIODS = 5_000
MAX_DAYS = 4_000
DATES = (
    "2026-11-28, 2026-11-28T13:00 (in the report's time zone, or with an offset: 2026-11-28T13:00+01:00), today, "
    "yesterday, tomorrow, now, -7d (midnight seven days ago), -3h (three hours ago, the hour's beginning)"
)

_BACK = re.compile(r"-(\d{1,4})([dh])").fullmatch
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})").fullmatch
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::00)?(Z|[+-]\d{2}:\d{2})?").fullmatch
_FIRST, _LAST = date(2000, 1, 1), date(2100, 1, 1)


def refused(parameter: str, message: str) -> InvalidRequest:
    """What is said of a wrong parameter."""
    return InvalidRequest(f"{parameter} {message}", path=parameter, rule="report")


class Range(NamedTuple):
    """[first, end) in Unix seconds; `starts` are those of its periods, the first of which may have begun before."""

    first: int
    end: int
    zone: str
    period: str
    starts: tuple[int, ...]

    def shown(self, start: int) -> str:
        """A period's start as the zone's clock shows it."""
        local = datetime.fromtimestamp(start, ZoneInfo(self.zone))
        return f"{local:%Y-%m-%d}" if self.period == "day" else local.isoformat(timespec="minutes")

    def period_of(self, second: int) -> int:
        return self.starts[bisect_right(self.starts, second) - 1]

    @property
    def grain(self) -> int:
        """The longest of minute, hour and day (UTC), seconds, that this range and its periods are made of."""
        inside = (edge for edge in self.starts if edge > self.first)
        edges = (self.first, self.end, *inside)
        return next(size for size in (DAY_S, HOUR_S, MINUTE_S) if all(edge % size == 0 for edge in edges))


@cache
def zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def read_zone(text: str) -> ZoneInfo:
    if text not in zone_names():
        raise refused("timezone", "is no time zone; IANA names are known, such as UTC, Europe/Berlin, Asia/Kolkata")
    return ZoneInfo(text)


def read_range(since: str, until: str, zone: str, period: str, now_s: int) -> Range:
    """Raises InvalidRequest, naming the parameter."""
    found = read_zone(zone)
    if period not in PERIODS:
        raise refused("period", f"is none of {', '.join(PERIODS)}")
    first = read_moment("from", since, found, now_s)
    end = read_moment("to", until, found, now_s)
    if first >= end:
        raise refused("to", "is not after `from`: a range begins with `from` and ends before `to`")
    if end - first > MAX_DAYS * DAY_S:
        raise refused("from", f"makes a range of more than {MAX_DAYS} days")
    return Range(first, end, zone, period, periods(first, end, found, period))


def read_day(text: str, zone: str, now_s: int) -> Range:
    """The day of this moment in `zone`; it may still be to come there."""
    found = read_zone(zone)
    day = datetime.fromtimestamp(read_moment("from", text, found, now_s), found).date()
    start = day_start(day, found)
    return Range(start, day_start(day + timedelta(days=1), found), zone, "day", (start,))


def read_moment(parameter: str, text: str, zone: ZoneInfo, now_s: int) -> int:
    """Unix seconds. Of two moments that the clock shows alike (in autumn) it is the first."""
    today = datetime.fromtimestamp(now_s, zone).date()
    named = {"today": 0, "yesterday": -1, "tomorrow": 1}
    if text in named:
        return day_start(today + timedelta(days=named[text]), zone)
    if text == "now":
        return now_s // MINUTE_S * MINUTE_S + MINUTE_S  # with the minute that is under way
    if back := _BACK(text):
        count = int(back[1])
        if back[2] == "d":
            return day_start(today - timedelta(days=count), zone)
        return _hour_start(now_s, zone) - count * HOUR_S
    try:
        if _DAY(text):
            return _checked(parameter, day_start(date.fromisoformat(text), zone))
        if moment := _MOMENT(text):
            wall = datetime.fromisoformat(f"{moment[1]}T{moment[2]}")
            if moment[3]:
                offset = datetime.fromisoformat(f"2000-01-01T00:00{moment[3].replace('Z', '+00:00')}").tzinfo
                return _checked(parameter, int(wall.replace(tzinfo=offset).timestamp()))
            second = int(wall.replace(tzinfo=zone).timestamp())
            if datetime.fromtimestamp(second, zone).replace(tzinfo=None) != wall:
                raise refused(parameter, f"is a time that the clocks of {zone.key} skip")
            return _checked(parameter, second)
    except (ValueError, OverflowError):
        pass
    raise refused(parameter, f"is no date that is understood: {DATES}")


def day_start(day: date, zone: ZoneInfo) -> int:
    """The first moment of a day: midnight, or what the clock shows where midnight is skipped."""
    return int(datetime.combine(day, time(0), zone).timestamp())


def periods(first: int, end: int, zone: ZoneInfo, period: str) -> tuple[int, ...]:
    """Starts of the periods of [first, end). Raises InvalidRequest where these are too many."""
    if period == "total":
        return (first,)
    size = {"minute": MINUTE_S, "hour": HOUR_S, "day": DAY_S}[period]
    if (end - first) / size > MAX_PERIODS:
        raise refused("period", f"cuts the range into more than {MAX_PERIODS}: take a longer one")
    if period == "minute":
        return tuple(range(first, end, MINUTE_S))
    if period == "day":
        day = datetime.fromtimestamp(first, zone).date()
        starts = [day_start(day, zone)]
        while (next_start := day_start(day := day + timedelta(days=1), zone)) < end:
            if next_start > starts[-1]:  # a zone that skips a whole day (islands at the date line)
                starts.append(next_start)
        return tuple(starts)
    starts = [_hour_start(first, zone)]
    while (next_start := _next_hour(starts[-1], zone)) < end:
        starts.append(next_start)
    return tuple(starts)


def _hour_start(second: int, zone: ZoneInfo) -> int:
    """Also where the clock was put back or forward within this hour: not before that moment."""
    local = datetime.fromtimestamp(second, zone)
    start = second - local.minute * MINUTE_S - local.second
    while (shown := datetime.fromtimestamp(start, zone)).utcoffset() != local.utcoffset():
        start += MINUTE_S * (60 - shown.minute)
    return min(start, second)


def _next_hour(start: int, zone: ZoneInfo) -> int:
    local = datetime.fromtimestamp(start, zone)
    return start + HOUR_S - local.minute * MINUTE_S - local.second


def _checked(parameter: str, second: int) -> int:
    if not _FIRST <= datetime.fromtimestamp(second, UTC).date() <= _LAST:
        raise refused(parameter, f"is not between {_FIRST} and {_LAST}")
    return second
