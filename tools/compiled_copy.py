"""A copy of the package with its hot path compiled, beside a checkout that stays as it is: for tests, benchmarks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from campaign_express import compiled

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("setup.py", "pyproject.toml", "README.md", "LICENSE")


def missing() -> list[str]:
    """What compiling needs and this machine has not."""
    wanted = {
        "gcc": shutil.which(os.environ.get("CC", "gcc")) is not None,
        "python3-dev": (Path(sysconfig.get_paths()["include"]) / "Python.h").exists(),
    }
    return [name for name, there in wanted.items() if not there]


def compiled_copy(folder: Path, level: int = 2) -> Path:
    """`folder`, holding the package of this checkout, compiled. A copy that is of this source already stays as it is.

    `level`: of the C compiler's optimisation. Raises RuntimeError with the compiler's words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not _copy(folder) and (folder / compiled.STAMP).exists() and not compiled.stale(folder):
        return folder
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    environment = {**os.environ, "CAMPAIGN_EXPRESS_COMPILE": "1", "CAMPAIGN_EXPRESS_COMPILE_LEVEL": str(level)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)  # noqa: S603  # our own command
    if done.returncode != 0:
        raise RuntimeError(f"the hot path does not compile:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return folder


def _copy(folder: Path) -> bool:
    """Bring the sources in `folder` up to date; whether there was anything to do."""
    sources = [path for path in (ROOT / compiled.PACKAGE).rglob("*") if path.is_file() and _is_source(path)]
    wanted = {path.relative_to(ROOT): path for path in [*sources, *(ROOT / name for name in BESIDE)]}
    changed = False
    for there in (folder / compiled.PACKAGE).rglob("*"):
        if there.is_file() and _is_source(there) and there.relative_to(folder) not in wanted:
            there.unlink()
            changed = True
    for name, path in wanted.items():
        place = folder / name
        if not place.exists() or place.read_bytes() != path.read_bytes():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            changed = True
    return changed


def _is_source(path: Path) -> bool:
    return path.suffix not in (".so", ".pyc") and path.name != Path(compiled.STAMP).name
