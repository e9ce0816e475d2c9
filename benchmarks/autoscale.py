"""`make autoscale`: does the cluster follow the cells? Simulated for 10, 20 and 40 of them, done for 1 to 3.

The simulation asks Ray's own scheduler about kuberay/base (`nodes_wanted.py`); the growth is Ray's own autoscaler on
fake nodes of this machine, under load (`fake_nodes.py`). Writes benchmarks/results/autoscale.json; ends with 1 where a
number of nodes is not that of the cells, a demand is infeasible, or a request failed. docs/operations.md says more.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct

from benchmarks import machine, namespace
from benchmarks.fake_nodes import MOST, Seen
from benchmarks.nodes_wanted import find_service, plans

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
RAYSERVICE = ROOT / "kuberay" / "base" / "rayservice.yaml"
NAMESPACE_S = 240.0  # in which fake_nodes must have ended


class Outcome(Struct, kw_only=True):
    """autoscale.json. Times are seconds."""

    nodes_for: dict[str, int]  # nodes that the scheduler wants, by the number of cells
    infeasible: int  # demands of all three that no node could meet
    grow_s: float  # from the first request of the peak until 3 nodes with a cell each
    shrink_s: float  # from its last until 1 node with 1 cell
    failed_requests: int
    sent_requests: int
    failures: dict[str, int]
    course: list[tuple[float, int, int]]  # (since the start, nodes, cells that run) at each change
    most_resident_mb: int
    seconds: float
    machine: dict[str, object]

    def missed(self) -> bool:
        nodes = [nodes for _, nodes, _ in self.course]
        unequal = any(nodes != int(cells) for cells, nodes in self.nodes_for.items())
        return bool(unequal or self.infeasible or self.failed_requests or max(nodes) != MOST or nodes[-1] != 1)


def simulate(rayservice: Path = RAYSERVICE) -> tuple[dict[str, int], int]:
    """(nodes by number of cells, infeasible demands)."""
    found = plans(find_service(list(yaml.safe_load_all(rayservice.read_text()))))
    return {str(cells): plan.nodes for cells, plan in found.items()}, sum(plan.infeasible for plan in found.values())


def grow() -> Seen:
    """Raises RuntimeError, with the end of its output, where the run did not come to its end."""
    scripts = sysconfig.get_path("scripts")  # Ray's test cluster calls `ray`
    with tempfile.TemporaryDirectory(prefix="ce-grow-", ignore_cleanup_errors=True) as directory:
        out = Path(directory, "seen.json")
        done = subprocess.run(
            [*namespace.command(), sys.executable, "-m", "benchmarks.fake_nodes", str(out)],
            env={**os.environ, "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=NAMESPACE_S,
        )
        if done.returncode or not out.exists():
            raise RuntimeError(f"growing ended with {done.returncode}:\n{(done.stdout + done.stderr)[-6000:]}")
        return msgspec.json.decode(out.read_bytes(), type=Seen)


def run() -> Outcome:
    began = time.monotonic()
    described = machine.describe()
    nodes_for, infeasible = simulate()
    seen = grow()
    return Outcome(
        nodes_for=nodes_for,
        infeasible=infeasible,
        grow_s=seen.grow_s,
        shrink_s=seen.shrink_s,
        failed_requests=seen.served.failed,
        sent_requests=seen.served.sent,
        failures=seen.served.failures,
        course=seen.course,
        most_resident_mb=seen.most_resident_mb,
        seconds=round(time.monotonic() - began, 1),
        machine=described,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for autoscale.json")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the namespaces end, too
    outcome = run()
    given.out.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(outcome), indent=2)
    (given.out / "autoscale.json").write_bytes(text + b"\n")
    print(text.decode())
    return int(outcome.missed())


if __name__ == "__main__":
    sys.exit(main())
