"""The servers of a simulated day: NATS, and six Valkey nodes of which each of three has a replica. All on loopback."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from benchmarks.processes import free_port
from campaign_express.embedded import NATS, REDIS, nats_answers, valkey_answers

START_S = 30.0
STOP_S = 10.0
NODE_TIMEOUT_MS = 2000
SLOTS = 16_384


class Process:
    """One server that can be killed and started again on its port with its data."""

    def __init__(self, command: list[str], directory: Path, answers: Callable[[], bool]) -> None:
        self._command, self._directory, self._answers = command, directory, answers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers. Raises RuntimeError with the end of its log when it does not come up."""
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output, cwd=self._directory)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._command[0]} does not come up:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, by its pid."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)


class Node(Process):
    """A Valkey node of a cluster."""

    def __init__(self, directory: Path) -> None:
        self.port, self.bus_port = free_port(), free_port()
        command = [
            *REDIS.command(directory, self.port),
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)),
            *("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-require-full-coverage", "no"),
        ]
        super().__init__(command, directory, lambda: valkey_answers(self.port))

    def ask(self, *command: str | int) -> str:
        with Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            return str(client.execute_command(*command))

    def is_master(self) -> bool:
        with Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            return str(client.role()[0]) == "master"

    def follows(self) -> bool:
        """Whether it is a replica with a link to its master."""
        with Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
            role = client.role()
        return str(role[0]) == "slave" and str(role[3]) == "connected"


class Servers:
    """NATS and the cluster, as a context manager. `single`: one Valkey node instead, which is quicker to start."""

    def __init__(self, directory: Path, single: bool = False) -> None:
        nats_port = free_port()
        nats = directory / "nats"
        self.nats = Process(NATS.command(nats, nats_port), nats, lambda: nats_answers(nats_port))
        self.nats_url = f"nats://127.0.0.1:{nats_port}"
        self.nodes: list[Node] = []
        self._single: Process | None = None
        if single:
            port = free_port()
            self._single = Process(
                REDIS.command(directory / "valkey", port), directory / "valkey", lambda: valkey_answers(port)
            )
            self.redis_url = f"redis://127.0.0.1:{port}/0"
        else:
            self.nodes = [Node(directory / f"valkey-{number}") for number in range(6)]
            self.redis_url = ",".join(f"redis://127.0.0.1:{node.port}/0" for node in self.nodes)

    def __enter__(self) -> Servers:
        try:
            self.nats.start()
            if self._single is not None:
                self._single.start()
            else:
                self._form_cluster()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        for process in (self.nats, *([self._single] if self._single else []), *self.nodes):
            process.stop()

    def _form_cluster(self) -> None:
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[:3], self.nodes[3:]
        share = -(-SLOTS // len(masters))
        for number, node in enumerate(masters):
            node.ask("CLUSTER", "ADDSLOTSRANGE", number * share, min((number + 1) * share, SLOTS) - 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", masters[0].port, masters[0].bus_port)
        names = [node.ask("CLUSTER", "MYID") for node in masters]
        for master, replica in zip(names, replicas, strict=True):
            _until(lambda: master in replica.ask("CLUSTER", "NODES"), "nodes know each other")  # noqa: B023
            replica.ask("CLUSTER", "REPLICATE", master)
        for node in self.nodes:
            _until(lambda: "cluster_state:ok" in node.ask("CLUSTER", "INFO"), "the cluster serves")  # noqa: B023
        for node in replicas:
            _until(node.follows, "replicas follow")

    def fail_over(self, number: int) -> Node:
        """Kill the master `number` (0 to 2, of those that are masters now); returns it, for `start` later."""
        masters = [node for node in self.nodes if node.is_master()]
        victim = masters[number % len(masters)]
        victim.kill()
        return victim

    def masters(self) -> int:
        """How many of the nodes that answer are masters."""
        count = 0
        for node in self.nodes:
            with contextlib.suppress(RedisError):
                count += node.is_master()
        return count


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(RedisError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {START_S:g} s: {what}")
        time.sleep(0.05)
