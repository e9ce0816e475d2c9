"""A real Prometheus asks a real cell under load: every rule is computed, every expression of it returns data.

What exporters tell comes from tests/infra/exporters, served as it is; the cell's own metrics come from the cell.
"""

from __future__ import annotations

import http.server
import json
import math
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from campaign_express.loadgen import run_load
from tests.support.monitoring import CONFIG, EXPORTERS, MONITORING, ROOT, RULES, program, rules, run, unbounded

BODY = json.dumps(
    {
        "id": "auction-1",
        "tmax": 2000,
        "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}, {"w": 728, "h": 90}, {"w": 320, "h": 50}]}}],
        "site": {"domain": "news.example", "cat": ["IAB12"]},
        "device": {
            "ua": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0",
            "ip": "203.0.113.7",
            "geo": {"country": "USA"},
        },
    }
).encode()
SOURCES = {  # which exporter stands for a job; the cell stands for its own
    "nats": "nats",
    "redis": "redis",
    "haproxy": "haproxy",
    "clickhouse": "clickhouse",
    "ray": "ray",
    "cadvisor": "cadvisor",
    "kubelet": "cadvisor",
    "kube-state-metrics": "kube-state-metrics",
}
COUNTS = re.compile(r"^\w+(_total|_bucket|_sum|_count)[{ ]|^ClickHouseProfileEvents_")
# By their labels, these have no sample before the first of it.
EMPTY = re.compile(r"campaign_express_(notices|notice_prices|invalid_requests)_total")
KEPT = ("job_name", "metric_relabel_configs", "honor_labels")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Exporters(http.server.BaseHTTPRequestHandler):
    """Counters and histograms grow by their values in the file each second."""

    began = time.monotonic()

    def do_GET(self) -> None:
        passed = time.monotonic() - self.began
        lines = []
        for line in (EXPORTERS / f"{self.path[1:]}.prom").read_text(encoding="utf-8").splitlines():
            if not line.startswith("#") and COUNTS.search(line):
                sample, _, value = line.rpartition(" ")
                line = f"{sample} {float(value) * (1 + int(passed))}"
            lines.append(line + "\n")
        body = "".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def started(command: list[str], ready: str, log: Path) -> Iterator[None]:
    """The process runs and `ready` answers; ended by its pid."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            try:
                with urllib.request.urlopen(ready, timeout=2):
                    break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def with_static_targets(cell: int, exporters: int) -> dict[str, Any]:
    """prometheus.yml with targets on loopback in place of discovery, and a second in place of 10."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(path) for path in RULES]
    del config["alerting"]
    jobs = []
    for job in config["scrape_configs"]:
        name = job["job_name"]
        kept = {key: job[key] for key in KEPT if key in job}
        if name == "campaign-express":
            jobs.append({**kept, "static_configs": [{"targets": [f"127.0.0.1:{cell}"], "labels": {"pod": "plain"}}]})
        elif name in SOURCES:
            own = any(rule.get("target_label") == "pod" for rule in job.get("relabel_configs", []))
            target = {"targets": [f"127.0.0.1:{exporters}"], "labels": {"pod": f"{name}-0"} if own else {}}
            jobs.append({**kept, "metrics_path": f"/{SOURCES[name]}", "static_configs": [target]})
    config["scrape_configs"] = jobs
    return config


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        """What it returns now, without NaN: that is a division by nothing."""
        found = [float(one["value"][1]) for one in self.get("query", query=expression)["result"]]
        return [value for value in found if not math.isnan(value)]

    def without_data(self, expressions: list[str]) -> list[str]:
        return [expression for expression in expressions if not self.values(expression)]


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    binary = program("prometheus")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporters)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    http_port, metrics_port, port = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as folder:
        directory = Path(folder)
        config = directory / "prometheus.yml"
        config.write_text(yaml.safe_dump(with_static_targets(metrics_port, server.server_port)))
        cell = [sys.executable, "-m", "tests.support.plain_cell", str(http_port), str(metrics_port), folder]
        serving = [binary, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
        serving += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        with (
            started(cell, f"http://127.0.0.1:{metrics_port}/metrics", directory / "cell.log"),
            started(serving, f"http://127.0.0.1:{port}/-/ready", directory / "prometheus.log"),
        ):
            report = run_load(f"http://127.0.0.1:{http_port}/v1/bid", 200, 6, [BODY])
            assert report.failures == {}
            assert report.bids > 0
            yield Prometheus(port)
    server.shutdown()
    server.server_close()


def test_every_target_answers(prometheus: Prometheus) -> None:
    targets = prometheus.get("targets")["activeTargets"]
    assert {target["labels"]["job"] for target in targets} == {"campaign-express", *SOURCES}
    assert [target["lastError"] for target in targets if target["health"] != "up"] == []


def test_every_rule_is_computed_and_returns_data(prometheus: Prometheus) -> None:
    expressions = [
        rule["expr"] if "record" in rule else unbounded(rule["expr"]) for path in RULES for rule in rules(path)
    ]
    expressions += [rule["record"] for path in RULES for rule in rules(path) if "record" in rule]
    deadline = time.monotonic() + 20
    while (missing := prometheus.without_data(expressions)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert missing == []
    computed = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(computed) == sum(len(rules(path)) for path in RULES)
    assert [(rule["name"], rule["lastError"]) for rule in computed if rule["health"] != "ok"] == []


def test_every_expression_of_the_dashboards_returns_data(prometheus: Prometheus) -> None:
    """What nothing has happened of yet (nobody's state was asked for) is NaN: answered, not absent."""
    shown = [
        target["expr"].replace("$__rate_interval", "1m")
        for path in (MONITORING / "grafana/dashboards").glob("*.json")
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(shown) > 80
    absent = [one for one in shown if not prometheus.get("query", query=one)["result"]]
    assert [one for one in absent if not EMPTY.search(one)] == []


def test_figures_are_those_of_the_load(prometheus: Prometheus) -> None:
    asked = prometheus.values("sum(campaign_express_requests_total)")
    assert asked[0] == sum(prometheus.values("campaign_express_outcomes_total")) > 500
    (p99,) = prometheus.values("campaign_express:bid_latency_seconds:p99_5m")
    assert 0 < p99 <= 1
    assert prometheus.values("campaign_express:errors:ratio_rate5m") == [0.0]


def test_its_own_program_accepts_the_configuration(tmp_path: Path) -> None:
    """Debian's build has no discovery in Kubernetes: in its place stands a target, all else is as it is."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["rule_files"] = [str(path) for path in RULES]
    for job in config["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": ["127.0.0.1:1"]}]
        job.get("authorization", {}).pop("credentials_file", None)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    checked = run("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
