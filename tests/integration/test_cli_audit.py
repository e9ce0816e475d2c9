"""`audit` on a real Redis, a real JetStream and chDB: agreement, and one micro in each of the places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nats_server import NatsProcess
from redis import Redis
from told_world import World, catalog_file, fill, tables
from typer.testing import CliRunner

from campaign_express.adapters.chdb_socket import OwnedChdb
from campaign_express.analytics import audit
from campaign_express.cli import app


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def data(world: World, valkey: str, nats_process: NatsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_process.url)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CATALOG_FILE", str(catalog_file(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("campaign_express.cli.audit.AUDIT_PAUSE_S", 0.05)
    world.publish(nats_process.url)
    world.settle(valkey, tmp_path)
    store = tables(tmp_path)
    fill(store, nats_process.url)
    store.close()
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["audit", *arguments])
    assert result.exit_code == code, result.output
    assert "opened by this process" in result.stderr
    return result.stdout + result.stderr.partition("\n")[2]  # without who has the tables


def test_all_four_agree_and_with_the_truth(world: World, data: Path) -> None:
    assert run() == "ledger, event log, tables and sums agree on 2 advertisers and 2 days\n"
    store = tables(data)
    try:
        found = audit.from_tables(store, audit.days_of(store, "events"))
        bids = audit.from_decisions(store, audit.days_of(store, "decisions"))
        sums = audit.from_sums(store, audit.days_of(store, "events"))
    finally:
        store.close()
    for key, truth in world.truth.items():
        for name in audit.OF_EVENTS:
            assert found[key].get(name, 0) == sums[key].get(name, 0) == truth.get(name, 0), (key, name)
        if key[1]:
            assert bids[key]["bids"] == sums[key]["bids"] == truth["bids"]
    assert found.keys() == world.truth.keys()


def test_a_micro_in_the_ledger(data: Path, valkey: str, world: World) -> None:
    right = world.truth["acme", "spring"]["spend_micros"]
    with Redis.from_url(valkey) as client:
        client.hincrby("{acme}:total", "c:spring", 1)
    said = run(code=1)
    assert f"acme/spring spend_micros ever: ledger {right + 1}, log {right}, tables {right}\n" in said
    assert said.count("\n") == 2  # it, and the error
    assert "agree on 1 advertisers" in run("o.ther")


def test_a_micro_in_the_tables(data: Path, world: World) -> None:
    store = tables(data)
    store.run(
        "INSERT INTO events SELECT * REPLACE (clear_micros + 1 AS clear_micros, rank + 1 AS rank) FROM events FINAL "
        "WHERE advertiser = 'o.ther' AND kind = 'win' AND quarantined = '' AND clear_micros < 1000 AND test = 0 LIMIT 1"
    )
    store.close()
    right = world.truth["o.ther", "autumn"]["spend_micros"]
    said = run(code=1)
    assert f"o.ther/autumn spend_micros: log {right}, tables {right + 1}\n" in said
    assert f"o.ther/autumn spend_micros ever: ledger {right}, log {right}, tables {right + 1}\n" in said
    assert f"o.ther/autumn spend_micros: tables {right + 1}, sums {right}\n" in said
    assert "acme/" not in said


def test_a_micro_in_the_sums_and_a_click_that_the_tables_lack(data: Path, world: World) -> None:
    store = tables(data)
    store.run(
        "INSERT INTO rollup_day SELECT * REPLACE (spend_micros - 1 AS spend_micros, built + 1 AS built) "
        "FROM rollup_day FINAL WHERE campaign = 'spring' AND dimension = '' AND part = 'events' LIMIT 1"
    )
    clicked = "SELECT min(bid_key) FROM events WHERE kind = 'click' AND test = 0 AND campaign = 'autumn'"
    [(bid,)] = store.query(clicked).rows  # a mutation would choose one for each part
    store.run(
        "ALTER TABLE events DELETE WHERE bid_key = {bid:String} AND kind = 'click' SETTINGS mutations_sync = 2",
        {"bid": bid},
    )
    store.close()
    spend, clicks = world.truth["acme", "spring"]["spend_micros"], world.truth["o.ther", "autumn"]["clicks"]
    said = run(code=1)
    assert f"acme/spring spend_micros: tables {spend}, sums {spend - 1}\n" in said
    assert f"o.ther/autumn clicks: log {clicks}, tables {clicks - 1}\n" in said
    assert f"o.ther/autumn clicks: tables {clicks - 1}, sums {clicks}\n" in said


def test_tables_that_a_bidder_owns(data: Path) -> None:
    bidder = OwnedChdb(data / "chdb")
    try:
        result = CliRunner().invoke(app, ["audit"])
        assert result.stdout == "ledger, event log, tables and sums agree on 2 advertisers and 2 days\n"
        assert f"asked of the bidder that runs (process {os.getpid()})" in result.stderr
    finally:
        bidder.close()
