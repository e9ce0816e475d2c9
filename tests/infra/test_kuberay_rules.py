"""KubeRay's unstated rules hold in everything that is rendered, and each is seen to fail on a broken copy."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.support.kuberay_rules import RULES, problems
from tests.support.rendered import RENDERS, Object, bidders, container, groups, objects, ray_service

Break = Callable[[Object], object]


@pytest.mark.parametrize("name", [name for name in RENDERS if "model" not in name])
def test_rules_hold(name: str) -> None:
    services = [item for item in objects(name) if item["kind"] == "RayService"]
    assert len(services) == 1
    assert problems(services[0]) == []


def _cluster(service: Object) -> Object:
    cluster: Object = service["spec"]["rayClusterConfig"]
    return cluster


def _incremental(service: Object, **changes: object) -> None:
    options = {"gatewayClassName": "g", "stepSizePercent": 10, "maxSurgePercent": 20, "intervalSeconds": 5, **changes}
    kind = "NewClusterWithIncrementalUpgrade"
    service["spec"]["upgradeStrategy"] = {"type": kind, "clusterUpgradeOptions": options}


def _head(service: Object) -> Object:
    return groups(service)["head"]


BROKEN: dict[str, Break] = {
    "48 characters": lambda s: s["metadata"].update(name="c" * 48),
    "no DNS-1035": lambda s: s["metadata"].update(name="4-campaigns"),
    "in rayStartParams and in resources": lambda s: bidders(s)["rayStartParams"].update({"num-cpus": "2"}),
    "not quoted": lambda s: bidders(s)["rayStartParams"].update(resources='{"npu": 20}'),
    "the group's labels": lambda s: bidders(s)["rayStartParams"].update(labels="a=b"),
    "CPU is wanted": lambda s: bidders(s)["resources"].update(cpu="2"),
    "not allowed under a RayService": lambda s: _cluster(s).update(upgradeStrategy={"type": "Recreate"}),
    "is none of": lambda s: s["spec"].update(upgradeStrategy={"type": "Rolling"}),
    "gatewayClassName": lambda s: _incremental(s, gatewayClassName=""),
    "at most maxSurgePercent": lambda s: _incremental(s, stepSizePercent=30),
    "intervalSeconds": lambda s: _incremental(s, intervalSeconds=0),
    "need in-tree autoscaling": lambda s: (_incremental(s), _cluster(s).update(enableInTreeAutoscaling=False)),
    "nodes would not follow": lambda s: _cluster(s).update(enableInTreeAutoscaling=False),
    "is not v2": lambda s: _cluster(s)["autoscalerOptions"].update(version="v1"),
    "restartPolicy Always": lambda s: bidders(s)["template"]["spec"].update(restartPolicy="Always"),
    "RAY_enable_autoscaler_v2": lambda s: container(_head(s))["env"].append(
        {"name": "RAY_enable_autoscaler_v2", "value": "1"}
    ),
    "are not in order": lambda s: bidders(s).update(replicas=50),
    "dies with its head": lambda s: _cluster(s).pop("gcsFaultToleranceOptions"),
    "is hard-coded": lambda s: _cluster(s)["gcsFaultToleranceOptions"].update(externalStorageNamespace="a"),
    "single-shard": lambda s: _cluster(s)["gcsFaultToleranceOptions"].update(redisAddress="redis-cluster:6379"),
    "stands in the manifest": lambda s: _cluster(s)["gcsFaultToleranceOptions"].update(redisPassword={"value": "p"}),
    "REDIS_PASSWORD is KubeRay's": lambda s: container(_head(s))["env"].append({"name": "REDIS_PASSWORD"}),
    "stands in rayStartParams": lambda s: _head(s)["rayStartParams"].update({"redis-password": "p"}),
    "ray.io/ft-enabled": lambda s: s["metadata"].update(annotations={"ray.io/ft-enabled": "true"}),
    "its Service of the head": lambda s: _head(s)["template"]["metadata"]["labels"].update(
        {"app.kubernetes.io/name": "campaign-express"}
    ),
    'num-cpus is not "0"': lambda s: _head(s)["rayStartParams"].update({"num-cpus": "1"}),
    "is not the cell's": lambda s: container(bidders(s)).pop("readinessProbe"),
    "a Serve proxy that is not there": lambda s: (
        container(bidders(s)).pop("readinessProbe"),
        s["spec"].update(serveConfigV2="proxy_location: HeadOnly"),
    ),
    "would be killed": lambda s: container(bidders(s))["livenessProbe"].update(httpGet={"path": "/ready", "port": 1}),
    "no startupProbe": lambda s: container(bidders(s)).pop("startupProbe"),
    "and 60 are wanted": lambda s: bidders(s)["template"]["spec"].update(terminationGracePeriodSeconds=30),
    "head and workers differ": lambda s: container(_head(s)).pop("envFrom"),
    "KubeRay adds 8080": lambda s: container(bidders(s))["ports"].pop(2),
    "which is http's": lambda s: bidders(s)["rayStartParams"].pop("metrics-export-port"),
}


@pytest.mark.parametrize("says", BROKEN)
def test_broken_copies_are_found(says: str) -> None:
    service = copy.deepcopy(ray_service("base"))
    BROKEN[says](service)
    assert any(says in problem for problem in problems(service)), problems(service)


def test_every_rule_has_been_seen_to_fail() -> None:
    broken = []
    for change in BROKEN.values():
        service = copy.deepcopy(ray_service("base"))
        change(service)
        broken.append(service)
    assert [rule.__name__ for rule in RULES if not any(list(rule(service)) for service in broken)] == []
