"""`ledger show | audit | rebuild` on a real Redis and a real JetStream, as an operator meets them."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nats_server import NatsProcess
from redis import Redis
from typer.testing import CliRunner

from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.ledger_terms import Want
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.catalog import load_catalog
from campaign_express.cli import app
from campaign_express.events import STREAM, MoneyEvent, encode_event, subject

CATALOG = """
advertisers:
  - {id: acme, name: Acme, domain: acme.example, budget: {total: 1000}}
  - {id: other, name: Other, domain: other.example}
campaigns:
  - id: spring
    advertiser: acme
    flight: {start: 2026-01-01}
    goal: {type: cpm, bid: 2}
    max_bid: 4
    budget: {daily: 50}
    creatives:
      - {id: k, media: banner, w: 300, h: 250, image: "https://acme.example/1.png", landing: "https://acme.example/"}
"""


@pytest.fixture(autouse=True)
def servers(valkey: str, nats_process: NatsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    (tmp_path / "c.yaml").write_text(CATALOG)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_process.url)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CATALOG_FILE", str(tmp_path / "c.yaml"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def wins(valkey: str, nats_process: NatsProcess, tmp_path: Path) -> list[MoneyEvent]:
    """Three impressions of 2 USD each, in the ledger and in the log."""
    ledger = Ledger(valkey, Accounts(load_catalog(tmp_path / "c.yaml")), settle_s=4200)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    lease = LeaseClock(60).lease_at(now_ms)
    for name, fence in ledger.fences(["acme", "other"]).items():
        assert ledger.set_fence(name, fence.run_id)
    assert ledger.grant("acme", [Want("spring", lease, 8_000_000, 8_000_000)], now_ms)[0].micros == 8_000_000
    events = [
        MoneyEvent(
            id=f"e{number}",
            bid_key=f"b{number}",
            kind="win",
            exchange="x",
            auction="a",
            imp="1",
            bid="b",
            advertiser="acme",
            campaign="spring",
            creative="k",
            authorised_micros=2_000_000,
            lease=lease,
            bid_ms=now_ms,
        )
        for number in range(3)
    ]
    ledger.apply(events)
    ledger.close()

    async def send() -> None:
        client = await connect(nats_process.url, "test")
        await ensure_stream(client, StreamTerms(duplicate_window_s=60))
        for event in events:
            await client.jetstream().publish(subject(event), encode_event(event))
        await client.close()

    asyncio.run(send())
    return events


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["ledger", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def rows(shown: str) -> dict[str, list[str]]:
    lines = [line.replace("│", "|").split("|") for line in shown.splitlines() if "│" in line]
    return {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines}


def test_what_was_spent(wins: list[MoneyEvent]) -> None:
    shown = run("show", "acme")
    assert "acme: open" in shown
    assert rows(shown) == {
        "(account)": ["6.00", "-", "6.00", "-", "6.00", "1,000.00", "2.00"],
        "spring": ["6.00", "-", "6.00", "50.00", "6.00", "-", "2.00"],
    }
    assert "other: " in run("show")
    assert "nobody is no advertiser" in run("show", "nobody", code=2)


def test_an_audit_finds_what_was_changed_by_hand(wins: list[MoneyEvent], valkey: str) -> None:
    assert run("audit") == "the books of 2 advertisers are right\n"
    with Redis.from_url(valkey) as client:
        client.hincrby("{acme}:total", "c:spring", -1)
    said = run("audit", "acme", code=1)
    assert "acme: committed of all campaigns is 5999999, and of the account 6000000" in said
    assert "acme: spring ever: 5999999 is committed, and 6000000 by the event log" in said


def test_the_drill(wins: list[MoneyEvent], valkey: str) -> None:
    with Redis.from_url(valkey) as client:
        client.flushall()
    assert "waits for the treasury" in run("show", "acme")
    assert "spring ever: 0 is committed, and 6000000 by the event log" in run("audit", "acme", code=1)
    assert "name advertisers, or say --all" in run("rebuild", code=2)
    assert "acme: 3 events, 3 of them counted; grants from " in run("rebuild", "--all")
    assert "acme: was rebuilt, grants from " in run("show")
    assert run("audit") == "the books of 2 advertisers are right\n"
    assert "grants now" in run("rebuild", "acme", "--nothing-outstanding")
    shown = run("show", "acme")
    assert "acme: open" in shown
    assert rows(shown)["spring"] == ["6.00", "-", "6.00", "50.00", "6.00", "-", "0.00"]


def test_a_log_without_its_beginning_is_not_rebuilt_from(wins: list[MoneyEvent], nats_process: NatsProcess) -> None:
    async def drop() -> None:
        client = await connect(nats_process.url, "test")
        await client.jetstream().purge_stream(STREAM, keep=2)
        await client.close()

    asyncio.run(drop())
    assert "has lost its beginning" in run("rebuild", "acme", code=1)
    assert "6.00" in run("show", "acme")  # it was left alone
    assert "acme: 2 events" in run("rebuild", "acme", "--incomplete-log")
