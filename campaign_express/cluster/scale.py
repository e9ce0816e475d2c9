"""Other bounds for the autoscaling of cells and nodes, all of them or none.

Four numbers have to agree, and Kubernetes changes one object at a time:

    RayService   minReplicas, maxReplicas of the bidders' worker group and the cells' bounds in serveConfigV2: one patch
    RayCluster   minReplicas, maxReplicas of the running one: KubeRay does not carry them over from the RayService,
                 since Ray's autoscaler writes the same list (https://github.com/ray-project/kuberay/pull/2333)
    PodDisruptionBudget   minAvailable: 80 % of the bidders that are wanted now, as a whole number

Every patch is tried first with `dryRun=All`, so that a missing right or a refused value is found before anything has
changed. Then they go in the order in which nodes are there before cells want them: cluster, service, budget; the other
way about, cells leave before their nodes, when the maximum falls. If one fails, those before it are taken back.
Patches `test` the values that they started from: somebody else's change in between is a conflict, never overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from campaign_express.cluster.cells import running_cells
from campaign_express.cluster.connection import JSON_PATCH, Connection, Object
from campaign_express.cluster.names import DISRUPTION_BUDGET, RAY_SERVICE, SCALE_MANAGER, WORKER_GROUP
from campaign_express.cluster.ray_service_api import RayServiceApi, RayServices
from campaign_express.cluster.serve_text import Bounds, cell_bounds, with_cell_bounds, with_running
from campaign_express.errors import ClusterConflict, ClusterError, ConfigError

KEPT = 0.8
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One patch: `kind` and `name` of the object, JSON patch operations there and back."""

    kind: str
    name: str
    forth: list[Object]
    back: list[Object]

    @property
    def what(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What `scale` does. No steps: everything is as it should be."""

    before: Bounds
    after: Bounds
    kept_before: int | None
    kept_after: int
    wanted: int
    steps: tuple[Step, ...]


def kept_available(wanted: int) -> int:
    """80 % of `wanted` bidders, rounded up as Kubernetes does; one may always leave, or no node could be drained."""
    return max(0, min(math.ceil(round(KEPT * wanted, 6)), wanted - 1))


def plan(connection: Connection, low: int | None, high: int | None) -> Plan:
    """Raises ConfigError for bounds that are none, ClusterError for what the cluster lacks."""
    api, namespace = RayServiceApi(connection), connection.namespace
    service = api.get_ray_service(RAY_SERVICE, namespace)
    if service is None:
        raise no_service(namespace)
    at, group = worker_group(service["spec"]["rayClusterConfig"], f"RayService {RAY_SERVICE}")
    text = service["spec"].get("serveConfigV2") or ""
    cells, nodes = cell_bounds(text), _bounds(group)
    moved = cells.moved(low, high)
    check(moved)
    running, new_text = running_cells(connection, service), text
    if moved != cells:
        new_text = with_running(with_cell_bounds(text, moved), running)
    new_nodes = Bounds(moved.low, moved.high, nodes.moved(moved.low, moved.high).initial)
    steps = [
        _step(
            "RayService",
            RAY_SERVICE,
            [
                *_group_change(f"/spec/rayClusterConfig/workerGroupSpecs/{at}", group, new_nodes, initial=True),
                *_change("/spec/serveConfigV2", text, new_text),
            ],
            {"/spec/serveConfigV2": with_running(text, running)},
        )
    ]
    wanted = nodes.moved(moved.low, moved.high).initial
    cluster = running_cluster(api, service, namespace)
    if cluster is not None:
        name = cluster["metadata"]["name"]
        at, group = worker_group(cluster["spec"], f"RayCluster {name}")
        wanted = _bounds(group).moved(moved.low, moved.high).initial  # the autoscaler's wish, within the new ends
        change = _group_change(f"/spec/workerGroupSpecs/{at}", group, new_nodes, initial=False)
        steps.insert(0 if moved.high >= cells.high else 1, _step("RayCluster", name, change))
    budget, kept = _budget(connection), kept_available(wanted)
    kept_before = (budget.get("spec") or {}).get("minAvailable")
    steps.append(_step("PodDisruptionBudget", DISRUPTION_BUDGET, _change("/spec/minAvailable", kept_before, kept)))
    return Plan(cells, moved, kept_before, kept, wanted, tuple(step for step in steps if step.forth))


def check(bounds: Bounds) -> None:
    """Raises ConfigError with every problem."""
    problems = []
    if bounds.low < 1:
        problems.append(f"--min {bounds.low}: at least one cell has to be there")
    if bounds.high < bounds.low:
        problems.append(f"--max {bounds.high}: is below the minimum of {bounds.low}")
    if problems:
        raise ConfigError("Bounds that cannot be:", problems)


def scale(connection: Connection, low: int | None, high: int | None, dry_run: bool = False) -> Plan:
    """Plan, try, do. When somebody else changes the objects in between, it begins anew, three times at most."""
    left = ATTEMPTS
    while True:
        left -= 1
        planned = plan(connection, low, high)
        try:
            for step in planned.steps:
                patch_object(connection, step.kind, step.name, step.forth, dry_run=True)
            if not dry_run:
                _do(connection, planned.steps)
        except ClusterConflict:
            if not left:
                raise
        else:
            return planned


def _do(connection: Connection, steps: Sequence[Step]) -> None:
    done: list[Step] = []
    for step in steps:
        try:
            patch_object(connection, step.kind, step.name, step.forth)
        except ClusterError as error:
            raise _taken_back(connection, done, error) from None
        done.append(step)


def _taken_back(connection: Connection, done: Sequence[Step], error: ClusterError) -> ClusterError:
    """Undo, and say how that went."""
    if not done:
        return error
    left = []
    for step in reversed(done):
        try:
            patch_object(connection, step.kind, step.name, step.back)
        except ClusterError as again:
            left.append(f"\n  - {step.what} keeps its new bounds: {again.message}")
    if left:
        return ClusterError(
            f"{error.message}\nand not all of what was done before could be taken back:{''.join(left)}",
            f"{error.remedy}; then run it again, which puts all of them right",
            error.status,
        )
    what = ", ".join(step.what for step in done)
    kind = type(error)
    return kind(f"{error.message}\n{what} taken back: the bounds are what they were", error.remedy, error.status)


def patch_object(
    connection: Connection, kind: str, name: str, operations: list[Object], dry_run: bool = False
) -> Object:
    """One JSON patch to an object of the namespace."""
    namespace = connection.namespace
    api: RayServices = RayServiceApi(connection)
    if kind == "RayService":
        return api.patch_ray_service(name, operations, namespace, dry_run, SCALE_MANAGER)
    if kind == "RayCluster":
        return api.patch_ray_cluster(name, operations, namespace, dry_run, SCALE_MANAGER)
    query = {"fieldManager": SCALE_MANAGER, "fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
    doing = f"patch {kind} {name} in namespace {namespace}"
    return connection.patch(_budget_path(namespace, name), operations, JSON_PATCH, doing, **query)


def no_service(namespace: str) -> ClusterError:
    return ClusterError(
        f"there is no RayService {RAY_SERVICE} in namespace {namespace}",
        "check --context and --namespace, or deploy one: `campaign-express cluster deploy kuberay/overlays/production`",
        404,
    )


def running_cluster(api: RayServices, service: Object, namespace: str) -> Object | None:
    """The RayCluster that serves. Raises ClusterConflict during an upgrade, when there are two of them."""
    status = service.get("status") or {}
    pending = (status.get("pendingServiceStatus") or {}).get("rayClusterName")
    active = (status.get("activeServiceStatus") or {}).get("rayClusterName")
    if active and pending:
        raise ClusterConflict(
            f"RayService {RAY_SERVICE} is being upgraded from {active} to {pending}",
            "wait for its end: `campaign-express cluster rollout status`",
            409,
        )
    name = active or pending
    return api.get_ray_cluster(name, namespace) if name else None


def worker_group(cluster_spec: Object, where: str) -> tuple[int, Object]:
    """Index and spec of the bidders' group."""
    for at, group in enumerate(cluster_spec.get("workerGroupSpecs") or ()):
        if group.get("groupName") == WORKER_GROUP:
            return at, group
    raise ClusterError(f"{where} has no worker group {WORKER_GROUP}", "deploy manifests of this release")


def _budget(connection: Connection) -> Object:
    namespace = connection.namespace
    found = connection.find(
        _budget_path(namespace, DISRUPTION_BUDGET),
        f"read PodDisruptionBudget {DISRUPTION_BUDGET} in namespace {namespace}",
    )
    if found is None:
        raise ClusterError(
            f"there is no PodDisruptionBudget {DISRUPTION_BUDGET} in namespace {namespace}",
            "deploy it with the rest of kuberay/base: without it, a drain may take all cells at once",
            404,
        )
    return found


def _budget_path(namespace: str, name: str) -> str:
    return f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}"


def _bounds(group: Object) -> Bounds:
    low, high = int(group.get("minReplicas", 0)), int(group.get("maxReplicas", 0))
    return Bounds(low, high, int(group.get("replicas") or low))


def _group_change(path: str, group: Object, bounds: Bounds, initial: bool) -> list[Object]:
    """`initial`: also `replicas`, which in a running cluster is the autoscaler's."""
    changes = _change(f"{path}/minReplicas", group.get("minReplicas"), bounds.low)
    changes += _change(f"{path}/maxReplicas", group.get("maxReplicas"), bounds.high)
    if initial and "replicas" in group:
        changes += _change(f"{path}/replicas", group["replicas"], bounds.initial)
    if changes:  # the list has no keys: that it is still the same group is tested, too
        changes.insert(0, {"op": "test", "path": f"{path}/groupName", "value": WORKER_GROUP})
    return changes


def _change(path: str, before: Any, after: Any) -> list[Object]:
    if before == after:
        return []
    if before is None:
        return [{"op": "add", "path": path, "value": after}]
    return [{"op": "test", "path": path, "value": before}, {"op": "replace", "path": path, "value": after}]


def _step(kind: str, name: str, forth: list[Object], returns: Mapping[str, Any] | None = None) -> Step:
    """With the way back: every `replace` the other way about, with its test, or to what `returns` has for its path."""
    back: list[Object] = []
    for operation, after in zip(forth, [*forth[1:], Object()], strict=False):
        if operation["op"] == "test" and after.get("op") == "replace" and after["path"] == operation["path"]:
            value = (returns or {}).get(operation["path"], operation["value"])
            back += _change(operation["path"], after["value"], value)
        elif operation["op"] == "test":
            back.append(operation)
        elif operation["op"] == "add":
            back += [
                {"op": "test", "path": operation["path"], "value": operation["value"]},
                {"op": "remove", "path": operation["path"]},
            ]
    return Step(kind, name, forth, back)
