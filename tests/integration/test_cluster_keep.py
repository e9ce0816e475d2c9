"""An upgrade under load: what changes `serveConfigV2` keeps the cells that run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.kube_cli import Operated
from tests.support.kube_store import Object
from tests.support.kube_world import NAMESPACE, SERVE_CONFIG, bidder, objects, ray_service, service_status

TEXT_PATH = ("spec", "serveConfigV2")
NEWER = SERVE_CONFIG.replace("agents_per_cell: 20", "agents_per_cell: 19")


def with_cells(text: str, initial: int) -> str:
    return text.replace("initial_replicas: 20", f"initial_replicas: {initial}")


def write(tmp_path: Path, text: str = SERVE_CONFIG, **spec: Any) -> str:
    """Manifests of a service with this text and, in `spec`, other fields than usual."""
    service = ray_service(text)
    del service["metadata"]["generation"]
    service["spec"] |= spec
    budget = next(body for body in objects() if body["kind"] == "PodDisruptionBudget")
    del budget["status"]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all([namespace, budget, service]))
    return str(path)


def run(kube: Operated, cells: int, **unlike: Object) -> None:
    """Play operator, autoscaler and Serve: so many ready cells. `unlike`: fields of status that are others."""
    kube.change("rayservices", "campaign-express", status=service_status(**unlike))
    kube.api.store.put(next(body for body in objects() if body["kind"] == "RayCluster"), check=False)
    for at in range(cells):
        kube.api.store.put(bidder(at), check=False)


@pytest.fixture
def deployed(empty_kube: Operated, tmp_path: Path) -> Operated:
    """By `cluster deploy`, so that its fields are our own; no cell runs yet."""
    empty_kube.done("deploy", write(tmp_path))
    return empty_kube


def text_of(kube: Operated) -> str:
    return str(kube.service["spec"]["serveConfigV2"])


def owners(kube: Operated) -> set[tuple[str, str]]:
    (stored,) = [one for (plural, _, _), one in kube.api.store.objects.items() if plural == "rayservices.ray.io"]
    return stored.owners[TEXT_PATH]


def test_deploy_keeps_the_cells_that_run(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    file = write(tmp_path, NEWER)
    said = deployed.run("deploy", file)
    assert said.exit_code == 0, said.output
    line = "38 cells run: initial_replicas of RayService campaign-express/campaign-express 20 → 38"
    assert f"{line} (--cells-as-written leaves it)\n" in said.stderr
    assert text_of(deployed) == with_cells(NEWER, 38)
    assert owners(deployed) == {("campaign-express", "Apply")}
    # the autoscaler's, in a running cluster; KubeRay does not carry it over
    assert deployed.service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["replicas"] == 20
    version = deployed.service["metadata"]["resourceVersion"]
    again = deployed.run("deploy", file)
    assert line in again.stderr
    assert again.stderr.endswith("changed 0 of 3 objects\n")
    assert deployed.service["metadata"]["resourceVersion"] == version


def test_a_dry_run_shows_it(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    before = len(deployed.api.writes())
    said = deployed.run("deploy", write(tmp_path, NEWER), "--dry-run")
    shown = [body for body in yaml.safe_load_all(said.stdout) if body["kind"] == "RayService"]
    assert [body["spec"]["serveConfigV2"] for body in shown] == [with_cells(NEWER, 38)]
    assert "38 cells run" in said.stderr
    assert len(deployed.api.writes()) == before
    assert text_of(deployed) == SERVE_CONFIG


def test_cells_as_written(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    said = deployed.run("deploy", write(tmp_path, NEWER), "--cells-as-written")
    assert "cells run" not in said.output
    assert text_of(deployed) == NEWER


@pytest.mark.parametrize(
    ("cells", "text", "kept"),
    [
        (38, NEWER.replace("max_replicas: 40", "max_replicas: 30"), 30),
        (12, NEWER, 12),
        (1, NEWER, 10),
        (0, NEWER, 20),
        (20, NEWER, 20),
    ],
)
def test_within_the_manifests_bounds(deployed: Operated, tmp_path: Path, cells: int, text: str, kept: int) -> None:
    run(deployed, cells)
    said = deployed.run("deploy", write(tmp_path, text))
    assert text_of(deployed) == with_cells(text, kept)
    assert ("--cells-as-written" in said.stderr) == (kept != 20)


def test_only_cells_that_bid_count(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    leaving = bidder(0)
    leaving["metadata"]["deletionTimestamp"] = "2026-11-28T07:00:00Z"
    other = bidder(2)
    other["metadata"]["labels"]["ray.io/group"] = "other"
    for pod in (leaving, bidder(1, ready=False), other):
        deployed.api.store.put(pod, check=False)
    deployed.done("deploy", write(tmp_path, NEWER))
    assert text_of(deployed) == with_cells(NEWER, 35)


def test_of_two_clusters_the_larger_one(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 25, pendingServiceStatus={"rayClusterName": "campaign-express-new"})
    for at in range(25, 32):
        pod = bidder(at)
        pod["metadata"]["labels"]["ray.io/cluster"] = "campaign-express-new"
        deployed.api.store.put(pod, check=False)
    deployed.done("deploy", write(tmp_path, NEWER))
    assert text_of(deployed) == with_cells(NEWER, 25)


def test_the_namespace_is_the_manifests(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    deployed.done("deploy", write(tmp_path, NEWER), "--namespace", "other")
    assert text_of(deployed) == with_cells(NEWER, 38)


def test_cells_that_do_not_scale_stay_as_written(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    config = yaml.safe_load(SERVE_CONFIG)
    (cells, _) = config["applications"][0]["deployments"]
    del cells["autoscaling_config"]
    cells["num_replicas"] = 20
    deployed.done("deploy", write(tmp_path, yaml.safe_dump(config)))
    assert yaml.safe_load(text_of(deployed)) == config


def test_without_the_right_to_list_pods_nothing_is_guessed(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    deployed.api.forbidden.add(("list", "pods"))
    file = write(tmp_path, NEWER)
    said = deployed.refused("deploy", file)
    assert "forbidden (403)" in said
    assert "or give --cells-as-written" in said
    assert text_of(deployed) == SERVE_CONFIG
    deployed.done("deploy", file, "--cells-as-written")
    assert text_of(deployed) == NEWER


def test_scale_keeps_them(deployed: Operated) -> None:
    run(deployed, 38)
    assert "initial_replicas: 38" in deployed.done("scale", "--max", "60", "--dry-run")
    deployed.done("scale", "--max", "60")
    assert text_of(deployed) == with_cells(SERVE_CONFIG, 38).replace("max_replicas: 40", "max_replicas: 60")
    assert "nothing to do" in deployed.done("scale", "--max", "60")
    deployed.done("scale", "--max", "30")
    assert "initial_replicas: 30" in text_of(deployed)


def test_scale_without_new_bounds_leaves_the_text(deployed: Operated) -> None:
    run(deployed, 38)
    deployed.done("scale")
    assert text_of(deployed) == SERVE_CONFIG


def test_a_scale_that_is_taken_back_keeps_them_too(deployed: Operated) -> None:
    """Serve may have seen the new text: the old one, as it was, would be another change."""
    run(deployed, 38)
    budget = "/poddisruptionbudgets/campaign-express$"
    deployed.api.trouble("PATCH", budget, code=500, message="etcd is full", dry_runs=False)
    said = deployed.refused("scale", "--min", "30", "--max", "60")
    assert "taken back" in said
    assert text_of(deployed) == with_cells(SERVE_CONFIG, 38)


def test_restart_keeps_them(deployed: Operated, tmp_path: Path) -> None:
    run(deployed, 38)
    assert "+          initial_replicas: 38" in deployed.done("restart", "--dry-run")
    deployed.done("restart", "--no-wait")
    assert text_of(deployed).startswith(with_cells(SERVE_CONFIG, 38))
    assert "CAMPAIGN_EXPRESS_RESTARTED_AT" in text_of(deployed)
    deployed.done("deploy", write(tmp_path))
    assert text_of(deployed) == with_cells(SERVE_CONFIG, 38)
    assert owners(deployed) == {("campaign-express", "Apply")}


def test_a_manifest_with_the_bounds_of_scale_is_no_conflict(deployed: Operated, tmp_path: Path) -> None:
    """Whose text it is since `scale` does not matter where the manifest says the same of what `scale` is about."""
    run(deployed, 38)
    deployed.done("scale", "--max", "60")
    assert owners(deployed) == {("campaign-express-scale", "Update")}
    cluster = deployed.service["spec"]["rayClusterConfig"]
    said = deployed.refused("deploy", write(tmp_path, NEWER, rayClusterConfig=cluster))
    assert '.spec.serveConfigV2: conflict with "campaign-express-scale"' in said
    agreed = NEWER.replace("max_replicas: 40", "max_replicas: 60")
    deployed.api.store.put(bidder(38), check=False)
    deployed.done("deploy", write(tmp_path, agreed, rayClusterConfig=cluster))
    assert text_of(deployed) == with_cells(agreed, 39)
    assert owners(deployed) == {("campaign-express", "Apply")}
    said = deployed.refused("deploy", write(tmp_path, agreed))  # the group's bounds are as before
    assert ".spec.rayClusterConfig.workerGroupSpecs" in said
