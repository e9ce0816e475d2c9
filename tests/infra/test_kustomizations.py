"""Every folder with a kustomization.yaml is rendered by kubectl; what the clouds change of ClickHouse arrives."""

from __future__ import annotations

from functools import cache

import pytest
import yaml

from tests.support.rendered import ROOT, Object, one, output, parse, program
from tests.support.terraform import module
from tools import programs

NAMES = yaml.safe_load((ROOT / "deploy/names.yaml").read_text())
FILES = [path for part in ("kuberay", "deploy", "tests/infra") for path in (ROOT / part).rglob("kustomization.yaml")]
KINDS = {path.parent.relative_to(ROOT).as_posix(): yaml.safe_load(path.read_text())["kind"] for path in FILES}
FOLDERS = sorted(folder for folder, kind in KINDS.items() if kind == "Kustomization")
COMPONENTS = sorted(folder for folder, kind in KINDS.items() if kind == "Component")


@cache
def rendered(folder: str) -> tuple[Object, ...]:
    return parse(output(program(programs.kubectl), "kustomize", str(ROOT / folder)))


def test_none_is_overlooked() -> None:
    assert {"deploy/haproxy", "deploy/monitoring", "deploy/clickhouse-aws", "kuberay/overlays/aks"} <= set(FOLDERS)
    assert set(KINDS.values()) == {"Kustomization", "Component"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_is_rendered(folder: str) -> None:
    found = rendered(folder)
    assert found
    keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in found]
    assert len(keys) == len(set(keys)), "nothing is there twice"


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_is_part_of_something_that_is_rendered(component: str) -> None:
    users = set()
    for folder in FOLDERS:
        named = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text()).get("components", [])
        if (ROOT / component) in {(ROOT / folder / name).resolve() for name in named}:
            users.add(folder)
    assert users


@pytest.mark.parametrize(("folder", "cloud"), [("deploy/clickhouse-azure", "azure"), ("deploy/clickhouse-aws", "aws")])
def test_clickhouse_of_a_cloud_runs_on_the_nodes_that_terraform_labels(folder: str, cloud: str) -> None:
    pool = NAMES["nodes"]["clickhouse"]
    replicas = one(rendered(folder), "StatefulSet", "clickhouse")["spec"]["template"]["spec"]
    assert replicas["nodeSelector"] == {pool["label"]: pool["value"]}
    assert f'"{pool["label"]}" = "{pool["value"]}"' in module(cloud).code
    keepers = one(rendered(folder), "StatefulSet", "clickhouse-keeper")["spec"]["template"]["spec"]
    assert "nodeSelector" not in keepers, "three keepers find no room on two nodes"
    plain = one(rendered("deploy/clickhouse"), "StatefulSet", "clickhouse")["spec"]["template"]["spec"]
    assert "nodeSelector" not in plain, "other clusters have no such label"
