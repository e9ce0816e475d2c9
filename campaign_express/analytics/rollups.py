"""Sums by minute, hour and day, made anew from what is stored whenever it has changed: never added to.

What a bid came to is `bids.py`'s. All events of a bid carry its time, and so does its decision, so they are in one
minute, and a minute can be summed by itself.

Decisions are kept for a shorter time than events. A minute older than `Kept.detailed_s` that gets a late conversion is
summed by campaign, creative and exchange only; its other sums stay as they were. One older than `Kept.summed_s` is
summed no more, for `rollup_minute` forgets it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from campaign_express.analytics.bids import COST, bids_of
from campaign_express.analytics.retention import in_force
from campaign_express.ports import Warehouse

log = logging.getLogger(__name__)

MARGIN_MS = 10_000  # a sum counts as made so long before it was: marks may be written after what they mark
QUIET_MS, OLDEST_MS = 3_000, 30_000  # a minute is summed once it is quiet for so long, or has waited for so long
AT_ONCE = 60  # minutes
DAYS_EVERY_MS = 60_000

NOW_MS = "toUInt64(toUnixTimestamp64Milli(now64(3)))"
MEASURES = (
    *("bids", "no_bids", "price_micros", "wins", "losses", "impressions", "clicks", "conversions"),
    *("spend_micros", "value_micros"),
)
DIMENSIONS = ("creative", "exchange", "place", "country", "device")
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)
_COLUMNS = f"start, advertiser, campaign, dimension, value, part, {', '.join(MEASURES)}, users, built"
_CHOSEN = """time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')}
        AND toStartOfMinute(time) IN {starts:Array(DateTime('UTC'))} AND test = 0"""

_FROM_EVENTS = f"""
INSERT INTO rollup_minute ({_COLUMNS})
SELECT start, advertiser, campaign, part_of.1 AS dimension, part_of.2 AS value, 'events' AS part,
    toUInt64(0) AS bids, toUInt64(0) AS no_bids, toUInt64(0) AS price_micros,
    sum(won) AS wins, sum(lost) AS losses, sum(shown) AS impressions, sum(clicked) AS clicks,
    sum(converted) AS conversions, toUInt64(sum({COST})) AS spend_micros,
    sum(worth) AS value_micros, uniqCombinedStateIf(14)(person, person != '') AS users,
    {{built:UInt64}} AS built
FROM
(
    SELECT *, arrayJoin([('', ''), DIMENSIONS]) AS part_of
    FROM ({bids_of(_CHOSEN)})
)
GROUP BY start, advertiser, campaign, dimension, value
"""  # noqa: S608
_FROM_DECISIONS = f"""
INSERT INTO rollup_minute ({_COLUMNS})
SELECT start, advertiser, campaign, part_of.1 AS dimension, part_of.2 AS value, 'decisions' AS part,
    sum(if(kind = 'bid', weight, 0)) AS bids, sum(if(kind = 'bid', 0, weight)) AS no_bids,
    sum(price_micros * weight) AS price_micros,
    toUInt64(0) AS wins, toUInt64(0) AS losses, toUInt64(0) AS impressions, toUInt64(0) AS clicks,
    toUInt64(0) AS conversions, toUInt64(0) AS spend_micros, toInt64(0) AS value_micros,
    uniqCombinedStateIf(14)('', 0) AS users, {{built:UInt64}} AS built
FROM
(
    SELECT toStartOfMinute(time) AS start, advertiser, campaign, kind, weight, price_micros,
        arrayJoin(if(kind = 'bid',
            [('', ''), ('creative', creative), ('exchange', exchange), ('place', place), ('country', country),
                ('device', toString(device))],
            [('', ''), ('exchange', exchange), ('reason', reason)])) AS part_of
    FROM decisions FINAL
    WHERE {_CHOSEN}
)
GROUP BY start, advertiser, campaign, dimension, value
"""  # noqa: S608


def _longer(table: str, longer: str, period: str) -> str:
    """Sums of a longer period from those of a shorter one."""
    return f"""
INSERT INTO {longer} ({_COLUMNS})
SELECT {period} AS start, advertiser, campaign, dimension, value, part, {_SUMS},
    uniqCombinedMergeState(14)(users) AS users, {{built:UInt64}} AS built
FROM
(
    SELECT * FROM {table} FINAL WHERE start >= {{first:DateTime('UTC')}} AND start < {{end:DateTime('UTC')}}
        AND {period} IN {{starts:Array(DateTime('UTC'))}}
)
GROUP BY start, advertiser, campaign, dimension, value, part
"""  # noqa: S608


_HOURS = _longer("rollup_minute", "rollup_hour", "toStartOfHour(start)")
_DAYS = _longer("rollup_hour", "rollup_day", "toStartOfDay(start, 'UTC')")


def pending(warehouse: Warehouse, everything: bool = False) -> tuple[int, list[int]]:
    """(the store's time, Unix ms; minutes to be summed, Unix seconds, oldest first), at most AT_ONCE.

    A minute that still gets events waits until it is quiet, but not for ever. `everything`: also those.
    """
    now, marks = _marked(warehouse, "dirty", "built")
    ready = [
        start
        for start, dirty, built in marks
        if everything or now - dirty >= QUIET_MS or now - max(built, start * 1000) >= OLDEST_MS
    ]
    oldest = now // 1000 - in_force(warehouse).summed_s if ready else 0
    return now, [minute for minute in ready if minute >= oldest][:AT_ONCE]


def pending_days(warehouse: Warehouse, everything: bool = False) -> tuple[int, list[int]]:
    """Likewise of days, whose hours have changed: a day is long, so its sums are made every DAYS_EVERY_MS at most."""
    now, marks = _marked(warehouse, "day", "day-built")
    return now, [start for start, _, built in marks if everything or now - built >= DAYS_EVERY_MS]


def _marked(warehouse: Warehouse, dirty: str, built: str) -> tuple[int, list[tuple[int, int, int]]]:
    """(the store's time, [(start in Unix seconds, when it got something, when it was summed)]) of what waits."""
    rows = warehouse.query(
        f"SELECT {NOW_MS} AS now, toUnixTimestamp(start) AS second, max(if(kind = {{dirty:String}}, at, 0)) AS told, "  # noqa: S608
        "max(if(kind = {built:String}, at, 0)) AS summed FROM rollup_marks FINAL GROUP BY start HAVING told > summed "
        "ORDER BY start",
        {"dirty": dirty, "built": built},
    ).rows
    return int(rows[0][0]) if rows else 0, [(int(start), int(told), int(summed)) for _, start, told, summed in rows]


def build(
    warehouse: Warehouse, minutes: Sequence[int], now_ms: int, days: bool = True, by_minute: str = "rollup_minute"
) -> None:
    """Sum these minutes, then their hours, then their days; without `days` these are left for `catch_up`.

    Done again, or twice at once, it changes nothing. `by_minute`: a table like `rollup_minute`, for minutes that this
    one would forget at once.
    """
    oldest = now_ms // 1000 - in_force(warehouse).detailed_s
    detailed = [minute for minute in minutes if minute >= oldest]
    late = [minute for minute in minutes if minute < oldest]
    for chosen, dimensions in ((detailed, DIMENSIONS), (late, DIMENSIONS[:2])):
        if chosen:
            pairs = ", ".join(f"('{name}', {name})" for name in dimensions)
            _run(warehouse, _into(_FROM_EVENTS, by_minute).replace("DIMENSIONS", pairs), chosen, 60, now_ms)
    if detailed:
        _run(warehouse, _into(_FROM_DECISIONS, by_minute), detailed, 60, now_ms)
    _run(warehouse, _into(_HOURS, by_minute), sorted({minute // 3600 * 3600 for minute in minutes}), 3600, now_ms)
    of_days = sorted({minute // 86_400 * 86_400 for minute in minutes})
    if days:
        build_days(warehouse, of_days, now_ms)
    else:
        _mark(warehouse, of_days, "day", now_ms)
    _mark(warehouse, minutes, "built", now_ms - MARGIN_MS)


def build_days(warehouse: Warehouse, days: Sequence[int], now_ms: int) -> None:
    """Sum these days from their hours."""
    _run(warehouse, _DAYS, days, 86_400, now_ms)
    _mark(warehouse, days, "day-built", now_ms - 1)  # hours that are summed in the same millisecond come after it


def catch_up(warehouse: Warehouse, everything: bool = False) -> int:
    """Sum what is to be summed just now; returns how many minutes that were. AT_ONCE: there may be more."""
    now_ms, minutes = pending(warehouse, everything)
    if minutes:
        build(warehouse, minutes, now_ms, days=False)
    if len(minutes) < AT_ONCE:
        now_ms, days = pending_days(warehouse, everything)
        if days:
            build_days(warehouse, days, now_ms)
    return len(minutes)


def _mark(warehouse: Warehouse, starts: Sequence[int], kind: str, at: int) -> None:
    warehouse.run(
        "INSERT INTO rollup_marks SELECT arrayJoin({starts:Array(DateTime('UTC'))}), {kind:String}, {at:UInt64}",
        {"starts": list(starts), "kind": kind, "at": at},
    )


def _into(sql: str, by_minute: str) -> str:
    return sql.replace("rollup_minute", by_minute)


def _run(warehouse: Warehouse, sql: str, starts: Sequence[int], period_s: int, now_ms: int) -> None:
    parameters: dict[str, Any] = {
        "first": starts[0],
        "end": starts[-1] + period_s,
        "starts": list(starts),
        "built": now_ms,
    }
    warehouse.run(sql, parameters)
