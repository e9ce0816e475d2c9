"""Which code is measured: this checkout as it is, or a copy of it whose hot path is compiled, as the image runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import ROOT
from tools.compiled_copy import compiled_copy, missing

COPY = ROOT / "build" / "compiled"


def to_measure(pure: bool) -> tuple[Path, str]:
    """(folder that holds the package, what to call it). Compiles where that is possible, unless `pure`.

    Raises RuntimeError when the compiler fails.
    """
    if pure:
        return ROOT, "plain Python, as was asked for"
    if absent := missing():
        return ROOT, f"plain Python, for want of {' and '.join(absent)} to compile the hot path"
    return compiled_copy(COPY), "hot path compiled by mypyc"


def environment(code: Path) -> dict[str, str]:
    """So that a process, and Ray's workers below it, take the package from `code` and the benchmark from here."""
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys((str(code), str(ROOT))))}


def run(code: Path, module: str, *arguments: str) -> str:
    """What `python -m module` prints. Raises RuntimeError with what it complained of."""
    command = [sys.executable, "-m", module, *arguments]
    # Its working directory comes first where Python looks for modules.
    done = subprocess.run(command, cwd=code, env={**os.environ, **environment(code)}, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-3000:]}")
    return done.stdout
