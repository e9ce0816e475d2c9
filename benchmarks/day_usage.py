"""Which part of a simulated day has used how much CPU: its processes, by what they are."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from benchmarks.processes import command_line, descendants

# Found in a command line -> the part's name; the first that fits counts.
_PARTS = (
    ("BiddingAgent", "agents"),
    ("BidGateway", "gateways"),
    ("Treasury", "treasury"),
    ("valkey-server", "valkey"),
    ("nats-server", "nats"),
)


def cpu_by_part() -> dict[str, float]:
    """Seconds that living processes below this one have used, and this one (the exchanges). The dead are forgotten."""
    used: defaultdict[str, float] = defaultdict(float)
    for pid in [os.getpid(), *descendants(os.getpid())]:
        name = "exchange" if pid == os.getpid() else _part(command_line(pid))
        used[name] += _cpu_s(pid)
    return {name: round(seconds, 1) for name, seconds in sorted(used.items(), key=lambda one: -one[1])}


def _part(command: str) -> str:
    return next((name for sign, name in _PARTS if sign in command), "ray")


def _cpu_s(pid: int) -> float:
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, fields 14 and 15
