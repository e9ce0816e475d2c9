"""`cluster scale`: everything that holds a bound, all or nothing."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.support.kube_cli import Operated
from tests.support.kube_store import Object
from tests.support.kube_world import CLUSTER, service_status

BUDGET_PATH = "/poddisruptionbudgets/campaign-express$"


def bounds(kube: Operated) -> dict[str, Any]:
    """All numbers, wherever they stand."""
    service = kube.service["spec"]
    cells = yaml.safe_load(service["serveConfigV2"])["applications"][0]["deployments"][0]["autoscaling_config"]
    group, running = service["rayClusterConfig"]["workerGroupSpecs"][0], kube.cluster["spec"]["workerGroupSpecs"][0]
    return {
        "cells": (cells["min_replicas"], cells["initial_replicas"], cells["max_replicas"]),
        "nodes": tuple(group[key] for key in ("minReplicas", "replicas", "maxReplicas")),
        "running": tuple(running[key] for key in ("minReplicas", "replicas", "maxReplicas")),
        "kept": kube.budget["spec"]["minAvailable"],
    }


BEFORE = {"cells": (10, 20, 40), "nodes": (10, 20, 40), "running": (10, 20, 40), "kept": 16}


def changed(kube: Operated) -> list[str]:
    return [request.path.split("/")[-2] for request in kube.api.writes()]


def test_growing_brings_nodes_before_cells(kube: Operated) -> None:
    said = kube.done("scale", "--min", "30", "--max", "60")
    # `replicas` of the running cluster is the autoscaler's: it is left alone
    assert bounds(kube) == {"cells": (30, 30, 60), "nodes": (30, 30, 60), "running": (30, 20, 60), "kept": 24}
    assert changed(kube) == ["rayclusters", "rayservices", "poddisruptionbudgets"]
    assert "10 to 40 → 30 to 60" in said
    assert "16 → 24 of 30" in said


def test_shrinking_takes_cells_away_before_nodes(kube: Operated) -> None:
    kube.done("scale", "--min", "2", "--max", "8")
    assert bounds(kube) == {"cells": (2, 8, 8), "nodes": (2, 8, 8), "running": (2, 20, 8), "kept": 7}
    assert changed(kube) == ["rayservices", "rayclusters", "poddisruptionbudgets"]


def test_one_end_alone(kube: Operated) -> None:
    kube.done("scale", "--max", "25")
    assert bounds(kube)["cells"] == (10, 20, 25)
    assert bounds(kube)["running"] == (10, 20, 25)


def test_without_bounds_the_budget_follows_the_autoscaler(kube: Operated) -> None:
    kube.change("rayclusters", CLUSTER, spec__workerGroupSpecs__0__replicas=35)
    kube.done("scale")
    assert bounds(kube) == {**BEFORE, "running": (10, 35, 40), "kept": 28}
    assert "nothing to do" in kube.done("scale")


def test_text_around_the_numbers_stays(kube: Operated) -> None:
    before = kube.service["spec"]["serveConfigV2"]
    kube.done("scale", "--min", "12")
    assert kube.service["spec"]["serveConfigV2"] == before.replace("min_replicas: 10", "min_replicas: 12")


def test_a_dry_run_prints_the_patch_and_changes_nothing(kube: Operated) -> None:
    said = kube.done("scale", "--min", "12", "--max", "60", "--dry-run")
    for line in ("minReplicas: 10 → 12", "+          max_replicas: 60", "nothing was changed"):
        assert line in said
    assert bounds(kube) == BEFORE
    assert kube.api.writes() == []
    assert len(kube.api.writes(dry_runs=True)) == 2  # the server has checked both


@pytest.mark.parametrize("resource", ["rayclusters", "rayservices", "poddisruptionbudgets"])
def test_a_right_that_lacks_is_found_before_anything_changes(kube: Operated, resource: str) -> None:
    kube.api.forbidden.add(("patch", resource))
    said = kube.refused("scale", "--min", "30", "--max", "60")
    assert "forbidden (403)" in said
    assert "remedy: ask for a role" in said
    assert bounds(kube) == BEFORE


@pytest.mark.parametrize("failing", ["/rayservices/", BUDGET_PATH])
def test_what_was_done_is_taken_back(kube: Operated, failing: str) -> None:
    kube.api.trouble("PATCH", failing, code=500, message="etcd is full", dry_runs=False)
    said = kube.refused("scale", "--min", "30", "--max", "60")
    assert "the API server has failed (500): etcd is full" in said
    assert "taken back: the bounds are what they were" in said
    assert bounds(kube) == BEFORE


def test_what_cannot_be_taken_back_is_named(kube: Operated) -> None:
    kube.api.trouble("PATCH", BUDGET_PATH, code=500, message="etcd is full", dry_runs=False)
    kube.api.trouble("PATCH", "/rayclusters/", code=503, message="gone", dry_runs=False, skip=1)
    said = kube.refused("scale", "--min", "30", "--max", "60")
    assert f"RayCluster {CLUSTER} keeps its new bounds" in said
    assert "run it again" in said
    assert bounds(kube)["running"] == (30, 20, 60)
    assert bounds(kube)["cells"] == (10, 20, 40)
    kube.api.troubles.clear()
    kube.done("scale", "--min", "30", "--max", "60")
    assert bounds(kube) == {"cells": (30, 30, 60), "nodes": (30, 30, 60), "running": (30, 20, 60), "kept": 24}


def meddle(kube: Operated, times: int) -> None:
    """Somebody else changes the text between our reading and our patch."""
    count = iter(range(100))

    def other() -> None:
        text = kube.service["spec"]["serveConfigV2"].split("# by hand")[0].rstrip("\n")
        kube.change("rayservices", "campaign-express", spec__serveConfigV2=f"{text}\n# by hand {next(count)}\n")

    kube.api.trouble("PATCH", "/rayservices/", before=other, times=times)


def test_a_change_in_between_is_kept(kube: Operated) -> None:
    meddle(kube, 1)
    kube.done("scale", "--min", "30", "--max", "60")
    assert bounds(kube)["cells"] == (30, 30, 60)
    assert "# by hand 0" in kube.service["spec"]["serveConfigV2"]


def test_changes_without_end_are_a_conflict(kube: Operated) -> None:
    meddle(kube, 100)
    said = kube.refused("scale", "--min", "30", "--max", "60")
    assert "changed by somebody else meanwhile" in said
    assert "remedy: run it again" in said
    assert {**bounds(kube), "cells": 0} == {**BEFORE, "cells": 0}


def test_another_group_in_the_place_of_ours_is_not_patched(kube: Operated) -> None:
    """Lists of worker groups have no keys: only their place says which is which."""

    def insert() -> None:
        groups = kube.cluster["spec"]["workerGroupSpecs"]
        if groups[0]["groupName"] == "npu-bidders":
            kube.change("rayclusters", CLUSTER, spec__workerGroupSpecs=[{**groups[0], "groupName": "other"}, *groups])

    kube.api.trouble("PATCH", "/rayclusters/", before=insert, times=1)
    kube.done("scale", "--min", "30", "--max", "60")
    other, ours = kube.cluster["spec"]["workerGroupSpecs"]
    assert (other["minReplicas"], ours["minReplicas"]) == (10, 30)


def test_during_an_upgrade_nothing_is_scaled(kube: Operated) -> None:
    pending: Object = {"rayClusterName": "campaign-express-new"}
    kube.change("rayservices", "campaign-express", status=service_status(pendingServiceStatus=pending))
    said = kube.refused("scale", "--min", "30")
    assert f"being upgraded from {CLUSTER} to campaign-express-new" in said
    assert "rollout status" in said
    assert bounds(kube) == BEFORE


def test_before_the_first_cluster_is_there(kube: Operated) -> None:
    kube.change("rayservices", "campaign-express", status={})
    kube.done("scale", "--min", "4", "--max", "8")
    assert bounds(kube) == {"cells": (4, 8, 8), "nodes": (4, 8, 8), "running": (10, 20, 40), "kept": 7}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--min", "0"), "--min 0: at least one cell"),
        (("--min", "41"), "--max 40: is below the minimum of 41"),
        (("--max", "5"), "--max 5: is below the minimum of 10"),
    ],
)
def test_bounds_that_cannot_be(kube: Operated, options: tuple[str, ...], says: str) -> None:
    assert says in kube.refused("scale", *options, code=2)
    assert kube.api.writes(dry_runs=True) == []


def test_what_lacks_is_named(kube: Operated) -> None:
    store = kube.api.store
    store.remove(store.kind_of(kube.budget), "campaign-express", "campaign-express")
    assert "no PodDisruptionBudget campaign-express" in kube.refused("scale", "--min", "30")
    store.remove(store.kind_of(kube.service), "campaign-express", "campaign-express")
    said = kube.refused("scale", "--min", "30")
    assert "no RayService campaign-express in namespace campaign-express" in said
    assert "cluster deploy" in said
