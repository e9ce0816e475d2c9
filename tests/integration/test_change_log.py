"""What commands change is in the event log of a real NATS server; without one it is in force all the same."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
from pathlib import Path

import nats
import pytest
from nats_server import NatsProcess
from typer.testing import CliRunner

from campaign_express.adapters.changes import ChangeLog
from campaign_express.adapters.nats import StreamTerms
from campaign_express.cli import app
from campaign_express.events import CHANGE_SUBJECTS, CHANGES, ChangeEvent, decode_change
from campaign_express.packaged import packaged


@pytest.fixture(autouse=True)
def _settings(valkey: str, nats_process: NatsProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_process.url)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def logged(url: str) -> list[tuple[str, ChangeEvent]]:
    """(subject, change) of all messages of the stream."""

    async def read() -> list[tuple[str, ChangeEvent]]:
        client = await nats.connect(url)
        context = client.jetstream()
        subscription = await context.subscribe(CHANGE_SUBJECTS, ordered_consumer=True)
        info = await context.stream_info(CHANGES)
        assert (info.config.discard, info.config.max_age, info.config.max_bytes) == ("new", 0, -1)
        found = []
        for _ in range(info.state.messages):
            message = await subscription.next_msg(5)
            found.append((message.subject, decode_change(message.data)))
        await client.close()
        return found

    return asyncio.run(read())


def test_a_publication_and_switches_are_logged_with_who_did_it(nats_process: NatsProcess) -> None:
    catalog = packaged("examples/catalog.yaml")
    said = run("catalog", "publish", str(catalog))
    assert "warning" not in said
    first = logged(nats_process.url)
    kinds = [one.kind for _, one in first]
    assert kinds[0] == "catalogue"
    assert kinds.count("campaign") == json.loads(first[0][1].after)["campaigns"]
    assert {one.catalog for _, one in first} == {1}
    run("catalog", "publish", str(catalog))
    run("stop", "--exchange", "generic", "--reason", "why not")
    run("stop", "--exchange", "generic", "--reason", "again")  # changes nothing
    run("resume", "--exchange", "generic")
    run("resume", "--exchange", "generic")
    later = logged(nats_process.url)[len(first) :]
    assert [(subject, one.catalog, one.exchange) for subject, one in later] == [
        ("changes.catalogue", 2, ""),
        ("changes.switch", 0, "generic"),
        ("changes.switch", 0, "generic"),
    ]
    assert json.loads(later[1][1].after)["reason"] == "why not"
    assert (later[1][1].before, later[2][1].after) == ("", "")
    assert {one.actor for _, one in (*first, *later)} == {getpass.getuser()}


def test_without_a_log_the_change_is_in_force_and_the_command_says_so(nats_process: NatsProcess) -> None:
    nats_process.kill()
    said = run("stop", "--all", "--reason", "fire")
    assert said.startswith("stopped everything\n")
    assert "not in the event log" in said
    assert "everything" in run("switches")


def test_many_changes_are_all_there_and_each_once(nats_process: NatsProcess) -> None:
    log = ChangeLog(nats_process.url, StreamTerms(), "test")
    some = [ChangeEvent(id=f"c{n}", kind="campaign", time_ms=n, actor="ann") for n in range(1000)]
    assert log.publish(some) == log.publish(iter(some)) == 1000
    assert [one for _, one in logged(nats_process.url)] == some
