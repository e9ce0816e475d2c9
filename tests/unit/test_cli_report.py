"""`report`: what it shows, and what it refuses before it asks anybody."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from campaign_express.cli import app
from campaign_express.cli.report import table_of

TOLD: dict[str, Any] = {
    "title": "Delivery",
    "query": {"from": "2026-11-28", "to": "2026-11-29", "timezone": "UTC"},
    "source": "rollup_day",
    "columns": [
        {"name": "place", "kind": "text"},
        {"name": "bids", "kind": "count"},
        {"name": "spend", "kind": "usd"},
        {"name": "ctr", "kind": "share"},
    ],
    "rows": [["news[bold]\x1b[31m", 1234567, "1234.500000", 0.0123], ["", 0, "0.000001", None]],
    "totals": [None, 1234567, "1234.500001", 0.0123],
    "cut": True,
}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAMPAIGN_EXPRESS_CLICKHOUSE_URL", raising=False)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path / "var"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def test_a_table() -> None:
    written = io.StringIO()
    Console(file=written, width=160).print(table_of(TOLD))
    shown = written.getvalue()
    assert "Delivery: 2026-11-28 to 2026-11-29, UTC" in shown
    assert "1,234,567" in shown
    assert "1,234.50" in shown
    assert "1.23%" in shown
    assert "news[bold]\N{REPLACEMENT CHARACTER}[31m" in shown, "nothing that came from a request is obeyed"
    assert "total" in shown
    assert "of rollup_day; the first 2 rows" in shown


def test_wrong_options() -> None:
    for options, words in ((("--filter", "campaign"), "DIMENSION=VALUE"), (("--format", "xml"), "none of table")):
        done = run("delivery", *options)
        assert done.exit_code == 2
        assert words in done.stderr


def test_no_bidder_and_no_data(tmp_path: Path) -> None:
    done = run("delivery")
    assert (done.exit_code, "nothing has been recorded yet" in done.stderr) == (1, True)
    assert not (tmp_path / "var").exists(), "asking makes nothing"
