"""Write requirements.lock and requirements-dev.lock: every package that an installation gets, at exactly one version.

`make lock` runs it after a change of pyproject.toml. pip resolves for each supported Python, installing nothing, and
from wheels only, since a fresh machine has no compiler. What differs between Pythons gets an environment marker. The
files hold names and versions, no index and no host, and are installed with `--no-deps`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).resolve().parent.parent
HEADER = (
    f"# Written by `make lock` from pyproject.toml, for Python {', '.join(PYTHONS)} on Linux. Install with --no-deps.\n"
)
# iab-tcf asks for bitarray-hardbyte, an old fork of bitarray that has no wheel; bitarray is the same module, alive.
INSTEAD_OF_DEPENDENCIES = {"iab-tcf": ["bitarray>=3.12"]}


def resolve(requirements: list[str], python: str) -> dict[str, str]:
    """Name -> version of everything that `requirements` need on `python`."""
    with tempfile.TemporaryDirectory() as target:
        command = [
            *(sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed", "--report", "-"),
            *("--python-version", python, "--only-binary", ":all:", "--target", target, *requirements),
        ]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own words
    packages = [package["metadata"] for package in json.loads(answer.stdout)["install"]]
    return {package["name"].lower().replace("_", "-"): package["version"] for package in packages}


def lines(requirements: list[str]) -> list[str]:
    """Pinned lines, sorted, for `requirements`."""
    wanted, alone = [], []
    for requirement in requirements:
        name = re.split(r"[^A-Za-z0-9-]", requirement)[0]
        wanted += INSTEAD_OF_DEPENDENCIES.get(name, [requirement])
        alone += [requirement] if name in INSTEAD_OF_DEPENDENCIES else []
    pythons: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for python in PYTHONS:
        for pin in resolve(wanted, python).items():
            pythons[pin].append(python)
    for (name, version), where in pythons.items():
        marker = " or ".join(f'python_version == "{python}"' for python in where)
        alone.append(f"{name}=={version}" + ("" if len(where) == len(PYTHONS) else f" ; {marker}"))
    return sorted(alone)


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    base = lines(runtime)
    # Resolved with the base's pins, so that a development package cannot move a runtime one.
    pins = [line for line in base if ";" not in line]
    extra = [
        line
        for line in lines([*runtime, *pins, *project["project"]["optional-dependencies"]["dev"]])
        if line not in base
    ]
    (ROOT / "requirements.lock").write_text(HEADER + "".join(f"{line}\n" for line in base))
    (ROOT / "requirements-dev.lock").write_text(HEADER + "-r requirements.lock\n" + "".join(f"{e}\n" for e in extra))


if __name__ == "__main__":
    main()
