"""Every check of a cluster in one table, with what was found and what remedies it.

A check yields findings; one that may not read what it needs is `unknown`, which is no fault. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from campaign_express.cluster import names
from campaign_express.cluster.cells import is_bidder, service_pods
from campaign_express.cluster.connection import Connection, Object
from campaign_express.cluster.ray_service_api import RayServiceApi
from campaign_express.cluster.scale import worker_group
from campaign_express.errors import ClusterAway, ClusterError


class Verdict(StrEnum):
    """`bad`: bids are lost, or will be. `warn`: works, and should not stay so. `unknown`: no right to look."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` is empty for what is well."""

    about: str
    verdict: Verdict
    found: str
    remedy: str = ""


@dataclass(slots=True)
class Facts:
    """What the checks share, read once. `service` is None where it does not exist or may not be read."""

    connection: Connection
    service: Object | None
    pods: list[Object] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.connection.namespace

    def path(self, plural: str, name: str = "", api: str = "/api/v1", namespace: str = "") -> str:
        """Of a namespaced object, or of the list of them."""
        return f"{api}/namespaces/{namespace or self.namespace}/{plural}" + (f"/{name}" if name else "")

    def ray(self) -> Object:
        """`rayClusterConfig`. Raises ClusterError without a service."""
        if self.service is None:
            raise ClusterError(_NO_SERVICE, _DEPLOY)
        found: Object = self.service["spec"]["rayClusterConfig"]
        return found

    def bidder_group(self) -> Object:
        return worker_group(self.ray(), "the RayService")[1]

    def bidder_spec(self) -> Object:
        """Pod spec of the bidders, as the RayService has it."""
        found: Object = self.bidder_group()["template"]["spec"]
        return found

    def bidders(self) -> list[Object]:
        return [pod for pod in self.pods if is_bidder(pod)]


Check = Callable[[Facts], Iterator[Finding]]
_NO_SERVICE = "there is no RayService to look at"
_DEPLOY = "deploy one: `campaign-express cluster deploy kuberay/overlays/production`"


def ok(about: str, found: str) -> Finding:
    return Finding(about, Verdict.OK, found)


def warn(about: str, found: str, remedy: str) -> Finding:
    return Finding(about, Verdict.WARN, found, remedy)


def bad(about: str, found: str, remedy: str) -> Finding:
    return Finding(about, Verdict.BAD, found, remedy)


def checks() -> tuple[tuple[str, Check], ...]:
    """In the order in which things depend on each other: the first that is bad is the one to mend."""
    from campaign_express.cluster import checks_control, checks_network, checks_nodes, checks_pods

    return (
        ("Kubernetes", checks_control.kubernetes),
        ("rights", checks_control.rights),
        ("CRDs", checks_control.definitions),
        ("KubeRay operator", checks_control.operator),
        ("DNS", checks_network.dns),
        ("NPU labels", checks_nodes.labels),
        ("device plugin", checks_nodes.device_plugin),
        ("secrets", checks_pods.secrets),
        ("volumes", checks_pods.volumes),
        ("RayService", checks_control.ray_service),
        ("cells", checks_pods.cells),
        ("disruption budget", checks_pods.disruption_budget),
        ("scaling", checks_pods.scaling),
        ("ports", checks_network.ports),
        ("services", checks_network.services),
    )


def examine(connection: Connection) -> Iterator[Finding]:
    """All findings, as they come. Raises ClusterError only when the API server cannot be asked at all."""
    facts, first = _facts(connection)
    if first is not None:
        yield first
    said = {_NO_SERVICE}  # its own check says that; what several checks meet is said once
    for about, check in checks():
        try:
            yield from check(facts)
        except ClusterAway:
            raise
        except ClusterError as error:
            if error.status == 401:
                raise
            if error.message in said:
                continue
            said.add(error.message)
            verdict = Verdict.UNKNOWN if error.status == 403 else Verdict.BAD
            yield Finding(about, verdict, error.message, error.remedy)


def _facts(connection: Connection) -> tuple[Facts, Finding | None]:
    connection.get(
        "/version", "reach the API server"
    )  # what is wrong with the connection is said once, not in each check
    try:
        service = RayServiceApi(connection).get_ray_service(names.RAY_SERVICE, connection.namespace)
        return Facts(connection, service, service_pods(connection, service) if service else []), None
    except ClusterError as error:
        if error.status == 403:
            return Facts(connection, None), Finding("RayService", Verdict.UNKNOWN, error.message, error.remedy)
        if error.status == 404:
            return Facts(connection, None), None
        raise
