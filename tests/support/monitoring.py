"""deploy/monitoring as its programs see it: files, rules, expressions, and what exporters tell."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import absent

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
ALERTS = MONITORING / "alertmanager/alert-rules.yaml"
RECORDS = MONITORING / "prometheus/recording-rules.yaml"
SLO = MONITORING / "prometheus/slo-rules.yaml"
RULES = (ALERTS, RECORDS, SLO)
CONFIG = MONITORING / "prometheus/prometheus.yml"
EXPORTERS = ROOT / "tests/infra/exporters"
NAMES = yaml.safe_load((ROOT / "deploy/names.yaml").read_text(encoding="utf-8"))

THRESHOLD = re.compile(r"\s(==|>=|<=|>|<)\s[\d.]+(\s\*\s[\d.]+)?")


def program(name: str) -> str:
    """Path of a Debian program; where it is not installed the test is skipped, or fails in CI."""
    found = shutil.which(name)
    if found is None:
        absent(f"{name} (Debian's prometheus and prometheus-alertmanager)")
        raise AssertionError
    return found


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=60)


def rules(path: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def jobs() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["scrape_configs"]
    return {job["job_name"]: job for job in found}


def unbounded(expression: str) -> str:
    """The expression of an alert without its thresholds: has a value where there is data at all."""
    return THRESHOLD.sub("", expression)


@cache
def told_by_exporters() -> frozenset[str]:
    """Names of all samples of tests/infra/exporters."""
    found = set()
    for path in EXPORTERS.glob("*.prom"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                found.add(re.split(r"[{ ]", line)[0])
    return frozenset(found)
