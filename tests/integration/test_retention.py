"""How long tables keep rows: by settings, in the store itself, and what follows for sums and reports."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.analytics import retention, rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.analytics.reports import parse, run
from campaign_express.analytics.retention import DAY_S, Kept
from campaign_express.bootstrap_warehouse import kept
from campaign_express.cli import app
from campaign_express.config import Settings
from campaign_express.errors import ConfigError, InvalidRequest
from campaign_express.events import STREAM, encode_event
from campaign_express.pipeline.loader import LOADERS, mark_dirty
from campaign_express.pipeline.service import Store
from campaign_express.ports import Message
from tests.support.stored import money


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChdbWarehouse]:
    warehouse = ChdbWarehouse(tmp_path / "var" / "chdb")
    migrate(warehouse)
    yield warehouse
    warehouse.close()


def insert(store: ChdbWarehouse, days_ago: int) -> None:
    at = int(time.time() - days_ago * DAY_S) * 1000
    event = money(days_ago, sets_price=True, clear_micros=1500, bid_ms=at)
    loaded = LOADERS[STREAM].load(store, [Message(days_ago + 1, "m", encode_event(event))], f"d{days_ago}")
    mark_dirty(store, loaded.minutes)


def test_tables_are_made_with_the_defaults_of_the_settings(store: ChdbWarehouse) -> None:
    assert retention.in_force(store) == Kept() == kept(Settings())
    assert retention.apply(store, Kept()) == []


def test_what_differs_is_changed_and_rows_go(store: ChdbWarehouse) -> None:
    for days_ago in (1, 20):
        insert(store, days_ago)
    wanted = Kept(events=10, decisions=0, requests=14, minutes=40, hours=3)
    assert retention.apply(store, wanted) == [
        "events: kept 10 days (before: 400 days)",
        "decisions: kept for ever (before: 30 days)",
        "rollup_hour: kept 3 days (before: 400 days)",
        "rollup_marks: kept 3 days (before: 400 days)",
    ]
    assert retention.in_force(store) == wanted
    assert retention.apply(store, wanted) == []
    deadline = time.monotonic() + 90
    while store.query("SELECT count() FROM events").rows != [(1,)]:
        assert time.monotonic() < deadline, "what is older goes without a merge that somebody asks for"
        time.sleep(0.05)
    assert retention.apply(store, Kept())[1] == "decisions: kept 30 days (before: for ever)"
    assert retention.in_force(store) == Kept()


def test_sums_end_where_their_rows_are_going(store: ChdbWarehouse) -> None:
    """A late event of a day that is all there is summed; one of a day of which some minutes may be gone is not."""
    retention.apply(store, Kept(minutes=10))
    for days_ago in (7, 9):
        insert(store, days_ago)
    rollups.catch_up(store, everything=True)
    assert [
        int(wins) for (wins,) in store.query("SELECT sum(wins) FROM rollup_day FINAL WHERE dimension = ''").rows
    ] == [1]
    retention.apply(store, Kept(minutes=0, decisions=0))
    rollups.catch_up(store, everything=True)
    assert [
        int(wins) for (wins,) in store.query("SELECT sum(wins) FROM rollup_day FINAL WHERE dimension = ''").rows
    ] == [2]


def test_reports_refuse_what_is_kept_no_more(store: ChdbWarehouse) -> None:
    now_ms = int(time.time() * 1000)
    query = parse([("report", "latency"), ("from", "-20d")], now_ms)
    run(store, query, dict)
    retention.apply(store, Kept(decisions=7, hours=0))
    with pytest.raises(
        InvalidRequest, match=r"is more than 7 days ago, .* of whole hours for ever, of minutes for 38 "
    ):
        run(store, query, dict)


def test_days_that_are_too_few() -> None:
    with pytest.raises(ConfigError, match="hour_sums_keep_days: 2 days are too few: 3 or more, 0 for ever"):
        kept(Settings(hour_sums_keep_days=2))


def test_a_start_and_db_migrate_apply_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CAMPAIGN_EXPRESS_EVENTS_KEEP_DAYS", "500")
    said = CliRunner().invoke(app, ["db", "migrate"]).stdout
    assert said.splitlines()[-1] == "events: kept 500 days (before: 400 days)"
    begun = Store(lambda: ChdbWarehouse(tmp_path / "chdb"), kept(Settings(requests_keep_days=5)))
    assert retention.in_force(begun()) == Kept(requests=5)
    begun.close()
    monkeypatch.setenv("CAMPAIGN_EXPRESS_EVENTS_KEEP_DAYS", "1")
    refused = CliRunner().invoke(app, ["db", "migrate"])
    assert (refused.exit_code, "events_keep_days: 1 days are too few" in refused.stderr) == (2, True)
