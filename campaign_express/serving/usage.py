"""How much of its machine a cell's pod uses: what the autoscaling rule is fed with. Linux only (cgroup v2, /proc).

As the Kubernetes HPA does, CPU and memory are those of the whole pod: of its cgroup where that has a limit, else of the
machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class CpuMeter:
    """CPU in use as a share (0..1) of what the pod may use, between one call of `share` and the next."""

    def __init__(self, cgroup: Path = CGROUP, proc: Path = PROC) -> None:
        self._cgroup, self._proc = cgroup, proc
        self._last = self._read()

    def share(self) -> float:
        busy, available = self._read()
        last_busy, last_available = self._last
        self._last = busy, available
        span = available - last_available
        return min(1.0, max(0.0, (busy - last_busy) / span)) if span > 0 else 0.0

    def _read(self) -> tuple[float, float]:
        """(CPU seconds used, CPU seconds that could have been used), both since some fixed moment."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            quota, period = (self._cgroup / "cpu.max").read_text().split()
            if quota != "max":
                used = dict(line.split() for line in (self._cgroup / "cpu.stat").read_text().splitlines())
                return int(used["usage_usec"]) / 1e6, time.monotonic() * int(quota) / int(period)
        ticks = [int(n) for n in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        total = sum(ticks)
        return (total - ticks[3] - ticks[4]) / _TICKS, total / _TICKS  # without idle and iowait


def memory_share(cgroup: Path = CGROUP, proc: Path = PROC) -> float:
    """Memory in use as a share (0..1) of the pod's limit, page cache that can be dropped not counted."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        limit = (cgroup / "memory.max").read_text().strip()
        if limit != "max":
            stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
            used = int((cgroup / "memory.current").read_text()) - int(stat["inactive_file"])
            return min(1.0, max(0.0, used / int(limit)))
    info = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    total, available = (int(info[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    return 1 - available / total


def resident_bytes(pids: list[int]) -> int:
    """Resident memory of these processes together; those that have ended count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int((PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    return total
