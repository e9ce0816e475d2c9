"""`python -m benchmarks.losses`: bids through HAProxy while the application is renewed, a node dies, the head dies.

Two cells on three nodes of this machine (`node_cluster.py`), with a real Valkey and a real NATS: first a new version
of the application rolls through the cells, then a node with a cell is killed, whose cell must come back on the free
node, then the head is killed and started again. Prints what happened as JSON; ends with 1 where it was not as promised.
docs/operations.md says more.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks import namespace
from benchmarks.namespace import Served
from benchmarks.node_cluster import HEAD, PROXY_PORT, NodeCluster
from campaign_express import config, embedded

ROOT = Path(__file__).resolve().parent.parent
NODES, CELLS = 3, 2
RATE = 150.0  # requests a second
START_S, ROLL_S, BACK_S, HEAD_S = 90.0, 90.0, 60.0, 60.0  # the longest that each may take
HEAD_AWAY_S = 5.0  # without any head, while it is not started again
RAYLET_LOGS = "logs/raylet*.out"
GIVE_UP_S = 240.0  # of everything together
ANY_PORTS = {"embedded_redis_port": 0, "embedded_nats_port": 0}  # Ray wants their own for itself
BEFORE_S, AFTER_S = 1.0, 2.0  # of load before and after each


class Phase(Struct, kw_only=True):
    took_s: float  # until everything was as it should be
    served: Served


class Losses(Struct, kw_only=True):
    """What is printed. A request failed where HAProxy's client got no answer, or another one than 200 or 204."""

    upgrade: Phase  # until all cells were of the new version
    node: Phase  # until all cells ran again, the lost one on the free node
    head: Phase  # until the head, killed and started again, told of the same cells
    untouched: int  # cells that ran on throughout the loss of the node
    head_away_s: float = HEAD_AWAY_S
    most_resident_mb: int = 0
    seconds: float = 0.0

    def problems(self) -> list[str]:
        found = [
            f"{name}: {phase.served.failed} of {phase.served.sent} requests failed: {phase.served.failures}"
            for name, phase in (("upgrade", self.upgrade), ("node", self.node), ("head", self.head))
            if phase.served.failed
        ]
        if self.untouched != CELLS - 1:
            found.append(f"node: {self.untouched} cells ran on, and not {CELLS - 1}")
        return found


class Rehearsal:
    def __init__(self, cluster: NodeCluster, say: Callable[[str], None]) -> None:
        self.cluster, self._say = cluster, say
        self._args: dict[str, Any] = {"agents_per_cell": 1, "npu_per_agent": 1}
        self.most_resident_mb = 0

    def start(self) -> None:
        self.cluster.deploy(self._args, CELLS)
        self._until(lambda: len(self.cluster.cells()) == CELLS, START_S, "the cells at first")
        self._until(lambda: len(self.cluster.served()) == CELLS, START_S, "HAProxy to find the cells")

    def upgrade(self) -> Phase:
        """A changed setting is a new version to Serve: cells are replaced one by one."""
        before = {cell.id for cell in self.cluster.cells()}

        def renewed() -> bool:
            cells = {cell.id for cell in self.cluster.cells()}
            return len(cells) == CELLS and not cells & before

        def roll() -> None:
            self.cluster.deploy({**self._args, "max_queue": 2048}, CELLS)
            self._until(renewed, ROLL_S, "cells of the new version")

        return self._under_load("a new version", roll)

    def lose_a_node(self) -> tuple[Phase, int]:
        """(what happened, cells that ran on)."""
        before = self.cluster.cells()
        (free,) = set(self.cluster.addresses) - {cell.address for cell in before}
        lost = before[0]

        def back() -> bool:
            cells = self.cluster.cells()
            return len(cells) == CELLS and free in {cell.address for cell in cells}

        def lose() -> None:
            self.cluster.kill(lost.address)
            self._until(back, BACK_S, f"a cell at {free} for that of {lost.address}")

        phase = self._under_load("a node lost", lose)
        return phase, len(set(before[1:]) & set(self.cluster.cells()))

    def restart_the_head(self) -> Phase:
        before = set(self.cluster.cells())

        def restart() -> None:
            self.cluster.kill(HEAD)
            time.sleep(HEAD_AWAY_S)
            self.cluster.start_head()
            self._until(lambda: set(self.cluster.cells()) == before, HEAD_S, f"the same cells: {before}")

        return self._under_load("the head lost", restart)

    def _under_load(self, what: str, act: Callable[[], None]) -> Phase:
        with namespace.Stream(f"http://{HEAD}:{PROXY_PORT}/v1/bid", RATE) as stream:
            time.sleep(BEFORE_S)
            began = time.monotonic()
            act()
            took_s = round(time.monotonic() - began, 1)
            self.most_resident_mb = max(self.most_resident_mb, namespace.resident_mb())
            time.sleep(AFTER_S)
        served = Served().add(stream.reports)
        self._say(f"{what}: {took_s} s, {served.failed} of {served.sent} requests failed {served.failures or ''}")
        return Phase(took_s=took_s, served=served)

    def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        namespace.wait_for(condition, seconds, what, lambda: f"{self.cluster.details()} {self.cluster.log(HEAD)}")


def rehearse(directory: Path) -> Losses:
    """In namespaces of its own, see `namespace.command`."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    namespace.loopback_up()
    # Shared by all nodes and by whoever asks the head; Ray would have each user's own.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    servers = embedded.ensure(config.load({"data_dir": str(directory / "servers"), **ANY_PORTS}, {}))
    shared = {
        "CAMPAIGN_EXPRESS_REDIS_URL": servers.redis_url,
        "CAMPAIGN_EXPRESS_NATS_URL": servers.nats_url,
        "CAMPAIGN_EXPRESS_NOTICE_KEYS": str(servers.notice_keys),
    }
    with NodeCluster(directory, NODES, **shared) as cluster:
        rehearsal = Rehearsal(cluster, say)
        rehearsal.start()
        say(f"{CELLS} cells bid")
        upgrade = rehearsal.upgrade()
        node, untouched = rehearsal.lose_a_node()
        head = rehearsal.restart_the_head()
    return Losses(
        upgrade=upgrade,
        node=node,
        head=head,
        untouched=untouched,
        most_resident_mb=rehearsal.most_resident_mb,
        seconds=round(time.monotonic() - began, 1),
    )


def run() -> Losses:
    """In namespaces made for it. Raises RuntimeError, with the end of its output, where it did not come to its end."""
    with tempfile.TemporaryDirectory(prefix="ce-loss-", ignore_cleanup_errors=True) as directory:
        done = subprocess.run(
            [*namespace.command(), sys.executable, "-m", "benchmarks.losses", "--here", directory],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=GIVE_UP_S + 30,
        )
    if done.returncode:
        raise RuntimeError(f"it ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Losses)


def here(directory: Path) -> int:
    tempfile.tempdir = os.environ["TMPDIR"] = str(directory)
    namespace.end_in(GIVE_UP_S, directory, RAYLET_LOGS)
    try:
        print(msgspec.json.encode(rehearse(directory)).decode(), flush=True)
    except RuntimeError as error:
        print(error, file=sys.stderr, flush=True)
        namespace.give_up(directory, RAYLET_LOGS)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", type=Path, help="a directory: run in this process's own namespaces")
    given = parser.parse_args(arguments)
    if given.here is not None:
        return here(given.here)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the namespaces end, too
    losses = run()
    print(msgspec.json.format(msgspec.json.encode(losses), indent=2).decode())
    for problem in losses.problems():
        print(problem, file=sys.stderr)
    return int(bool(losses.problems()))


if __name__ == "__main__":
    sys.exit(main())
