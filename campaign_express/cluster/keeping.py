"""A `deploy` under load keeps the cells that run.

Serve (2.60) sets a deployment whose settings have changed to `initial_replicas` before it asks any policy: at 38 cells,
a manifest that begins with 20 would have 18 leave at once. So the number that runs is written into the manifest's text
before it is applied; `scale` and `restart` do the same with their own edits.

The worker group's `replicas` stays as it is written. In a running RayCluster it is the autoscaler's, and KubeRay does
not carry it over from the RayService; in a new one it is only how many pods there are before cells ask for more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from campaign_express.cluster.cells import running_cells
from campaign_express.cluster.connection import Connection, Object
from campaign_express.cluster.manifests import meta
from campaign_express.cluster.names import RAY_SERVICE
from campaign_express.cluster.serve_text import cell_bounds, with_running
from campaign_express.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Kept:
    """`before` and `after`: `initial_replicas` as the manifest has it and as it is applied."""

    namespace: str
    running: int
    before: int
    after: int


def keep_cells(
    connection: Connection, objects: Iterable[Object], told: Callable[[Kept], None] = lambda _: None
) -> list[Object]:
    """The objects, with the cells that run now in the RayService's text. `told` where that is another number.

    What is not there yet, has no ready cell or does not scale stays as it is written. Raises ClusterError.
    """
    return [_kept(connection, body, told) if _is_ours(body) else body for body in objects]


def _is_ours(body: Object) -> bool:
    return body["kind"] == "RayService" and meta(body).get("name") == RAY_SERVICE


def _kept(connection: Connection, body: Object, told: Callable[[Kept], None]) -> Object:
    spec = body.get("spec")
    text = spec.get("serveConfigV2") if isinstance(spec, dict) else None
    if not isinstance(text, str):
        return body  # the API server says what is wrong with it
    namespace = str(meta(body).get("namespace") or connection.namespace)
    running = _running(connection, f"/apis/{body['apiVersion']}/namespaces/{namespace}/rayservices/{RAY_SERVICE}")
    after = with_running(text, running)
    if after == text:
        return body
    told(Kept(namespace, running, cell_bounds(text).initial, cell_bounds(after).initial))
    return {**body, "spec": {**body["spec"], "serveConfigV2": after}}


def _running(connection: Connection, path: str) -> int:
    try:
        service = connection.find(path, f"read RayService {RAY_SERVICE}")
        return running_cells(connection, service) if service else 0
    except ClusterError as error:
        if error.status != 403:
            raise
        remedy = f"{error.remedy}; or give --cells-as-written, and Serve goes to the manifest's initial_replicas"
        raise ClusterError(error.message, remedy, error.status) from None
