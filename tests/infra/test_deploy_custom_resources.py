"""deploy/*: what other operators read (cert-manager, external-secrets) is held against their own schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.manifests import DEPLOY, resources

FOLDERS = ("nats", "redis", "clickhouse")


def closed(schema: Any) -> Any:
    """With every object whose fields are named refusing others: a misspelt field is found."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def schema_of(shared: Path, manifest: dict[str, Any]) -> Any:
    group, version = manifest["apiVersion"].split("/")
    for path in (shared / "crds").glob(f"*/{group}_*.yaml"):
        definition = yaml.safe_load(path.read_text("utf-8"))
        if definition["spec"]["names"]["kind"] == manifest["kind"]:
            (served,) = [one for one in definition["spec"]["versions"] if one["name"] == version and one["served"]]
            found = served["schema"]["openAPIV3Schema"]
            found["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            return closed(found)
    raise AssertionError(f"no schema of {manifest['apiVersion']} {manifest['kind']}")


@pytest.mark.parametrize("folder", FOLDERS)
def test_their_operators_read_them(shared: Path, folder: str) -> None:
    theirs = [one for one in resources(DEPLOY / folder) if one["apiVersion"].split("/")[0].endswith((".io",))]
    custom = [one for one in theirs if not one["apiVersion"].split("/")[0].endswith(".k8s.io")]
    assert custom
    for manifest in custom:
        jsonschema.validate(manifest, schema_of(shared, manifest))
