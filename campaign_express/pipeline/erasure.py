"""One person taken out of the tables: rows stay, for they are money, but name nobody; logged requests go whole.

By every name that the person has had in events: pseudonyms, and tokens from when no key could be read. Sums count
persons, so the minutes in which this one was counted are summed anew.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from campaign_express.analytics import rollups
from campaign_express.analytics.retention import in_force
from campaign_express.pipeline.loader import mark_dirty
from campaign_express.pipeline.resum import store_ms
from campaign_express.ports import Warehouse

TABLES = ("events", "decisions", "requests")
_WHO = "user IN {users:Array(String)}"


def rows_of(warehouse: Warehouse, users: Collection[str]) -> dict[str, int]:
    """How many rows of each table name one of `users`."""
    found = {}
    for table in TABLES:
        [(rows,)] = warehouse.query(f"SELECT count() FROM {table} WHERE {_WHO}", {"users": sorted(users)}).rows  # noqa: S608
        found[table] = int(rows)
    return found


def sequences_of(warehouse: Warehouse, users: Collection[str]) -> list[int]:
    """Where in the event log the events are that name one of `users`."""
    rows = warehouse.query(f"SELECT DISTINCT seq FROM events WHERE {_WHO}", {"users": sorted(users)}).rows  # noqa: S608
    return sorted(int(sequence) for (sequence,) in rows)


def blank_rows(
    warehouse: Warehouse, users: Collection[str], tokens: Collection[str] = (), sequences: Collection[int] = ()
) -> int:
    """Returns when no row names one of `users` any more; how many minutes were summed anew. May be repeated.

    Events that name one of `tokens` only where they are among `sequences`, whose messages are blank: a row that came
    since is left, or its message would be found by nobody.
    """
    who = {"users": sorted(users), "tokens": sorted(tokens), "sequences": sorted(sequences)}
    chosen = f"{_WHO} AND (user NOT IN {{tokens:Array(String)}} OR seq IN {{sequences:Array(UInt64)}})"
    touched = f"SELECT DISTINCT toUnixTimestamp(toStartOfMinute(time)) AS minute FROM events WHERE {chosen}"  # noqa: S608
    minutes = [int(minute) for (minute,) in warehouse.query(f"{touched} ORDER BY minute", who).rows]
    mark_dirty(warehouse, [minute // 60 for minute in minutes])  # before: this may break off
    # Mutations, and no rows that would replace these: which event of two is the first one is told by `rank` alone.
    for change in (
        f"events UPDATE user = '' WHERE {chosen}",
        f"decisions UPDATE user = '' WHERE {_WHO}",
        f"requests DELETE WHERE {_WHO}",
    ):
        warehouse.run(f"ALTER TABLE {change} SETTINGS mutations_sync = 2", who)
    mark_dirty(warehouse, [minute // 60 for minute in minutes])
    oldest = store_ms(warehouse) // 1000 - in_force(warehouse).summed_s
    recent = [minute for minute in minutes if minute >= oldest]
    for _, of_hour in groupby(recent, lambda minute: minute // 3600):
        rollups.build(warehouse, list(of_hour), store_ms(warehouse))
    return len(recent)
