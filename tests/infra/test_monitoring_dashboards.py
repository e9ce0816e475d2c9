"""Dashboards are what tools/dashboards.py makes, every expression is PromQL, every metric is told by somebody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import ray
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.monitoring import ALERTS, EXPORTERS, MONITORING, RECORDS, ROOT, RULES, SLO, rules, told_by_exporters
from tools import dashboards

GRAFANA = MONITORING / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
HISTOGRAM_PARTS = re.compile(r"_(bucket|sum|count)$")


def expressions(path: Path) -> list[str]:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def told_by_the_product() -> set[str]:
    """As docs/metrics.md has them; another test compares that with the registry."""
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(campaign_express_\w+)`", text, re.MULTILINE))


def selectors(node: Any) -> Iterator[str]:
    """Names of metrics in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if (child := getattr(node, part, None)) is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or []:
        yield from selectors(child)


def metrics(expression: str) -> set[str]:
    found = set(selectors(promql_parser.parse(expression.replace("$__rate_interval", "5m"))))
    assert found or expression == "vector(0)", expression
    return found


def unknown(name: str) -> bool:
    recorded = {rule["record"] for path in (RECORDS, SLO) for rule in rules(path) if "record" in rule}
    told = told_by_the_product() | told_by_exporters() | recorded
    return name not in told and HISTOGRAM_PARTS.sub("", name) not in told


def test_the_committed_files_are_what_is_made() -> None:
    assert {path.stem for path in FILES} == {board.uid for board in dashboards.BOARDS}
    for board in dashboards.BOARDS:
        committed = (GRAFANA / f"dashboards/{board.uid}.json").read_text(encoding="utf-8")
        assert committed == dashboards.render(board), f"{board.uid}: make dashboards"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_metrics_of_dashboards_exist(path: Path) -> None:
    used = {name for expression in expressions(path) for name in metrics(expression)}
    assert len(used) >= 5
    assert {name for name in used if unknown(name)} == set()


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_metrics_of_rules_exist(path: Path) -> None:
    used = {name for rule in rules(path) for name in metrics(rule["expr"])}
    assert {name for name in used if unknown(name)} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_grafana_can_read_them(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert Dashboard.from_json(content).uid == path.stem
    ids = [panel["id"] for panel in content["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in content["panels"]:
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(letters)) == len(letters)
        assert all(letters)


def test_the_main_dashboard_shows_what_the_reference_wants() -> None:
    shown = expressions(GRAFANA / "dashboards/campaign-express.json")
    wanted = [f"campaign_express:bid_latency_seconds:p{q}_5m" for q in (99, 95, 50)]
    wanted += ["campaign_express:bids:ratio_rate5m", "campaign_express:inference_time_seconds:p99_5m"]
    assert set(wanted) <= set(shown)


def test_everything_recorded_is_used() -> None:
    used = {name for path in FILES for expression in expressions(path) for name in metrics(expression)}
    used |= {name for path in (ALERTS, SLO) for rule in rules(path) for name in metrics(rule["expr"])}
    assert {rule["record"] for path in (RECORDS, SLO) for rule in rules(path) if "record" in rule} <= used


def test_ray_tells_what_is_asked_of_it() -> None:
    """The names stand in the source of the installed Ray; a counter's without its `_total`."""
    package = Path(ray.__file__).parent
    folders = ("serve/_private", "dashboard/modules/reporter", "dashboard/modules/metrics/dashboards")
    source = "".join(path.read_text() for folder in folders for path in (package / folder).rglob("*.py"))
    for line in (EXPORTERS / "ray.prom").read_text().splitlines():
        if line.startswith("# TYPE"):
            name = line.split()[2].removeprefix("ray_")
            assert re.search(rf"\b(ray_)?({name}|{name.removesuffix('_total')})\b", source), name


def test_data_sources_are_those_that_dashboards_and_links_name() -> None:
    provided = yaml.safe_load((GRAFANA / "provisioning/datasources/datasource.yml").read_text())["datasources"]
    by_uid = {one["uid"]: one for one in provided}
    assert by_uid.keys() == {"prometheus", "loki", "tempo", "alertmanager"}
    assert by_uid["prometheus"]["isDefault"]
    assert by_uid["loki"]["jsonData"]["derivedFields"][0]["datasourceUid"] == "tempo"
    assert by_uid["tempo"]["jsonData"]["tracesToLogsV2"]["datasourceUid"] == "loki"
    for path in FILES:
        for panel in json.loads(path.read_text())["panels"]:
            assert panel["type"] == "row" or panel["datasource"]["uid"] == "prometheus"
