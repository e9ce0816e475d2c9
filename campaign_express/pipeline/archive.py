"""Tables exported by day, as Parquet files, with a manifest of their rows and checksums.

    DIR/manifest.json
    DIR/events/2026-11-25-<beginning of its checksum>.parquet

A day's new export is another file; only when it is whole does the manifest name it in place of the one before, which is
then deleted. So whatever the manifest names is whole at any moment, and an export that broke off is simply run again.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from campaign_express.adapters import parquet
from campaign_express.adapters.parquet import Column, Written
from campaign_express.analytics.audit import midnight
from campaign_express.errors import CampaignExpressError
from campaign_express.ports import Warehouse

TABLES = ("events", "decisions", "requests", "changes")
MANIFEST = "manifest.json"
AT_ONCE = 100_000  # rows of one query, about
DAY_S = 86_400
_OURS = re.compile(r"\d{4}-\d\d-\d\d(-[0-9a-f]{16})?\.parquet(\.new)?").fullmatch


class ArchiveError(CampaignExpressError):
    """An archive that cannot be used, or not for this."""


class Entry(Struct, frozen=True):
    """One day of one table. A day without rows has no file."""

    file: str
    rows: int
    bytes: int
    sha256: str
    made: str  # when, ISO 8601


class Manifest(Struct, forbid_unknown_fields=True):
    """What a directory holds: table -> day -> entry."""

    format: int = 1
    tables: dict[str, dict[str, Entry]] = {}


class Archive:
    """One directory."""

    def __init__(self, directory: Path) -> None:
        """Raises ArchiveError for a manifest that cannot be read."""
        self.directory = directory
        try:
            raw = (directory / MANIFEST).read_bytes()
        except FileNotFoundError:
            self.manifest = Manifest()
            return
        try:
            self.manifest = msgspec.json.decode(raw, type=Manifest)
        except msgspec.DecodeError as error:
            raise ArchiveError(f"{directory / MANIFEST}: {error}") from None
        if self.manifest.format != 1:
            raise ArchiveError(f"{directory / MANIFEST}: is of format {self.manifest.format}, newer than 1")

    def entry(self, table: str, day: date) -> Entry | None:
        return self.manifest.tables.get(table, {}).get(day.isoformat())

    def check(self, table: str, day: date) -> None:
        """Raises ArchiveError where the day's file is not what was written."""
        entry = self.entry(table, day)
        if entry is None or not entry.file:
            return
        path = self.directory / entry.file
        if not path.exists():
            raise ArchiveError(f"{path}: is missing")
        if parquet.sha256_of(path) != entry.sha256:
            raise ArchiveError(f"{path}: is damaged: its checksum is not the manifest's")

    def read(self, warehouse: Warehouse, table: str, day: date) -> Iterator[dict[str, list[object]]]:
        entry = self.entry(table, day)
        if entry is not None and entry.file:
            yield from parquet.read(self.directory / entry.file, columns_of(warehouse, table))

    def export(self, warehouse: Warehouse, table: str, day: date) -> Entry:
        """Write one day of one table, and the manifest."""
        columns = columns_of(warehouse, table)
        written = parquet.write(self._unnamed(table, day), columns, _parts(warehouse, table, columns, day))
        return self._enter(table, day, written)

    def count(self, table: str, day: date, column: str, values: Collection[str]) -> int:
        """Rows of a day that have one of `values` in a column. Raises ArchiveError for a file that is damaged."""
        self.check(table, day)
        entry = self.entry(table, day)
        return 0 if entry is None or not entry.file else parquet.count(self.directory / entry.file, column, values)

    def rewrite(self, table: str, day: date, column: str, values: Collection[str], *, rows_stay: bool) -> Entry:
        """Without the rows that `count` counts, or with "" in that column of theirs."""
        before = self.manifest.tables[table][day.isoformat()]
        unnamed = self._unnamed(table, day)
        written = parquet.without(self.directory / before.file, unnamed, column, values, rows_stay=rows_stay)
        return self._enter(table, day, written)

    def sweep(self) -> None:
        """Delete what the manifest does not name: files of an export, or of a rewriting, that broke off."""
        named = {entry.file for of_table in self.manifest.tables.values() for entry in of_table.values()}
        for table in TABLES:
            for path in (self.directory / table).glob("*.parquet*"):
                if _OURS(path.name) and f"{table}/{path.name}" not in named:
                    path.unlink()

    def _unnamed(self, table: str, day: date) -> Path:
        return self.directory / table / f"{day.isoformat()}.parquet"

    def _enter(self, table: str, day: date, written: Written) -> Entry:
        """Name what has been written, and delete what it takes the place of."""
        unnamed, name = self._unnamed(table, day), ""
        if written.rows:
            name = f"{table}/{day.isoformat()}-{written.sha256[:16]}.parquet"
            unnamed.replace(self.directory / name)
        else:
            unnamed.unlink()
        before = self.entry(table, day)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Entry(name, written.rows, written.bytes if name else 0, written.sha256 if name else "", now)
        self.manifest.tables.setdefault(table, {})[day.isoformat()] = entry
        self._write_manifest()
        if before is not None and before.file and before.file != name:
            (self.directory / before.file).unlink(missing_ok=True)
        return entry

    def _write_manifest(self) -> None:
        path = self.directory / MANIFEST
        unfinished = path.with_suffix(".new")
        with unfinished.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.manifest), indent=2))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def writing(directory: Path) -> Iterator[Archive]:
    """The archive, while no other command of this machine writes to it. Raises ArchiveError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ArchiveError(f"{directory}: another command writes to it; repeat this when it has ended") from None
        yield Archive(directory)
    finally:
        os.close(descriptor)


def export(
    warehouse: Warehouse,
    directory: Path,
    days: Sequence[date],
    done: Callable[[int, str], None] = lambda count, what: None,
) -> dict[str, int]:
    """Write these days of all tables; returns rows by table. `done` is told of each day of each table."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = dict.fromkeys(TABLES, 0)
    count = 0
    with writing(directory) as archive:
        for day in days:
            for table in TABLES:
                rows[table] += archive.export(warehouse, table, day).rows
                count += 1
                done(count, f"{table} of {day}")
    return rows


def columns_of(warehouse: Warehouse, table: str) -> list[Column]:
    """Names and types of its columns, in order."""
    found = warehouse.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "ORDER BY position",
        {"table": table},
    )
    return [(str(name), str(kind)) for name, kind in found.rows]


def span(day: date) -> dict[str, int]:
    """Parameters of a query of one day."""
    return {"first": midnight(day), "end": midnight(day + timedelta(days=1))}


def _parts(
    warehouse: Warehouse, table: str, columns: Sequence[Column], day: date
) -> Iterator[Sequence[tuple[object, ...]]]:
    """A day's rows, each once, in parts that fit into memory."""
    condition = "time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')}"
    [(rows,)] = warehouse.query(f"SELECT count() FROM {table} WHERE {condition}", span(day)).rows  # noqa: S608
    [(key,)] = warehouse.query(
        "SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    ).rows
    # By another name, or the condition would be of what is made of the column.
    chosen = ", ".join(
        f"toUnixTimestamp64Milli({name}) AS {name}_ms" if kind.startswith("DateTime64") else name
        for name, kind in columns
    )
    start, parts = midnight(day), min(-(-rows // AT_ONCE), DAY_S // 60)
    for part in range(parts):
        bounds = {"first": start + DAY_S * part // parts, "end": start + DAY_S * (part + 1) // parts}
        yield warehouse.query(f"SELECT {chosen} FROM {table} FINAL WHERE {condition} ORDER BY {key}", bounds).rows  # noqa: S608
