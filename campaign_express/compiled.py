"""Whether the hot path runs as machine code, and whether that is of this very source.

`make compile` and the image's wheel compile a part of the package (pyproject.toml lists it). Python prefers a compiled
module to its source without asking which of them is older, so a stamp with the sources' hashes is left beside them.
Of the whole package: compiled code holds constants and types of what it imports.

    python -m campaign_express.compiled     ends with 1 and says why where compiled modules are not of this source
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from campaign_express.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "campaign_express"
STAMP = f"{PACKAGE}/compiled.json"  # {"modules": [what is compiled], "sources": {path: SHA-256}}
SUFFIX = EXTENSION_SUFFIXES[0]
REMEDY = "`make compile` compiles anew, `make uncompile` goes back to plain Python"


def is_compiled() -> bool:
    """Whether this process decides with machine code."""
    from campaign_express.bidding import money  # the smallest of them

    return (money.__file__ or "").endswith(SUFFIX)


def write_stamp(modules: Iterable[str], root: Path, place: Path) -> None:
    """Write down below `place` that `modules` have been compiled of what stands below `root`."""
    sources = {path.relative_to(root).as_posix(): _hash(path) for path in sorted((root / PACKAGE).rglob("*.py"))}
    (place / STAMP).write_text(json.dumps({"modules": sorted(modules), "sources": sources}, indent=1) + "\n")


def check(root: Path = ROOT) -> None:
    """Raises ConfigError where modules below `root` were compiled of another source than the one that stands there."""
    problems = stale(root)
    if problems:
        raise ConfigError(f"Compiled modules that are not of this source; {REMEDY}:", problems)


def stale(root: Path) -> list[str]:
    """What is wrong with the compiled modules below `root`, a line each; nothing where none is compiled."""
    built = {path.relative_to(root).as_posix().removesuffix(SUFFIX) for path in (root / PACKAGE).rglob(f"*{SUFFIX}")}
    if not built:
        return []
    try:
        stamp = json.loads((root / STAMP).read_bytes())
    except (OSError, ValueError):
        return [f"{STAMP}: missing or damaged, as an interrupted build leaves it"]
    wanted = {module.removesuffix(".py") for module in stamp["modules"]}
    return [
        *(f"{name}.py: its compiled module is missing" for name in sorted(wanted - built)),
        *(f"{name}{SUFFIX}: is not of this build" for name in sorted(built - wanted)),
        *(f"{path}: has changed since" for path, hashed in stamp["sources"].items() if _hash(root / path) != hashed),
    ]


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "absent"


if __name__ == "__main__":
    try:
        check()
    except ConfigError as error:
        sys.exit(f"error: {error}")
