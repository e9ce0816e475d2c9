"""The numbered SQL files of `migrations/`, applied in order: the schema of the store, made or brought up to date.

Run at every start, and by `campaign-express db migrate`; a ClickHouse that is new gets its database first. Safe twice
and from many nodes at once: every statement says IF NOT EXISTS or its like, so that whoever comes second changes
nothing. A file that was applied and has changed since is refused. In the files `${replacing}` and `${replacing:column}`
stand for the engine, `${on_cluster}` for the cluster.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

from campaign_express.errors import WarehouseError
from campaign_express.ports import Warehouse

log = logging.getLogger(__name__)

_PLACE = re.compile(r"\$\{(\w+)(?::(\w+))?\}")
_LIKE = re.compile(r"\bAS (\w+)(?=\s+ENGINE\b)")
_NAME = re.compile(r"(\d{4})_(\w+)\.sql").fullmatch

_TABLE = """
CREATE TABLE IF NOT EXISTS migrations ${on_cluster}
(
    number UInt32,
    name String,
    checksum String,
    applied DateTime('UTC')
)
ENGINE = ${replacing:applied}
ORDER BY number
"""


class Migration(NamedTuple):
    """One file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]

    def statements(self) -> Iterator[str]:
        """As they stand in the file, without comments."""
        code = "\n".join(line for line in self.text.splitlines() if not line.lstrip().startswith("--"))
        yield from (part.strip() for part in code.split(";") if part.strip())


def migrations() -> list[Migration]:
    """All that the package holds, in order. Raises ValueError where a number is missing or used twice."""
    files = (resources.files("campaign_express.analytics") / "migrations").iterdir()
    named = [(file, name) for file in files if (name := _NAME(file.name))]
    found = sorted(Migration(int(name[1]), name[2], file.read_text("utf-8")) for file, name in named)
    if [one.number for one in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered one after the other: {[one.number for one in found]}")
    return found


def rendered(statement: str, cluster: str, database: str = "") -> str:
    """`statement` for one server, or for the replicas of `cluster`: each looks for the table that another one is made
    like in its default database, unless it is told that it is in `database`."""

    def place(match: re.Match[str]) -> str:
        name, column = match[1], match[2]
        if name == "on_cluster":
            return f"ON CLUSTER '{cluster}'" if cluster else ""
        if name != "replacing":
            raise ValueError(f"no such placeholder: {match[0]}")
        if not cluster:
            return f"ReplacingMergeTree({column or ''})"
        path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
        return f"ReplicatedReplacingMergeTree({path}{f', {column}' if column else ''})"

    like = rf"AS {database}.\1" if cluster and database else r"AS \1"
    return _LIKE.sub(like, _PLACE.sub(place, statement))


def applied(warehouse: Warehouse) -> dict[int, str]:
    """Checksums by number of what was applied."""
    rows = warehouse.query("SELECT number, checksum FROM migrations FINAL").rows
    return {int(number): str(checksum) for number, checksum in rows}


def migrate(warehouse: Warehouse, again: bool = False) -> list[Migration]:
    """Make the database and apply what is missing; returns it. `again`: also what was applied, for a replica of the
    cluster that has lost its disk; where tables are, nothing changes.

    Raises Unavailable, or WarehouseError for a file that has changed.
    """
    warehouse.make_database()
    warehouse.run(rendered(_TABLE, warehouse.cluster))
    database = str(warehouse.query("SELECT currentDatabase()").rows[0][0])
    known = applied(warehouse)
    done = []
    for migration in migrations():
        if migration.number in known:
            if known[migration.number] != migration.checksum:
                raise WarehouseError(
                    f"migration {migration.number:04d}_{migration.name} was applied in another form: the store belongs "
                    "to another version of this program"
                )
            if not again:
                continue
        for statement in migration.statements():
            warehouse.run(rendered(statement, warehouse.cluster, database))
        if migration.number in known:
            continue
        warehouse.run(
            "INSERT INTO migrations SELECT {number:UInt32}, {name:String}, {checksum:String}, now()",
            {"number": migration.number, "name": migration.name, "checksum": migration.checksum},
        )
        log.info("migration applied", extra={"number": migration.number, "migration": migration.name})
        done.append(migration)
    if newer := known.keys() - {one.number for one in migrations()}:
        log.warning("the store has migrations of a newer version of this program", extra={"numbers": sorted(newer)})
    return done
