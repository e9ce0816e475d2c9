"""What kubectl and helm make of kuberay/ and of the chart, as parsed objects. Each is rendered once a process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import absent
from tools import programs

ROOT = Path(__file__).resolve().parents[2]
KUBERAY = ROOT / "kuberay"
CHART = ROOT / "deploy/helm/campaign-express"
NAMESPACE = "campaign-express"
KUBERNETES = "1.37.0"
OVERLAYS = ("production", "prod", "staging", "aks", "eks")
KUSTOMIZATIONS = (
    "base",
    *(f"overlays/{name}" for name in OVERLAYS),
    "model",
    *(f"overlays/{name}/model" for name in ("production", "aks", "eks")),
)
AWS_VALUES = ROOT / "deploy/aws/values-aws.yaml"
CHART_RENDERS: dict[str, tuple[str, ...]] = {
    "default": (),
    "aws": ("--values", str(AWS_VALUES)),
    "npu-off": ("--set", "npu.enabled=false"),
}
RENDERS = (*KUSTOMIZATIONS, *(f"chart:{name}" for name in CHART_RENDERS))

Object = dict[str, Any]


def program(fetch: Callable[[], Path]) -> str:
    """Path of a program of tools/programs.py; where it cannot be had, the test is skipped, or fails in CI."""
    try:
        return str(fetch())
    except programs.Unavailable as reason:
        absent(f"{fetch.__name__} ({reason})")
        raise AssertionError from reason


def run(*command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env)


def output(*command: str) -> str:
    ran = run(*command)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@cache
def text(name: str) -> str:
    """YAML of a kustomization below kuberay/, or of the chart with a named set of values (`chart:default`)."""
    kind, _, values = name.rpartition(":")
    if kind == "chart":
        return chart(*CHART_RENDERS[values])
    return output(program(programs.kubectl), "kustomize", str(KUBERAY / name))


@cache
def chart(*options: str) -> str:
    helm = program(programs.helm)
    base = (helm, "template", "campaign-express", str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.33.0")
    return output(*base, *options)


@cache
def objects(name: str) -> tuple[Object, ...]:
    return parse(text(name))


def parse(rendered: str) -> tuple[Object, ...]:
    return tuple(one for one in yaml.load_all(rendered, Loader=yaml.CSafeLoader) if one)


def one(found: tuple[Object, ...], kind: str, name: str = NAMESPACE) -> Object:
    (chosen,) = [o for o in found if o["kind"] == kind and o["metadata"]["name"] == name]
    return chosen


def ray_service(name: str) -> Object:
    return one(objects(name), "RayService")


def serve_config(service: Object) -> Object:
    config: Object = yaml.safe_load(service["spec"]["serveConfigV2"])
    return config


def groups(service: Object) -> dict[str, Object]:
    """Head and worker groups of a RayService, by name."""
    cluster = service["spec"]["rayClusterConfig"]
    return {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}


def bidders(service: Object) -> Object:
    return groups(service)["npu-bidders"]


def container(group: Object) -> Object:
    chosen: Object = group["template"]["spec"]["containers"][0]
    return chosen


def pods(found: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """Every pod template, those of RayServices included: (its owner, the template)."""
    for item in found:
        owner = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "RayService":
            for name, group in groups(item).items():
                yield f"{owner}/{name}", group["template"]
            continue
        spec = item.get("spec") or {}
        spec = spec.get("jobTemplate", {}).get("spec", spec)  # a CronJob's is deeper
        if "containers" in spec.get("template", {}).get("spec", {}):
            yield owner, spec["template"]


def bytes_of(quantity: str) -> int:
    """Of a Kubernetes quantity of memory."""
    for unit, factor in {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor)
    return int(quantity)
