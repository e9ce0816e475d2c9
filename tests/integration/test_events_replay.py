"""`events export | replay`: days of the tables built anew from JetStream and from Parquet, to the same totals."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nats_server import NatsProcess
from told_world import STREAM, World, fill, tables, totals
from typer.testing import CliRunner

from campaign_express.adapters.nats import connect
from campaign_express.adapters.stream_log import StreamLog
from campaign_express.analytics import audit
from campaign_express.cli import app
from campaign_express.events import DECISION_SUBJECTS, DECISIONS, SUBJECTS, MoneyEvent, encode_event, subject
from campaign_express.pipeline import replay
from campaign_express.pipeline.replay_streams import StreamSource

CliResult = Any


@pytest.fixture(scope="module")
def world() -> World:
    return World(bids=240, seed=3)


@pytest.fixture
def data(world: World, valkey: str, nats_process: NatsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_process.url)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    world.publish(nats_process.url)
    return tmp_path


@pytest.fixture
def before(data: Path, nats_process: NatsProcess) -> dict[str, list[Any]]:
    """Everything that the tables held."""
    store = tables(data)
    fill(store, nats_process.url)
    found = totals(store)
    store.close()
    assert found["rollup_day"]
    return found


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["events", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def now(data: Path) -> dict[str, list[Any]]:
    store = tables(data)
    try:
        left = store.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'replay%'")
        assert left.rows == []
        return totals(store)
    finally:
        store.close()


def wipe(data: Path, *names: str) -> None:
    store = tables(data)
    for name in names or ("events", "decisions", "requests", "changes", "rollup_minute", "rollup_hour", "rollup_day"):
        store.run(f"TRUNCATE TABLE {name}")
    store.close()


def span(world: World) -> tuple[str, ...]:
    return ("--from", str(world.days[0]), "--to", str(world.days[1]))


def test_from_jetstream_into_a_store_that_lost_everything_and_once_more(
    world: World, data: Path, before: dict[str, list[Any]]
) -> None:
    wipe(data)
    said = run("replay", *span(world))
    assert f"│ events    │      0 │ {len(before['events']):>5} │" in said
    assert now(data) == before
    run("replay", *span(world))
    assert now(data) == before


def test_each_day_alone(world: World, data: Path, before: dict[str, list[Any]]) -> None:
    """An order was reported on both days: the second report counts on neither."""
    for day in map(str, world.days):
        run("replay", "--from", day, "--to", day)
    assert now(data) == before


def test_what_is_not_true_is_gone_afterwards_and_other_days_stay(
    world: World, data: Path, before: dict[str, list[Any]]
) -> None:
    """A bogus campaign on the first day, and on the second: only the day that is built anew loses it."""
    store = tables(data)
    for day in world.days:
        store.run(
            "INSERT INTO events SELECT * REPLACE ('bogus' AS campaign, 'none' AS bid_key) FROM events FINAL "
            f"WHERE toDate(time) = '{day}' AND kind = 'win' LIMIT 1"
        )
    minutes = [int(row[0]) for row in store.query("SELECT DISTINCT toUnixTimestamp(start) FROM rollup_marks").rows]
    from campaign_express.pipeline.resum import resum

    resum(store, world.days)
    assert len(minutes) > 2
    store.close()
    first = str(world.days[0])
    said = run("replay", "--from", first, "--to", first, code=1)
    assert "the source has less than what is stored, which was left as it is:" in said
    assert f"events of {first}: " in said
    assert sum(row[2] == "bogus" for row in now(data)["events"]) == 2
    run("replay", "--from", first, "--to", first, "--incomplete")
    found = now(data)
    for table in ("events", "rollup_minute", "rollup_hour", "rollup_day"):
        bogus = [row for row in found[table] if row[2] == "bogus"]
        assert bogus
        assert all(row[0].date() == world.days[1] for row in bogus), table
    run("replay", *span(world), "--incomplete")
    assert now(data) == before


def test_an_export_is_whole_and_builds_the_same_tables(
    world: World, data: Path, before: dict[str, list[Any]], tmp_path: Path
) -> None:
    said = run("export", *span(world), "archive")
    assert f"{len(before['events'])} events, {len(before['decisions'])} decisions" in said
    manifest = json.loads((tmp_path / "archive" / "manifest.json").read_text())
    assert sum(entry["rows"] for entry in manifest["tables"]["events"].values()) == len(before["events"])
    wipe(data)
    run("replay", *span(world), "--source", "archive")
    assert now(data) == before
    run("replay", *span(world), "--source", "archive")
    assert now(data) == before
    run("export", *span(world), "archive")
    files = {str(path.relative_to(tmp_path / "archive")) for path in (tmp_path / "archive").rglob("*.*")}
    manifest = json.loads((tmp_path / "archive" / "manifest.json").read_text())
    named = {entry["file"] for days in manifest["tables"].values() for entry in days.values()}
    assert files == {*named, "manifest.json"}


def test_what_an_archive_lacks_or_has_damaged(
    world: World, data: Path, before: dict[str, list[Any]], tmp_path: Path
) -> None:
    first, last = map(str, world.days)
    run("export", "--from", first, "--to", first, "archive")
    assert f"events of {last} was not exported to archive" in run("replay", *span(world), "--source", "archive", code=1)
    [path] = (tmp_path / "archive" / "events").glob("*.parquet")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    said = run("replay", "--from", first, "--to", first, "--source", "archive", "--incomplete", code=1)
    assert "is damaged: its checksum is not the manifest's" in said
    path.unlink()
    assert "is missing" in run("replay", "--from", first, "--to", first, "--source", "archive", code=1)
    assert now(data) == before
    assert "is no day like" in run("replay", "--from", "25.11.2026", "--to", first, code=2)
    assert "is before --from" in run("replay", "--from", last, "--to", first, code=2)
    assert "'wins' is none of events, decisions, changes" in run("replay", *span(world), "--part", "wins", code=2)


def test_a_stream_that_has_lost_its_beginning_is_refused(
    world: World, data: Path, before: dict[str, list[Any]], nats_process: NatsProcess
) -> None:
    async def drop() -> None:
        client = await connect(nats_process.url, "test")
        await client.jetstream().purge_stream(DECISIONS, keep=1)
        await client.close()

    asyncio.run(drop())
    said = run("replay", *span(world), code=1)
    assert "the stream DECISIONS begins at " in said
    assert "MONEY" not in said
    run("replay", *span(world), "--part", "events", "--part", "changes")
    assert now(data) == before


class Breaking:
    """A source that breaks off after so many inserts."""

    grows = True

    def __init__(self, source: StreamSource, inserts: int) -> None:
        self._source, self._left = source, inserts

    def lacks(self, tables: Any, days: Any) -> list[str]:
        return self._source.lacks(tables, days)

    def load(self, warehouse: Any, into: Any, days: Any, told: Any) -> int:
        outer = self

        class Store:
            def __getattr__(self, name: str) -> Any:
                return getattr(warehouse, name)

            def insert(self, *arguments: Any) -> None:
                outer._left -= 1
                if outer._left < 0:
                    raise KeyboardInterrupt
                warehouse.insert(*arguments)

        return self._source.load(Store(), into, days, told)

    def load_later(self, warehouse: Any, tables: Any, days: Any) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("inserts", [1, 99])
def test_a_replay_that_breaks_off_is_run_again(
    world: World, data: Path, before: dict[str, list[Any]], nats_process: NatsProcess, inserts: int
) -> None:
    """While reading, nothing has changed; after the days were replaced, the next run makes it good."""
    store = tables(data)
    source = StreamSource(nats_process.url)
    with pytest.raises(KeyboardInterrupt):
        replay.Replay(store, Breaking(source, inserts), *world.days).run()
    store.close()
    assert now(data) == before
    run("replay", *span(world))
    assert now(data) == before


def test_what_comes_while_it_is_read_is_not_lost(
    world: World, data: Path, before: dict[str, list[Any]], nats_process: NatsProcess
) -> None:
    """The pipeline inserts an event into a day that is then replaced by what was read before."""
    late = next(one for one in world.money if one.kind == "impression" and not one.test)
    clicked = {one.bid_key for one in world.money if one.kind == "click"}
    late = next(one for one in world.money if one.kind == "impression" and one.bid_key not in clicked and not one.test)
    click = MoneyEvent(**{**{name: getattr(late, name) for name in late.__struct_fields__}, "id": "l", "kind": "click"})
    store = tables(data)
    source = StreamSource(nats_process.url)

    class Slow:
        grows = True
        lacks, load_later = staticmethod(source.lacks), staticmethod(source.load_later)

        @staticmethod
        def load(warehouse: Any, into: Any, days: Any, told: Any) -> int:
            unreadable = source.load(warehouse, into, days, told)

            async def send() -> None:
                client = await connect(nats_process.url, "test")
                await client.jetstream().publish(subject(click), encode_event(click))
                await client.close()

            asyncio.run(send())
            # As the pipeline would.
            from campaign_express.pipeline.loader import LOADERS

            [messages] = StreamLog(nats_process.url, STREAM, SUBJECTS).read(first=len(world.money) + 1)
            LOADERS[STREAM].load(warehouse, messages, "live")
            return unreadable

    rebuilt = replay.Replay(store, Slow(), *world.days, incomplete=True).run()
    found = audit.from_tables(store, world.days)
    store.close()
    assert rebuilt.differences == []
    key = (click.advertiser, click.campaign)
    assert found[key]["clicks"] == world.truth[key]["clicks"] + 1
    assert len(now(data)["events"]) == len(before["events"]) + 1


def test_days_so_old_that_minutes_are_forgotten_are_summed_into_an_empty_store(data: Path, tmp_path: Path) -> None:
    store = tables(data)
    old = datetime.now(UTC).date() - timedelta(days=60)
    start = audit.midnight(old) * 1000
    columns = ("time", "advertiser", "campaign", "bid_key", "kind", "authorised_micros", "lease", "seq", "rank")
    rows = [(start + n * 60_000, "acme", "spring", f"b{n}", "win", 100, 1, n, 2**63 - n) for n in range(100)]
    store.insert("events", dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)), "t")
    store.close()
    run("export", "--from", str(old), "--to", str(old), "old")
    said = run("replay", "--from", str(old), "--to", str(old), "--source", "old")
    assert "too long ago" not in said
    store = tables(data)
    sums = audit.from_sums(store, [old])
    store.close()
    assert sums["acme", "spring"]["spend_micros"] == 100 * 100
    assert "too long ago to be summed anew" in run("replay", "--from", str(old), "--to", str(old), "--source", "old")


@pytest.mark.parametrize(
    ("engine", "own"),
    [
        ("ReplacingMergeTree(rank) ORDER BY time", "ReplacingMergeTree(rank) ORDER BY time"),
        (
            "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/db/events', '{replica}', rank) ORDER BY time",
            "ReplacingMergeTree(rank) ORDER BY time",
        ),
        ("ReplicatedReplacingMergeTree('/c', '{replica}') ORDER BY time", "ReplacingMergeTree() ORDER BY time"),
    ],
)
def test_what_is_read_goes_into_a_table_of_this_server(engine: str, own: str) -> None:
    assert replay.own_engine(engine) == own


def test_the_world_has_two_days(world: World, data: Path) -> None:
    assert isinstance(world.days[0], date)
    [frames] = StreamLog(os.environ["CAMPAIGN_EXPRESS_NATS_URL"], DECISIONS, DECISION_SUBJECTS).read()
    assert len(frames) > 1
