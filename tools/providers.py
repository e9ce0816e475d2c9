"""What Terraform's providers take and give, at versions that deploy/ allows: `python -m tools.providers` fetches them.

Terraform itself and its registry are not needed: bindings generated from a provider's own schema are published as a
wheel, whose description names each resource's arguments, which of them are required, nested blocks and attributes. The
wheel is not installed: the description is distilled to what checks need, and kept in .venv/programs.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from tools import programs

WHEELS = {"azurerm": "cdktn-provider-azurerm==18.9.0", "aws": "cdktn-provider-aws==25.8.1"}
KINDS = {"TerraformResource": "resource", "TerraformDataSource": "data", "TerraformProvider": "provider"}
LAST_WORD = re.compile(r"[ #](\w+)}")

Schema = dict[str, Any]
"""`version`; by kind (`resource`, `data`, `provider`) and name the names of a shape of arguments and one of attributes.
`shapes`: by name, arguments {name: [required, shape or None]}. `given`: by name, attributes {plain: shape or None}."""


def plain(name: str) -> str:
    """A name as it is alike in camelCase and in snake_case."""
    return name.replace("_", "").lower()


@cache
def schema(provider: str) -> Schema:
    """Raises programs.Unavailable."""
    place = programs.HOME / f"{WHEELS[provider].replace('==', '-')}.schema.json"
    with programs._alone(provider):
        if not place.exists():
            new = place.with_suffix(".new")
            new.write_text(json.dumps(_distilled(_description(provider))), encoding="utf-8")
            new.replace(place)
    read: Schema = json.loads(place.read_text(encoding="utf-8"))
    return read


def _description(provider: str) -> dict[str, Any]:
    """The wheel holds an npm package, which holds the description."""
    with tempfile.TemporaryDirectory(dir=programs.HOME) as made:
        programs._run(*programs.PIP, "download", "--no-deps", "--dest", made, WHEELS[provider])
        (wheel,) = Path(made).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with outer.open(package) as inner, tarfile.open(fileobj=inner, mode="r|gz") as npm:
                for member in npm:
                    if member.name == "package/.jsii":
                        content = npm.extractfile(member)
                        assert content is not None
                        found: dict[str, Any] = json.load(content)
                        return found
    raise programs.Unavailable(f"{WHEELS[provider]} holds no package/.jsii")


def _distilled(description: dict[str, Any]) -> Schema:
    types = description["types"]
    made: Schema = {"version": "", "resource": {}, "data": {}, "provider": {}, "shapes": {}, "given": {}}
    for name, found in types.items():
        kind = KINDS.get(found.get("base", "").removeprefix("cdktn."))
        if kind is not None:
            summary = found["docs"]["summary"]
            made["version"] = made["version"] or re.findall(r"/(\d+\.\d+\.\d+)/", summary)[0]
            (config,) = (p for p in found["initializer"]["parameters"] if p["name"] == "config")
            made[kind][LAST_WORD.findall(summary)[-1]] = [config["type"]["fqn"], name]
        if found["kind"] == "interface":
            made["shapes"][name] = _arguments(found)
        elif found["kind"] == "class":
            made["given"][name] = {
                plain(p["name"]): _output(p["type"], types) for p in found.get("properties", ()) if not p.get("static")
            }
    return made


def _arguments(found: dict[str, Any]) -> dict[str, list[Any]]:
    arguments = {}
    for each in found.get("properties", ()):
        words = LAST_WORD.findall(json.dumps(each.get("docs", {})))
        arguments[words[-1] if words else each["name"]] = [not each.get("optional", False), _shape(each["type"])]
    return arguments


def _shape(of: dict[str, Any]) -> str | None:
    """The structure that a type is, or has as its elements."""
    if "collection" in of:
        return _shape(of["collection"]["elementtype"])
    if "union" in of:
        return next((found for each in of["union"]["types"] if (found := _shape(each))), None)
    name: str = of.get("fqn", "")
    return name if name and not name.startswith(("cdktn.", "constructs.")) else None


def _output(of: dict[str, Any], types: dict[str, Any]) -> str | None:
    """Elements of a list have a class beside that of the list."""
    name: str = of.get("fqn", "")
    if name.startswith("cdktn.") or not name:
        return None
    element = re.sub(r"(List|Map)$", "OutputReference", name)
    return element if element in types else name


def main() -> int:
    problems = 0
    for provider in WHEELS:
        try:
            found = schema(provider)
            print(
                f"{provider} {found['version']}: {len(found['resource'])} resources, {len(found['data'])} data sources"
            )
        except programs.Unavailable as problem:
            print(f"{provider}: {problem}", file=sys.stderr)
            problems += 1
    return os.EX_UNAVAILABLE if problems else os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
