"""Three real nats-servers that run deploy/nats/nats.conf: addresses and paths replaced, all else as it is deployed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from server_process import ServerProcess, free_port

from campaign_express.embedded import NATS
from tests.support.authority import Authority
from tests.support.manifests import DEPLOY

CONFIG = DEPLOY / "nats" / "nats.conf"
SERVER = NATS.command(Path("x"), 1)[0]
APP, OPERATOR, SYSTEM = ("campaign-express", "a1b2c3d4"), ("operator", "o1p2q3r4"), ("system", "s1t2u3v4")
NODES = 3


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Every first of a pair is there, or the test would run something else than is deployed."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


class DeployedNode(ServerProcess):
    """One pod's server. `tls` is its directory of certificates."""

    def __init__(self, directory: Path, name: str, authority: Authority) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory)
        self.name = name
        self.cluster_port = free_port()
        self.monitor = free_port()
        self.tls = directory / "tls"
        self.pid_file = directory / "nats.pid"
        authority.write(self.tls)

    def configure(self, routes: list[int]) -> None:
        text = replaced(
            CONFIG.read_text("utf-8"),
            ("port: 4222", f'listen: "127.0.0.1:{self.port}"'),
            ("http_port: 8222", f'http: "127.0.0.1:{self.monitor}"'),
            ("  port: 6222", f'  listen: "127.0.0.1:{self.cluster_port}"'),
            ("/run/nats/nats.pid", str(self.pid_file)),
            ("/etc/nats/tls", str(self.tls)),
            ("store_dir: /data", f'store_dir: "{self.directory / "data"}"'),
            *(
                (f"nats-{number}.nats-headless.campaign-express.svc.cluster.local:6222", f"127.0.0.1:{port}")
                for number, port in enumerate(routes)
            ),
        )
        (self.directory / "nats.conf").write_text(text)

    def command(self) -> list[str]:
        secrets = {"APP": APP, "OPERATOR": OPERATOR, "SYSTEM": SYSTEM}
        passwords = [f"NATS_{name}_PASSWORD={password}" for name, (_, password) in secrets.items()]
        return ["env", f"POD_NAME={self.name}", *passwords, SERVER, "--config", str(self.directory / "nats.conf")]

    def healthy(self, query: str = "") -> bool:
        """As a probe asks."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/healthz{query}", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def routes(self) -> set[str]:
        """Names of the nodes that it is connected to."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/routez", timeout=2) as answer:
            return {route["remote_name"] for route in json.load(answer)["routes"] or []}

    def answers(self) -> bool:
        return self.healthy("?js-enabled-only=true")

    def signal(self, word: str) -> None:
        """As the pod's preStop and its `reload` do."""
        subprocess.run([SERVER, "--signal", f"{word}={self.pid_file}"], check=True, capture_output=True)


class DeployedNats:
    """The cluster. `url` is what the product is given."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority()
        self.nodes = [DeployedNode(directory / str(n), f"nats-{n}", self.authority) for n in range(NODES)]
        for node in self.nodes:
            node.configure([other.cluster_port for other in self.nodes])
        self.ca_file = self.nodes[0].tls / "ca.crt"
        self.url = self.url_of(*APP)

    def url_of(self, user: str, password: str) -> str:
        servers = [f"tls://{user}:{password}@127.0.0.1:{node.port}" for node in self.nodes]
        return ",".join([f"{servers[0]}?ca_file={self.ca_file}", *servers[1:]])

    def start(self) -> None:
        for node in self.nodes:
            node.start()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


async def until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await asyncio.to_thread(condition):
                return
            await asyncio.sleep(0.02)
