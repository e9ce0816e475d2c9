"""Logged requests of some days, in order, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from campaign_express.analytics.audit import midnight
from campaign_express.ports import Warehouse

AT_ONCE = 2_000  # rows of one query, about: a row may be 100 KB
DAY_S = 86_400
COLUMNS = ("time_ms", "exchange", "body", "segments", "bids", "reason", "user", "weight")
_WITHIN = "FROM requests FINAL WHERE time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')}"
_ROWS = (
    "SELECT toUnixTimestamp64Milli(time) AS time_ms, exchange, body, segments, bids, reason, user, weight "
    f"{_WITHIN} ORDER BY time, id"
)


def count(warehouse: Warehouse, days: Sequence[date]) -> int:
    return sum(_of_day(warehouse, day) for day in days)


def rows(warehouse: Warehouse, days: Sequence[date]) -> Iterator[tuple[Any, ...]]:
    """In the order of COLUMNS."""
    for day in days:
        start, parts = midnight(day), min(-(-_of_day(warehouse, day) // AT_ONCE), DAY_S)
        for part in range(parts):
            bounds = {"first": start + DAY_S * part // parts, "end": start + DAY_S * (part + 1) // parts}
            yield from warehouse.query(_ROWS, bounds).rows


def _of_day(warehouse: Warehouse, day: date) -> int:
    bounds = {"first": midnight(day), "end": midnight(day) + DAY_S}
    return int(warehouse.query(f"SELECT count() {_WITHIN}", bounds).rows[0][0])
