"""`stop`, `resume` and `switches` against the embedded Redis, as an operator meets them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner

from campaign_express.cli import app
from campaign_express.config import Settings
from campaign_express.control import SWITCHES_KEY, decode_switches
from campaign_express.packaged import read_catalog, read_exchanges


@pytest.fixture(autouse=True)
def redis_url(valkey: str, nats_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in os.environ:
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", nats_server)
    monkeypatch.chdir(tmp_path)
    return valkey


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_stop_list_and_resume(redis_url: str) -> None:
    assert run("switches") == "nothing is stopped\n"
    said = run("stop", "--campaign", "summer", "--reason", "wrong landing page")
    assert said.startswith("stopped campaign summer") or "warning: " in said
    assert run("stop", "--all", "--reason", "fire") == "stopped everything\n"
    with Redis.from_url(redis_url) as client:
        blob = client.hget(SWITCHES_KEY, "blob")
    assert isinstance(blob, bytes)
    stored = decode_switches(blob)
    assert stored.everything is not None
    assert stored.campaigns["summer"].reason == "wrong landing page"
    assert stored.campaigns["summer"].by.startswith("operator ")
    assert stored.campaigns["summer"].at_ms > 1_700_000_000_000
    listed = run("switches")
    assert "campaign summer" in listed
    assert "wrong landing page" in listed
    assert "everything" in listed
    assert run("resume", "--all") == "resumed everything\n"
    assert run("resume", "--campaign", "summer") == "resumed campaign summer\n"
    assert run("resume", "--campaign", "summer") == "campaign summer was not stopped\n"
    assert run("switches") == "nothing is stopped\n"


def test_the_first_reason_stays() -> None:
    run("stop", "--exchange", "x", "--reason", "first")
    said = run("stop", "--exchange", "x", "--reason", "second")
    assert "was stopped before" in said
    assert "first" in said
    assert "second" not in run("switches")


def test_a_misspelt_id_is_stopped_with_a_warning() -> None:
    for kind in ("campaign", "advertiser", "exchange"):
        said = run("stop", f"--{kind}", "no-such", "--reason", "r")
        assert f"warning: the catalogue and the exchanges name no {kind} no-such" in " ".join(said.split())
    catalog = read_catalog(Settings(), read_exchanges(Settings()))
    assert "warning" not in run("stop", "--campaign", catalog.campaigns[0].id, "--reason", "r")
    assert "warning" not in run("stop", "--advertiser", catalog.advertisers[0].id, "--reason", "r")


def test_a_user_without_a_name_may_stop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, where the system knows no name for the user id."""

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert run("stop", "--all", "--reason", "fire") == "stopped everything\n"
    assert f"uid {os.getuid()}" in run("switches")


def test_a_stop_holds_and_says_so_where_the_catalogue_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CATALOG_FILE", "away.yaml")
    said = run("stop", "--campaign", "c", "--reason", "r")
    assert said.startswith("stopped campaign c\n")
    assert "warning: whether there is such a campaign is not known" in said
    assert "campaign c" in run("switches")


@pytest.mark.parametrize("arguments", [[], ["--campaign", "a", "--all"], ["--campaign", "a", "--exchange", "b"]])
def test_exactly_one_is_chosen(arguments: list[str]) -> None:
    for command in (["stop", "--reason", "r"], ["resume"]):
        assert "give one of" in " ".join(run(*command, *arguments, code=2).replace("│", " ").split())
