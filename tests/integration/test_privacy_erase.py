"""`privacy erase`: one person is gone from a real Redis, JetStream and chDB, and nobody else's figures have changed."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats_server import NatsProcess
from pyarrow import parquet
from redis import Redis, RedisCluster
from told_world import STREAM, fill, tables, totals
from typer.testing import CliRunner
from valkey_server import ValkeyCluster

from campaign_express.adapters.erasure import PersonalKeys
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.adapters.pseudonym_keys import PseudonymKeeper, PseudonymKeys
from campaign_express.adapters.stream_log import StreamLog
from campaign_express.adapters.users_keys import tokens_of
from campaign_express.adapters.users_profiles import Row, UserProfiles
from campaign_express.cli import app
from campaign_express.clock import Clock
from campaign_express.events import (
    DECISION_SUBJECTS,
    DECISIONS,
    SUBJECTS,
    DecisionEvent,
    DecisionFrame,
    MoneyEvent,
    RequestEvent,
    bid_key,
    decode_event,
    encode_event,
    encode_frame,
    event_id,
    request_key,
    subject,
)
from campaign_express.pipeline.archive import writing
from campaign_express.ports import Touch

ANN, BOB = ("ifa:ann", "buyeruid@x:7"), ("ifa:bob",)
DAYS = 30
NOW_MS = int(time.time() * 1000) - 60_000


class Place:
    """Two persons who each saw two ads, one of each with a click; one of Ann's events names her by token."""

    def __init__(self, redis: str, nats: str, directory: Path) -> None:
        self.redis, self.nats, self.directory = redis, nats, directory
        self.keys = PseudonymKeys(redis, days=DAYS, keep_days=400)
        keeper = PseudonymKeeper(self.keys, Clock(), DAYS)
        keeper.refresh()
        self.token = {"ann": tokens_of(ANN)[0], "bob": tokens_of(BOB)[0]}
        self.user = {name: keeper.pseudonyms.of(token, NOW_MS) for name, token in self.token.items()}
        assert all(self.user.values())
        profiles = UserProfiles(redis, 86_400)
        profiles.write([Row(ANN, ("s1",)), Row(BOB, ("s2",))], NOW_MS)
        profiles.close()
        self.events: list[MoneyEvent] = []
        with Redis.from_url(redis) as client:
            for name, token in self.token.items():
                client.hset(f"u:{{{token}}}", mapping={"f": NOW_MS, "l": NOW_MS})
                for number in range(2):
                    user = token if (name, number) == ("ann", 1) else self.user[name]
                    self._bid(client, f"{name}{number}", user, token)
        asyncio.run(self._publish())
        store = tables(directory)
        fill(store, nats)
        self.before = totals(store)
        store.close()

    def _bid(self, client: Redis, auction: str, user: str, token: str) -> None:
        key = bid_key("x", auction, "1", "b")
        for kind in ("win", "impression", "click"):
            self.events.append(
                MoneyEvent(
                    id=event_id(kind, key),
                    bid_key=key,
                    kind=kind,
                    exchange="x",
                    auction=auction,
                    imp="1",
                    bid="b",
                    advertiser="acme",
                    campaign="spring",
                    creative="k",
                    authorised_micros=2_000,
                    lease=NOW_MS // 60_000 * 60,
                    user=user,
                    bid_ms=NOW_MS,
                )
            )
        touch = Touch(
            "click", key, "x", auction, "1", "b", "acme", "spring", "k", 2_000, 0, NOW_MS, NOW_MS, token, False
        )
        client.set(f"touch:{{{key}}}", msgspec.msgpack.encode(touch))
        client.hset(f"touch:u:{{{token}}}:acme", mapping={"c": msgspec.msgpack.encode(touch), "ct": NOW_MS})

    async def _publish(self) -> None:
        client = await connect(self.nats, "test")
        await ensure_stream(client, StreamTerms(duplicate_window_s=60), STREAM, SUBJECTS)
        await ensure_stream(client, StreamTerms(duplicate_window_s=60), DECISIONS, DECISION_SUBJECTS)
        context = client.jetstream()
        for event in self.events:
            await context.publish(subject(event), encode_event(event))
        decisions, requests = [], []
        for event in self.events[::3]:
            user = self.user["ann" if event.auction.startswith("ann") else "bob"]
            decisions.append(
                DecisionEvent(
                    *(
                        "bid",
                        event.bid_key,
                        NOW_MS,
                        "x",
                        "acme",
                        "spring",
                        "k",
                        "",
                        1,
                        2_000_000,
                        0,
                        100,
                        0,
                        "",
                        "banner",
                    ),
                    *("300x250", "site", "p.example", "USA", "CA", 4, "ios", user, False, 1, "m", 500, False),
                )
            )
            requests.append(
                RequestEvent(request_key("x", event.auction), NOW_MS, "x", b"{}", ("s1",), (), "floor", user, 1, "m", 1)
            )
        await context.publish("decisions.0", encode_frame(DecisionFrame(1, "f", decisions, requests)))
        await client.close()

    def now(self) -> dict[str, list[Any]]:
        store = tables(self.directory)
        try:
            return totals(store)
        finally:
            store.close()

    def keys_in_redis(self) -> set[str]:
        with Redis.from_url(self.redis, decode_responses=True) as client:
            return {key for key in client.scan_iter() if not key.startswith("{pseudonyms}")}


@pytest.fixture
def place(valkey: str, nats_process: NatsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in list(os.environ):
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_process.url)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Place(valkey, nats_process.url, tmp_path)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == code, result.output
    return result.output


def rows(shown: str) -> dict[str, list[str]]:
    lines = [line.split("│") for line in shown.splitlines() if "│" in line]
    return {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines}


def users(found: dict[str, list[Any]], table: str, column: int) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in found[table]:
        counted[row[column]] = counted.get(row[column], 0) + 1
    return counted


USER = {"events": 18, "decisions": 22, "requests": 7}  # places of the column


@pytest.mark.parametrize("written", ["IFA:ANN", "buyeruid@x:7", "token"])
def test_one_person_is_gone_and_the_other_is_not(place: Place, written: str) -> None:
    """By any id, or by token."""
    before, keys = place.before, place.keys_in_redis()
    ann, bob = place.user["ann"], place.user["bob"]
    assert users(before, "events", USER["events"]) == {ann: 3, place.token["ann"]: 3, bob: 6}
    said = run("privacy", "erase", place.token["ann"] if written == "token" else written)
    assert rows(said) == {
        "Redis: profiles": ["1", "0"],
        "Redis: counts and aliases": ["2", "0"],
        "Redis: clicks and views": ["3", "0"],
        "tables: events": ["6", "0"],
        "tables: decisions": ["2", "0"],
        "tables: requests": ["2", "0"],
        "event log: by token": ["3", "0"],
        "pseudonyms that a key leads back from": ["4", "0"],  # two ids, two periods
    }
    assert said.endswith("nothing is left, and what streams, exports and backups hold leads to nobody\n")
    found = place.now()
    assert users(found, "events", USER["events"]) == {"": 6, bob: 6}
    assert users(found, "decisions", USER["decisions"]) == {"": 2, bob: 2}
    assert users(found, "requests", USER["requests"]) == {bob: 2}
    gone = keys - place.keys_in_redis()
    assert len(gone) == 6
    assert {f"p:{{{place.token['bob']}}}", f"u:{{{place.token['bob']}}}"} <= place.keys_in_redis()
    for table in ("rollup_minute", "rollup_hour", "rollup_day"):  # all but how many persons there were
        assert [row[:-1] for row in found[table]] == [row[:-1] for row in before[table]]
        persons = [(row[-1], after[-1]) for row, after in zip(before[table], found[table], strict=True) if row[-1]]
        assert persons
        assert set(persons) == {(3, 1)}  # Ann counted twice, by token and by pseudonym
    # Bob's pseudonym is found again, Ann's and what stands for her from now on have nothing in common.
    assert place.keys.all_of(place.token["bob"])[0] == bob
    assert ann not in place.keys.all_of(place.token["ann"])


def test_the_event_log_names_nobody_and_is_the_same_money(place: Place) -> None:
    run("privacy", "erase", "ifa:ann")
    logged = [
        decode_event(message.data)
        for messages in StreamLog(place.nats, STREAM, SUBJECTS).read()
        for message in messages
    ]
    assert {event.user for event in logged} == {"", place.user["ann"], place.user["bob"]}
    assert sorted(event.id for event in logged) == sorted(event.id for event in place.events)
    again = run("privacy", "erase", "ifa:ann")  # once more: nothing is found, and nothing breaks
    assert set(map(tuple, rows(again).values())) <= {("0", "0"), ("2", "0")}


def test_an_export_leads_to_nobody(place: Place) -> None:
    day = str(place.now()["events"][0][0].date())
    run("events", "export", "--from", day, "--to", day, "archive")
    run("privacy", "erase", "ifa:ann")
    run("events", "replay", "--from", day, "--to", day, "--source", "archive")
    assert place.user["ann"] in users(place.now(), "events", USER["events"])  # a name without a person
    keeper = PseudonymKeeper(place.keys, Clock(), DAYS, history=True)
    keeper.refresh()
    assert keeper.pseudonyms.reveal(place.user["ann"]) == ""
    assert keeper.pseudonyms.reveal(place.user["bob"]) == place.token["bob"]


def test_an_export_that_is_named_is_written_anew(place: Place, tmp_path: Path) -> None:
    """It is that of the tables afterwards, whose rows stay; the proof has it beside them."""
    day = str(place.now()["events"][0][0].date())
    days = ("--from", day, "--to", day)
    for directory in ("archive", "other"):
        run("events", "export", *days, directory)
    before = {path.name for path in (tmp_path / "archive").rglob("*.parquet")}
    [events] = (tmp_path / "archive" / "events").glob("*.parquet")
    (tmp_path / "archive" / "events" / f"{day}.parquet").write_bytes(events.read_bytes())  # of an export that broke off
    said = run("privacy", "erase", "ifa:ann", "--exports", "archive", "--exports", "other")
    for name, count in (("events", "6"), ("decisions", "2"), ("requests", "2")):
        for where in ("tables", "exports in archive", "exports in other"):
            assert rows(said)[f"{where}: {name}"] == [count, "0"]
    assert said.endswith(
        "nothing is left here and in the exports in archive, other, and what streams, other exports and backups hold "
        "leads to nobody\n"
    )
    files = {path.name for path in (tmp_path / "archive").rglob("*.parquet")}
    assert len(files - before) == len(before - files) == 3
    names = {place.user["ann"], place.token["ann"]}
    for path in (tmp_path / "archive").rglob("*.parquet"):
        read = parquet.read_table(path).to_pydict()
        assert names.isdisjoint(read["user"])
        assert place.user["bob"] in read["user"]
    erased = place.now()
    run("events", "replay", *days, "--source", "archive")  # its checksums are right, and its rows as many
    assert place.now() == erased


def test_an_export_that_is_damaged_stops_an_erasure_before_the_keys_go(place: Place, tmp_path: Path) -> None:
    day = str(place.now()["events"][0][0].date())
    run("events", "export", "--from", day, "--to", day, "archive")
    [path] = (tmp_path / "archive" / "requests").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "empty").mkdir()
    assert "empty: holds no export" in run("privacy", "erase", "ifa:ann", "--exports", "empty", code=1)
    assert "is damaged" in run("privacy", "erase", "ifa:ann", "--exports", "archive", code=1)
    assert place.keys.all_of(place.token["ann"])[0] == place.user["ann"]
    with writing(tmp_path / "archive"):
        said = run("events", "export", "--from", day, "--to", day, "archive", code=1)
        assert "another command writes to it" in said


@pytest.mark.parametrize(
    ("broken", "row"),
    [
        ("campaign_express.pipeline.erasure.blank_rows", "tables: events"),
        ("campaign_express.adapters.erasure.PersonalKeys.delete", "Redis: profiles"),
        ("campaign_express.adapters.pseudonym_keys.PseudonymKeys.destroy", "pseudonyms that a key leads back from"),
    ],
)
def test_what_is_left_is_told(place: Place, broken: str, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broken, lambda *arguments: 0)
    said = run("privacy", "erase", "ifa:ann", code=1)
    assert rows(said)[row][1] != "0"
    assert "something is left" in said
    monkeypatch.undo()


def test_a_stranger_and_what_is_no_id(place: Place) -> None:
    before = place.now()
    said = run("privacy", "erase", "ifa:nobody")
    assert rows(said)["tables: events"] == ["0", "0"]
    found = place.now()
    assert (found["events"], found["rollup_day"]) == (before["events"], before["rollup_day"])
    assert "is neither KIND:VALUE nor a token" in run("privacy", "erase", "ann", code=2)


def test_a_person_in_a_cluster(valkey_cluster: ValkeyCluster) -> None:
    """Keys lie on all masters; an alias of an alias is found, and its own key too."""
    tokens = sorted(tokens_of([f"ifa:{n}" for n in range(4)]))
    first, second, third, stranger = tokens
    with RedisCluster.from_url(valkey_cluster.nodes[0].url) as client:
        client.hset(f"u:{{{first}}}", "f", "1")
        client.hset(f"u:{{{second}}}", "@", first)
        client.hset(f"u:{{{third}}}", "@", second)
        client.hset(f"u:{{{stranger}}}", "f", "1")
        for token in tokens:
            client.set(f"p:{{{token}}}", b"x")
    keys = PersonalKeys(valkey_cluster.url)
    try:
        held = keys.find(first)
        assert held.tokens == {first, second, third}
        assert {kind: len(found) for kind, found in held.keys.items()} == {
            "profiles": 3,
            "counts and aliases": 3,
            "clicks and views": 0,
        }
        assert keys.find(third).tokens == held.tokens
        keys.delete([key for found in held.keys.values() for key in found])
        assert keys.find(first, others=held.tokens).size == 0
        assert keys.find(stranger).size == 2
    finally:
        keys.close()
