"""What can be known to go wrong before anything has started: taken ports, a disk that cannot be written, an old Python.

Everything is checked and reported at once, each with its setting and environment variable.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from campaign_express import embedded
from campaign_express.config import PREFIX, Settings
from campaign_express.errors import ConfigError, PortTaken

PYTHON = (3, 11)
RAY_PORTS = {"RAY_GCS_SERVER_PORT": "Ray's GCS"}  # Ray picks free ports unless the environment fixes them


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that will be listened on, and what to change when it cannot be."""

    host: str
    port: int
    setting: str
    variable: str
    purpose: str


def listeners(settings: Settings, serve_host: str, environ: Mapping[str, str] | None = None) -> list[Listener]:
    """All ports of a start on one machine but those of embedded servers that run already. Port 0 (any) is no risk."""
    environ = os.environ if environ is None else environ
    wanted = [
        ("http_port", settings.host, "bids over HTTP"),
        ("grpc_port", settings.host, "bids over gRPC"),
        ("metrics_port", settings.host, "Prometheus metrics"),
        ("serve_port", serve_host, "Ray Serve"),
        ("dashboard_port", embedded.LOOPBACK, "the Ray dashboard"),
    ]
    running = embedded.running(settings)
    for field, server in embedded.SERVERS.items():
        if not getattr(settings, field) and server.name not in running:
            wanted.append((server.setting, embedded.LOOPBACK, f"the embedded {server.name} server"))
    found = [
        Listener(host, getattr(settings, name), name, PREFIX + name.upper(), purpose) for name, host, purpose in wanted
    ]
    for variable, purpose in RAY_PORTS.items():
        if environ.get(variable, "").isdigit():
            found.append(Listener("0.0.0.0", int(environ[variable]), variable, variable, purpose))
    return [listener for listener in found if listener.port]


def check(settings: Settings, serve_host: str = embedded.LOOPBACK, environ: Mapping[str, str] | None = None) -> None:
    """Raises ConfigError, or its PortTaken when ports are all that is wrong, with every problem at once."""
    wanted = listeners(settings, serve_host, environ)
    taken = [
        f"{w.setting} = {w.port}: {w.purpose} needs port {w.port}, and another program listens on it"
        f" (set {w.variable} to a free port)"
        for w in wanted
        if embedded.port_taken(w.host, w.port)
    ]
    others = [*_python(), *_clashes(wanted), *_unwritable(settings)]
    if others:
        raise ConfigError("Cannot start:", [*others, *taken])
    if taken:
        raise PortTaken("Cannot start, nothing has been started:", taken)


def _python() -> list[str]:
    if sys.version_info >= PYTHON:
        return []
    return [f"Python {'.'.join(map(str, PYTHON))} or newer is needed, and this is {sys.version.split()[0]}"]


def _clashes(wanted: list[Listener]) -> list[str]:
    first: dict[int, Listener] = {}
    problems = []
    for listener in wanted:
        other = first.setdefault(listener.port, listener)
        if other is not listener:
            problems.append(f"{listener.setting} = {listener.port}: {other.setting} has the same port")
    return problems


def _unwritable(settings: Settings) -> list[str]:
    """A file is really written, since permissions alone do not tell of a full or read-only disk."""
    problems = []
    for name, directory in (("data_dir", Path(settings.data_dir).absolute()), ("TMPDIR", Path(tempfile.gettempdir()))):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory) as probe:
                probe.write(bytes(4096))
                probe.flush()
        except OSError as error:
            problems.append(f"{name}: cannot write to {directory}: {error.strerror}")
    return problems
