"""Rows of a table in a Parquet file, with the types of its columns: times are milliseconds, UTC.

A file appears under its name only when it is whole and on disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from campaign_express.errors import WarehouseError

BATCH = 50_000  # rows that are read at once

Column = tuple[str, str]  # name, and type as ClickHouse writes it


class Written(NamedTuple):
    """A file and what is in it."""

    rows: int
    bytes: int
    sha256: str


def write(path: Path, columns: Sequence[Column], parts: Iterable[Sequence[tuple[Any, ...]]]) -> Written:
    """Write `parts` of rows, each a row group. Times are milliseconds."""
    import pyarrow

    schema = pyarrow.schema([pyarrow.field(name, _type(kind), nullable=False) for name, kind in columns])

    def tables() -> Iterator[Any]:
        for rows in parts:
            if rows:
                values = zip(*rows, strict=True)
                arrays = [pyarrow.array(list(v), field.type) for v, field in zip(values, schema, strict=True)]
                yield pyarrow.table(arrays, schema=schema)

    return _write(path, schema, tables())


def count(path: Path, column: str, values: Collection[str]) -> int:
    """Rows that have one of `values` in `column`."""
    import pyarrow
    from pyarrow import compute, parquet

    file = parquet.ParquetFile(path)
    if column not in file.schema_arrow.names:
        return 0
    wanted = pyarrow.array(sorted(values), pyarrow.string())
    batches = file.iter_batches(BATCH, columns=[column])
    return sum(int(compute.sum(compute.is_in(batch.column(0), wanted)).as_py() or 0) for batch in batches)


def without(path: Path, into: Path, column: str, values: Collection[str], *, rows_stay: bool) -> Written:
    """Write `path` to `into` without the rows that have one of `values` in `column`, or with "" in its place there."""
    import pyarrow
    from pyarrow import compute, parquet

    file = parquet.ParquetFile(path)
    schema = file.schema_arrow
    wanted, place = pyarrow.array(sorted(values), pyarrow.string()), schema.get_field_index(column)

    def tables() -> Iterator[Any]:
        for batch in file.iter_batches(BATCH):
            table = pyarrow.Table.from_batches([batch], schema)
            named = compute.is_in(table.column(place), wanted)
            if rows_stay:
                table = table.set_column(place, schema.field(place), compute.if_else(named, "", table.column(place)))
            else:
                table = table.filter(compute.invert(named))
            if table.num_rows:
                yield table

    return _write(into, schema, tables())


def _write(path: Path, schema: Any, tables: Iterable[Any]) -> Written:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    count = 0
    try:
        with parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
                count += table.num_rows
        checksum = sha256_of(unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        size = unfinished.stat().st_size
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return Written(count, size, checksum)


def read(path: Path, columns: Sequence[Column]) -> Iterator[dict[str, list[Any]]]:
    """The file's rows by column, some at a time. Raises WarehouseError where it has other columns."""
    import pyarrow
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    wanted = {name: _type(kind) for name, kind in columns}
    found = {field.name: field.type for field in file.schema_arrow}
    if unknown := found.keys() - wanted.keys():
        raise WarehouseError(f"{path}: the table has no column {', '.join(sorted(unknown))}")
    if wrong := [name for name, kind in found.items() if kind != wanted[name]]:
        raise WarehouseError(f"{path}: not of the table's type: {', '.join(sorted(wrong))}")
    for batch in file.iter_batches(BATCH):
        by_name: dict[str, list[Any]] = {}
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            whole = values.cast(pyarrow.int64()) if pyarrow.types.is_timestamp(values.type) else values
            by_name[name] = whole.to_pylist()
        yield by_name


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _type(kind: str) -> Any:
    import pyarrow

    if kind.startswith("LowCardinality("):
        kind = kind[len("LowCardinality(") : -1]
    if kind.startswith("DateTime64(3"):
        return pyarrow.timestamp("ms", tz="UTC")
    if kind == "Array(String)":
        return pyarrow.list_(pyarrow.field("element", pyarrow.string(), nullable=False))
    simple = {
        "String": pyarrow.string,
        "UInt8": pyarrow.uint8,
        "UInt32": pyarrow.uint32,
        "UInt64": pyarrow.uint64,
        "Int64": pyarrow.int64,
    }
    if kind not in simple:
        raise WarehouseError(f"a column of type {kind} cannot be exported")
    return simple[kind]()
