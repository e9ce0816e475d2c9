"""How many nodes Ray's autoscaler adds for so many cells: its own scheduler, asked about the manifest's own numbers.

A RayService goes through what the autoscaler's pod does with it (`_derive_autoscaling_config_from_ray_cr`), its
serveConfigV2 through the product's own builder and Serve's own reading of it. What the cells, the treasury and the
event pipeline then ask for is put to autoscaler v2's `ResourceDemandScheduler`, as the head of an empty cluster would.
No Ray is started.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import GangResourceRequest, NodeState, NodeStatus, ResourceRequest
from ray.core.generated.instance_manager_pb2 import Instance, NodeKind
from ray.serve._private.build_app import build_app

CELL = "BidGateway"


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of Ray. A bundle is a mapping of resources to quantities."""

    cell: list[dict[str, float]]  # bundles of one cell's placement group, all on one node
    beside: list[dict[str, float]]  # one for each replica of the other deployments
    cells: tuple[int, int, int]  # least, at first, most


@dataclass(frozen=True, slots=True)
class Plan:
    """What the scheduler makes of a demand."""

    nodes: int  # that hold bidders, once all are launched
    infeasible: int  # demands that no node could ever meet
    by_group: dict[str, int]


def workload(service: Mapping[str, Any]) -> Workload:
    """Of a RayService's serveConfigV2. Raises ValueError where it has no cells that scale."""
    application = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]
    module, _, attribute = application["import_path"].partition(":")
    bound = getattr(importlib.import_module(module), attribute)(application.get("args", {}))
    overrides = {deployment["name"]: deployment for deployment in application.get("deployments", [])}
    cell: list[dict[str, float]] = []
    beside: list[dict[str, float]] = []
    for deployment in build_app(bound, name=application["name"]).deployments:
        replica = deployment._replica_config
        actor = {**(replica.ray_actor_options or {}), **overrides.get(deployment.name, {}).get("ray_actor_options", {})}
        bundles = replica.placement_group_bundles or [
            {"CPU": actor.get("num_cpus", 1), **actor.get("resources", {})},
        ]
        if deployment.name == CELL:
            cell = bundles
        else:
            beside += bundles * int(overrides.get(deployment.name, {}).get("num_replicas") or deployment.num_replicas)
    scaling = overrides.get(CELL, {}).get("autoscaling_config")
    if not (cell and scaling):
        raise ValueError(f"serveConfigV2 has no {CELL} with an autoscaling_config")
    least, most = scaling["min_replicas"], scaling["max_replicas"]
    return Workload(cell, beside, (least, scaling.get("initial_replicas", least), most))


def plan(service: Mapping[str, Any], wanted: Workload, cells: int) -> Plan:
    """For `cells` cells, and what runs beside them, in a cluster that has only its head."""
    resource = {"metadata": service["metadata"], "spec": service["spec"]["rayClusterConfig"]}
    config = AutoscalingConfig(_derive_autoscaling_config_from_ray_cr(resource), skip_content_hash=True)
    head_type = config.get_head_node_type()
    types = config.get_node_type_configs()
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            node_type_configs=types,
            max_num_nodes=config.get_max_num_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count([_request(bundle) for bundle in wanted.beside]),
            gang_resource_requests=[_group(wanted.cell, number) for number in range(cells)],
            current_instances=[_head(head_type, types[head_type].resources)],
            idle_timeout_s=config.get_idle_timeout_s(),
            disable_launch_config_check=True,
        )
    )
    by_group = {launch.instance_type: launch.count for launch in reply.to_launch}
    return Plan(
        sum(by_group.values()),
        len(reply.infeasible_gang_resource_requests) + len(reply.infeasible_resource_requests),
        by_group,
    )


def plans(service: Mapping[str, Any]) -> dict[int, Plan]:
    """For the least, the first and the greatest number of cells that the RayService's serveConfigV2 names."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    wanted = workload(service)
    return {cells: plan(service, wanted, cells) for cells in wanted.cells}


def find_service(documents: Sequence[Any]) -> dict[str, Any]:
    """The RayService among rendered manifests. Raises ValueError unless there is exactly one."""
    found = [document for document in documents if document and document.get("kind") == "RayService"]
    if len(found) != 1:
        raise ValueError(f"one RayService is wanted, and there are {len(found)}")
    return dict(found[0])


def _request(bundle: Mapping[str, float], group: str = "") -> ResourceRequest:
    """A demand; those of the same group share a node, which is how Ray's GCS tells the autoscaler of STRICT_PACK."""
    together = [(ResourceRequestUtil.PlacementConstraintType.AFFINITY, group, "")] if group else []
    return ResourceRequestUtil.make(dict(bundle), together)


def _group(bundles: Sequence[Mapping[str, float]], number: int) -> GangResourceRequest:
    return GangResourceRequest(requests=[_request(bundle, f"_PG_{number}") for bundle in bundles])


def _head(node_type: str, resources: Mapping[str, float]) -> AutoscalerInstance:
    return AutoscalerInstance(
        cloud_instance_id="head",
        ray_node=NodeState(
            node_id=b"head",
            ray_node_type_name=node_type,
            total_resources=resources,
            available_resources=resources,
            status=NodeStatus.RUNNING,
        ),
        im_instance=Instance(
            instance_id="head",
            instance_type=node_type,
            status=Instance.RAY_RUNNING,
            node_kind=NodeKind.HEAD,
            node_id="head",
        ),
    )
