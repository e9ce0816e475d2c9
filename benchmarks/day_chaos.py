"""What goes wrong in a simulated day beside notices: an agent dies each hour, and a Redis master at mid-day."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from benchmarks.day_servers import Node, Servers
from campaign_express.clock import Clock

HOUR_MS = 3_600_000
RESTART_S = 5.0  # real time, some 11 minutes of the day, after which the killed master comes back, as a replica
POLL_S = 0.1


def treasury_status(ingress: str) -> dict[str, Any]:
    """What the treasury says of itself, empty where it does not answer."""
    address = f"{ingress}/v1/status"
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310
        told = json.load(answer).get("treasury")
        return told if isinstance(told, dict) else {}
    return {}


def agent_pids(ingress: str, cells: int, patience_s: float = 5.0) -> list[int]:
    """Pids of the living agents of all cells, by the operator's status."""
    found: dict[str, list[int]] = {}
    deadline = time.monotonic() + patience_s
    while len(found) < cells and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError):
            with urllib.request.urlopen(f"{ingress}/v1/status", timeout=2) as answer:  # noqa: S310  # loopback
                told = json.load(answer)
            found[told["cell"]] = [agent["pid"] for agent in told["agents"] if "pid" in agent]
    return sorted(pid for pids in found.values() for pid in pids)


class Chaos:
    """A thread beside the simulation, as a context manager. `pids` tells which processes are agents."""

    def __init__(
        self,
        clock: Clock,
        start_ms: int,
        servers: Servers,
        pids: Callable[[], list[int]],
        seed: int,
        *,
        hours: int = 24,
    ) -> None:
        self.killed: list[int] = []
        self.failed_over = False
        self.problems: list[str] = []
        self._clock, self._start_ms, self._servers, self._pids = clock, start_ms, servers, pids
        self._hours = hours
        self._rng = random.Random(f"chaos/{seed}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(60.0)

    def _run(self) -> None:
        deeds: list[tuple[int, Callable[[], None]]] = [
            (self._start_ms + int((hour + 0.5) * HOUR_MS), self._kill_agent) for hour in range(self._hours)
        ]
        if self._servers.nodes:
            deeds.append((self._start_ms + self._hours // 2 * HOUR_MS, self._kill_master))
        for due_ms, deed in sorted(deeds, key=lambda one: one[0]):
            if not self._wait(self._clock.real_s(due_ms - self._clock.now_ms())):
                return
            try:
                deed()
            except (OSError, RuntimeError) as error:
                self.problems.append(f"{deed.__name__}: {error}")

    def _wait(self, seconds: float) -> bool:
        return not self._stop.wait(max(0.0, seconds))

    def _kill_agent(self) -> None:
        pids = self._pids()
        if not pids:
            self.problems.append("no agent was found to be killed")
            return
        pid = self._rng.choice(pids)
        os.kill(pid, signal.SIGKILL)
        self.killed.append(pid)

    def _kill_master(self) -> None:
        node = self._servers.fail_over(self._rng.randrange(3))
        threading.Thread(target=self._bring_back, args=(node,), daemon=True).start()

    def _bring_back(self, node: Node) -> None:
        deadline = time.monotonic() + RESTART_S
        while not self.failed_over and time.monotonic() < deadline:
            self.failed_over = self._servers.masters() == 3
            time.sleep(POLL_S)
        time.sleep(max(0.0, deadline - time.monotonic()))
        try:
            node.start()
        except RuntimeError as error:
            self.problems.append(f"the killed master does not come back: {error}")
