"""Commands that need the tables, beside a pipeline in a process of its own that owns them and goes on to insert."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from nats_server import NatsProcess
from told_world import World, catalog_file
from typer.testing import CliRunner

from campaign_express.adapters.chdb_socket import AskedChdb
from campaign_express.adapters.event_log import EventLog
from campaign_express.adapters.nats import connect
from campaign_express.adapters.pseudonym_keys import PseudonymKeeper, PseudonymKeys
from campaign_express.adapters.users_keys import tokens_of
from campaign_express.analytics import audit
from campaign_express.analytics.migrate import migrate
from campaign_express.bootstrap_warehouse import open_warehouse
from campaign_express.cli import app
from campaign_express.clock import Clock
from campaign_express.config import load
from campaign_express.events import encode_event, subject
from campaign_express.ports import Warehouse
from tests.support.stored import money

ANN = tokens_of(["ifa:ann"])[0]


class Traffic:
    """Notices of one advertiser more, about forty a second; every fourth is of Ann, by token."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()))
        self._thread.start()

    async def _send(self) -> None:
        client = await connect(self._url, "test")
        while not self._stop.is_set():
            user = ANN if self.sent % 4 == 0 else ""
            event = money(self.sent, "impression", advertiser="flow", campaign="flow", user=user)
            at = int(time.time() * 1000)
            event = msgspec.structs.replace(event, bid_ms=at, received_ms=at)
            await client.jetstream().publish(subject(event), encode_event(event))
            self.sent += 1
            await asyncio.sleep(0.025)
        await client.close()

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.sent


@pytest.fixture
def world(valkey: str, nats_process: NatsProcess, tmp_path: Path) -> World:
    """All of it is there before the pipeline, which then sums each day once: the next time is a minute later."""
    world = World(bids=200, seed=5)
    world.publish(nats_process.url)
    world.settle(valkey, tmp_path)
    return world


@pytest.fixture
def pipeline(
    world: World, valkey: str, nats_process: NatsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    for name in list(os.environ):
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_process.url)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CATALOG_FILE", str(catalog_file(tmp_path)))
    monkeypatch.setenv("CAMPAIGN_EXPRESS_PIPELINE_LINGER_MS", "100")
    monkeypatch.chdir(tmp_path)
    log = (tmp_path / "pipeline.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "campaign_express.serving.pipeline_alone"], stdout=log, stderr=log
    )
    yield process
    process.terminate()
    assert process.wait(90) == 0, (tmp_path / "pipeline.log").read_text()[-2000:]
    assert not list(tmp_path.rglob("*.sock"))


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def count(warehouse: Warehouse, what: str) -> int:
    return int(warehouse.query(f"SELECT count() FROM {what}").rows[0][0])


def test_all_of_them_work_while_events_come(
    world: World, pipeline: subprocess.Popen[bytes], valkey: str, nats_process: NatsProcess, tmp_path: Path
) -> None:
    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        assert f"asked of the bidder that runs (process {pipeline.pid})" in result.stderr
        return result

    until((tmp_path / "chdb" / "owner.sock").exists)
    tables = open_warehouse(load())
    assert isinstance(tables, AskedChdb)
    migrate(tables)  # the pipeline may be at it too

    def summed() -> bool:
        found: Any = audit.from_sums(tables, world.days)
        return all(found.get(key, {}).get(name) == of[name] for key, of in world.truth.items() for name in of)

    until(summed, 90.0)
    keys = PseudonymKeys(valkey, days=30, keep_days=400)
    PseudonymKeeper(keys, Clock(), 30).refresh()
    keys.close()
    flow = "events FINAL WHERE advertiser = 'flow'"
    traffic = Traffic(nats_process.url)
    try:
        until(lambda: count(tables, flow) > 20)
        days = ("--from", str(world.days[0]), "--to", str(datetime.now(UTC).date()))

        said = run("audit", "acme", "o.ther")
        assert said.stdout.startswith("ledger, event log, tables and sums agree on 2 advertisers")
        [line] = [line for line in said.stderr.splitlines() if line.startswith("sums not compared, since they are")]
        assert str(datetime.now(UTC).date()) in line

        before = traffic.sent
        said = run("events", "replay", *days)
        assert "events" in said.stdout
        assert traffic.sent > before

        assert "2 days in archive: " in run("events", "export", *days, "archive").stdout

        (tmp_path / "invoice.csv").write_text("auction,imp,price\n")
        run("reconcile", "invoice.csv", "--exchange", "parkside", *days)

        assert "requests" in run("backtest", "--catalog", os.environ["CAMPAIGN_EXPRESS_CATALOG_FILE"]).stdout

        until(lambda: count(tables, f"{flow} AND user != ''") > 5)
        said = CliRunner().invoke(app, ["privacy", "erase", "ifa:ann"])
        assert "asked of the bidder that runs" in said.stderr
        assert "tables: events" in said.stdout  # whether nothing is left depends on what came meanwhile
    finally:
        sent = traffic.stop()
    until(lambda: count(tables, flow) == sent)

    # With nobody to meet any more: the proof of the erasure, the whole, and each figure.
    said = run("privacy", "erase", "ifa:ann")
    assert "nothing is left" in said.stdout
    assert count(tables, f"{flow} AND user != ''") == 0
    log = EventLog(nats_process.url)
    assert {event.user for event in log.read("flow")} == {""}
    run("events", "replay", *days)
    assert count(tables, flow) == sent
    found = audit.from_tables(tables, world.days)
    for key, of in world.truth.items():
        for name in audit.OF_EVENTS:
            assert found[key].get(name, 0) == of.get(name, 0), (key, name)
    tables.close()
