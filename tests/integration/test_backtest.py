"""`backtest`: requests as agents log them, decided once more by way of a real chDB.

With the catalogue and model of then the outcome is that of then, for every request whose logged form holds all that the
decision saw; with another catalogue it is what one can tell from the file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from told_world import tables
from typer.testing import CliRunner

from campaign_express.adapters.users_keys import tokens_of
from campaign_express.backtest import Backtest, Logged
from campaign_express.bidder import State
from campaign_express.bootstrap import build_bidder
from campaign_express.cli import app
from campaign_express.config import Secret, Settings
from campaign_express.decision_log import DecisionLog, Shares
from campaign_express.events import DecisionFrame, RequestEvent, decode_frame
from campaign_express.frames import Ask
from campaign_express.packaged import packaged
from campaign_express.pipeline.loader import DecisionLoader
from campaign_express.ports import Hold, Message, UserState, UserWant

WALL_MS = int(time.time() * 1000)
DAY = str(datetime.fromtimestamp(WALL_MS / 1000, UTC).date())
SETTINGS = Settings(notice_keys=Secret("k1:" + "5a" * 32))


class Users:
    """Everybody has a token and two segments, and has seen nothing."""

    def fetch(self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float) -> list[UserState | None]:
        return [None if one is None else UserState(tokens_of(one.ids)[0], segments=("auto", "s1")) for one in wants]

    def settle(self, state: UserState, holds: Sequence[Hold]) -> None: ...

    def flush(self) -> None: ...


class Purse:
    """Has money for all but the campaigns of `empty`."""

    version = 1

    def __init__(self, empty: frozenset[str] = frozenset()) -> None:
        self.empty = empty

    def funded(self, campaign: str) -> bool:
        return campaign not in self.empty

    def authorise(self, campaign: str, micros: int, wall_ms: int) -> int:
        return 0


def frames_of(bodies: list[bytes], empty: frozenset[str] = frozenset()) -> list[bytes]:
    """What an agent tells of these requests."""
    state = State(Users(), Purse(empty), lambda catalog: None, 600_000, 0.008)

    def log_of(model: str) -> DecisionLog:
        return DecisionLog(Shares(1.0, 1.0, 1.0), lambda token, wall_ms: f"pseudonym-of-{token}", model)

    bidder = build_bidder(SETTINGS, None, state, log_of)
    told: list[bytes] = []
    for start in range(0, len(bodies), 16):
        now = time.monotonic_ns()
        asks = [Ask("", now, body) for body in bodies[start : start + 16]]
        told += bidder.answer(asks, now, WALL_MS + start).events
    return [*told, *bidder.events()]


def events_of(frames: list[bytes]) -> list[RequestEvent]:
    decoded: list[DecisionFrame] = [decode_frame(frame) for frame in frames]
    return [one for frame in decoded for one in frame.requests]


def logged(events: list[RequestEvent]) -> list[Logged]:
    return [
        Logged(e.time_ms, e.exchange, e.body.decode(), e.segments, e.bids, e.reason, e.user, e.weight) for e in events
    ]


@pytest.fixture(scope="module")
def bodies(shared: Path) -> list[bytes]:
    """Real requests, each under an id of its own."""
    lines = (shared / "openrtb" / "requests.jsonl").read_bytes().splitlines()
    return [msgspec.json.encode({**msgspec.json.decode(line), "id": f"r{n}"}) for n, line in enumerate(lines)]


@pytest.fixture(scope="module")
def frames(bodies: list[bytes]) -> list[bytes]:
    return frames_of(bodies)


def whole(body: bytes) -> bool:
    """Whether the logged form holds all that decided: no city, ids that are only counted, or words of a person."""
    request = json.loads(body)
    user, device = request.get("user", {}), request.get("device", {})
    geos = [device.get("geo", {}), user.get("geo", {})]
    eids = user.get("eids") or user.get("ext", {}).get("eids")
    return not (any(geo.get("city") for geo in geos) or eids or user.get("keywords") or user.get("kwarray"))


def test_the_same_again_is_exactly_the_same(bodies: list[bytes], frames: list[bytes]) -> None:
    rows = logged(events_of(frames))
    assert len(rows) == len(bodies)
    bidder = build_bidder(SETTINGS)
    comparable = [row for row, body in zip(rows, bodies, strict=True) if whole(body)]
    assert len(comparable) > 0.9 * len(rows)
    backtest = Backtest(bidder)
    assert list(backtest.run(comparable))[-1] == len(comparable)
    report = backtest.report
    assert report.same == report.requests == len(comparable)
    assert report.before.bids == report.after.bids > 200
    assert report.before.price_micros == report.after.price_micros
    assert (report.reasons, report.left_out) == ([], {})
    assert all(of.gained == of.lost == of.repriced == 0 for of in report.campaigns.values())
    everything = Backtest(bidder)
    list(everything.run(rows))
    assert everything.report.reasons == []  # what is lacking moves prices a little, here
    assert everything.report.same > 0.98 * len(rows)


def test_consent_is_that_of_then_though_its_string_is_not_kept(bodies: list[bytes]) -> None:
    """A GPP string of the US, not opted out, which the logged request lacks."""
    regs = {"gdpr": 0, "gpp": "DBABLA~BVQqAAAACg", "gpp_sid": [7]}
    consenting = [
        msgspec.json.encode({**json.loads(body), "regs": regs, "user": {"id": f"u{number}"}})
        for number, body in enumerate(bodies[:100])
        if whole(body) and "user" not in json.loads(body)
    ]
    rows = [row for row in logged(events_of(frames_of(consenting))) if row.user]  # but for those with another signal
    assert all(row.segments for row in rows)
    assert all("DBABLA" not in row.body for row in rows)
    backtest = Backtest(build_bidder(SETTINGS))
    list(backtest.run(rows))
    assert backtest.report.same == backtest.report.requests == len(rows) > 20


@pytest.mark.parametrize("device", [{"ua": "x"}, {"geo": {"utcoffset": 60}}, None])
def test_a_contextual_request_that_only_the_persons_home_places(bodies: list[bytes], device: dict[str, Any]) -> None:
    """Its country decides, and is kept without the rest of the person."""
    home = {"country": "USA", "region": "CA", "lat": 37.77, "lon": -122.41, "utcoffset": -480}
    person = {"id": "USER-ID", "geo": home}
    placed = [
        {**msgspec.json.decode(body), "user": person, "device": device, "regs": {"gdpr": 0, "us_privacy": "1YYN"}}
        for body in bodies[:150]
    ]
    rows = logged(events_of(frames_of([msgspec.json.encode(one) for one in placed])))
    assert all('"country":"USA"' in row.body for row in rows)
    assert not any("USER-ID" in row.body or '"user"' in row.body or "37.7" in row.body for row in rows)
    backtest = Backtest(build_bidder(SETTINGS))
    list(backtest.run(rows))
    report = backtest.report
    assert report.same == report.requests == len(rows) == len(placed)
    assert report.before.bids > 20


def test_what_a_budget_decided_is_left_out(bodies: list[bytes], frames: list[bytes]) -> None:
    """The same requests, of which no campaign had money: none is compared, all would be bid on."""
    with_bid = [body for body, row in zip(bodies, logged(events_of(frames)), strict=True) if row.bids]
    everybody = frozenset(
        one["id"] for one in yaml.safe_load(packaged("examples/catalog.yaml").read_text())["campaigns"]
    )
    rows = logged(events_of(frames_of(with_bid, everybody)))
    limited = [row for row in rows if row.reason == "budget"]
    assert limited
    backtest = Backtest(build_bidder(SETTINGS))
    list(backtest.run(limited))
    assert (backtest.report.requests, backtest.report.logged) == (0, 0)
    assert backtest.report.left_out == {"decided by budget": len(limited)}
    assert backtest.report.by_state_now_bid == len(limited)


@pytest.fixture
def data(frames: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The logged requests in tables, each standing for ten."""
    for name in list(os.environ):
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told = [decode_frame(frame) for frame in frames]
    ten = [
        DecisionFrame(one.schema, one.id, [], [msgspec.structs.replace(row, weight=10) for row in one.requests])
        for one in told
    ]
    store = tables(tmp_path)
    messages = [Message(at, "decisions.0", msgspec.msgpack.encode(frame)) for at, frame in enumerate(ten, 1)]
    assert not DecisionLoader().load(store, messages, "t").unreadable
    store.close()
    return tmp_path


def run(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["backtest", "--from", DAY, "--to", DAY, *arguments])
    assert result.exit_code == code, result.output
    return result


def test_a_changed_catalogue(data: Path, frames: list[bytes]) -> None:
    """One campaign is taken out and one bids twice as much; the test counts what the log says of the first."""
    catalog = yaml.safe_load(packaged("examples/catalog.yaml").read_text())
    then: dict[str, int] = {}
    for event in events_of(frames):
        for bid in event.bids:
            then[bid.campaign] = then.get(bid.campaign, 0) + 10
    gone = max(then, key=lambda name: then[name])
    catalog["campaigns"] = [one for one in catalog["campaigns"] if one["id"] != gone]
    Path("new.yaml").write_text(yaml.safe_dump(catalog))
    found = json.loads(run("--catalog", "new.yaml", "--format", "json").stdout)
    assert found["requests"] == 10 * found["logged"] == 4000
    assert found["campaigns"][gone]["before"]["bids"] == found["campaigns"][gone]["lost"] == then[gone]
    assert found["campaigns"][gone]["after"]["bids"] == 0
    assert found["before"]["bids"] == sum(then.values())
    gained = sum(one["gained"] for one in found["campaigns"].values())
    lost = sum(one["lost"] for one in found["campaigns"].values())
    assert found["after"]["bids"] == found["before"]["bids"] + gained - lost
    assert found["after"]["clicks"] > 0
    assert sum(count for before, _, count in found["reasons"] if before == "bid") == (
        found["before"]["requests_with_bid"] - found["after"]["requests_with_bid"]
    )
    everything = CliRunner().invoke(app, ["backtest", "--catalog", "new.yaml", "--format", "json"])
    assert json.loads(everything.stdout) == found
    same = run("--catalog", str(packaged("examples/catalog.yaml")))
    assert "4,000 requests (400 logged), 9" in same.stdout
    assert "Budgets, caps, paces and switches are not replayed" in same.stderr


def test_another_model(data: Path, tmp_path: Path) -> None:
    """The same model as a file of its own is the same; what is no model is told."""
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(packaged("models/seed.onnx").read_bytes())
    (tmp_path / "copy.creative.onnx").write_bytes(packaged("models/seed.creative.onnx").read_bytes())
    catalog = str(packaged("examples/catalog.yaml"))
    found = json.loads(run("--catalog", catalog, "--model", str(copy), "--format", "json").stdout)
    assert found == json.loads(run("--catalog", catalog, "--format", "json").stdout)
    copy.write_bytes(b"no model")
    assert "copy.onnx" in run("--catalog", catalog, "--model", str(copy), code=2).output
    assert "is neither table nor json" in run("--catalog", catalog, "--format", "xml", code=2).output
