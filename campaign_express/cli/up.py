"""`up`: everything on this machine with one command, and nothing left of it after Ctrl-C.

Order of start: checks (nothing has started yet), NATS and Valkey, Ray and Serve as a child process whose output goes to
a log file, then, once a cell says that it is ready, one screen that says what runs where. Order of end: Serve drains
its cells and Ray stops; whatever still lives below this process is ended by pid; NATS and Valkey go last.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Annotated

import msgspec
import typer

from campaign_express import descendants, embedded, preflight, serve_file, supervise
from campaign_express.cli.common import stderr
from campaign_express.config import PREFIX, Settings
from campaign_express.errors import Unavailable
from campaign_express.serving.environment import RAY_ENVIRONMENT

READY_S = 180.0  # a cold first start on two cores takes 15 to 30
DRAIN_S = 30.0  # beyond the cells' own drain window, for Serve and Ray to end
TERM_S = 5.0
LOG = Path("logs", "serve.log")
DATA_DIR_MAX = 50  # bytes; below a longer path the agents' sockets could pass the 107 bytes that Unix allows
SOCKET_DIR_PREFIX = "campaign-express-"
DECIDED_HERE = ("data_dir", "socket_dir", "redis_url", "nats_url", "notice_keys", "notice_base_url")
TRY_IT = (
    '{"id":"1","imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]}}],'
    '"site":{"domain":"example.com"},"device":{"ip":"203.0.113.7"}}'
)


def up(
    config: Annotated[
        Path, typer.Option("--config", "-c", exists=True, dir_okay=False, help="Serve configuration.")
    ] = serve_file.DEFAULT,
) -> None:
    """Start a whole bidder on this machine: embedded servers, Ray, a cell. Ctrl-C stops it."""
    raw = serve_file.read(config)
    settings = serve_file.settings(config)
    preflight.check(settings, serve_file.serve_host(raw))
    stop = _stop_on_signals()
    descendants.adopt_orphans()
    started_at = time.monotonic()
    configured, settings = settings, _placed(settings)
    data_dir = Path(settings.data_dir)
    server: subprocess.Popen[bytes] | None = None
    try:
        with stderr.status("starting NATS, Valkey, Ray and a cell ..."):
            ready = embedded.ensure(settings)
            server = _start(ready, serve_file.with_ports(raw, settings), data_dir)
            _wait_ready(ready, server, data_dir / LOG, stop)
        if not stop.is_set():
            typer.echo(_screen(ready, serve_file.serve_host(raw), data_dir, time.monotonic() - started_at))
        while not stop.wait(0.2):
            if server.poll() is not None:
                raise Unavailable(f"Serve has ended by itself. {_log_end(data_dir / LOG)}")
    finally:
        with stderr.status("stopping ..."):
            _end(settings, server, made=Path(settings.socket_dir) if not configured.socket_dir else None)
        stderr.print("stopped: nothing of it runs any more")


def _placed(settings: Settings) -> Settings:
    """`settings` with what a start in any directory and on any port needs: absolute paths, and URLs that lead here."""
    data_dir = Path(settings.data_dir).absolute()
    socket_dir, base_url = settings.socket_dir, settings.notice_base_url
    if not socket_dir and len(os.fsencode(data_dir)) > DATA_DIR_MAX:
        socket_dir = tempfile.mkdtemp(prefix=SOCKET_DIR_PREFIX)
    if base_url == Settings().notice_base_url:
        base_url = f"http://{_reachable(settings.host)}:{settings.http_port}"
    return msgspec.structs.replace(settings, data_dir=str(data_dir), socket_dir=socket_dir, notice_base_url=base_url)


def _stop_on_signals() -> threading.Event:
    """Set by Ctrl-C or SIGTERM. More of them change nothing: make passes its own on, and a terminal tells everybody."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    return stop


def _start(settings: Settings, serve_config: str, data_dir: Path) -> subprocess.Popen[bytes]:
    """Ray and Serve in a session of their own: a Ctrl-C at the terminal reaches only us, and we end them in order."""
    log, config = data_dir / LOG, data_dir / "serve_config.yaml"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.write_text(serve_config)
    environment = {
        **RAY_ENVIRONMENT,
        **os.environ,
        **{PREFIX + name.upper(): str(getattr(settings, name)) for name in DECIDED_HERE},
    }
    with open(log, "wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "campaign_express.serving.local", str(config), str(settings.dashboard_port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=supervise.die_with_parent,  # kill -9 of this process: SIGTERM to that one
        )


def _wait_ready(settings: Settings, server: subprocess.Popen[bytes], log: Path, stop: threading.Event) -> None:
    url = f"http://{_reachable(settings.host)}:{settings.http_port}/ready"
    deadline = time.monotonic() + READY_S
    while not stop.wait(0.1):
        if server.poll() is not None:
            raise Unavailable(f"the cell did not start. {_log_end(log)}")
        if _answers(url):
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"the cell is not ready after {READY_S:.0f} s. {_log_end(log)}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - http, made from settings
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _end(settings: Settings, server: subprocess.Popen[bytes] | None, made: Path | None) -> None:
    """`made`: a directory of sockets that this start has made, where it has (one that is configured is not ours)."""
    if server is not None and server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(settings.drain_window_s + DRAIN_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    descendants.end(os.getpid(), TERM_S, spared=embedded.supervisors(settings))
    embedded.release(settings)
    if made is not None and made.name.startswith(SOCKET_DIR_PREFIX):
        shutil.rmtree(made, ignore_errors=True)
    descendants.end(os.getpid(), TERM_S, spared=embedded.supervisors(settings))


def _log_end(log: Path) -> str:
    return f"The log {log} ends:\n{embedded.tail(log, 15)}"


def _reachable(host: str) -> str:
    """An address to connect to for one that was listened on."""
    return {"0.0.0.0": embedded.LOOPBACK, "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _screen(settings: Settings, serve_host: str, data_dir: Path, seconds: float) -> str:
    from campaign_express.adapters.redis import redact

    host = _reachable(settings.host)
    bids = f"http://{host}:{settings.http_port}/v1/bid"
    rows = {
        "Bids, OpenRTB JSON": f"{bids}  (or {bids}/EXCHANGE)",
        "Bids, gRPC": f"{host}:{settings.grpc_port}",
        "Metrics": f"http://{host}:{settings.metrics_port}/metrics",
        "Ray Serve": f"http://{_reachable(serve_host)}:{settings.serve_port}",
        "Ray dashboard": f"http://{embedded.LOOPBACK}:{settings.dashboard_port}",
        "Valkey": redact(settings.redis_url),
        "NATS JetStream": redact(settings.nats_url),
        "Campaigns": settings.catalog_file or "the packaged examples (campaign-express catalog show)",
        "Data": str(data_dir),
        "Log": str(data_dir / LOG),
    }
    return "\n".join(
        [
            f"Campaign Express is up after {seconds:.0f} s. Ctrl-C stops all of it.",
            "",
            *(f"  {what:<20}{where}" for what, where in rows.items()),
            "",
            "Try it:",
            "",
            f"  curl -i {bids} -H 'Content-Type: application/json' -d '{TRY_IT}'",
            "",
        ]
    )
