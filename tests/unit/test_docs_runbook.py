"""The runbook speaks of metrics, reasons and settings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from campaign_express.config import Settings
from campaign_express.openrtb.nobid import NoBidReason

DOCS = Path(__file__).resolve().parents[2] / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text(encoding="utf-8")


def words() -> set[str]:
    return set(re.findall(r"`([a-z][a-z0-9_]+)(?:\{[^}`]*\})?`", RUNBOOK))


def test_metrics_and_settings_exist() -> None:
    metrics = set(re.findall(r"`campaign_express_([a-z0-9_]+)`", (DOCS / "metrics.md").read_text(encoding="utf-8")))
    settings = {field.name for field in msgspec.structs.fields(Settings)}
    others = {"reason", "load", "tmax", "bcat", "exp", "privacy", "crawler", "user_config", "max_surge_percent", "rule"}
    others |= {"campaign_express_"}
    named = words()
    assert named - metrics - settings - others == set()
    assert len(named & metrics) > 10
    assert len(named & settings) > 5


def test_reasons_exist() -> None:
    reasons = {reason.value for reason in NoBidReason}
    named = set(re.findall(r'reason="([a-z-]+)"', RUNBOOK))
    assert named
    assert named <= reasons


def test_links_lead_somewhere() -> None:
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
