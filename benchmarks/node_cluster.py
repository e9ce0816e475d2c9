"""A Ray cluster of several nodes on loopback, each with an address of its own, and HAProxy before their cells.

For a program in namespaces of its own (`namespace.py`). Nodes are what `ray start` makes of them, in process trees that
can be killed as a machine dies. The head keeps its memory (GCS) in a Redis of its own and is asked over HTTP, as the
KubeRay operator does it: whoever asks needs no Ray, and outlives the head.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import balancer
from benchmarks.processes import descendants
from campaign_express import embedded
from campaign_express.serving import environment

STORE_BYTES = 80_000_000  # the least that Ray takes
HEAD, GCS_PORT, DASHBOARD_PORT, REDIS_PORT = "127.0.0.1", 6379, 8265, 6400
HTTP_PORT, PROXY_PORT = balancer.CELL_PORTS["http"], 8880
HAPROXY_PORTS = {"http": PROXY_PORT, "https": 8443, "grpc": 8890, "stats": 8404}
START_S = 90.0  # for a node or a server to be up
STARTED = "Ray runtime started"
APPLICATION, DEPLOYMENT = "campaign-express", "BidGateway"


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HEAD, port), timeout=1):
        return True
    return False


@dataclass(frozen=True, slots=True)
class Replica:
    """A cell, as Serve tells of it."""

    id: str
    address: str
    pid: int


class NodeCluster:
    """Context manager: a head, `nodes` nodes of one slot for a cell each, and HAProxy before them."""

    def __init__(self, directory: Path, nodes: int, **settings: Any) -> None:
        """`settings` are environment variables of every node (CAMPAIGN_EXPRESS_...). `directory`: a short path."""
        self.addresses = [f"127.0.0.{2 + number}" for number in range(nodes)]
        self._directory, self._settings = directory, settings
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._balancer: balancer.Balancer | None = None

    def __enter__(self) -> NodeCluster:
        self._redis()
        self.start_head()
        self._wait_for(lambda: listens(DASHBOARD_PORT), HEAD)
        for address in self.addresses:  # one after the other: two at once may choose the same names for their sockets
            self._start(address, f"--address={HEAD}:{GCS_PORT}", "--num-cpus=1", "--resources", json.dumps({"npu": 1}))
            self._wait_for(functools.partial(self._has_started, address), address)
        self._haproxy()
        return self

    def __exit__(self, *error: object) -> None:
        if self._balancer is not None:
            self._balancer.__exit__()
        for name in list(self._started):
            self.kill(name)

    def start_head(self) -> None:
        """Also after it was killed: it finds its memory in Redis."""
        # This note of an earlier head is not there on a machine of its own; with it, Ray takes the nodes for a cluster.
        (self._directory / "ray" / "ray_current_cluster").unlink(missing_ok=True)
        self._start(
            HEAD,
            *("--head", f"--port={GCS_PORT}", "--num-cpus=0", f"--dashboard-port={DASHBOARD_PORT}"),
            *("--include-dashboard=true", "--ray-client-server-port=10001"),
            RAY_REDIS_ADDRESS=f"{HEAD}:{REDIS_PORT}",
            RAY_external_storage_namespace="losses",
        )

    def kill(self, name: str) -> None:
        """End every process of a node at once, as a machine that is switched off. `name` is its address."""
        leader = self._started.pop(name)
        for pid in [leader.pid, *descendants(leader.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        leader.wait()

    def deploy(self, args: dict[str, Any], cells: int) -> None:
        """As KubeRay hands over serveConfigV2. Raises RuntimeError where the head refuses, or does not answer."""
        self._client().deploy_applications(
            {
                "proxy_location": "HeadOnly",
                "http_options": {"host": HEAD, "port": 8000},
                "logging_config": {"enable_access_log": False},
                "applications": [
                    {
                        "name": APPLICATION,
                        "import_path": "campaign_express.serving.builder:app",
                        "args": args,
                        "deployments": [{"name": DEPLOYMENT, "num_replicas": cells}],
                    }
                ],
            }
        )

    def cells(self) -> list[Replica]:
        """Those that run, of an application that runs; none while it is on its way, or the head does not answer."""
        details = self.details()
        if details.get("status") != "RUNNING":
            return []
        replicas = details["deployments"][DEPLOYMENT]["replicas"]
        running = [replica for replica in replicas if replica["state"] == "RUNNING"]
        if len(running) != len(replicas):
            return []
        return [Replica(found["replica_id"], found["node_ip"], found["pid"]) for found in running]

    def served(self) -> set[str]:
        """Addresses that HAProxy sends requests to."""
        return self._balancer.up("bk_campaign_express") if self._balancer is not None else set()

    def details(self) -> dict[str, Any]:
        """What the head tells of the application; empty where it does not answer, or does not know it."""
        with contextlib.suppress(Exception):  # the SDK of Ray raises whatever its HTTP library does
            found: dict[str, Any] = self._client().get_serve_details()["applications"].get(APPLICATION, {})
            return found
        return {}

    def _client(self) -> Any:
        from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

        return ServeSubmissionClient(f"http://{HEAD}:{DASHBOARD_PORT}")

    def _start(self, address: str, *options: str, **variables: str) -> None:
        """`ray start`, which stays as the parent of what it starts."""
        command = [
            *(f"{sysconfig.get_path('scripts')}/ray", "start", "--block", f"--node-ip-address={address}"),
            *(
                f"--object-store-memory={STORE_BYTES}",
                "--include-log-monitor=false",
                "--dashboard-agent-listen-port=0",
                *options,
            ),
        ]
        if "--head" in options:
            command.append(f"--temp-dir={self._directory / 'ray'}")
        own = {
            "CAMPAIGN_EXPRESS_HOST": address,
            "CAMPAIGN_EXPRESS_DATA_DIR": str(self._directory / address),
            "CAMPAIGN_EXPRESS_HTTP_PORT": str(HTTP_PORT),
        }
        environ = {**os.environ, **environment.RAY_ENVIRONMENT, **own, **self._settings, **variables}
        self._spawn(address, command, environ)

    def _redis(self) -> None:
        place = self._directory / "gcs"
        place.mkdir()
        command = embedded._valkey_command(place, REDIS_PORT)
        self._spawn("redis", command)
        self._wait_for(lambda: listens(REDIS_PORT), "redis")

    def _wait_for(self, up: Callable[[], bool], name: str) -> None:
        """Raises RuntimeError, with the end of its log, where it does not come up."""
        give_up = time.monotonic() + START_S
        while not up():
            if time.monotonic() > give_up or self._started[name].poll() is not None:
                raise RuntimeError(f"{name} did not start ({self._started[name].poll()}): {self.log(name)}")
            time.sleep(0.1)

    def _has_started(self, address: str) -> bool:
        return STARTED in self.log(address)

    def _haproxy(self) -> None:
        """As it is deployed. It asks all nodes, and sends bids to those with a cell that is ready."""
        place = self._directory / "haproxy"
        place.mkdir()
        self._balancer = balancer.Balancer(place, HAPROXY_PORTS, balancer.CELL_PORTS)
        self._balancer.names.addresses = self.addresses
        self._balancer.__enter__()

    def log(self, name: str) -> str:
        """The end of what a node, or a server, has written."""
        return (self._directory / f"{name}.log").read_text(errors="replace")[-2000:]

    def _spawn(self, name: str, command: list[str], environ: dict[str, str] | None = None) -> None:
        with (self._directory / f"{name}.log").open("ab") as log:
            self._started[name] = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
