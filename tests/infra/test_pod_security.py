"""What runs in the bidder's namespace is allowed there: it enforces Kubernetes' Pod Security Standard `restricted`.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.support.rendered import (
    KUBERAY,
    NAMESPACE,
    RENDERS,
    ROOT,
    Object,
    objects,
    one,
    output,
    parse,
    pods,
    program,
)
from tools import programs

VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
    "image",
}


def containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def violations(pod: Object) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", []):
        yield from (f"volume {volume['name']}: {kind}" for kind in volume.keys() - {"name"} - VOLUMES)
    general = pod.get("securityContext", {})
    for container in containers(pod):
        name, own = container["name"], container.get("securityContext", {})
        both = {**general, **own}
        if own.get("privileged"):
            yield f"{name}: privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation"
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            yield f"{name}: may run as root"
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name}: seccompProfile"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name}: capabilities"
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield f"{name}: hostPort"


def refused(found: tuple[Object, ...]) -> list[str]:
    inside = tuple(item for item in found if item["metadata"].get("namespace") == NAMESPACE)
    return [f"{owner}: {problem}" for owner, template in pods(inside) for problem in violations(template["spec"])]


@pytest.mark.parametrize("name", RENDERS)
def test_pods_are_allowed_in_their_namespace(name: str) -> None:
    assert refused(objects(name)) == []


def test_pods_of_other_services_are_too() -> None:
    for folder in sorted(path.parent for path in (ROOT / "deploy").glob("*/kustomization.yaml")):
        found = parse(output(program(programs.kubectl), "kustomize", str(folder)))
        assert refused(found) == [], folder.name


def test_the_namespace_enforces_it() -> None:
    labels = one(objects("base"), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert (KUBERAY / "base/namespace.yaml").is_file()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("hostNetwork", True, "hostNetwork"),
        ("volumes", [{"name": "x", "hostPath": {"path": "/"}}], "volume x: hostPath"),
        ("securityContext", {"runAsUser": 0}, "redis: seccompProfile"),
    ],
)
def test_a_pod_that_asks_for_more_is_found(field: str, value: object, says: str) -> None:
    pod = copy.deepcopy(one(objects("base"), "StatefulSet", "ray-gcs-redis")["spec"]["template"]["spec"])
    assert list(violations(pod)) == []
    pod[field] = value
    pod["containers"][0]["securityContext"].pop("seccompProfile")
    assert says in list(violations(pod))
