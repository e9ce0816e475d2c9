"""The commands as a person meets them: what they print, where, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from campaign_express import embedded, frames
from campaign_express.bidding.documents import read_document
from campaign_express.cli import app
from campaign_express.cli import replay as replay_command
from campaign_express.config import Settings
from campaign_express.openrtb.nobid import NoBidReason

BANNER = {
    "id": "b1",
    "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}]}}],
    "site": {"domain": "example.com"},
}
SERVE_CONFIG = """
applications:
  - name: campaign-express
    import_path: campaign_express.serving.builder:app
    args: {data_dir: var, embedded_redis_port: 0, embedded_nats_port: 0}
"""
BAD_CATALOG = """
advertisers: [{id: acme, name: Acme, domain: acme.example}]
campaigns:
  - {id: broken, advertiser: nobody, flight: {start: 2026-01-01}, goal: {type: cpm, bid: 1}, max_bid: -2, creatives: []}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a directory of its own with a Serve configuration, and without settings in the environment."""
    for name in os.environ:
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    (tmp_path / "serve_config.yaml").write_text(SERVE_CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str) -> str:
    """What a wrong call says on stderr; stdout must stay empty and the exit code is 2."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def requests_file(directory: Path, *requests: object) -> str:
    path = directory / "requests.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in requests))
    return str(path)


# replay


def test_replay_prints_one_object_a_line(directory: Path) -> None:
    tiny = {**BANNER, "id": "tiny", "imp": [{"id": "1", "banner": {"w": 1, "h": 1}}]}
    file = requests_file(directory, BANNER, tiny, '{"id":"x"', "", {"id": "y"}, {"id": 7, "imp": []})
    bid, no_bid, cut, no_imp, number = [json.loads(line) for line in run("replay", file).stdout.splitlines()]

    assert list(bid) == ["id", "outcome", "response", "reasons", "micros"]
    assert (bid["id"], bid["outcome"], bid["reasons"]) == ("b1", "bid", [])
    prices = [b["price"] for seat in bid["response"]["seatbid"] for b in seat["bid"]]
    assert bid["micros"] == [round(price * 1_000_000) for price in prices]
    assert bid["response"]["id"] == "b1"

    assert no_bid == {"id": "tiny", "outcome": "no-bid", "response": None, "reasons": ["size"], "micros": []}
    assert (cut["id"], cut["outcome"], cut["reasons"]) == (None, "invalid", ["invalid-request"])
    assert (no_imp["id"], no_imp["response"]["error"]["path"]) == ("y", "$.imp")
    assert (number["id"], number["outcome"]) == (7, "invalid")


def test_replay_judges_size_as_the_gateway_does(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_MAX_BODY_BYTES", "200")
    file = requests_file(directory, {**BANNER, "ext": "x" * 200}, BANNER)
    outcomes = [json.loads(line) for line in run("replay", file).stdout.splitlines()]
    assert [outcome["outcome"] for outcome in outcomes] == ["invalid", "bid"]
    assert "200" in outcomes[0]["response"]["error"]["message"]


def test_an_error_of_the_bidder_itself_is_a_no_bid_with_its_reason() -> None:
    answer = frames.Answer(204, b"", NoBidReason.TECHNICAL_ERROR.index)
    outcome = replay_command._outcome(b"{}", answer)
    assert (outcome.outcome, outcome.reasons) == ("no-bid", ["technical-error"])


def test_replay_keeps_order_over_many_batches(directory: Path) -> None:
    many = [{**BANNER, "id": str(n)} for n in range(replay_command.BATCH * 2 + 3)]
    lines = run("replay", requests_file(directory, *many)).stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [request["id"] for request in many]


def test_replay_summary_counts_outcomes(directory: Path) -> None:
    output = run("replay", requests_file(directory, BANNER, BANNER, {"id": "y"}), "--summary").stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    assert rows == [["bid", "", "2", "66.7%"], ["invalid", "invalid-request", "1", "33.3%"]]
    assert "3 requests" in output


def test_replay_of_real_requests(shared: Path) -> None:
    lines = run("replay", str(shared / "openrtb" / "requests.jsonl")).stdout.splitlines()
    outcomes = [json.loads(line)["outcome"] for line in lines]
    assert len(outcomes) == 400
    assert outcomes.count("invalid") == 0
    assert outcomes.count("bid") >= 240


def test_replay_writes_nothing(directory: Path) -> None:
    before = sorted(directory.rglob("*"))
    run("replay", requests_file(directory, BANNER))
    assert sorted(directory.rglob("*")) == sorted([*before, directory / "requests.jsonl"])


def test_replay_into_a_closed_pipe_is_quiet(directory: Path) -> None:
    file = requests_file(directory, *[BANNER] * 500)
    command = f"{sys.executable} -c 'from campaign_express.cli import app; app()' replay {file} | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_wrong_input_of_replay(directory: Path) -> None:
    assert "nowhere" in refused("replay", "nowhere")
    file = requests_file(directory, BANNER)
    assert "--exchange nobody: unknown" in refused("replay", file, "--exchange", "nobody")
    assert "no-such.yaml" in refused("replay", file, "--config", "no-such.yaml")


# catalog


def test_catalog_validate() -> None:
    examples = Path(embedded.__file__).parent / "data" / "examples" / "catalog.yaml"
    assert "no problem found" in run("catalog", "validate", str(examples)).stdout


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize(
    ("terminal", "after_s", "shown"),
    [(True, 0.0, True), (True, 60.0, False), (False, 0.0, False)],
    ids=["slow", "fast", "no terminal"],
)
def test_a_long_check_of_a_catalogue_shows_how_far_it_is(
    directory: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, terminal: bool, after_s: float, shown: bool
) -> None:
    raw = read_document(Path(embedded.__file__).parent / "data" / "examples" / "catalog.yaml", 1 << 20)
    file = directory / f"many.{suffix}"
    file.write_text(yaml.safe_dump(raw) if suffix == "yaml" else json.dumps(raw))
    seen = io.StringIO()
    monkeypatch.setattr("campaign_express.cli.common.stderr", Console(file=seen, force_terminal=terminal, width=100))
    monkeypatch.setattr("campaign_express.cli.common.PatientProgress.AFTER_S", after_s)
    result = run("catalog", "validate", str(file))
    count = len(raw["campaigns"])
    assert f"{count} campaigns" in result.output
    assert (f"checked {count} of {count} campaigns" in seen.getvalue()) is shown
    assert bool(seen.getvalue()) is shown


def test_catalog_problems_are_all_told_by_campaign(directory: Path) -> None:
    (directory / "bad.yaml").write_text(BAD_CATALOG)
    for command in ("validate", "publish"):
        said = refused("catalog", command, "bad.yaml")
        assert "broken" in said
        assert "max_bid" in said
        assert "creatives" in said
    assert embedded.running(Settings(data_dir="var")) == {}


def test_catalog_publish_and_show_by_the_embedded_server(directory: Path) -> None:
    assert "nothing is published" in run("catalog", "show").stdout
    whole = run("catalog", "show", "--yaml").stdout
    raw = yaml.safe_load(whole)
    raw["campaigns"] = raw["campaigns"][:3]
    (directory / "three.yaml").write_text(yaml.safe_dump(raw))
    assert run("catalog", "publish", "three.yaml").stdout.startswith("published version 1: 3 campaigns")
    assert run("catalog", "publish", "three.yaml").stdout.startswith("published version 2")
    shown = run("catalog", "show").stdout
    assert "published version 2: 3 campaigns" in shown
    assert raw["campaigns"][2]["id"] in shown
    assert embedded.running(Settings(data_dir="var")) == {}


def test_a_redis_that_is_away_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    result = run("catalog", "show")
    assert result.exit_code == 1
    assert "127.0.0.1:1" in result.stderr
    assert "hidden" not in result.output


# check-config


def test_check_config_lists_settings_and_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_OPERATOR_TOKEN", "hidden-token")
    result = run("check-config")
    assert result.exit_code == 0
    assert "no problem found" in result.stdout
    assert "hidden-token" not in result.output


def test_check_config_reports_settings_at_once(directory: Path) -> None:
    (directory / "serve_config.yaml").write_text(
        SERVE_CONFIG.replace("{data_dir", "{htpp_port: 1, max_batch: 0, data_dir")
    )
    said = refused("check-config")
    assert "args.htpp_port: no such setting" in said
    assert "args.max_batch" in said


def test_check_config_finds_what_a_start_would_refuse(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    (directory / "serve_config.yaml").write_text(
        SERVE_CONFIG.replace("{data_dir", "{redis_url: 'redis://u:pass-word@h:1', data_dir")
    )
    monkeypatch.setenv("CAMPAIGN_EXPRESS_LEASE_S", "7")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_SIMULATED_CLOCK", "soon")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NOTIFY_EMAIL_TO", "a@example.com")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CLICKHOUSE_URL", "clickhouse://u:pass-word@")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_EVENTS_KEEP_DAYS", "1")
    said = refused("check-config")
    for told in (
        *("args.redis_url: holds a secret", "lease_s: 7", "simulated_clock", "sendgrid_api_key"),
        *("clickhouse_url: a host or port is missing", "events_keep_days: 1 days are too few"),
    ):
        assert told in said
    assert "pass-word" not in said


def test_check_config_holds_settings_against_the_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NOTICE_URL_LIFE_S", "60")
    assert "notice_url_life_s: 60 is less than" in refused("check-config")


def test_check_config_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", "redis://u:pass-word@redis.example:6379/0")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", "nats://u:pass-word@nats.example:4222")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_CLICKHOUSE_URL", "clickhouses://u:pass-word@click.example,other.example:1/db")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NOTIFY_WEBHOOK_URL", "https://hooks.example/pass-word")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NOTIFY_WEBHOOK_SECRET", "0123456789abcdef")
    result = run("check-config")
    assert result.exit_code == 0, result.output
    assert "pass-word" not in result.output
    assert "redis.example:6379" in result.output
    assert "nats.example:4222" in result.output
    assert "clickhouses://click.example:9440,other.example:1/db" in result.output


@pytest.mark.parametrize(
    ("name", "value"),
    [("CATALOG_FILE", "away.yaml"), ("MODEL_FILE", "away.onnx"), ("GEOIP_FILE", "away.mmdb"), ("NOTICE_KEYS", "a:xyz")],
)
def test_check_config_looks_into_the_files_that_settings_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CAMPAIGN_EXPRESS_{name}", value)
    said = refused("check-config")
    assert (value if name != "NOTICE_KEYS" else "notice_keys") in said


@pytest.mark.parametrize("text", ["applications: []", "a: [", "applications: [{import_path: other:app}]", "7"])
def test_a_serve_configuration_without_our_application(directory: Path, text: str) -> None:
    (directory / "other.yaml").write_text(text)
    assert "other.yaml" in refused("check-config", "other.yaml")
    assert "other.yaml" in refused("up", "--config", "other.yaml")


# load


@pytest.fixture
def bidder_url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "14")
            self.end_headers()
            self.wfile.write(b'{"seatbid":[]}')

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/bid"
        server.shutdown()


def test_load_prints_its_figures(directory: Path, bidder_url: str) -> None:
    arguments = (
        "--requests",
        requests_file(directory, BANNER),
        "--rate",
        "50",
        "--duration",
        "0.5",
        "--url",
        bidder_url,
    )
    table = run("load", *arguments, "--connections", "2").stdout
    for figure in ("sent", "answered", "bid rate", "p50", "p95", "p99", "p99.9", "late"):
        assert figure in table
    report = json.loads(run("load", *arguments, "--connections", "2", "--json").stdout)
    assert report["sent"] == report["answered"] == report["bids"] > 0


def test_wrong_input_of_load(directory: Path) -> None:
    file = requests_file(directory, BANNER)
    assert "not an http or https URL" in refused("load", "--requests", file, "--url", "ftp://x", "--duration", "0.1")
    assert "holds no request" in refused("load", "--requests", requests_file(directory, ""))
    assert "--rate" in refused("load", "--requests", file, "--rate", "0")
    assert "--requests" in refused("load")


def test_load_on_a_port_without_listener_says_so(directory: Path) -> None:
    arguments = ("--requests", requests_file(directory, BANNER), "--rate", "50", "--duration", "0.2")
    result = run("load", *arguments, "--url", "http://127.0.0.1:1/")
    assert result.exit_code == 1
    assert "nothing listens at http://127.0.0.1:1/" in result.stderr


# the rest


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("up", "check-config", "catalog", "replay", "load"):
        assert command in result.stdout
