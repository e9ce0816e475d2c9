"""New processes without new pods: Serve replaces its replicas one after another, each draining before it goes.

Serve rolls an application whose environment has changed (its code version is a hash of import path and runtime
environment), so a restart is a moment written into that environment. The nodes, Ray and the model volume stay as they
are. Serve would set the cells back to `initial_replicas` with it, so that becomes the number that runs. One pod that
has to go whole is evicted instead: the disruption budget may refuse that.
"""

from __future__ import annotations

from datetime import UTC, datetime

from campaign_express.cluster.cells import running_cells
from campaign_express.cluster.connection import Connection, Object
from campaign_express.cluster.names import RAY_SERVICE, RESTART_MANAGER
from campaign_express.cluster.ray_service_api import RayServiceApi
from campaign_express.cluster.scale import no_service
from campaign_express.cluster.serve_text import with_restart, with_running


def restart(connection: Connection, dry_run: bool = False) -> list[Object]:
    """The JSON patch that was sent. Raises ClusterError."""
    api, namespace = RayServiceApi(connection), connection.namespace
    service = api.get_ray_service(RAY_SERVICE, namespace)
    if service is None:
        raise no_service(namespace)
    before = service["spec"].get("serveConfigV2") or ""
    kept = with_running(before, running_cells(connection, service))
    after = with_restart(kept, datetime.now(UTC).isoformat(timespec="seconds"))
    operations: list[Object] = [
        {"op": "test", "path": "/spec/serveConfigV2", "value": before},
        {"op": "replace", "path": "/spec/serveConfigV2", "value": after},
    ]
    api.patch_ray_service(RAY_SERVICE, operations, namespace, dry_run, RESTART_MANAGER)
    return operations


def evict(connection: Connection, pod: str, dry_run: bool = False) -> Object:
    """Ask for a pod to go, which KubeRay then makes anew; the body that was sent. Raises ClusterError."""
    namespace = connection.namespace
    body: Object = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    path, doing = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", f"evict pod {pod}"
    connection.post(path, body, doing, **({"dryRun": "All"} if dry_run else {}))
    return body
