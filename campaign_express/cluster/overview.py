"""What there is in the cluster now: the service, its cells, nodes, versions and how it scales.

What the account may not read (nodes and the operator's namespace often) is None, and shown as not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from campaign_express.cluster import names
from campaign_express.cluster.cells import Cell, cell_of, is_bidder, label, service_pods
from campaign_express.cluster.connection import Connection, Object
from campaign_express.cluster.ray_service_api import RayServiceApi, condition
from campaign_express.cluster.scale import no_service, worker_group
from campaign_express.cluster.serve_text import Bounds, cell_bounds
from campaign_express.errors import ClusterAway, ClusterError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A RayCluster of the service. `role`: `active`, or `pending` during an upgrade."""

    role: str
    name: str
    state: str
    low: int
    high: int
    desired: int
    ready: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Serve deployment as Ray's controller sees it."""

    application: str
    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Budget:
    """The PodDisruptionBudget."""

    kept: int | str
    healthy: int
    may_leave: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it."""

    namespace: str
    ready: bool
    ready_message: str
    upgrading: bool
    upgrade_message: str
    applications: dict[str, str]
    deployments: tuple[Deployment, ...]
    clusters: tuple[Cluster, ...]
    cells: tuple[Cell, ...]
    head: Cell | None
    scaling: Bounds | None
    autoscaler: str
    budget: Budget | None
    nodes: tuple[int, int] | None  # that bidders may go to: ready, all
    versions: dict[str, str]


def look(connection: Connection) -> Overview:
    """Raises ClusterError, also where there is no RayService."""
    api, namespace = RayServiceApi(connection), connection.namespace
    service = api.get_ray_service(names.RAY_SERVICE, namespace)
    if service is None:
        raise no_service(namespace)
    spec, status = service["spec"], service.get("status") or {}
    ray = spec["rayClusterConfig"]
    pods = service_pods(connection, service)
    workers = sorted((cell_of(p) for p in pods if is_bidder(p)), key=lambda cell: (cell.ready, cell.node, cell.pod))
    head = next((cell_of(p) for p in pods if label(p, names.NODE_TYPE_LABEL) == "head"), None)
    ready, upgrade = condition(status, "Ready") or {}, condition(status, "UpgradeInProgress") or {}
    applications = (status.get("activeServiceStatus") or {}).get("applicationStatuses") or {}
    return Overview(
        namespace=namespace,
        ready=ready.get("status") == "True",
        ready_message=ready.get("message") or "the operator has not looked at it yet",
        upgrading=upgrade.get("status") == "True",
        upgrade_message=upgrade.get("message", ""),
        applications={name: one.get("status", "") for name, one in applications.items()},
        deployments=tuple(deployments(applications)),
        clusters=tuple(clusters(api, service, namespace)),
        cells=tuple(workers),
        head=head,
        scaling=_allowed(lambda: cell_bounds(spec.get("serveConfigV2") or "")),
        autoscaler=_autoscaler(ray),
        budget=_budget(connection),
        nodes=_allowed(lambda: _nodes(connection, ray)),
        versions=_versions(connection, ray, workers),
    )


def deployments(applications: Object) -> list[Deployment]:
    """Of `applicationStatuses`."""
    return [
        Deployment(application, name, one.get("status", ""), one.get("message", ""))
        for application, told in applications.items()
        for name, one in (told.get("serveDeploymentStatuses") or {}).items()
    ]


def clusters(api: RayServiceApi, service: Object, namespace: str) -> list[Cluster]:
    found = []
    for role in ("active", "pending"):
        name = ((service.get("status") or {}).get(f"{role}ServiceStatus") or {}).get("rayClusterName")
        body = api.get_ray_cluster(name, namespace) if name else None
        if name is None or body is None:
            continue
        _, group = worker_group(body["spec"], f"RayCluster {name}")
        status = body.get("status") or {}
        found.append(
            Cluster(
                role,
                name,
                status.get("state", "") or "starting",
                group["minReplicas"],
                group["maxReplicas"],
                status.get("desiredWorkerReplicas", 0),
                status.get("readyWorkerReplicas", 0),
            )
        )
    return found


def _autoscaler(ray: Object) -> str:
    if not ray.get("enableInTreeAutoscaling"):
        return "off"
    options = ray.get("autoscalerOptions") or {}
    return (
        f"{options.get('version', 'v1')}, {options.get('upscalingMode', 'Default')}, "
        f"nodes go after {options.get('idleTimeoutSeconds', 60)} s idle"
    )


def _budget(connection: Connection) -> Budget | None:
    namespace = connection.namespace
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{names.DISRUPTION_BUDGET}"
    found = _allowed(lambda: connection.find(path, "read the disruption budget"))
    if found is None:
        return None
    status = found.get("status") or {}
    kept = (found.get("spec") or {}).get("minAvailable", 0)
    return Budget(kept, status.get("currentHealthy", 0), status.get("disruptionsAllowed", 0))


def _nodes(connection: Connection, ray: Object) -> tuple[int, int]:
    _, group = worker_group(ray, "the RayService")
    wanted = group["template"]["spec"].get("nodeSelector") or {}
    selector = ",".join(f"{key}={value}" for key, value in wanted.items())
    found = connection.items("/api/v1/nodes", "list nodes", **({"labelSelector": selector} if selector else {}))
    ready = [node for node in found if node_ready(node)]
    return len(ready), len(found)


def node_ready(node: Object) -> bool:
    status = (condition(node.get("status") or {}, "Ready") or {}).get("status")
    return status == "True" and not (node.get("spec") or {}).get("unschedulable")


def _versions(connection: Connection, ray: Object, cells: list[Cell]) -> dict[str, str]:
    unknown = "not known: no right to read it"
    kubernetes = _allowed(lambda: connection.get("/version", "read the version").get("gitVersion", "")) or unknown
    operator = _allowed(lambda: operator_image(connection))
    images = sorted({cell.image for cell in cells})
    return {
        "image": ", ".join(images) or "no pods",
        "Ray": str(ray.get("rayVersion", "")),
        "KubeRay": unknown if operator is None else operator.rpartition(":")[2] or "no operator found",
        "Kubernetes": kubernetes,
    }


def operator_image(connection: Connection) -> str:
    """Of the KubeRay operator in whichever namespace; empty where none runs."""
    found = connection.items(
        "/apis/apps/v1/deployments", "find the KubeRay operator", labelSelector=names.OPERATOR_SELECTOR
    )
    return str(found[0]["spec"]["template"]["spec"]["containers"][0]["image"]) if found else ""


def _allowed(ask: Callable[[], T]) -> T | None:
    """None for what this account may not read, or what is not as expected."""
    try:
        return ask()
    except ClusterAway:
        raise
    except ClusterError as error:
        if error.status in (0, 403, 404):
            return None
        raise
