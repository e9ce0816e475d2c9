"""`report`: whom it asks, what it sends, what it shows. The bidder is a small HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner, Result

from campaign_express.cli import app

TOLD: dict[str, Any] = {
    "title": "Delivery",
    "query": {"from": "2026-11-28", "to": "2026-11-29", "timezone": "UTC"},
    "source": "rollup_day",
    "columns": [
        {"name": "place", "kind": "text"},
        {"name": "bids", "kind": "count"},
        {"name": "spend", "kind": "usd"},
        {"name": "ctr", "kind": "share"},
    ],
    "rows": [["news[bold]\x1b[31m", 1234567, "1234.500000", 0.0123], ["", 0, "0.000001", None]],
    "totals": [None, 1234567, "1234.500001", 0.0123],
    "cut": True,
}


class Bidder(HTTPServer):
    status, body, kind = 200, json.dumps(TOLD).encode(), "application/json"
    asked: tuple[str, list[tuple[str, str]], str | None] | None = None

    class Handler(BaseHTTPRequestHandler):
        server: Bidder

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            self.server.asked = url.path, parse_qsl(url.query), self.headers["Authorization"]
            self.send_response(self.server.status)
            self.send_header("Content-Type", self.server.kind)
            self.send_header("Content-Length", str(len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def bidder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bidder]:
    server = Bidder(("127.0.0.1", 0), Bidder.Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMPAIGN_EXPRESS_SERVE_PORT", str(server.server_port))
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path / "var"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def test_the_bidder_is_asked(bidder: Bidder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_OPERATOR_TOKEN", "s3cret")
    done = run(
        *("delivery", "--from", "-7d", "--to", "today", "--timezone", "Asia/Kolkata", "--group-by", "place,device"),
        *("--filter", "campaign=x=y", "--filter", "campaign=z", "--period", "day", "--order", "-spend", "--limit", "5"),
    )
    assert done.exit_code == 0, done.output
    assert bidder.asked is not None
    path, query, authorization = bidder.asked
    assert (path, authorization) == ("/v1/reports", "Bearer s3cret")
    assert sorted(query) == sorted(
        [
            *(
                ("report", "delivery"),
                ("from", "-7d"),
                ("to", "today"),
                ("timezone", "Asia/Kolkata"),
                ("period", "day"),
            ),
            *(("group_by", "place,device"), ("filter.campaign", "x=y"), ("filter.campaign", "z"), ("order", "-spend")),
            *(("limit", "5"), ("format", "json")),
        ]
    )


def test_a_table(bidder: Bidder) -> None:
    shown = run("delivery").output
    assert "Delivery: 2026-11-28 to 2026-11-29, UTC" in shown
    assert "1,234,567" in shown
    assert "1,234.50" in shown
    assert "1.23%" in shown
    assert "news[bold]\N{REPLACEMENT CHARACTER}[31m" in shown, "nothing that came from a request is obeyed"
    assert "total" in shown
    assert "of rollup_day; the first 2 rows" in shown


def test_other_formats_are_passed_on(bidder: Bidder, tmp_path: Path) -> None:
    bidder.body, bidder.kind = b"PAR1\x00\xff", "application/vnd.apache.parquet"
    file = tmp_path / "report.parquet"
    assert run("delivery", "--format", "parquet", "--output", str(file)).exit_code == 0
    assert file.read_bytes() == bidder.body
    assert run("delivery", "--format", "csv").stdout_bytes == bidder.body
    bidder.body = json.dumps(TOLD).encode()
    assert run("delivery", "--output", str(tmp_path / "t.txt")).exit_code == 0
    assert "1,234,567" in (tmp_path / "t.txt").read_text()


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (400, {"error": {"message": "from is no date", "path": "from", "rule": "report"}}, 2, "from is no date"),
        (401, {"error": {"message": "x"}}, 1, "CAMPAIGN_EXPRESS_OPERATOR_TOKEN"),
        (404, {}, 1, "has no /v1/reports"),
        (503, {"error": {"message": "the event pipeline does not answer"}}, 1, "pipeline does not answer"),
        (500, [1], 1, "answers 500"),
    ],
)
def test_refusals(bidder: Bidder, status: int, body: Any, code: int, words: str) -> None:
    bidder.status, bidder.body = status, json.dumps(body).encode()
    done = run("delivery")
    assert done.exit_code == code
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_wrong_options(bidder: Bidder) -> None:
    for options, words in ((("--filter", "campaign"), "DIMENSION=VALUE"), (("--format", "xml"), "none of table")):
        done = run("delivery", *options)
        assert done.exit_code == 2
        assert words in done.stderr
    assert bidder.asked is None


def test_no_bidder_and_no_data(bidder: Bidder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spare = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    spare.server_close()
    monkeypatch.setenv("CAMPAIGN_EXPRESS_SERVE_PORT", str(spare.server_port))
    done = run("delivery")
    assert (done.exit_code, "nothing has been recorded yet" in done.stderr) == (1, True)
    assert not (tmp_path / "var").exists(), "asking makes nothing"
