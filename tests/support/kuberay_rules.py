"""What KubeRay 1.7's operator refuses, or silently does otherwise, and its CRD does not say, as rules.

Written from the operator's validation and from how it builds pods of a RayService.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.support.rendered import Object, container, groups, serve_config

NAME_MAX = 47  # of a RayService: KubeRay appends to it
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
OWN_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
STRATEGIES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
RAY_DRAIN_S = 30  # after SIGTERM
# Variables that the operator sets itself, and refuses or overrides.
MANAGED = (
    "RAY_REDIS_ADDRESS",
    "REDIS_PASSWORD",
    "REDIS_USERNAME",
    "RAY_CLUSTER_NAME",
    "RAY_external_storage_namespace",
)
METRICS_PORT_NAME, DEFAULT_METRICS_PORT = "metrics", 8080  # added under this name where no port has it

Rule = Callable[[Object], Iterator[str]]


def _cluster(service: Object) -> Object:
    cluster: Object = service["spec"]["rayClusterConfig"]
    return cluster


def _variables(group: Object) -> dict[str, Object]:
    return {variable["name"]: variable for variable in container(group).get("env", [])}


def name_fits(service: Object) -> Iterator[str]:
    name = service["metadata"]["name"]
    if len(name) > NAME_MAX:
        yield f"name {name}: {len(name)} characters, and {NAME_MAX} are allowed"
    if not DNS_1035.fullmatch(name):
        yield f"name {name}: no DNS-1035 label"


def resources_stand_once(service: Object) -> Iterator[str]:
    for name, group in groups(service).items():
        params = group.get("rayStartParams", {})
        if group.get("resources") and any(key in params for key in OWN_RESOURCES):
            yield f"{name}: resources stand in rayStartParams and in resources"
        if "resources" in params and not re.fullmatch(r"""(['"]).*\1""", params["resources"]):
            yield f"{name}: rayStartParams.resources is not quoted for the shell"
        if "labels" in params:
            yield f"{name}: labels belong in the group's labels"
        # Ray's autoscaler knows CPU, GPU, TPU and memory by these names; anything else is a resource of its own.
        wrong = [key for key in group.get("resources", {}) if key.lower() in ("cpu", "gpu") and key.upper() != key]
        yield from (f"{name}: resources.{key} is a custom resource, {key.upper()} is wanted" for key in wrong)


def strategy_is_the_services(service: Object) -> Iterator[str]:
    if "upgradeStrategy" in _cluster(service):
        yield "rayClusterConfig.upgradeStrategy is not allowed under a RayService"
    strategy = service["spec"].get("upgradeStrategy", {})
    kind = strategy.get("type", "NewCluster")
    if kind not in STRATEGIES:
        yield f"upgradeStrategy.type {kind!r} is none of {', '.join(STRATEGIES)}"
    if kind != "NewClusterWithIncrementalUpgrade":
        return
    options = strategy.get("clusterUpgradeOptions", {})
    if not _cluster(service).get("enableInTreeAutoscaling"):
        yield "incremental upgrades need in-tree autoscaling"
    if not options.get("gatewayClassName"):
        yield "incremental upgrades need a gatewayClassName"
    if not 0 < options.get("stepSizePercent", 0) <= options.get("maxSurgePercent", 100) <= 100:
        yield "stepSizePercent must be more than 0 and at most maxSurgePercent"
    if options.get("intervalSeconds", 0) <= 0:
        yield "intervalSeconds must be more than 0"


def autoscaler_restarts_nothing(service: Object) -> Iterator[str]:
    cluster = _cluster(service)
    if not cluster.get("enableInTreeAutoscaling"):
        yield "enableInTreeAutoscaling is off: nodes would not follow cells"
    if cluster.get("autoscalerOptions", {}).get("version") != "v2":
        yield "autoscalerOptions.version is not v2"
    for name, group in groups(service).items():
        policy = group["template"]["spec"].get("restartPolicy", "Never")
        if policy != "Never":
            yield f"{name}: restartPolicy {policy}; autoscaler v2 wants Never or none"
        if "RAY_enable_autoscaler_v2" in _variables(group):
            yield f"{name}: RAY_enable_autoscaler_v2 is KubeRay's to set"
    for name, group in groups(service).items():
        if name == "head":
            continue
        least, at_first, most = (group.get(key, 0) for key in ("minReplicas", "replicas", "maxReplicas"))
        if not least <= at_first <= most:
            yield f"{name}: minReplicas {least}, replicas {at_first}, maxReplicas {most} are not in order"


def gcs_survives(service: Object) -> Iterator[str]:
    options = _cluster(service).get("gcsFaultToleranceOptions")
    if not options:
        yield "gcsFaultToleranceOptions are absent: the cluster dies with its head"
        return
    if "externalStorageNamespace" in options:
        yield "externalStorageNamespace is hard-coded: a new cluster would read the old one's state"
    if "," in options.get("redisAddress", "") or "redis-cluster" in options.get("redisAddress", ""):
        yield "GCS wants a single-shard Redis of its own"
    if "value" in options.get("redisPassword", {}):
        yield "the password of Redis stands in the manifest"
    for name, group in groups(service).items():
        yield from (f"{name}: {variable} is KubeRay's to set" for variable in MANAGED if variable in _variables(group))
        if {"redis-password", "redis-username"} & set(group.get("rayStartParams", {})):
            yield f"{name}: Redis's password or user stands in rayStartParams"
    for key in service["metadata"].get("annotations", {}):
        if key in ("ray.io/ft-enabled", "ray.io/external-storage-namespace"):
            yield f"annotation {key} goes with gcsFaultToleranceOptions never"


def head_does_no_work(service: Object) -> Iterator[str]:
    if groups(service)["head"].get("rayStartParams", {}).get("num-cpus") != "0":
        yield 'head: num-cpus is not "0"'


def readiness_is_the_cells(service: Object) -> Iterator[str]:
    every_node = serve_config(service).get("proxy_location", "EveryNode") == "EveryNode"
    for name, group in groups(service).items():
        if name == "head":
            continue
        probe = container(group).get("readinessProbe")
        if probe is None and not every_node:
            yield f"{name}: KubeRay's readiness asks a Serve proxy that is not there"
        if probe is None or probe.get("httpGet", {}).get("path") != "/ready":
            yield f"{name}: readiness is not the cell's /ready"
        life = container(group).get("livenessProbe", {}).get("httpGet", {}).get("path", "")
        if "raylet" not in life:
            yield f"{name}: liveness is not the raylet's: a node without a cell would be killed"
        if "startupProbe" not in container(group):
            yield f"{name}: no startupProbe"


def ray_has_time_to_drain(service: Object) -> Iterator[str]:
    for name, group in groups(service).items():
        grace = group["template"]["spec"].get("terminationGracePeriodSeconds", 30)
        if grace < 2 * RAY_DRAIN_S:
            yield f"{name}: terminationGracePeriodSeconds {grace}, and {2 * RAY_DRAIN_S} are wanted"


def environment_is_alike(service: Object) -> Iterator[str]:
    def ray(group: Object) -> tuple[object, ...]:
        own = sorted((n, str(v)) for n, v in _variables(group).items() if n.startswith("RAY_SERVE_"))
        return own, container(group).get("envFrom", [])

    head, *workers = groups(service).values()
    if any(ray(worker) != ray(head) for worker in workers):
        yield "RAY_SERVE_ variables of head and workers differ"


def metrics_port_is_not_the_bidders(service: Object) -> Iterator[str]:
    for name, group in groups(service).items():
        ports = {port["name"]: port["containerPort"] for port in container(group).get("ports", [])}
        if METRICS_PORT_NAME not in ports:
            yield f"{name}: no port is named metrics, so KubeRay adds {DEFAULT_METRICS_PORT} as it"
        exported = int(group.get("rayStartParams", {}).get("metrics-export-port", DEFAULT_METRICS_PORT))
        taken = {port: n for n, port in ports.items() if n not in (METRICS_PORT_NAME, "ray-metrics")}
        if exported in taken:
            yield f"{name}: Ray's metrics have port {exported}, which is {taken[exported]}'s"


def head_keeps_its_name(service: Object) -> Iterator[str]:
    """The RayService's own head Service selects what KubeRay sets; what a pod template sets instead is not found."""
    for label in groups(service)["head"]["template"]["metadata"].get("labels", {}):
        if label in ("app.kubernetes.io/name", "app.kubernetes.io/created-by") or label.startswith("ray.io/"):
            yield f"head: {label} is KubeRay's to set: its Service of the head selects it"


RULES: tuple[Rule, ...] = (
    name_fits,
    resources_stand_once,
    strategy_is_the_services,
    autoscaler_restarts_nothing,
    gcs_survives,
    head_does_no_work,
    head_keeps_its_name,
    readiness_is_the_cells,
    ray_has_time_to_drain,
    environment_is_alike,
    metrics_port_is_not_the_bidders,
)


def problems(service: Object) -> list[str]:
    return [problem for rule in RULES for problem in rule(service)]
