"""Kubernetes manifests of `deploy/` as tests read them, and the table that they agree with (`deploy/names.yaml`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = "1.37.0"  # whose schemas are compared with
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1}

Manifest = dict[str, Any]


@cache
def names() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "names.yaml").read_text("utf-8"))
    return found


def image(component: str) -> str:
    """Name and tag, as a container names it."""
    one = names()["images"][component]
    return f"{one['name']}:{one['tag']}"


def ports(component: str) -> dict[str, int]:
    found: dict[str, int] = names()["components"][component]["ports"]
    return found


def kustomization(folder: Path) -> Manifest:
    found: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    return found


def resources(folder: Path) -> list[Manifest]:
    """Of every file that the folder's kustomization names; files that it does not name are an error."""
    listed = kustomization(folder)["resources"]
    there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed) == there, "kustomization.yaml names every file, and no other"
    return [one for name in listed for one in yaml.safe_load_all((folder / name).read_text("utf-8")) if one]


def one(found: list[Manifest], kind: str, name: str) -> Manifest:
    (manifest,) = [one for one in found if one["kind"] == kind and one["metadata"]["name"] == name]
    return manifest


def pod(manifest: Manifest) -> Manifest:
    """The pod's spec of a StatefulSet, Deployment, Job or CronJob."""
    spec = manifest["spec"]
    found: Manifest = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]
    return found


def container(manifest: Manifest, name: str) -> Manifest:
    spec = pod(manifest)
    (found,) = [one for one in [*spec["containers"], *spec.get("initContainers", [])] if one["name"] == name]
    return dict(found)


def variables(found: Manifest) -> dict[str, Any]:
    """A container's environment: a value, or where it comes from."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in found.get("env", [])}


def size(text: str) -> int:
    """Bytes of a quantity such as 4Gi."""
    digits = text.rstrip("KMGi")
    return int(digits) * _UNITS[text[len(digits) :]]


def valid(manifest: Manifest) -> None:
    """By Kubernetes' own schema, unknown fields refused. What is no kind of Kubernetes itself is not looked at."""
    if "." in manifest["apiVersion"].split("/")[0] and not manifest["apiVersion"].split("/")[0].endswith(".k8s.io"):
        return
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def pods(found: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """(name, the pod's spec) of whatever runs."""
    for manifest in found:
        if manifest["kind"] in ("StatefulSet", "Deployment", "DaemonSet", "Job", "CronJob"):
            yield manifest["metadata"]["name"], pod(manifest)


def hardened(found: list[Manifest]) -> None:
    """No container is root, may become it, or writes where it has no volume; each has a request and a limit."""
    for name, spec in pods(found):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for each in [*spec["containers"], *spec.get("initContainers", [])]:
            context = each["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, (name, each["name"])
            assert context["readOnlyRootFilesystem"] is True, (name, each["name"])
            assert context["capabilities"] == {"drop": ["ALL"]}, (name, each["name"])
            for kind in ("requests", "limits"):
                assert set(each["resources"][kind]) >= {"cpu", "memory"}, (name, each["name"])


def images_of(found: list[Manifest]) -> set[str]:
    return {each["image"] for _, spec in pods(found) for each in [*spec["containers"], *spec.get("initContainers", [])]}


def files_of(folder: Path, config_map: str) -> set[str]:
    """Files that a generated ConfigMap is made of; all of them exist."""
    (found,) = [one for one in kustomization(folder)["configMapGenerator"] if one["name"] == config_map]
    files = set(found["files"])
    assert all((folder / name).is_file() for name in files)
    return files
