"""`profiles import` and `profiles show` as a person meets them, into a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_keys import tokens_of
from campaign_express.cli import app
from campaign_express.ports import UserState, UserWant

Run = Callable[..., Result]


@pytest.fixture
def run(valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", valkey)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(app, ["profiles", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


def read(url: str, user_id: str) -> UserState:
    """As an agent reads it."""
    users = RedisUsers(url, hold_ms=60_000, lateness_ms=1_000, wait_s=60.0)
    try:
        [state] = users.fetch([UserWant((user_id,), 1)], time.time_ns() // 1_000_000, 5.0)
        if state is None:  # an alias, known from now on
            [state] = users.fetch([UserWant((user_id,), 1)], time.time_ns() // 1_000_000, 5.0)
        assert state is not None
        return state
    finally:
        users.close()


def test_json_lines_reach_the_agents_under_every_id(run: Run, valkey: str) -> None:
    ids = ("ifa:ann", "buyeruid@acme:7")
    rows = [
        {"ids": ids, "segments": ["s1", "s2"], "interests": [0.5, 1]},
        {"ids": ["ifa:bob"]},
        *({"ids": [f"ifa:{n}"], "segments": [f"s{n}"]} for n in range(1100)),
    ]
    Path("persons.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    result = run("import", "persons.jsonl")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("1,102 profiles in ")
    assert " a second, " in result.stdout
    assert result.stdout.endswith(" bytes of Redis a profile\n")
    for user_id in ids:
        state = read(valkey, user_id)
        assert (state.key, state.segments, state.interests) == (tokens_of(ids)[0], ("s1", "s2"), (0.5, 1.0))
    assert read(valkey, "ifa:bob").segments == ()
    assert read(valkey, "ifa:1099").segments == ("s1099",)


def test_repeating_an_import_changes_nothing(run: Run, valkey: str) -> None:
    Path("p.csv").write_text("ids,segments\nifa:ann|ifa:anna,s1|s2\n")
    run("import", "p.csv")
    first = read(valkey, "ifa:anna")
    assert run("import", "p.csv").stdout.startswith("1 profiles in ")
    again = read(valkey, "ifa:anna")
    assert (again.key, again.segments, again.first_seen_ms) == (first.key, ("s1", "s2"), first.first_seen_ms)
    Path("p.csv").write_text("ids,segments\nifa:ann,s3\n")
    run("import", "p.csv", "--add")
    assert read(valkey, "ifa:anna").segments == ("s1", "s2", "s3")


def test_every_wrong_line_is_named_and_the_others_are_written(run: Run, valkey: str) -> None:
    lines = [
        '{"ids": ["ifa:good"], "segments": ["s"]}',
        '{"ids": ["no-kind"]}',
        "",
        '{"ids": []}',
        '{"ids": ["ifa:a"], "segmnts": []}',
        "{",
        '{"ids": ["ifa:a"], "interests": [1e39]}',
        '{"ids": ["ifa:a"], "ttl_days": -1}',
        '{"ids": ["ifa:late"], "segments": ["t"]}',
    ]
    Path("p.jsonl").write_text("\n".join(lines))
    result = run("import", "p.jsonl")
    assert result.exit_code == 2
    assert result.stdout.startswith("2 profiles in ")
    named = [line.split(": ")[0] for line in result.stderr.splitlines()]
    assert named == [*(f"p.jsonl:{n}" for n in (2, 4, 5, 6, 7, 8)), "error"]
    assert "segmnts" in result.stderr
    assert result.stderr.endswith("error: 6 lines were left out\n")
    assert read(valkey, "ifa:late").segments == ("t",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,age\nx,1\n", "p.csv:1: the columns must be some of ids, segments, interests, ttl_days"),
        ("ids,segments\nifa:a,s,t\n", "p.csv:2: has 3 columns, the header 2"),
        ("ids,interests\nifa:a,0.5\nifa:b,many\n", "p.csv:3: "),
        ("ids,ttl_days\nifa:a,soon\n", "p.csv:2: "),
        ('ids,segments\n"ifa:a","two\nlines"\nifa,s\n', "p.csv:4: "),
    ],
)
def test_a_wrong_csv_names_its_line(run: Run, text: str, told: str) -> None:
    Path("p.csv").write_text(text)
    result = run("import", "p.csv")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0].startswith(told)


def test_ids_are_brought_into_the_form_in_which_requests_tell_them(run: Run, valkey: str) -> None:
    ids = ["IFA:6D92078A-8246", "buyeruid@Acme:AbC", "LiveRamp.com:XyZ"]
    Path("p.jsonl").write_text(json.dumps({"ids": ids, "segments": ["s"]}))
    assert run("import", "p.jsonl").exit_code == 0
    for told in ("ifa:6d92078a-8246", "buyeruid@Acme:AbC", "liveramp.com:XyZ"):
        assert read(valkey, told).segments == ("s",)
    assert run("show", "ifa:6D92078A-8246").exit_code == 0


def test_a_csv_in_another_encoding_changes_no_id_silently(run: Run) -> None:
    Path("p.csv").write_bytes("ids,segments\nifa:ann,s\nifa:jürgen,s\n".encode("latin-1"))
    result = run("import", "p.csv")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "p.csv:3: is not UTF-8"
    assert run("show", "ifa:ann").exit_code == 0


def test_a_profile_ends_when_its_line_says(run: Run) -> None:
    Path("p.csv").write_text("ids,segments,ttl_days\nifa:ann,s1,0.5\nifa:bob,s1,\n")
    assert run("import", "p.csv").exit_code == 0
    hours = {}
    for name in ("ann", "bob"):
        [line] = [line for line in run("show", f"ifa:{name}").stdout.splitlines() if "profile ttl s" in line]
        hours[name] = int("".join(filter(str.isdigit, line))) / 3600
    assert 11.9 < hours["ann"] <= 12
    assert 24 * 89.9 < hours["bob"] <= 24 * 90


def test_show_tells_what_is_known_and_of_whom_nothing_is(run: Run) -> None:
    Path("p.jsonl").write_text('{"ids": ["ifa:ann"], "segments": ["sport", "cars"]}')
    run("import", "p.jsonl")
    result = run("show", "ifa:ann")
    assert result.exit_code == 0
    assert "sport, cars" in result.stdout
    assert tokens_of(["ifa:ann"])[0] in result.stdout
    nobody = run("show", "ifa:nobody")
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert nobody.stderr == "error: nothing is known of ifa:nobody\n"


def test_a_redis_that_is_away_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("campaign_express.adapters.users_profiles.PATIENCE_S", 0.2)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", "redis://127.0.0.1:1/0")
    Path("p.jsonl").write_text('{"ids": ["ifa:ann"]}')
    result = run("import", "p.jsonl")
    assert result.exit_code == 1
    assert "stopped: 0 profiles are written" in result.stderr
    assert "error: Redis at redis://127.0.0.1:1/0 does not answer" in result.stderr
