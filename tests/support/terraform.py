"""A Terraform module as python-hcl2 reads it, held against the schemas of its providers.

What `terraform validate` would find without an account: arguments and blocks that no provider knows, required ones that
are missing, and references to what is declared nowhere or has no such attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import hcl2

from tests.conftest import ROOT, absent
from tools import programs, providers

MODULES = {"azure": ROOT / "deploy/terraform/azure", "aws": ROOT / "deploy/aws/terraform"}
PROVIDER = {"azure": "azurerm", "aws": "aws"}
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "provisioner", "connection"}
MARKS = {"__is_block__", "__comments__", "__inline_comments__"}
TRAVERSAL = re.compile(r"(?<![\w.\"-])(data\.)?((?:azurerm|aws)_\w+)\.(\w+)((?:\[[^\]]*\]|\.\w+)*)")
ELEMENTS = re.compile(r"\bfor (?:\w+, )?(\w+) in ((?:azurerm|aws)_\w+)\.\w+ :")

Body = dict[str, Any]


@dataclass(frozen=True)
class Module:
    name: str
    files: Mapping[str, str]

    @cached_property
    def parsed(self) -> dict[str, Body]:
        return {name: hcl2.loads(text) for name, text in self.files.items()}

    @cached_property
    def code(self) -> str:
        """All files without their comments."""
        return self._code(self.files)

    @cached_property
    def code_beyond_variables(self) -> str:
        """A variable that only its own validation names is not used."""
        return self._code({name: text for name, text in self.files.items() if name != "variables.tf"})

    @staticmethod
    def _code(files: Mapping[str, str]) -> str:
        lines = (line for text in files.values() for line in text.splitlines())
        return "\n".join(line for line in lines if not line.lstrip().startswith("#"))

    def blocks(self, kind: str) -> Iterator[tuple[tuple[str, ...], Body]]:
        """Labels and body of each block of a kind (resource, data, variable, output, module, locals, provider)."""
        depth = {"resource": 2, "data": 2, "locals": 0, "terraform": 0}.get(kind, 1)
        for body in self.parsed.values():
            for block in body.get(kind, ()):
                labels: list[str] = []
                for _ in range(depth):
                    ((label, block),) = ((k, v) for k, v in block.items() if k not in MARKS)
                    labels.append(label.strip('"'))
                yield tuple(labels), block

    def body(self, kind: str, *labels: str) -> Body:
        (found,) = (body for names, body in self.blocks(kind) if names == labels)
        return found

    def named(self, kind: str) -> set[str]:
        if kind == "local":
            return {name for _, body in self.blocks("locals") for name in body if name not in MARKS}
        return {labels[-1] for labels, _ in self.blocks({"var": "variable"}.get(kind, kind))}


@cache
def module(name: str) -> Module:
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(MODULES[name].glob("*.tf"))}
    return Module(name, files)


def changed(name: str, before: str, after: str) -> Module:
    """The module with one text replaced, to see that a check fails."""
    files = {file: text.replace(before, after, 1) for file, text in module(name).files.items()}
    assert files != module(name).files, f"{before!r} is not in {name}"
    return Module(name, files)


def schema(name: str) -> providers.Schema:
    try:
        return providers.schema(PROVIDER[name])
    except programs.Unavailable as problem:
        absent(str(problem))
        raise


def text(value: Any) -> Any:
    """A quoted string without its quotes."""
    return value[1:-1] if isinstance(value, str) and value[:1] == '"' else value


def problems(of: Module) -> list[str]:
    known = schema(of.name)
    return [*_arguments(of, known), *_references(of, known), *_attributes(of, known)]


def _arguments(of: Module, known: providers.Schema) -> Iterator[str]:
    for kind in ("resource", "data", "provider"):
        for labels, body in of.blocks(kind):
            where = ".".join((kind, *labels))
            if labels[0] not in known[kind]:
                yield f"{where}: no such {kind} in {PROVIDER[of.name]} {known['version']}"
                continue
            yield from _shape(where, body, known["shapes"], known[kind][labels[0]][0], META)


def _shape(where: str, body: Body, shapes: dict[str, Any], shape: str, besides: set[str]) -> Iterator[str]:
    arguments: dict[str, tuple[bool, str | None]] = shapes[shape]
    given = _given(body)
    for name in given.keys() - arguments.keys() - besides:
        yield f"{where}: no argument or block {name}"
    for name, (required, _) in arguments.items():
        if required and name not in given:
            yield f"{where}: {name} is required"
    for name, values in given.items():
        inner = arguments.get(name, (False, None))[1]
        if inner is None:
            continue
        for value in values:
            if isinstance(value, dict):
                yield from _shape(f"{where}.{name}", value, shapes, inner, set())


def _given(body: Body) -> dict[str, list[Any]]:
    """Arguments and blocks by name; `dynamic` counts as the block that it makes."""
    found: dict[str, list[Any]] = {}
    for name, value in body.items():
        if name in MARKS:
            continue
        if name == "dynamic":
            for each in value:
                ((label, made),) = ((k, v) for k, v in each.items() if k not in MARKS)
                found.setdefault(label.strip('"'), []).extend(made["content"])
        else:
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return found


def _references(of: Module, known: providers.Schema) -> Iterator[str]:
    for kind in ("var", "local", "module"):
        named = re.compile(rf"(?<![\w.]){kind}\.(\w+)")
        declared = of.named(kind)
        yield from (f"{kind}.{name} is declared nowhere" for name in sorted(set(named.findall(of.code)) - declared))
        yield from (
            f"{kind}.{name} is used nowhere" for name in sorted(declared - set(named.findall(of.code_beyond_variables)))
        )
    declared = {(kind, *labels) for kind in ("resource", "data") for labels, _ in of.blocks(kind)}
    for data, kind, name, _ in TRAVERSAL.findall(of.code):
        if ("data" if data else "resource", kind, name) not in declared:
            yield f"{data}{kind}.{name} is declared nowhere"


def _attributes(of: Module, known: providers.Schema) -> Iterator[str]:
    for data, kind, name, path in TRAVERSAL.findall(of.code):
        yield from _path(f"{data}{kind}.{name}", path, known, known["data" if data else "resource"].get(kind))
    for match in ELEMENTS.finditer(of.code):
        alias, kind = match.groups()
        rest = re.split(rf"\bfor (?:\w+, )?{alias} in ", of.code[match.end() :])[0]
        for path in re.findall(rf"(?<![\w.\"/-]){alias}((?:\.\w+|\[\d+\])+)", rest):
            yield from _path(f"each of {kind}", path, known, known["resource"].get(kind))


def _path(where: str, path: str, known: providers.Schema, found: list[str] | None) -> Iterator[str]:
    shape = found[1] if found else None
    for word in re.findall(r"\.(\w+)", re.sub(r"\[[^\]]*\]", "", path)):
        if shape is None or shape not in known["given"]:
            return
        given = known["given"][shape]
        if providers.plain(word) not in given:
            yield f"{where}{path}: no attribute {word}"
            return
        shape = given[providers.plain(word)]
