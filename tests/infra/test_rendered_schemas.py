"""Every object that is applied passes the schema of its kind, and none has a field that the schema does not name."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest

from tests.support.kube_schemas import schemas
from tests.support.rendered import KUBERNETES, RENDERS, Object, container, groups, objects, ray_service


@cache
def _problems(item_json: str, shared: Path) -> tuple[str, ...]:
    item = json.loads(item_json)
    name = f"{item['kind']}/{item['metadata']['name']}"
    if schemas(shared).describes(item):
        # Its metadata is Kubernetes' own, which a ConfigMap without data shows as well as anything.
        plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": item["metadata"]}
        theirs = [f"{name} {field}: {message[:300]}" for field, message in schemas(shared).causes(item)]
        return (*theirs, *kubernetes_problems(name, plain))
    return tuple(kubernetes_problems(name, item))


def problems(item: Object, shared: Path) -> list[str]:
    """Most objects are the same in every render, and are looked at once."""
    return list(_problems(json.dumps(item), shared))


def kubernetes_problems(name: str, item: Object) -> list[str]:
    try:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{name} {'/'.join(map(str, error.path))}: {error.message[:300]}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"{name}: no schema for {item['apiVersion']}"]
    return []


@pytest.mark.parametrize("name", RENDERS)
def test_every_object_passes_its_schema(name: str, shared: Path) -> None:
    found = objects(name)
    assert len(found) >= 2
    assert [problem for item in found for problem in problems(item, shared)] == []


@pytest.mark.parametrize("name", RENDERS)
def test_no_object_is_there_twice(name: str) -> None:
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects(name)]
    assert sorted(set(keys), key=str) == sorted(keys, key=str)


@pytest.mark.parametrize("name", RENDERS)
def test_pods_of_custom_resources_pass_kubernetes_own_schema(name: str) -> None:
    """A CRD describes a pod's template less strictly than Kubernetes does."""
    services = [item for item in objects(name) if item["kind"] == "RayService"]
    for service in services:
        for group, spec in groups(service).items():
            pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(spec["template"])}
            pod["metadata"]["name"] = group
            assert kubernetes_problems(group, pod) == []


def test_misspelt_fields_are_found(shared: Path) -> None:
    service = copy.deepcopy(ray_service("base"))
    assert problems(service, shared) == []
    service["spec"]["rayClusterConfig"]["enableInTreeAutoscalling"] = True
    container(groups(service)["head"])["resource"] = {}
    found = problems(service, shared)
    assert len(found) == 2
    assert "enableInTreeAutoscalling" in "".join(found)
    budget = copy.deepcopy(next(item for item in objects("base") if item["kind"] == "PodDisruptionBudget"))
    budget["spec"]["minAvailabel"] = budget["spec"].pop("minAvailable")
    assert "minAvailabel" in problems(budget, shared)[0]
    secret = copy.deepcopy(next(item for item in objects("base") if item["kind"] == "ExternalSecret"))
    secret["apiVersion"] = "external-secrets.io/v1beta1"  # no operator of today serves it
    assert problems(secret, shared) == [
        f"ExternalSecret/{secret['metadata']['name']}: no schema for {secret['apiVersion']}"
    ]
