"""When is a change through? Waiting for the operator, Serve and the pods to agree.

KubeRay writes into a RayService's status what Serve told it some seconds before, so a moment at which all is well
may be one before the change was taken up. A roll-out is done when everything has been well for `settle_s` in a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from campaign_express.cluster import cells, overview
from campaign_express.cluster.connection import Connection, Object
from campaign_express.cluster.names import RAY_SERVICE
from campaign_express.cluster.ray_service_api import RayServiceApi, condition, is_true
from campaign_express.cluster.scale import no_service
from campaign_express.errors import ClusterAway, ClusterError

POLL_S = 2.0
FAILURES = 5  # of the API server in a row, until it is given up


@dataclass(frozen=True, slots=True)
class Progress:
    """`waiting_for`: nothing when it is done. `failed`: why it will not end by itself. `version`: of the RayService."""

    ready: int
    desired: int
    waiting_for: tuple[str, ...]
    failed: str = ""
    version: str = ""

    @property
    def done(self) -> bool:
        return not self.waiting_for


def progress(connection: Connection) -> Progress:
    """One look. Raises ClusterError."""
    api, namespace = RayServiceApi(connection), connection.namespace
    service = api.get_ray_service(RAY_SERVICE, namespace)
    if service is None:
        raise no_service(namespace)
    status = service.get("status") or {}
    bidders = [cells.cell_of(pod) for pod in cells.service_pods(connection, service) if cells.is_bidder(pod)]
    clusters = overview.clusters(api, service, namespace)
    ready, desired = sum(one.ready for one in bidders), sum(cluster.desired for cluster in clusters)
    waiting = [*_operator(service), *_upgrade(status, clusters), *_serve(status)]
    if ready < desired:
        why = sorted({one.state for one in bidders if not one.ready and one.state != "not ready yet"})
        waiting.append(f"bidders: {ready} of {desired} ready" + (f" ({'; '.join(why)})" if why else ""))
    return Progress(ready, desired, tuple(waiting), _failed(status), service["metadata"]["resourceVersion"])


def _operator(service: Object) -> list[str]:
    generation = service["metadata"].get("generation", 1)
    status = service.get("status") or {}
    if status.get("observedGeneration", 0) < generation:
        return ["the operator to take up the change"]
    if not is_true(status, "Ready"):
        return [f"the service: {(condition(status, 'Ready') or {}).get('message') or 'not ready yet'}"]
    return []


def _upgrade(status: Object, clusters: list[overview.Cluster]) -> list[str]:
    pending = [cluster for cluster in clusters if cluster.role == "pending"]
    if pending:
        share = (status.get("pendingServiceStatus") or {}).get("trafficRoutedPercent")
        routed = "" if share is None else f", {share} % of the traffic"
        return [f"new cluster {one.name}: {one.ready} of {one.desired} bidders ready{routed}" for one in pending]
    return ["the upgrade to end"] if is_true(status, "UpgradeInProgress") else []


def _serve(status: Object) -> list[str]:
    applications = (status.get("activeServiceStatus") or {}).get("applicationStatuses") or {}
    if not applications:
        return ["Serve to tell of its applications"]
    waiting = [
        f"application {name}: {told.get('status')}"
        for name, told in applications.items()
        if told.get("status") != "RUNNING"
    ]
    waiting += [
        f"deployment {one.name}: {one.status}" + (f", {one.message}" if one.message else "")
        for one in overview.deployments(applications)
        if one.status != "HEALTHY"
    ]
    return waiting


def _failed(status: Object) -> str:
    for role in ("activeServiceStatus", "pendingServiceStatus"):
        applications = (status.get(role) or {}).get("applicationStatuses") or {}
        for name, told in applications.items():
            if told.get("status") == "DEPLOY_FAILED":
                reasons = [one.message for one in overview.deployments({name: told}) if one.status == "DEPLOY_FAILED"]
                message = told.get("message") or "; ".join(filter(None, reasons))
                return f"application {name} cannot be deployed: {message or 'Serve gives no reason'}"
    return ""


def wait(
    connection: Connection, timeout_s: float, settle_s: float, told: Callable[[Progress], None] = lambda _: None
) -> Progress:
    """Until it is done. `told` of every look. Raises ClusterError when it fails or takes longer than `timeout_s`."""
    until, well_since, failures = time.monotonic() + timeout_s, 0.0, 0
    now = progress(connection)  # what is wrong from the beginning is no hiccup
    while True:
        told(now)
        if now.failed:
            raise ClusterError(
                f"the roll-out has failed: {now.failed}",
                "`campaign-express cluster logs`; then deploy what worked before",
            )
        well_since = (well_since or time.monotonic()) if now.done else 0.0
        if now.done and time.monotonic() - well_since >= settle_s:
            return now
        left = until - time.monotonic()
        if left <= 0:
            if now.done:
                return now
            raise ClusterError(
                f"not done after {timeout_s:g} s; it waits for {'; '.join(now.waiting_for)}",
                "it goes on by itself: run `campaign-express cluster rollout status` again; `cluster doctor` says what "
                "holds it up",
            )
        _pause(connection, now.version, min(POLL_S, settle_s / 2 or POLL_S, left))
        try:
            now, failures = progress(connection), 0
        except ClusterError as error:
            failures += 1
            passing = isinstance(error, ClusterAway) or error.status in (429, 500, 502, 503, 504)
            if not passing or failures >= FAILURES:
                raise
            now = replace(now, waiting_for=("the API server to answer",))


def _pause(connection: Connection, version: str, seconds: float) -> None:
    """Until the RayService changes, but no longer: pods change without it. A watch counts whole seconds."""
    if seconds >= 1:
        try:
            watched = RayServiceApi(connection).watch_ray_service(RAY_SERVICE, connection.namespace, version, seconds)
            for _ in watched:
                return
        except ClusterError:
            pass  # no right to watch, or no answer: the next look says so
        else:
            return
    time.sleep(seconds)
