"""Schemas of custom resources, closed: what a CRD does not name is refused, as `kubectl apply` warns and then drops it.

The CRDs are other projects' files and lie outside the repository, beside the shared test data.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.support.rendered import Object

FILES = {
    ("ray.io/v1", "RayService"): "kuberay-crds/ray.io_rayservices.yaml",
    ("cert-manager.io/v1", "Certificate"): "crds/cert-manager/cert-manager.io_certificates.yaml",
    ("cert-manager.io/v1", "ClusterIssuer"): "crds/cert-manager/cert-manager.io_clusterissuers.yaml",
    ("cert-manager.io/v1", "Issuer"): "crds/cert-manager/cert-manager.io_issuers.yaml",
    ("external-secrets.io/v1", "SecretStore"): "crds/external-secrets/external-secrets.io_secretstores.yaml",
    ("external-secrets.io/v1", "ExternalSecret"): "crds/external-secrets/external-secrets.io_externalsecrets.yaml",
}


def problems(item: Object, shared: Path) -> Iterator[str]:
    """What the CRD of a custom resource has against it, each with its place."""
    for error in _validator(item["apiVersion"], item["kind"], shared).iter_errors(item):
        place = "/".join(map(str, error.absolute_path))
        yield f"{item['kind']}/{item['metadata']['name']} {place}: {error.message[:300]}"


@cache
def _validator(api_version: str, kind: str, shared: Path) -> Any:
    crd = yaml.load((shared / FILES[api_version, kind]).read_text(), Loader=yaml.CSafeLoader)
    version = api_version.partition("/")[2]
    (chosen,) = [one for one in crd["spec"]["versions"] if one["name"] == version and one["served"]]
    schema = chosen["schema"]["openAPIV3Schema"]
    _close(schema)
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own: checked as every object's
    return jsonschema.Draft202012Validator(schema)


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            _close(part)
    if not isinstance(schema, dict):
        return
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    for part in schema.values():
        _close(part)
