"""`report` while no bidder runs: it opens the store of this machine, sums what is not summed, and leaves it."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from campaign_express.adapters.chdb import ChdbWarehouse
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
    """Of a machine on which nothing listens."""
    spare = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    spare.server_close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_SERVE_PORT", str(spare.server_port))
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
        told = json.loads(done.stdout)
        assert told["source"] == "rollup_day"
        assert told["rows"][0][:8] == ["sun", "sun-a", 1, 1, 0, 0, 0, "0.001500"]
    shown = CliRunner().invoke(app, ["report", "win-rate", "--from", "yesterday", "--filter", "country=DEU"]).stdout
    assert "100.00%" in shown
    refused = CliRunner().invoke(app, ["report", "delivery", "--period", "week"])
    assert (refused.exit_code, "period is none of minute" in refused.stderr) == (2, True)


def test_a_store_that_another_has(data_dir: Path) -> None:
    holder = ChdbWarehouse(data_dir / "chdb")
    try:
        done = CliRunner().invoke(app, ["report", "delivery"])
    finally:
        holder.close()
    assert (done.exit_code, "another process has it" in done.stderr) == (1, True)
