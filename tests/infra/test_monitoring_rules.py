"""Alerts are tested code: the reference's names, times and severities, each held to its minute, each in the runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support.monitoring import ALERTS, CONFIG, MONITORING, NAMES, ROOT, RULES, SLO, jobs, rules, run

CASES = ROOT / "tests/infra/rules"
ROUTES = MONITORING / "alertmanager/alertmanager-config.yaml"
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
# group, duration, severity and threshold, as the infrastructure reference has them
REFERENCE = {
    "HighBidLatency": ("campaign-express", "5m", "critical", "> 0.05"),
    "LowThroughput": ("campaign-express", "5m", "warning", "< 500"),
    "HighErrorRate": ("campaign-express", "5m", "critical", "> 0.01"),
    "PodCrashLooping": ("campaign-express", None, "critical", ">= 3"),
    "HighMemoryUsage": ("campaign-express", "10m", "warning", "> 0.85"),
    "HighCPUUsage": ("campaign-express", "10m", "warning", "> 0.80"),
    "RedisHighMemory": ("redis", "5m", "warning", "> 0.85"),
    "RedisConnectionsExhausted": ("redis", "5m", "critical", "> 0.90"),
    "RedisHighLatency": ("redis", "5m", "warning", "> 0.01"),
    "NPUInferenceLatency": ("npu", "5m", "warning", "> 0.01"),
    "NPUModelLoadFailure": ("npu", None, "critical", "> 0"),
}


def alerts() -> dict[str, dict[str, object]]:
    return {rule["alert"]: rule for path in RULES for rule in rules(path) if "alert" in rule}


def test_the_eleven_alerts_are_those_of_the_reference() -> None:
    found = {}
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            threshold = REFERENCE[rule["alert"]][3]
            assert threshold in rule["expr"], rule["alert"]
            found[rule["alert"]] = (group["name"], rule.get("for"), rule["labels"]["severity"], threshold)
    assert found == REFERENCE


def test_promtool_accepts_every_rule() -> None:
    checked = run("promtool", "check", "rules", *map(str, RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(path: Path) -> None:
    tested = run("promtool", "test", "rules", str(path))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_seen_silent_firing_and_silent_again() -> None:
    for name in alerts():
        seen = []
        for path in CASES.glob("*.yaml"):
            for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
                if name == case["name"]:
                    seen = [bool(one.get("exp_alerts")) for one in case["alert_rule_test"] if one["alertname"] == name]
        assert seen == [False, True, False], name


def test_every_alert_has_a_runbook_entry_and_no_entry_is_without_an_alert() -> None:
    entries = set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE))
    assert entries == set(alerts())
    for name, rule in alerts().items():
        annotations = rule["annotations"]
        assert isinstance(annotations, dict)
        assert annotations["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert annotations["summary"]


def test_objectives_are_alerted_on_by_a_long_and_a_short_window() -> None:
    for rule in rules(SLO):
        if "alert" in rule:
            windows = re.findall(r"error_ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)", rule["expr"])
            assert len(windows) == 4
            for (_, *long), (_, *short) in zip(windows[::2], windows[1::2], strict=True):
                assert long == short


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        *((f"alertname={name} severity={severity}", severity) for name, (_, _, severity, _) in REFERENCE.items()),
        ("alertname=Unheard", "warning"),
    ],
)
def test_critical_alerts_page_and_warnings_are_mailed(labels: str, receiver: str) -> None:
    wanted = {"critical": "pagerduty", "warning": "ops"}[receiver]
    tested = run(
        "amtool", "config", "routes", "test", f"--config.file={ROUTES}", f"--verify.receivers={wanted}", *labels.split()
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_receivers_are_those_of_the_reference_and_hold_no_secret() -> None:
    checked = run("amtool", "check-config", str(ROUTES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    config = yaml.safe_load(ROUTES.read_text(encoding="utf-8"))
    kinds = {one["name"]: set(one) - {"name"} for one in config["receivers"]}
    assert kinds == {"pagerduty": {"pagerduty_configs"}, "ops": {"email_configs", "slack_configs"}}
    text = ROUTES.read_text(encoding="utf-8")
    assert not re.search(r"(password|api_url|routing_key|service_key):", text)


def test_jobs_ask_the_ports_of_the_table() -> None:
    found = jobs()
    assert list(found)[:5] == ["campaign-express", "nats", "redis", "haproxy", "clickhouse"]
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    assert config["global"]["scrape_interval"] == "10s"
    ports = {name: entry["ports"] for name, entry in NAMES["components"].items() if "ports" in entry}
    wanted = {
        "campaign-express": ports["bidder"]["metrics"],
        "nats": ports["nats-exporter"]["metrics"],
        "redis": ports["redis-exporter"]["metrics"],
        "haproxy": ports["haproxy"]["stats"],
        "clickhouse": ports["clickhouse"]["metrics"],
        "ray": ports["ray-node"]["ray-metrics"],
        "kube-state-metrics": ports["kube-state-metrics"]["metrics"],
    }
    for job, port in wanted.items():
        assert re.search(rf"\b{port}\b", str(found[job])), job
    redis = next(rule for rule in found["redis"]["relabel_configs"] if rule.get("target_label") == "__address__")
    namespace = NAMES["namespace"]
    assert redis["replacement"] == f"redis-exporter.{namespace}.svc:{ports['redis-exporter']['metrics']}"
    targets = {target for one in found["monitoring"]["static_configs"] for target in one["targets"]}
    assert targets == {
        f"localhost:{ports['prometheus']['web']}",
        f"alertmanager:{ports['alertmanager']['web']}",
        f"grafana:{ports['grafana']['web']}",
        f"loki:{ports['loki']['http']}",
        f"tempo:{ports['tempo']['http']}",
    }
