"""Sums of whole days made anew after their rows were replaced, and compared with them.

Sums are only ever written over, so those of a campaign that has no rows any more would stay: they are deleted first.
The days' minutes are marked before and after that, so that whoever sums makes them even if this breaks off in between.

Of days that are older than `Kept.summed_s` sums by minute are forgotten. What sums there are by hour and day stays
as it is; where there are none, they are made over a table of minutes that forgets nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import groupby

from campaign_express.analytics import rollups
from campaign_express.analytics.audit import ATTEMPTS, PAUSE_S, Difference, marks, midnight, sums_differences
from campaign_express.analytics.retention import in_force
from campaign_express.pipeline.archive import span
from campaign_express.pipeline.loader import mark_dirty
from campaign_express.ports import Warehouse

_MINUTES = """
SELECT DISTINCT toUnixTimestamp(toStartOfMinute(time)) AS minute
FROM (SELECT time FROM events WHERE CHOSEN UNION ALL SELECT time FROM decisions WHERE CHOSEN)
ORDER BY minute
""".replace("CHOSEN", "time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')} AND test = 0")
OWN_MINUTES = "replay_minute"
_SUMS = ("rollup_minute", "rollup_hour", "rollup_day")
_WITHIN = "start >= {first:DateTime('UTC')} AND start < {end:DateTime('UTC')}"
# Of days whose decisions may be gone only what events alone make.
_OLD = " AND part = 'events' AND dimension IN ('', 'creative', 'exchange')"


def resum(
    warehouse: Warehouse, days: Sequence[date], told: Callable[[float], None] = lambda share: None
) -> tuple[list[date], list[Difference]]:
    """Days whose sums stay as they are, and where those of the others are not what the tables hold.

    Days that get events meanwhile are not compared: the pipeline sums them again.
    """
    marked: dict[date, int] = {}  # when we did, by the store's clock
    now_s = store_ms(warehouse) // 1000
    kept = in_force(warehouse)
    summed = [day for day in days if midnight(day) >= now_s - kept.summed_s or not _has_sums(warehouse, day)]
    for number, day in enumerate(summed):
        minutes = minutes_of(warehouse, day)
        mark_dirty(warehouse, [minute // 60 for minute in minutes])
        old = _OLD if midnight(day) < now_s - kept.detailed_s else ""
        for table in _SUMS:
            warehouse.run(f"ALTER TABLE {table} DELETE WHERE {_WITHIN}{old} SETTINGS mutations_sync = 2", span(day))
        mark_dirty(warehouse, [minute // 60 for minute in minutes])
        marked[day] = store_ms(warehouse)
        with _by_minute(warehouse, midnight(day) < now_s - kept.summed_s) as by_minute:
            for hour, of_hour in groupby(minutes, lambda minute: minute // 3600):
                rollups.build(warehouse, list(of_hour), store_ms(warehouse), by_minute=by_minute)
                told((number + hour % 24 / 24) / len(summed))
    return [day for day in days if day not in summed], _differences(warehouse, marked, now_s)


def _differences(warehouse: Warehouse, marked: dict[date, int], now_s: int) -> list[Difference]:
    """Of the days that have got nothing since they were `marked`."""

    def quiet() -> list[date]:
        got = marks(warehouse)
        return [day for day, at in marked.items() if got.get(day, (0, False))[0] <= at]

    found: list[Difference] = []
    for _ in range(ATTEMPTS):
        days = quiet()
        found = list(sums_differences(warehouse, days, now_s))
        if not found:
            break
        time.sleep(PAUSE_S)  # rows are marked after they are inserted
        if quiet() == days:
            break
    return found


def store_ms(warehouse: Warehouse) -> int:
    """The store's own time, Unix ms."""
    return int(warehouse.query(f"SELECT {rollups.NOW_MS}").rows[0][0])


def minutes_of(warehouse: Warehouse, day: date) -> list[int]:
    """Minutes of a day that have anything to be summed, Unix seconds."""
    return [int(minute) for (minute,) in warehouse.query(_MINUTES, span(day)).rows]


@contextmanager
def _by_minute(warehouse: Warehouse, long_ago: bool) -> Iterator[str]:
    if not long_ago:
        yield "rollup_minute"
        return
    key = "(campaign, dimension, value, advertiser, part, start)"
    warehouse.run(f"DROP TABLE IF EXISTS {OWN_MINUTES} SYNC")
    warehouse.run(f"CREATE TABLE {OWN_MINUTES} AS rollup_minute ENGINE = ReplacingMergeTree(built) ORDER BY {key}")
    try:
        yield OWN_MINUTES
    finally:
        warehouse.run(f"DROP TABLE IF EXISTS {OWN_MINUTES} SYNC")


def _has_sums(warehouse: Warehouse, day: date) -> bool:
    return bool(warehouse.query(f"SELECT count() FROM rollup_day WHERE {_WITHIN}", span(day)).rows[0][0])  # noqa: S608
