"""A report as JSON, CSV or Parquet. The same figures in each:

| kind | in a `Report` | JSON | CSV | Parquet |
|---|---|---|---|---|
| usd | integer micros | string, six decimal places | as JSON | decimal(38, 6) |
| share, ratio, ms | float | number | number | double |
| count | int | number | number | int64 |
| text, time | str | string | text | string |

What there is not (a rate over nothing) is null, in CSV an empty field.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

Cell = str | int | float | None
MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Head(NamedTuple):
    """A column's name and kind."""

    name: str
    kind: str


class Report(NamedTuple):
    """What a report says. `cut`: there are more rows than `limit`; `source`: the tables that answered."""

    title: str
    query: dict[str, Any]
    columns: tuple[Head, ...]
    rows: list[tuple[Cell, ...]]
    totals: tuple[Cell, ...] | None
    cut: bool
    source: str


def encode(report: Report, form: str) -> bytes:
    return {"json": to_json, "csv": to_csv, "parquet": to_parquet}[form](report)


def usd(micros: int) -> str:
    """`12.345678`: exact, always six places."""
    sign, whole = ("-" if micros < 0 else ""), abs(micros)
    return f"{sign}{whole // 1_000_000}.{whole % 1_000_000:06d}"


def to_json(report: Report) -> bytes:
    kinds = [column.kind for column in report.columns]
    return msgspec.json.encode(
        {
            "title": report.title,
            "query": report.query,
            "source": report.source,
            "columns": [{"name": column.name, "kind": column.kind} for column in report.columns],
            "rows": [_written(row, kinds) for row in report.rows],
            "totals": None if report.totals is None else _written(report.totals, kinds),
            "cut": report.cut,
        }
    )


def to_csv(report: Report) -> bytes:
    """Rows only, without the total. Text that a spreadsheet would take for a formula begins with an apostrophe."""
    kinds = [column.kind for column in report.columns]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    writer.writerow([column.name for column in report.columns])
    for row in report.rows:
        writer.writerow([_plain(cell, kind) for cell, kind in zip(_written(row, kinds), kinds, strict=True)])
    return out.getvalue().encode()


def to_parquet(report: Report) -> bytes:
    import pyarrow as pa  # comes with chDB; wanted only here
    import pyarrow.parquet as pq

    types = {
        "usd": pa.decimal128(38, 6),
        "count": pa.int64(),
        "share": pa.float64(),
        "ratio": pa.float64(),
        "ms": pa.float64(),
    }
    columns = list(zip(*report.rows, strict=True)) if report.rows else [() for _ in report.columns]
    arrays, fields = [], []
    for (name, kind), cells in zip(report.columns, columns, strict=True):
        made: Sequence[Any] = cells
        if kind == "usd":
            made = [None if cell is None else Decimal(usd(int(cell))) for cell in cells]
        column_type = types.get(kind, pa.string())
        arrays.append(pa.array(made, column_type))
        fields.append(pa.field(name, column_type))
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), out)
    return out.getvalue()


def _written(row: tuple[Cell, ...], kinds: Sequence[str]) -> list[Cell]:
    return [
        usd(int(cell)) if kind == "usd" and cell is not None else cell for cell, kind in zip(row, kinds, strict=True)
    ]


def _plain(cell: Cell, kind: str) -> Cell:
    if kind == "text" and isinstance(cell, str) and cell.startswith(_FORMULA):
        return f"'{cell}"
    return cell
