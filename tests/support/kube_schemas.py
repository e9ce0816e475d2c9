"""What an API server would say of an object: CRD schemas with unknown fields refused, Kubernetes' own likewise."""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

KUBERNETES = "1.37.0"
Cause = tuple[str, str]  # field, message

CRD_FOLDERS = ("kuberay-crds", "crds/external-secrets", "crds/cert-manager")


class Schemas:
    """`crds`: folders of CustomResourceDefinition files."""

    def __init__(self, shared: Path) -> None:
        self.crds = load_crds(shared)
        self._validators: dict[tuple[str, str], Draft202012Validator] = {}
        for crd in self.crds.values():
            for version in crd["spec"]["versions"]:
                if version["served"]:
                    key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                    self._validators[key] = Draft202012Validator(_closed(version["schema"]["openAPIV3Schema"]))

    def describes(self, body: dict[str, Any]) -> bool:
        """Whether it is a custom resource of these CRDs, in a version that is served."""
        return (body["apiVersion"], body["kind"]) in self._validators

    def causes(self, body: dict[str, Any]) -> list[Cause]:
        """What is wrong with it; unknown kinds are wrong."""
        key = (body.get("apiVersion", ""), body.get("kind", ""))
        validator = self._validators.get(key) or _own(*key)
        if validator is None:
            return [("kind", f"no schema for {key[1]} in {key[0]}")]
        checked = {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"}}
        return [(_path(error.absolute_path), error.message) for error in validator.iter_errors(checked)]


@functools.cache
def schemas(shared: Path) -> Schemas:
    """Read once: they are a megabyte of YAML each."""
    return Schemas(shared)


@functools.cache
def load_crds(shared: Path) -> dict[str, dict[str, Any]]:
    """By name, e.g. `rayservices.ray.io`."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, dict[str, Any]] = {}
    for folder in CRD_FOLDERS:
        for path in sorted((shared / folder).glob("*.yaml")):
            for crd in yaml.load_all(path.read_text(), loader):
                if crd and crd["kind"] == "CustomResourceDefinition":
                    found[crd["metadata"]["name"]] = crd
    return found


def _closed(schema: dict[str, Any], root: bool = True) -> dict[str, Any]:
    """JSON Schema of a structural one: fields that it does not name are refused."""
    made = {k: v for k, v in schema.items() if not k.startswith("x-") and k not in ("format", "default", "description")}
    if "properties" in made:
        properties = {name: _closed(one, False) for name, one in made["properties"].items()}
        if root:  # of these the schema says no more than that they are objects or text
            properties |= {"metadata": {"type": "object"}}
        made["properties"] = properties
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in made:
            made["additionalProperties"] = False
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _closed(made["additionalProperties"], False)
    if isinstance(made.get("items"), dict):
        made["items"] = _closed(made["items"], False)
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if schema.get("nullable"):
        made["type"] = [made["type"], "null"]
    if isinstance(made.get("pattern"), str):
        try:
            re.compile(made["pattern"])
        except re.error:  # Go's dialect
            del made["pattern"]
    return made


@functools.cache
def _folder() -> Any:
    return resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{KUBERNETES[:4]}.0-local-strict"


@functools.cache
def _definitions() -> Any:
    return Resource.from_contents(json.loads((_folder() / "_definitions.json").read_text()))


@functools.cache
def _own(api_version: str, kind: str) -> Draft202012Validator | None:
    """Kubernetes' own kinds: the files that `kubernetes-validate --strict` reads."""
    name = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    file = _folder() / f"{kind.lower()}-{name}.json"
    if not file.is_file():
        return None
    schema = json.loads(file.read_text())
    return Draft202012Validator(schema, registry=_definitions() @ (Resource.from_contents(schema) @ Registry()))


def _path(parts: Any) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "<root>"
