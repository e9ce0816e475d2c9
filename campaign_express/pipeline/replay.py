"""Days of the tables built anew, from the streams or from an archive.

What is read goes into tables of its own (`replay_*`) first, by the pipeline's own loaders. Whole days then take the
place of what was stored, each in one step (REPLACE PARTITION), so that reports never see half a day, and a replay that
breaks off before that has changed nothing. What the pipeline has inserted meanwhile is read from the stream once more.
Then the days' sums are made anew. Every step may be done again: after a break, `Replay.run` is simply called again.
Only one may run at a time (`adapters.rebuild_lock`).

Days are of UTC, as partitions are. Changes are few and are not summed: those that are missing are added.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple, Protocol

from campaign_express.analytics.audit import Difference, midnight
from campaign_express.errors import CampaignExpressError
from campaign_express.pipeline.archive import DAY_S, Archive
from campaign_express.pipeline.resum import resum
from campaign_express.ports import Warehouse

BY_DAY = ("events", "decisions", "requests")
TABLES = (*BY_DAY, "changes")
PARTS = {"events": ("events",), "decisions": ("decisions", "requests"), "changes": ("changes",)}  # each a stream's
STAGED = {table: f"replay_{table}" for table in BY_DAY}

Told = Callable[[float, str], None]  # a share of the work, 0 to 1, and what it is


class ReplayRefused(CampaignExpressError):
    """The source has less than what would be replaced; nothing was changed."""


class Source(Protocol):
    """What tables are built from."""

    grows: bool  # whether `load_later` brings what is stored after `load` began

    def lacks(self, tables: Sequence[str], days: Sequence[date]) -> list[str]:
        """A line for each part of the days that it is known not to have. Raises CampaignExpressError."""
        ...

    def load(self, warehouse: Warehouse, into: Mapping[str, str], days: Sequence[date], told: Told) -> int:
        """Insert the days' rows of the tables that are the keys of `into` into the tables that are its values.

        Rows of other days do no harm. Returns how many messages could not be read.
        """
        ...

    def load_later(self, warehouse: Warehouse, tables: Sequence[str], days: Sequence[date]) -> None:
        """Insert what has come since `load` began."""
        ...


class Rebuilt(NamedTuple):
    """Rows of the days by table, before and after; what is not right afterwards."""

    before: Mapping[str, int]
    after: Mapping[str, int]
    unreadable: int
    differences: list[Difference]
    not_summed: list[date]  # too long ago


class Replay:
    """Of `first` to `last`, both included."""

    def __init__(
        self,
        warehouse: Warehouse,
        source: Source,
        first: date,
        last: date,
        parts: Sequence[str] = tuple(PARTS),
        *,
        incomplete: bool = False,
        told: Told = lambda share, what: None,
        still_alone: Callable[[], None] = lambda: None,
    ) -> None:
        """`parts`: of PARTS. `incomplete`: replace what is stored also where the source has less.

        `still_alone` is asked before each step that another replay would get into the way of, and raises if one may.
        """
        self.days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        self._warehouse = warehouse
        self._source = source
        self._tables = [table for part in parts for table in PARTS[part]]
        self._incomplete = incomplete
        self._told = told
        self._still_alone = still_alone

    def run(self) -> Rebuilt:
        """Raises ReplayRefused or Unavailable; sees to it that nothing of its own is left behind."""
        lacking = self._source.lacks(self._tables, self.days)
        if lacking and not self._incomplete:
            raise ReplayRefused("\n".join(["the source does not have all of these days:", *lacking]))
        staged = [table for table in BY_DAY if table in self._tables]
        stored = {table: self._by_day(table) for table in self._tables}
        before = {table: sum(rows.values()) for table, rows in stored.items()}
        try:
            self._stage(staged)
            into = {table: STAGED.get(table, table) for table in self._tables}
            unreadable = self._source.load(self._warehouse, into, self.days, self._told)
            if not self._source.grows:
                stored = {table: self._by_day(table) for table in staged}
            self._compare({table: stored[table] for table in staged})
            self._swap(staged)
        finally:
            self._drop()
        self._still_alone()
        self._source.load_later(self._warehouse, staged, self.days)
        not_summed, wrong = resum(self._warehouse, self.days, lambda share: self._told(share, "summing"))
        return Rebuilt(before, self._rows(self._tables), unreadable, wrong, not_summed)

    def _stage(self, tables: Sequence[str]) -> None:
        self._drop()
        for table in tables:
            [(engine,)] = self._warehouse.query(
                "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
                {"table": table},
            ).rows
            self._warehouse.run(f"CREATE TABLE {STAGED[table]} AS {table} ENGINE = {own_engine(str(engine))}")
        if "events" in tables:
            # An order's first conversion may be of a day that is not replaced. They go with the table.
            outside = "NOT (time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')})"
            self._warehouse.run(
                f"INSERT INTO {STAGED['events']} SELECT * FROM events FINAL WHERE kind = 'conversion' AND {outside}",  # noqa: S608
                self._span(),
            )

    def _drop(self) -> None:
        for table in STAGED.values():
            self._warehouse.run(f"DROP TABLE IF EXISTS {table} SYNC")

    def _compare(self, stored: Mapping[str, Mapping[date, int]]) -> None:
        """Refuse to replace more by less. `stored`: rows by table and day."""
        less = []
        for table, by_day in stored.items():
            read = self._by_day(STAGED[table])
            less += [
                f"{table} of {day}: {read.get(day, 0):,} rows in place of {rows:,}"
                for day, rows in sorted(by_day.items())
                if read.get(day, 0) < rows
            ]
        if less and not self._incomplete:
            raise ReplayRefused("\n".join(["the source has less than what is stored, which was left as it is:", *less]))

    def _swap(self, tables: Sequence[str]) -> None:
        for table in tables:
            read = self._by_day(STAGED[table])
            for day in self.days:
                partition = f"PARTITION ID '{day:%Y%m%d}'"
                # Nothing takes the place of nothing, and a day that has ceased to be is dropped.
                self._still_alone()
                change = f"REPLACE {partition} FROM {STAGED[table]}" if read.get(day) else f"DROP {partition}"
                self._warehouse.run(f"ALTER TABLE {table} {change}")

    def _rows(self, tables: Sequence[str]) -> dict[str, int]:
        return {table: sum(self._by_day(table).values()) for table in tables}

    def _by_day(self, table: str) -> dict[date, int]:
        found = self._warehouse.query(
            f"SELECT toDate(time) AS day, count() FROM {table} FINAL "  # noqa: S608
            "WHERE time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')} GROUP BY day",
            self._span(),
        )
        return {day: int(rows) for day, rows in found.rows}

    def _span(self) -> dict[str, int]:
        return {"first": midnight(self.days[0]), "end": midnight(self.days[-1]) + DAY_S}


def own_engine(engine: str) -> str:
    """Of one server only, though the table that its parts go to may have replicas: those fetch them."""
    return re.sub(r"^Replicated(\w+)\('[^']*', '[^']*'(?:, )?", r"\1(", engine)


class ArchiveSource:
    """What `pipeline.archive` has exported."""

    grows = False

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._token = secrets.token_hex(8)

    def lacks(self, tables: Sequence[str], days: Sequence[date]) -> list[str]:
        """Looks at every file whole: one that is damaged is an error in any case."""
        lacking = []
        for table, day in _each(tables, days):
            if self._archive.entry(table, day) is None:
                lacking.append(f"{table} of {day} was not exported to {self._archive.directory}")
            self._archive.check(table, day)
        return lacking

    def load(self, warehouse: Warehouse, into: Mapping[str, str], days: Sequence[date], told: Told) -> int:
        for done, (table, day) in enumerate(_each(list(into), days)):
            told(done / (len(into) * len(days)), f"reading {table} of {day}")
            for number, columns in enumerate(self._archive.read(warehouse, table, day)):
                warehouse.insert(into[table], columns, f"{self._token}-{table}-{day}-{number}")
        return 0

    def load_later(self, warehouse: Warehouse, tables: Sequence[str], days: Sequence[date]) -> None:
        """An archive does not grow."""


def _each(tables: Sequence[str], days: Sequence[date]) -> Iterator[tuple[str, date]]:
    for day in days:
        for table in tables:
            yield table, day
