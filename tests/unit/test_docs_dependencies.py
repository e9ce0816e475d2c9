"""docs/dependencies.md, pyproject.toml and the lock files name the same packages at the same versions, and no host."""

from __future__ import annotations

import re
import tomllib

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DIRECT = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["optional-dependencies"]["dev"],
]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)( ; python_version .*)?$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    pins: dict[str, str] = {}
    for file in ("requirements.lock", "requirements-dev.lock"):
        for line in (ROOT / file).read_text().splitlines():
            if line.startswith("#") or line == "-r requirements.lock":
                continue
            match = PIN.match(line)
            assert match, f"{file}: {line!r} is not a pin"
            pins[match[1]] = match[2]
    return pins


def wanted() -> dict[str, str]:
    """Name -> exact version where pyproject.toml gives one, else ""."""
    found = {}
    for requirement in DIRECT:
        name, version = re.match(r"([A-Za-z0-9._-]+)(?:\[.*?\])?(?:==(\S+))?", requirement).groups()  # type: ignore[union-attr]
        found[normal(name)] = version or ""
    return found


def test_the_lock_holds_what_the_project_asks_for() -> None:
    pins = locked()
    assert {name: pins.get(name) for name in wanted()} == {n: v or pins.get(n, "absent") for n, v in wanted().items()}


def test_the_document_names_every_direct_dependency_at_its_version() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \| (\d\S*) \|", text, re.MULTILINE))
    pins = locked()
    assert rows == {name: pins[name] for name in wanted()}
