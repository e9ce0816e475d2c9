"""Keep one server process alive for as long as anybody holds its lock, and no longer.

`campaign_express.embedded` runs it as `python -m campaign_express.supervise DIRECTORY PORT LOCK -- COMMAND...`. In
DIRECTORY:

- `holders.lock`: every process that needs the server keeps a shared flock on it. The kernel drops that lock however the
  process ends, `kill -9` included, so "nobody needs the server" cannot be missed and no pid has to be trusted.
- `supervisor.lock`: the supervisor keeps it exclusively. It is free exactly when no supervisor lives: the starter takes
  it and hands it over open, as descriptor LOCK.
- `state.json`: pid of the server and its port, for people and for the sweep after a crash of the supervisor itself.

The supervisor leaves its starter's process tree and session at once: the server belongs to all holders, not to the
first one, and a Ray worker that ends takes its direct children with it. The server in turn dies with the supervisor
(PR_SET_PDEATHSIG). Only the standard library is used, so that a start costs 30 ms.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

HOLDERS, SUPERVISOR, STATE, LOG = "holders.lock", "supervisor.lock", "state.json", "server.log"
POLL_S = 0.1
STOP_S = 10.0  # from SIGTERM to SIGKILL
RESTARTS = 5  # deaths of the server within RESTART_WINDOW_S after which it is given up
RESTART_WINDOW_S = 30.0
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel sends SIGTERM when the thread that started this process ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def open_lock(path: Path) -> int:
    """A descriptor to flock; it is not inherited by programs that the caller starts."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int, kind: int) -> bool:
    """Take an flock (`fcntl.LOCK_SH` or `LOCK_EX`) if that is possible at once."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def stop_process(process: subprocess.Popen[bytes], patience_s: float = STOP_S) -> None:
    """SIGTERM, then SIGKILL when that was not enough. Returns when the process is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


class Supervisor:
    """One server process, its log and its state file."""

    def __init__(self, directory: Path, port: int, lock: int, command: list[str]) -> None:
        self._directory = directory
        self._port = port
        self._lock = lock
        self._command = command
        self._asked_to_stop = False
        self._deaths: list[float] = []

    def run(self) -> int:
        """Returns the process's exit code: 0 after a wanted stop, 1 when the server would not stay up."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        holders = open_lock(self._directory / HOLDERS)
        state = self._directory / STATE
        try:
            return self._keep_alive(holders)
        finally:
            state.unlink(missing_ok=True)
            os.close(self._lock)
            os.close(holders)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_stop = True

    def _keep_alive(self, holders: int) -> int:
        server = self._start()
        try:
            while not self._asked_to_stop and not try_lock(holders, fcntl.LOCK_EX):
                if server.poll() is not None:
                    if self._gives_up():
                        return 1
                    server = self._start()
                time.sleep(POLL_S)
        finally:
            stop_process(server)
        return 0

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._directory / LOG, "ab") as log:
            server = subprocess.Popen(  # noqa: S603 - the command comes from embedded.py, never from a request
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                preexec_fn=die_with_parent,
            )
        temporary = self._directory / f"{STATE}.new"
        state = {"pid": server.pid, "port": self._port, "supervisor": os.getpid(), "command": self._command}
        temporary.write_text(json.dumps(state))
        temporary.replace(self._directory / STATE)
        return server

    def _gives_up(self) -> bool:
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < RESTART_WINDOW_S] + [now]
        return len(self._deaths) >= RESTARTS


def main(arguments: list[str]) -> int:
    directory, port, lock, separator, *command = arguments
    if separator != "--" or not command:
        raise SystemExit("usage: python -m campaign_express.supervise DIRECTORY PORT LOCK -- COMMAND...")
    if os.fork():  # the starter's `wait` returns now, and the supervisor is nobody's child
        return 0
    os.setsid()
    with open(os.devnull, "r+b") as nothing:  # or the starter would wait for the end of its pipes
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)
    return Supervisor(Path(directory), int(port), int(lock), command).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
