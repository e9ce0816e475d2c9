"""`events dead` on a real NATS and `db migrate` on a real chDB, as an operator meets them."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

import nats
import nats.js.errors
import pytest
from nats.js import JetStreamContext
from nats_server import NatsProcess
from typer.testing import CliRunner

from campaign_express.adapters.chdb_socket import OwnedChdb
from campaign_express.adapters.dead_letters import DeadLetter, DeadLetters
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.adapters.stream_ranges import Partition, RangeReader
from campaign_express.analytics.migrate import applied, migrations
from campaign_express.cli import app
from campaign_express.events import (
    CHANGE_SUBJECTS,
    CHANGES,
    DEAD_STREAM,
    DECISION_SUBJECTS,
    DECISIONS,
    STREAM,
    SUBJECTS,
    encode_event,
)
from campaign_express.ports import Message, Unreadable
from tests.support.stored import money

WIN = Message(7, "money.acme.win", encode_event(money(1)))
CLICK = Message(9, "money.acme.click", encode_event(money(2, "click")))
FRAME = Message(7, "decisions.0", b"\x00frame")


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def url(nats_process: NatsProcess, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_process.url)
    return nats_process.url


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def listed(*arguments: str) -> list[dict[str, str | int]]:
    return [json.loads(line) for line in run("events", "dead", "list", "--json", *arguments).splitlines()]


def bury(url: str, *messages: Message, problem: str = "is of schema 2, newer than 1") -> None:
    """As the pipeline does it."""

    async def scenario() -> None:
        client = await connect(url, "test")
        for name, subjects in ((STREAM, SUBJECTS), (DECISIONS, DECISION_SUBJECTS)):
            await ensure_stream(client, StreamTerms(), name, subjects)
        await client.close()
        for message in messages:
            name, subjects = (
                (STREAM, SUBJECTS) if message.subject.startswith("money") else (DECISIONS, DECISION_SUBJECTS)
            )
            reader = RangeReader(
                url, Partition(f"test-{name}", name, (subjects,)), StreamTerms(), subjects,
                owner="test", most=1, most_bytes=1, linger_s=0,
            )  # fmt: skip
            await reader.bury(Unreadable(message, problem))
            await reader.close()

    asyncio.run(scenario())


def stored(url: str, stream: str) -> list[tuple[str, bytes, str]]:
    """Subject, payload and id of each message."""

    async def scenario() -> list[tuple[str, bytes, str]]:
        client = await nats.connect(url)
        context = client.jetstream()
        state = (await context.stream_info(stream)).state
        found = []
        for seq in range(state.first_seq, state.last_seq + 1):
            try:
                one = await context.get_msg(stream, seq)
            except nats.js.errors.NotFoundError:
                continue
            found.append((str(one.subject), one.data or b"", (one.headers or {}).get("Nats-Msg-Id", "")))
        await client.close()
        return found

    return asyncio.run(scenario())


def test_nothing_is_dead(url: str) -> None:
    assert run("events", "dead", "list") == "no dead messages\n"
    assert run("events", "dead", "list", "--json") == ""
    assert run("events", "dead", "replay") == "replayed 0\n"


def test_dead_messages_are_listed_with_their_reasons(url: str) -> None:
    bury(url, WIN, FRAME, CLICK, problem="[bold] does not decode")
    table = run("events", "dead", "list")
    assert "money.acme.win" in table
    assert "[bold] does not decode" in table
    first, second, third = listed()
    assert (first["sequence"], first["stream"], first["subject"], first["origin_sequence"]) == (
        *(1, "money", "money.acme.win"),
        "7",
    )
    assert b64decode(str(first["data"])) == WIN.data
    assert str(first["time"]).startswith("20")
    assert [one["sequence"] for one in listed("--stream", "money")] == [1, 3]
    assert listed("--stream", "decisions") == [second]
    assert listed("--stream", "changes") == []
    assert listed("--limit", "2") == [first, second]
    assert third["sequence"] == 3
    run("events", "dead", "list", "--stream", "others", code=2)


def test_replayed_messages_are_where_they_were_and_dead_no_more(url: str) -> None:
    bury(url, WIN, FRAME, CLICK)
    assert run("events", "dead", "replay", "--stream", "money", "--limit", "1") == "replayed 1\n"
    assert stored(url, STREAM) == [("money.acme.win", WIN.data, "replay:1")]
    assert [one["sequence"] for one in listed()] == [2, 3]
    assert run("events", "dead", "replay") == "replayed 2\n"
    assert stored(url, STREAM)[1:] == [("money.acme.click", CLICK.data, "replay:3")]
    assert stored(url, DECISIONS) == [("decisions.0", FRAME.data, "replay:2")]
    assert listed() == []


def test_a_replay_that_broke_off_is_given_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the acknowledgement and the removal: the message is published twice and is there once."""
    bury(url, WIN, CLICK)

    async def broken(self: JetStreamContext, stream_name: str, seq: int) -> bool:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(JetStreamContext, "delete_msg", broken)
        said = run("events", "dead", "replay", code=1)
    assert "replayed 0" in said
    assert "JetStream at" in said
    assert len(listed()) == 2
    assert run("events", "dead", "replay") == "replayed 2\n"
    assert [subject for subject, _, _ in stored(url, STREAM)] == ["money.acme.win", "money.acme.click"]
    assert listed() == []


def test_what_is_dead_again_meanwhile_waits_for_the_next_replay(url: str) -> None:
    bury(url, WIN, CLICK)
    seen: list[int] = []

    def again(letter: DeadLetter) -> None:
        seen.append(letter.seq)
        assert len(seen) < 5, "without an end"
        burying = threading.Thread(target=bury, args=(url, WIN._replace(seq=100 + letter.seq)))
        burying.start()
        burying.join()

    assert DeadLetters(url).replay(again) == []
    assert seen == [1, 2]
    assert [one["sequence"] for one in listed()] == [3, 4]


def test_what_cannot_be_published_stays(url: str) -> None:
    """A notification has no subject of origin; a foreign one may have a wrong one; a stream may be gone."""
    bury(url, WIN)
    wrong: Sequence[tuple[str, dict[str, str]]] = [
        ("dead.notify", {"Problem": "refused"}),
        ("dead.money", {"Problem": "?", "Subject-Of-Origin": "decisions.0"}),
        ("dead.money", {"Problem": "no headers of ours"}),
        ("dead.changes", {"Problem": "?", "Subject-Of-Origin": "changes.switch"}),
    ]

    async def scenario() -> None:
        client = await nats.connect(url)
        for subject, headers in wrong:
            await client.jetstream().publish(subject, b"x", headers=headers)
        await client.close()

    asyncio.run(scenario())
    said = run("events", "dead", "replay", code=1)
    assert "replayed 1" in said  # then there is no stream CHANGES
    assert [one["sequence"] for one in listed()] == [2, 3, 4, 5]

    async def made() -> None:
        client = await connect(url, "test")
        await ensure_stream(client, StreamTerms(), CHANGES, CHANGE_SUBJECTS)
        await client.close()

    asyncio.run(made())
    said = run("events", "dead", "replay", "--limit", "1")  # which those before it do not use up
    assert "replayed 1" in said
    assert [line for line in said.splitlines() if line.startswith("left")] == [
        "left 2 of notify: it can be published nowhere",
        "left 3 of money: it can be published nowhere",
        "left 4 of money: it can be published nowhere",
    ]
    assert [data for _, data, _ in stored(url, DEAD_STREAM)] == [b"x", b"x", b"x"]
    assert stored(url, STREAM) == [("money.acme.win", WIN.data, "replay:1")]


def test_a_nats_that_is_away(nats_process: NatsProcess, url: str) -> None:
    nats_process.kill()
    assert "cannot be reached" in run("events", "dead", "list", code=1)


def test_migrate_says_what_it_applied(tmp_path: Path) -> None:
    names = [f"applied {one.number:04d}_{one.name}" for one in migrations()]
    nothing = f"nothing to do: all {len(names)} migrations were applied before"
    assert run("db", "migrate").splitlines()[1:] == names
    assert run("db", "migrate").splitlines()[1:] == [nothing]
    bidder = OwnedChdb(tmp_path / "var" / "chdb")
    try:
        assert len(applied(bidder)) == len(names)
        who, said = run("db", "migrate").splitlines()
        assert "asked of the bidder that runs" in who
        assert said == nothing
    finally:
        bidder.close()


def test_migrate_on_a_clickhouse_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CLICKHOUSE_URL", "clickhouse://user:s3cret@127.0.0.1:1")
    said = run("db", "migrate", code=1)
    assert "ClickHouse at 127.0.0.1:1" in said
    assert "s3cret" not in said
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CLICKHOUSE_URL", "clickhouse://user:s3cret@")
    assert "a host or port is missing or wrong" in run("db", "migrate", code=2)
