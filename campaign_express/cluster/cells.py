"""Pods of the RayService: which of them are cells, and how many cells bid now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from campaign_express.cluster import names
from campaign_express.cluster.connection import Connection, Object
from campaign_express.cluster.ray_service_api import condition


@dataclass(frozen=True, slots=True)
class Cell:
    """A bidder's pod: one on a node. `state`: `ready`, or why it is not."""

    pod: str
    node: str
    ready: bool
    state: str
    restarts: int
    since: str
    address: str
    image: str


def service_pods(connection: Connection, service: Object) -> list[Object]:
    """Pods of its RayClusters, the pending one's too. `service`: as the API server tells it."""
    status, namespace = service.get("status") or {}, service["metadata"]["namespace"]
    found: list[Object] = []
    for role in ("activeServiceStatus", "pendingServiceStatus"):
        name = (status.get(role) or {}).get("rayClusterName")
        if name:
            doing = f"list pods in namespace {namespace}"
            selector = f"{names.CLUSTER_LABEL}={name}"
            found += connection.items(f"/api/v1/namespaces/{namespace}/pods", doing, labelSelector=selector)
    return found


def running_cells(connection: Connection, service: Object) -> int:
    """How many cells bid now. Of two clusters, during an upgrade, that which has more of them: the traffic needs them.

    Raises ClusterError.
    """
    ready: Counter[str] = Counter()
    for pod in service_pods(connection, service):
        ready[label(pod, names.CLUSTER_LABEL)] += is_bidder(pod) and cell_of(pod).ready
    return max(ready.values(), default=0)


def is_bidder(pod: Object) -> bool:
    return label(pod, names.NODE_TYPE_LABEL) == "worker" and label(pod, names.GROUP_LABEL) == names.WORKER_GROUP


def label(body: Object, key: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(key, ""))


def cell_of(pod: Object) -> Cell:
    spec, status = pod["spec"], pod.get("status") or {}
    ready = (condition(status, "Ready") or {}).get("status") == "True" and not pod["metadata"].get("deletionTimestamp")
    return Cell(
        pod=pod["metadata"]["name"],
        node=spec.get("nodeName", ""),
        ready=ready,
        state="ready" if ready else _why_not(pod, status),
        restarts=sum(one.get("restartCount", 0) for one in status.get("containerStatuses") or ()),
        since=pod["metadata"].get("creationTimestamp", ""),
        address=status.get("podIP", ""),
        image=spec["containers"][0].get("image", ""),
    )


def _why_not(pod: Object, status: Object) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "is leaving"
    placed = condition(status, "PodScheduled") or {}
    if placed.get("status") == "False":
        return f"not placed: {placed.get('message', placed.get('reason', ''))}"
    for one in status.get("containerStatuses") or ():
        for kind in ("waiting", "terminated"):
            state = (one.get("state") or {}).get(kind)
            if state:
                return f"{one['name']}: {state.get('reason', kind)} {state.get('message', '')}".strip()
    return "not ready yet" if status.get("phase") == "Running" else str(status.get("phase", "unknown")).lower()
