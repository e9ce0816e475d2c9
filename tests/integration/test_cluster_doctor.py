"""`cluster doctor`: a healthy cluster has nothing to say; each fault is found, with what remedies it."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.kube_cli import Operated
from tests.support.kube_world import CLUSTER, NAMESPACE, bidder, node, ray_service, service_status


def findings(kube: Operated) -> list[dict[str, str]]:
    result = kube.run("doctor", "--json")
    assert result.stdout, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


def remove(kube: Operated, plural: str, name: str, group: str = "", namespace: str = NAMESPACE) -> None:
    store = kube.api.store
    kind = store.kind(group, "v1", plural)
    assert kind is not None
    store.remove(kind, namespace, name)


def template(kube: Operated, **changes: Any) -> None:
    """Of the bidders' pods in the RayService."""
    at = "spec__rayClusterConfig__workerGroupSpecs__0__template__spec"
    kube.change("rayservices", "campaign-express", **{f"{at}__{path}": value for path, value in changes.items()})


def nodes(kube: Operated, change: Callable[[dict[str, Any]], Any]) -> None:
    for at in range(20):
        body = node(at)
        change(body)
        kube.api.store.put(body)


def old_crd(kube: Operated) -> None:
    crd = copy.deepcopy(kube.api.store.schemas.crds["rayservices.ray.io"])
    for version in crd["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].pop("upgradeStrategy", None)
    kube.api.store.put(crd, check=False)


def operator(kube: Operated, image: str = "quay.io/kuberay/operator:v1.7.0", available: int = 1) -> None:
    kind = kube.api.store.kind("apps", "v1", "deployments")
    assert kind is not None
    body = kube.api.store.get(kind, "kuberay-system", "kuberay-operator")
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    body["status"]["availableReplicas"] = available
    kube.api.store.put(body)


def endpoints(kube: Operated, service: str, namespace: str = NAMESPACE) -> None:
    """None is ready behind it."""
    kind = kube.api.store.kind("discovery.k8s.io", "v1", "endpointslices")
    assert kind is not None
    body = kube.api.store.get(kind, namespace, f"{service}-1")
    body["endpoints"][0]["conditions"]["ready"] = False
    kube.api.store.put(body)


def restarts(kube: Operated) -> None:
    pod = bidder(1)
    pod["status"]["containerStatuses"][0]["restartCount"] = 7
    kube.api.store.put(pod)


def bidders_gone(kube: Operated, left: int) -> None:
    for at in range(left, 20):
        remove(kube, "pods", bidder(at)["metadata"]["name"])


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def external_secret(kube: Operated, name: str = "campaign-express-secrets") -> None:
    kube.api.store.put(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"refreshInterval": "1h"},
            "status": {"conditions": [{"type": "Ready", "status": "False", "message": "no such key redis-url"}]},
        }
    )


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "campaign-express-secrets", "namespace": NAMESPACE},
}
FAULTS: dict[str, tuple[Callable[[Operated], Any], str, str, str]] = {
    # fault: what is broken, its check, its verdict, part of what is said
    "old Kubernetes": (lambda k: k.api.version.update(gitVersion="v1.28.2"), "Kubernetes", "bad", "1.29 or newer"),
    "no rights": (lambda k: k.api.forbidden.add(("patch", "rayclusters")), "rights", "warn", "rbac.yaml"),
    "no CRD": (
        lambda k: remove(k, "customresourcedefinitions", "rayclusters.ray.io", "apiextensions.k8s.io"),
        "CRD rayclusters.ray.io",
        "bad",
        "helm upgrade --install kuberay-operator",
    ),
    "old CRD": (old_crd, "CRD rayservices.ray.io", "bad", "it drops upgradeStrategy"),
    "no operator": (
        lambda k: remove(k, "deployments", "kuberay-operator", "apps", "kuberay-system"),
        "KubeRay operator",
        "bad",
        "helm upgrade --install",
    ),
    "old operator": (lambda k: operator(k, "kuberay/operator:v1.6.1"), "KubeRay operator", "bad", "need 1.7"),
    "operator down": (lambda k: operator(k, available=0), "KubeRay operator", "bad", "no available pod"),
    "operator by digest": (
        lambda k: operator(k, "kuberay/operator:nightly"),
        "KubeRay operator",
        "unknown",
        "no version",
    ),
    "DNS": (lambda k: endpoints(k, "kube-dns", "kube-system"), "DNS", "bad", "k8s-app=kube-dns"),
    "labels": (
        lambda k: nodes(k, lambda body: body["metadata"].update(labels={})),
        "NPU labels",
        "bad",
        "kubectl label node NAME campaign-express.io/npu=true",
    ),
    "taint": (
        lambda k: nodes(k, lambda body: body["spec"]["taints"].append({"key": "spot", "effect": "NoSchedule"})),
        "NPU taints",
        "bad",
        "add a toleration for spot:NoSchedule",
    ),
    "no selector": (lambda k: template(k, nodeSelector={}), "NPU labels", "warn", "nodeSelector"),
    "few nodes": (
        lambda k: [remove(k, "nodes", f"npu-{at:02}") for at in range(15)],
        "NPU nodes",
        "warn",
        "quota",
    ),
    "no device": (
        lambda k: nodes(k, lambda body: body["status"]["allocatable"].pop("amd.com/xdna")),
        "device plugin",
        "bad",
        "kuberay/overlays/aks",
    ),
    "secret": (
        lambda k: remove(k, "secrets", "campaign-express-secrets"),
        "secret campaign-express-secrets",
        "bad",
        "External Secrets makes it",
    ),
    "secret's key": (
        lambda k: k.api.store.put({**SECRET, "data": {"other": "eA=="}}),
        "secret campaign-express-secrets",
        "bad",
        "lacks redis-url",
    ),
    "empty secret": (
        lambda k: k.api.store.put({**SECRET, "data": {"redis-url": ""}}),
        "secret campaign-express-secrets",
        "warn",
        "key vault",
    ),
    "store in a secret": (
        lambda k: k.api.store.put({**SECRET, "data": {"redis-url": encoded("redis://:hunter2@redis:6379/0")}}),
        "redis:6379",
        "bad",
        "no service redis in namespace campaign-express",
    ),
    "secret that pods can do without": (
        lambda k: external_secret(k, "twilio"),
        "ExternalSecret twilio",
        "warn",
        "not synced",
    ),
    "external secret": (external_secret, "ExternalSecret campaign-express-secrets", "bad", "no such key redis-url"),
    "config map": (
        lambda k: remove(k, "configmaps", "campaign-express-config"),
        "config map campaign-express-config",
        "bad",
        "deploy kuberay again",
    ),
    "volume": (
        lambda k: k.change("persistentvolumeclaims", "campaign-express-models", "", status__phase="Pending"),
        "volume campaign-express-models",
        "bad",
        "ReadOnlyMany",
    ),
    "service state": (
        lambda k: k.change("rayservices", "campaign-express", status=service_status("RUNNING", "UNHEALTHY")),
        "Serve BidGateway",
        "bad",
        "UNHEALTHY",
    ),
    "no cells": (lambda k: bidders_gone(k, 5), "cells", "bad", "5 ready, 10 are the minimum"),
    "fewer cells": (lambda k: bidders_gone(k, 15), "cells", "warn", "15 of 20 ready"),
    "restarts": (restarts, "restarts", "warn", "--previous"),
    "budget": (
        lambda k: k.change("poddisruptionbudgets", "campaign-express", "policy", spec__minAvailable=20),
        "disruption budget",
        "bad",
        "no node can be drained",
    ),
    "budget in percent": (
        lambda k: k.change("poddisruptionbudgets", "campaign-express", "policy", spec__minAvailable="80%"),
        "disruption budget",
        "bad",
        "cluster scale",
    ),
    "no budget": (
        lambda k: remove(k, "poddisruptionbudgets", "campaign-express", "policy"),
        "disruption budget",
        "bad",
        "may take all cells at once",
    ),
    "bounds": (
        lambda k: k.change("rayclusters", CLUSTER, spec__workerGroupSpecs__0__maxReplicas=30),
        "scaling",
        "warn",
        "cluster scale --min 10 --max 40",
    ),
    "autoscaler": (
        lambda k: k.change("rayservices", "campaign-express", spec__rayClusterConfig__enableInTreeAutoscaling=False),
        "scaling",
        "bad",
        "enableInTreeAutoscaling: true",
    ),
    "Ray's metrics": (
        lambda k: k.change(
            "rayservices", "campaign-express", spec__rayClusterConfig__workerGroupSpecs__0__rayStartParams={}
        ),
        "ports",
        "bad",
        'metrics-export-port: "8090"',
    ),
    "pod's ports": (
        lambda k: template(k, containers__0__ports=[{"name": "http", "containerPort": 8080}]),
        "ports",
        "bad",
        "do not name grpc 9090, metrics 9091",
    ),
    "no Service": (
        lambda k: remove(k, "services", "campaign-express"),
        "service campaign-express",
        "bad",
        "nobody reaches the bidders",
    ),
    "nobody behind": (
        lambda k: endpoints(k, "campaign-express-headless"),
        "service campaign-express-headless",
        "bad",
        "no ready pod behind it",
    ),
    "broker": (lambda k: endpoints(k, "nats"), "nats:4222", "bad", "no ready pod behind it"),
    "store's port": (
        lambda k: k.change(
            "configmaps", "campaign-express-config", "", data__CAMPAIGN_EXPRESS_NATS_URL="nats://nats:5222"
        ),
        "nats:5222",
        "bad",
        "correct the port in CAMPAIGN_EXPRESS_NATS_URL",
    ),
    "store's name": (
        lambda k: k.change(
            "configmaps", "campaign-express-config", "", data__CAMPAIGN_EXPRESS_NATS_URL="nats://nts.other.svc:4222"
        ),
        "nts.other.svc:4222",
        "bad",
        "no service nts in namespace other",
    ),
}


def test_a_healthy_cluster(kube: Operated) -> None:
    said = kube.done("doctor")
    assert "23 ok" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_with_its_remedy(kube: Operated, fault: str) -> None:
    broken, about, verdict, says = FAULTS[fault]
    broken(kube)
    result = kube.run("doctor", "--json")
    assert result.exit_code == (1 if verdict == "bad" else 0), result.output
    assert "hunter2" not in result.output
    found = [one for one in json.loads(result.stdout) if one["about"] == about and one["verdict"] != "ok"]
    assert [one["verdict"] for one in found] == [verdict]
    assert says in found[0]["found"] + found[0]["remedy"]
    assert found[0]["remedy"] or verdict == "unknown"


def test_nothing_deployed_yet(empty_kube: Operated) -> None:
    """One finding says that there is no service; checks of what it would have are left out."""
    empty_kube.api.store.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    found = findings(empty_kube)
    assert [one["about"] for one in found].count("RayService") == 1
    assert "kuberay/overlays/production" in next(one["remedy"] for one in found if one["about"] == "RayService")
    assert empty_kube.run("doctor").exit_code == 1


def test_what_may_not_be_read_is_no_fault(kube: Operated) -> None:
    kube.api.forbidden |= {("list", "nodes"), ("list", "deployments"), ("get", "secrets"), ("get", "services")}
    found = findings(kube)
    unknown = {one["about"] for one in found if one["verdict"] == "unknown"}
    assert {"NPU labels", "KubeRay operator", "secrets", "DNS", "services"} <= unknown
    assert not [one for one in found if one["verdict"] == "bad"]


def test_it_changes_nothing(kube: Operated) -> None:
    kube.done("doctor")
    assert {request.path.rpartition("/")[2] for request in kube.api.writes(dry_runs=True)} == {
        "selfsubjectaccessreviews"
    }


def test_a_service_without_a_worker_group(kube: Operated) -> None:
    body = ray_service()
    body["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["groupName"] = "others"
    kube.api.store.put({**body, "status": service_status()})
    found = [one for one in findings(kube) if "no worker group npu-bidders" in one["found"]]
    assert [one["about"] for one in found] == ["NPU labels"]  # said once, not by each check that meets it


def test_a_fault_on_the_screen(kube: Operated) -> None:
    FAULTS["no device"][0](kube)
    result = kube.run("doctor")
    assert result.exit_code == 1
    assert "no node offers amd.com/xdna" in result.stdout
    assert "→ run its device plugin on these nodes" in result.stdout
    assert "1 bad" in result.stdout
