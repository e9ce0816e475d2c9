"""docs/reports.md has every report with its columns, every column with a formula, every parameter."""

from __future__ import annotations

import re
from pathlib import Path

from campaign_express.analytics.report_kinds import BID, KINDS, PRICES
from campaign_express.analytics.report_query import FILTER, FORMATS, LIMIT, MAX_LIMIT, NAMES
from campaign_express.analytics.report_range import MAX_PERIODS, PERIODS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_parameters() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| ", section("Parameters"), re.M)
    assert {name for row in rows for name in quoted(row)} == {*NAMES, f"{FILTER}DIMENSION"}
    for name in (*PERIODS, *FORMATS, *BID, f"{LIMIT:,}", f"{MAX_LIMIT:,}", f"{MAX_PERIODS:,}"):
        assert name in section("Parameters")


def test_every_report_with_its_columns() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]* \| ([^|]*) \| ([^|]*) \|$", section("Reports"), re.M)
    assert {name: quoted(columns) for name, _, columns in rows} == {
        name: [column.name for column in kind.columns] for name, kind in KINDS.items()
    }
    for name, usual, _ in rows:
        if KINDS[name].group_by:
            assert quoted(usual) == [",".join(KINDS[name].group_by)]


def test_every_column_is_explained() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| ([a-z, ]+) \| ", section("Columns"), re.M)
    explained = {name: kinds for cell, kinds in rows for name in quoted(cell)}
    columns = {column.name: column.kind for kind in KINDS.values() for column in kind.columns}
    assert explained.keys() == columns.keys()
    assert all(kind in explained[name] for name, kind in columns.items())


def test_price_buckets() -> None:
    line = re.search(r"Buckets begin at ([\d., and]+) USD", TEXT)
    assert line is not None
    assert [round(float(one) * 1_000_000) for one in re.findall(r"\d+(?:\.\d+)?", line[1])] == list(PRICES)
