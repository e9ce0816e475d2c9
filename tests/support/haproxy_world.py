"""HAProxy as it is deployed (`benchmarks/balancer.py`), before cells of one process each, and requests to it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.balancer import BINDS, CELL_PORTS, START_S, Balancer
from tests.support.authority import Authority

ROOT = Path(__file__).resolve().parents[2]
HOST = "bid.example.com"


def free_port(*addresses: str) -> int:
    """Free at every one of these addresses."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        try:
            for address in addresses:
                with socket.socket() as other:
                    other.bind((address, port))
        except OSError:
            continue
        return port


def until(condition: Callable[[], bool], what: str, seconds: float = START_S) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


class World(Balancer):
    """Context manager: HAProxy, and cells that are started by their address."""

    def __init__(self, directory: Path) -> None:
        cells = {name: free_port("127.0.0.2", "127.0.0.3") for name in CELL_PORTS}
        super().__init__(directory, {name: free_port() for name in BINDS}, cells)
        self.authority = Authority()
        self.cells: dict[str, subprocess.Popen[bytes]] = {}
        self.renew_certificate()

    def __enter__(self) -> World:
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for address in list(self.cells):
            self.kill_cell(address)
        super().__exit__(*error)

    def renew_certificate(self) -> None:
        self.authority.write(self.directory, (HOST,))
        parts = [(self.directory / name).read_bytes() for name in ("tls.crt", "tls.key")]
        (self.directory / "tls-combined.pem").write_bytes(b"".join(parts))

    # Cells

    def start_cells(self, *addresses: str, told: bool = True) -> None:
        """`told`: DNS names them, and HAProxy sends requests to them."""
        for address in addresses:
            assert address not in self.cells
            command = [sys.executable, "-m", "tests.support.haproxy_cell", address, *map(str, self.cell_ports.values())]
            environ = {**os.environ, "PYTHONPATH": str(ROOT)}
            with (self.directory / f"{address}.log").open("ab") as log:
                self.cells[address] = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log, env=environ)
        for address in addresses:
            until(lambda a=address: self._cell_listens(a), f"cell at {address}")  # type: ignore[misc]
        if told:
            self.names.addresses = sorted({*self.names.addresses, *self.cells})
            until(lambda: set(self.cells) == self.up("bk_campaign_express"), f"{set(self.cells)} are up")
            until(lambda: set(self.cells) == self.up("bk_grpc"), f"{set(self.cells)} are up for gRPC")

    def kill_cell(self, address: str) -> None:
        process = self.cells.pop(address)
        process.kill()
        process.wait()

    def signal_cell(self, address: str, number: int) -> None:
        self.cells[address].send_signal(number)

    def _cell_listens(self, address: str) -> bool:
        assert self.cells[address].poll() is None, (self.directory / f"{address}.log").read_text()[-2000:]
        with socket.socket() as probe:
            return probe.connect_ex((address, self.cell_ports["http"])) == 0

    # HAProxy itself

    def reload(self) -> None:
        """As the pod's `reload` container does it."""
        os.kill(int((self.directory / "haproxy.pid").read_text()), signal.SIGUSR2)

    # Requests

    def connection(self, frontend: str = "http", source: str = "127.0.0.1") -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.ports[frontend], 10, source_address=(source, 0))

    def get(
        self, path: str, frontend: str = "http", source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        return self.ask("GET", path, None, frontend, source, **headers)

    def bid(self, exchange: str = "", body: bytes = b"{}", source: str = "127.0.0.1") -> tuple[int, bytes]:
        status, _, answer = self.ask("POST", f"/v1/bid/{exchange}".rstrip("/"), body, source=source)
        return status, answer

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        frontend: str = "http",
        source: str = "127.0.0.1",
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in lower case, body), on a connection of its own."""
        connection = self.connection(frontend, source)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()
