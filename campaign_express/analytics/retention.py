"""For how long tables keep their rows: settings, and the TTLs that the store has in force.

What is in force is asked of the store whenever it matters (what can still be summed, what a report may ask for), so
that processes with other settings, or a change under way, make no figure wrong.
"""

from __future__ import annotations

import logging
import re
from typing import NamedTuple

from campaign_express.analytics.migrate import rendered
from campaign_express.ports import Warehouse

log = logging.getLogger(__name__)

DAY_S = 86_400
FOR_EVER_S = 2**40
EDGE_DAYS = 2  # before its rows go a day is summed no more: half of a day is no day
LEAST_DAYS = EDGE_DAYS + 1


class Kept(NamedTuple):
    """Days, 0: for ever. The defaults are what migrations make tables with."""

    events: int = 400
    decisions: int = 30
    requests: int = 14
    minutes: int = 40  # sums by minute
    hours: int = 400  # sums by hour, and marks of what is to be summed

    def seconds(self, what: str) -> int:
        days: int = getattr(self, what)
        return days * DAY_S if days else FOR_EVER_S

    @property
    def summed_s(self) -> int:
        """Minutes that are older are summed no more."""
        return min(self.seconds("minutes"), self.seconds("hours"), self.seconds("events")) - EDGE_DAYS * DAY_S

    @property
    def detailed_s(self) -> int:
        """Minutes that are older are summed by what notices say alone: their decisions are going, or gone."""
        return self.seconds("decisions") - EDGE_DAYS * DAY_S


DEFAULTS = Kept()
# Table -> the field of Kept that it goes by, and its time.
GOES_BY = {
    "events": ("events", "toDateTime(time)"),
    "decisions": ("decisions", "toDateTime(time)"),
    "requests": ("requests", "toDateTime(time)"),
    "rollup_minute": ("minutes", "start"),
    "rollup_hour": ("hours", "start"),
    "rollup_marks": ("hours", "start"),
}
_DAYS = re.compile(r"\bTTL \S+ \+ toIntervalDay\((\d+)\)")
_TABLES = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"


def in_force(warehouse: Warehouse) -> Kept:
    """By the tables' own TTLs."""
    found = _by_table(warehouse)
    return Kept(**{field: found[table] for table, (field, _) in GOES_BY.items() if table in found})


def apply(warehouse: Warehouse, wanted: Kept) -> list[str]:
    """Change the TTLs that differ; a line for each that did. Rows that are too old then go in the background."""
    found = _by_table(warehouse)
    told = []
    for table, (field, time) in GOES_BY.items():
        days, before = getattr(wanted, field), found.get(table)
        if before is None or before == days:
            continue
        change = f"MODIFY TTL {time} + INTERVAL {days:d} DAY" if days else "REMOVE TTL"
        warehouse.run(rendered(f"ALTER TABLE {table} ${{on_cluster}} {change}", warehouse.cluster))
        told.append(f"{table}: kept {_shown(days)} (before: {_shown(before)})")
        log.info("a table keeps its rows for another time", extra={"table": table, "days": days, "before": before})
    return told


def _by_table(warehouse: Warehouse) -> dict[str, int]:
    """Days, 0 where a table has no TTL."""
    found = {}
    for table, engine in warehouse.query(_TABLES).rows:
        if table in GOES_BY:
            read = _DAYS.search(str(engine))
            found[str(table)] = int(read[1]) if read else 0
    return found


def _shown(days: int) -> str:
    return f"{days} days" if days else "for ever"
