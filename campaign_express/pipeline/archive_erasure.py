"""One person taken out of exports: as out of the tables (`erasure.py`), file by file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

from campaign_express.pipeline.archive import MANIFEST, Archive, ArchiveError, writing
from campaign_express.pipeline.erasure import TABLES

ROWS_STAY = frozenset({"events", "decisions"})  # of the others rows go
USER = "user"


def rows_of(directory: Path, users: Collection[str]) -> dict[str, int]:
    """How many rows of each table's exports name one of `users`.

    Raises ArchiveError for a file that is damaged, and where there is no export.
    """
    if not (directory / MANIFEST).exists():
        raise ArchiveError(f"{directory}: holds no export: there is no {MANIFEST}")
    archive = Archive(directory)
    found = dict.fromkeys(TABLES, 0)
    for table, day in _days(archive):
        found[table] += archive.count(table, day, USER, users)
    return found


def blank(directory: Path, users: Collection[str]) -> None:
    """Returns when no file of exports names one of `users`. May be repeated. Raises ArchiveError."""
    with writing(directory) as archive:
        archive.sweep()
        for table, day in _days(archive):
            if archive.count(table, day, USER, users):
                archive.rewrite(table, day, USER, users, rows_stay=table in ROWS_STAY)


def _days(archive: Archive) -> Iterator[tuple[str, date]]:
    for table in TABLES:
        for day in list(archive.manifest.tables.get(table, {})):
            yield table, date.fromisoformat(day)
