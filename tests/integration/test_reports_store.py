"""`report`: it asks the bidder that has this machine's tables, or opens them, sums what is not summed, leaves them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.adapters.chdb_socket import OwnedChdb
from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.cli import app
from campaign_express.events import (
    DECISIONS,
    STREAM,
    DecisionEvent,
    DecisionFrame,
    MoneyEvent,
    encode_event,
    encode_frame,
)
from campaign_express.pipeline.loader import LOADERS, Message, mark_dirty


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAMPAIGN_EXPRESS_CLICKHOUSE_URL", raising=False)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path / "var"))
    return tmp_path / "var"


def filled(directory: Path) -> None:
    """One bid that was won and shown, stored and not yet summed."""
    warehouse = ChdbWarehouse(directory)
    migrate(warehouse)
    now_ms = time.time_ns() // 1_000_000
    decision = DecisionEvent(
        *("bid", "k", now_ms, "north", "sun", "sun-a", "sun-a-1", "", 1, 2_000_000, 0, 0, 0, "", "banner", "", "site"),
        *("news.example", "DEU", "", 2, "", "", False, 1, "m", 900, False),
    )
    win = MoneyEvent(
        id="w",
        bid_key="k",
        kind="win",
        exchange="north",
        auction="a",
        imp="1",
        bid="b",
        advertiser="sun",
        campaign="sun-a",
        creative="sun-a-1",
        authorised_micros=2000,
        clear_micros=1500,
        sets_price=True,
        bid_ms=now_ms,
    )
    loaded = [
        LOADERS[DECISIONS].load(warehouse, [Message(1, "d", encode_frame(DecisionFrame(1, "f", [decision])))], "d"),
        LOADERS[STREAM].load(warehouse, [Message(1, "m", encode_event(win))], "m"),
    ]
    mark_dirty(warehouse, {minute for one in loaded for minute in one.minutes})
    warehouse.close()


def test_the_store_is_opened_summed_and_left(data_dir: Path) -> None:
    filled(data_dir / "chdb")
    for _ in range(2):  # it can be opened again: nothing holds it
        done = CliRunner().invoke(app, ["report", "delivery", "--from", "yesterday", "--format", "json"])
        assert done.exit_code == 0, done.output
        assert f"tables: chDB in {data_dir / 'chdb'}, opened by this process" in done.stderr
        told = json.loads(done.stdout)
        assert told["source"] == "rollup_day"
        assert told["rows"][0][:8] == ["sun", "sun-a", 1, 1, 0, 0, 0, "0.001500"]
    shown = CliRunner().invoke(app, ["report", "win-rate", "--from", "yesterday", "--filter", "country=DEU"]).stdout
    assert "100.00%" in shown
    refused = CliRunner().invoke(app, ["report", "delivery", "--period", "week"])
    assert (refused.exit_code, "period is none of minute" in refused.stderr) == (2, True)


def test_a_bidder_that_runs_is_asked(data_dir: Path, tmp_path: Path) -> None:
    filled(data_dir / "chdb")
    bidder = OwnedChdb(data_dir / "chdb")
    try:
        rollups.catch_up(bidder, everything=True)  # as it does by itself
        options = ("report", "delivery", "--from", "yesterday", "--filter", "campaign=sun-a", "--format")
        done = CliRunner().invoke(app, [*options, "csv"])
        assert (done.exit_code, "asked of the bidder that runs" in done.stderr) == (0, True), done.output
        assert done.stdout.splitlines()[1].startswith("sun,sun-a,1,1,0,0,0,0.001500")
        file = tmp_path / "report.parquet"
        assert CliRunner().invoke(app, [*options, "parquet", "--output", str(file)]).exit_code == 0
        assert file.read_bytes()[:4] == b"PAR1"
        assert CliRunner().invoke(app, [*options, "table", "--output", str(tmp_path / "t.txt")]).exit_code == 0
        assert "sun-a" in (tmp_path / "t.txt").read_text()
    finally:
        bidder.close()
