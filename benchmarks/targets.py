"""The servers that are compared: how each is started at its best settings, and when it is ready."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.code import environment as code_environment
from benchmarks.processes import Server, free_port

START_S = 180.0
# Fewer hops and threads inside Serve, no logs on the request's path.
_FAST_SERVE = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0"}
_QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}


@dataclass(frozen=True, slots=True)
class Target:
    """`arguments` follow `python -m benchmarks.servers.`; names in braces are filled in when it starts."""

    name: str
    title: str
    arguments: str
    environment: dict[str, str]


_ON_RAY = (
    "on_ray {kind} --port {{port}} --serve-port {{serve_port}} --metrics-port {{metrics_port}} --settings {{settings}} "
    "--folder {{folder}}"
)
_CELL, _SERVE = _ON_RAY.format(kind="cell"), _ON_RAY.format(kind="serve")
TARGETS = (
    Target("echo", "uvicorn, no decision", "echo --port {port} --size {answer_bytes}", {}),
    Target("in_process", "uvicorn + core in its process", "in_process --port {port} --settings {settings}", {}),
    Target("cell", "cell, 2 agents", _CELL + " --agents 2", _QUIET_RAY),
    Target("cell_stateful", "cell, 2 agents, budgets, caps and profiles", _CELL + " --agents 2 --state", _QUIET_RAY),
    Target(
        "cell_events_off",
        "cell with state and a NATS, silent",
        _CELL + " --agents 2 --state --events off",
        _QUIET_RAY,
    ),
    Target(
        "cell_events_on",
        "cell with state, telling NATS of its decisions",
        _CELL + " --agents 2 --state --events on",
        _QUIET_RAY,
    ),
    Target("cell_20_agents", "cell, 20 agents", _CELL + " --agents 20", _QUIET_RAY),
    Target(
        "serve_default",
        "Serve's own proxy + core",
        _SERVE + " --replicas 2",
        {**_QUIET_RAY, **_FAST_SERVE, "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"},
    ),
    Target(
        "serve_haproxy",
        "Serve + HAProxy + core",
        _SERVE + " --replicas 2",
        {**_QUIET_RAY, **_FAST_SERVE, "RAY_SERVE_ENABLE_HA_PROXY": "1"},
    ),
)
BY_NAME = {target.name: target for target in TARGETS}


class Running:
    """A target that answers. Use as a context manager."""

    def __init__(
        self, target: Target, settings: Path, answer_bytes: int, probe: bytes, folder: Path, code: Path
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/v1/bid"
        self._metrics_port = free_port()
        arguments = target.arguments.format(
            port=port,
            serve_port=free_port(),
            metrics_port=self._metrics_port,
            settings=settings,
            folder=folder,
            answer_bytes=answer_bytes,
        ).split()
        module, *options = arguments
        environment = {**target.environment, **code_environment(code)}
        if "RAY_SERVE_ENABLE_HA_PROXY" in environment:
            environment |= _haproxy_places(folder)
        command = [sys.executable, "-m", f"benchmarks.servers.{module}", *options]
        self.server = Server(command, environment, folder / f"{target.name}.log", code)
        try:
            self._wait(probe)
        except BaseException:
            self.server.stop()
            raise

    def _wait(self, probe: bytes) -> None:
        give_up = time.monotonic() + START_S
        while True:
            self.server.check()
            try:
                status, _ = post(self.url, probe)
            except OSError:
                status = 0
            if status in (200, 204):
                return
            if time.monotonic() > give_up:
                raise TimeoutError(f"{self.url} is not ready after {START_S:.0f} s (last status {status})")
            time.sleep(0.2)

    def counter(self, name: str) -> float:
        """A counter on a cell's metrics page. Raises OSError, KeyError where the page has it not."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as page:
            for line in page.read().decode().splitlines():
                found, _, value = line.rpartition(" ")
                if found == f"campaign_express_{name}_total":
                    return float(value)
        raise KeyError(name)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.stop()


def post(url: str, body: bytes) -> tuple[int, bytes]:
    """(HTTP status, body) of one request on a connection of its own. Raises OSError when there is no answer."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def _haproxy_places(folder: Path) -> dict[str, str]:
    """Files and ports of Serve's HAProxy, away from those of another Serve on this machine."""
    place = folder / "h"  # short: HAProxy's admin socket below it may have 97 bytes, of which Serve takes 57
    place.mkdir(exist_ok=True)
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(place / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(place / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(place),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(place / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }
