"""Who may import whom: openrtb ← bidding ← ports ← adapters, gateway ← serving; bootstrap sees all but serving."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "campaign_express"
# Layer → what of the package it may import. `ports`, `errors`, `frames` and `config` hold only types and settings.
MAY: dict[str, set[str]] = {
    "openrtb": {"openrtb", "errors"},
    "bidding": {"openrtb", "bidding", "ports", "errors", "control", "events"},
    "ports": {"openrtb", "bidding", "events"},
    "events": set(),
    "control": set(),
    "notifications": set(),
    "clock": {"errors"},
    "compiled": {"bidding", "errors"},
    "adapters": {
        *("openrtb", "bidding", "ports", "errors", "adapters", "config", "events", "control", "clock"),
        *("notifications", "tracing"),
    },
    "tracing": set(),
    "families": set(),
    "gateway": {"families", "openrtb", "errors", "frames", "config", "gateway", "ports", "events", "clock", "tracing"},
    "treasury": {
        "openrtb",
        "bidding",
        "ports",
        "errors",
        "adapters",
        "config",
        "events",
        "control",
        "clock",
        "families",
        "notifications",
        "treasury",
    },
    "bootstrap_treasury": {
        *("bidding", "ports", "errors", "config", "adapters", "treasury", "packaged", "clock", "families"),
        *("bootstrap_pacing", "events", "streams"),
    },
    "analytics": {"bidding", "ports", "errors", "events", "analytics"},
    "pipeline": {"analytics", "ports", "errors", "events", "families", "adapters", "treasury", "pipeline"},
    "streams": {"adapters", "config", "events"},
    "sizing": {"config", "events"},
    "bootstrap_warehouse": {"adapters", "analytics", "config", "errors", "ports"},
    "bootstrap_pipeline": {
        *("adapters", "analytics", "bidding", "bootstrap_warehouse", "clock", "config", "errors", "events"),
        *("packaged", "pipeline", "ports", "streams"),
    },
    "cluster": {"cluster", "errors"},
    "exchange": {"openrtb", "bidding", "errors", "clock", "exchange", "loadgen"},
    "learning": {"openrtb", "bidding", "ports", "errors", "adapters", "learning", "config"},
    "bidder": {
        *("openrtb", "bidding", "ports", "errors", "frames", "control", "events", "decision_log", "timed_scorer"),
        "tracing",
    },
    "timed_scorer": {"ports"},
    "backtest": {"openrtb", "bidding", "ports", "errors", "events", "bidder"},
    "decision_log": {"openrtb", "bidding", "ports", "events"},
    "bootstrap_notices": {
        *("openrtb", "bidding", "ports", "errors", "config", "adapters", "gateway", "packaged", "clock", "events"),
        *("streams", "tracing"),
    },
    "bootstrap_pacing": {"bidding", "errors", "config", "adapters", "treasury", "clock"},
    "packaged": {"bidding", "config"},
    "bootstrap": {
        *("openrtb", "bidding", "ports", "errors", "frames", "config", "adapters", "bidder"),
        *("clock", "compiled", "control", "events", "packaged", "decision_log"),
    },
}
# Pure layers do no I/O of their own.
FORBIDDEN = {
    "openrtb": {"ray", "redis", "nats", "asyncio", "socket", "threading", "subprocess"},
    "bidding": {"ray", "redis", "nats", "asyncio", "socket", "subprocess", "time"},  # a purse has a lock: no I/O
    "adapters": {"ray"},
    "gateway": {"ray"},
    "treasury": {"ray"},
    "analytics": {"ray", "redis", "nats", "asyncio", "socket"},
    "pipeline": {"ray", "redis", "nats"},
    "cluster": {"ray", "redis", "nats"},
    "exchange": {"ray"},
    "bidder": {"ray", "redis", "nats", "asyncio"},
    "timed_scorer": {"ray", "redis", "nats", "asyncio", "time"},
    "tracing": {"ray", "opentelemetry", "asyncio", "socket", "time"},
    "decision_log": {"ray", "redis", "nats", "asyncio", "socket", "threading", "subprocess", "time"},
    "bootstrap": {"ray"},
    "bootstrap_notices": {"ray"},
    "bootstrap_treasury": {"ray"},
    "bootstrap_pacing": {"ray"},
    "bootstrap_pipeline": {"ray"},
    "bootstrap_warehouse": {"ray"},
    "cli": set(),
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files(layer: str) -> list[Path]:
    single = PACKAGE / f"{layer}.py"
    return [single] if single.exists() else sorted((PACKAGE / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", sorted(MAY))
def test_a_layer_imports_only_what_is_below_it(layer: str) -> None:
    assert files(layer), layer
    for path in files(layer):
        for name in imports(path):
            if name.startswith("campaign_express.") and name != "campaign_express.__version__":
                assert name.split(".")[1] in MAY[layer], f"{path.name} imports {name}"


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_a_layer_stays_clear_of(layer: str) -> None:
    for path in files(layer):
        for name in imports(path):
            assert name.split(".")[0] not in FORBIDDEN[layer], f"{path.name} imports {name}"


def test_only_serving_imports_ray() -> None:
    importing = {
        p.relative_to(PACKAGE).parts[0]
        for p in PACKAGE.rglob("*.py")
        if any(n.split(".")[0] == "ray" for n in imports(p))
    }
    assert importing <= {"serving"}
