"""Nodes for cells, by Ray's own scheduler and the RayService as it is published."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve.config import AutoscalingConfig

from benchmarks.autoscale import RAYSERVICE, simulate
from benchmarks.nodes_wanted import Workload, find_service, plan, plans, workload
from campaign_express.serving.autoscaling import HpaPolicy

Service = dict[str, Any]


@pytest.fixture(scope="module")
def service() -> Service:
    return find_service(list(yaml.safe_load_all(RAYSERVICE.read_text())))


@pytest.fixture(scope="module")
def wanted(service: Service) -> Workload:
    return workload(service)


def test_10_20_and_40_cells_are_10_20_and_40_nodes_and_nothing_is_infeasible() -> None:
    assert simulate() == ({"10": 10, "20": 20, "40": 40}, 0)


def test_what_is_asked_for_is_a_full_cell_and_what_runs_beside_it(wanted: Workload) -> None:
    assert wanted.cells == (10, 20, 40)
    assert len(wanted.cell) == 21
    assert sum(bundle.get("npu", 0) for bundle in wanted.cell) == 20
    assert len(wanted.beside) == 2  # treasury and pipeline


@pytest.mark.parametrize("cells", [11, 13, 27, 39])
def test_every_number_between_has_its_own_nodes(service: Service, wanted: Workload, cells: int) -> None:
    assert plan(service, wanted, cells).nodes == cells


def test_one_cell_beyond_the_most_has_no_node(service: Service, wanted: Workload) -> None:
    found = plan(service, wanted, 41)
    assert (found.nodes, found.infeasible) == (40, 1)


def changed(service: Service, **resources: str) -> Service:
    other = copy.deepcopy(service)
    other["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["resources"].update(resources)
    return other


def test_a_node_that_is_too_small_for_a_cell_is_told(service: Service, wanted: Workload) -> None:
    assert plan(changed(service, npu="19"), wanted, 20).infeasible == 20
    assert plan(changed(service, CPU="1"), wanted, 20).infeasible == 20


def test_a_node_for_two_cells_would_be_seen(service: Service, wanted: Workload) -> None:
    assert plan(changed(service, npu="40", CPU="4"), wanted, 40).nodes == 20


def test_the_cells_scale_by_our_policy_and_serve_adds_no_delay_of_its_own(service: Service) -> None:
    application = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]
    (cells,) = [found for found in application["deployments"] if found["name"] == "BidGateway"]
    scaling = AutoscalingConfig(**cells["autoscaling_config"])
    assert isinstance(_resolve_policy_callable(scaling.policy), HpaPolicy)
    # Serve's defaults of 30 s and 600 s would come on top of the policy's windows: docs/autoscaling.md.
    assert (scaling.upscale_delay_s, scaling.downscale_delay_s) == (0, 0)


def test_a_service_without_cells_that_scale_is_refused(service: Service) -> None:
    other = copy.deepcopy(service)
    serve = yaml.safe_load(other["spec"]["serveConfigV2"])
    serve["applications"][0]["deployments"] = [{"name": "BidGateway", "num_replicas": 20}]
    other["spec"]["serveConfigV2"] = yaml.safe_dump(serve)
    with pytest.raises(ValueError, match="autoscaling_config"):
        plans(other)
    with pytest.raises(ValueError, match="one RayService"):
        find_service([{"kind": "Service"}, None])
