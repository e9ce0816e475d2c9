"""A server under test as a process tree that is started, found and ended by pid, and of which nothing stays behind.

Ray starts daemons of its own, and Serve's HAProxy outlives them. The benchmark therefore makes itself the reaper of its
orphaned descendants (prctl PR_SET_CHILD_SUBREAPER), so that whatever a target started can be found below this process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
STOP_S = 25.0


def become_reaper() -> None:
    """Adopt orphaned descendants. Raises OSError where the kernel cannot."""
    if sys.platform != "linux":
        raise OSError("the benchmark reads /proc and needs Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


RAY_AGENT_PORT = 52365  # Ray's dashboard agent takes it whenever it is free, and it may be handed out as a free one


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port != RAY_AGENT_PORT:
            return port


def descendants(root: int) -> list[int]:
    """Pids of living processes below `root`, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name in parentheses may hold anything, so fields are counted from its end.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def command_line(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class Server:
    """A started target. Use as a context manager: leaving it ends every process below."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path, folder: Path | None = None) -> None:
        """`folder`: where it runs, which is where Python looks for modules first."""
        self._log = log
        with log.open("wb") as output:
            self._leader = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                cwd=folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._leader.pid

    def check(self) -> None:
        """Raises RuntimeError with the end of its log when the leader has ended."""
        if self._leader.poll() is not None:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the server ended with {self._leader.returncode}:\n{tail}")

    def stop(self) -> None:
        if self._leader.poll() is None:
            self._leader.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._leader.wait(STOP_S)
        give_up = time.monotonic() + STOP_S
        while (left := descendants(os.getpid())) and time.monotonic() < give_up:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._leader.wait(0.1)
            for pid in left:
                if pid != self._leader.pid:
                    with contextlib.suppress(ChildProcessError):  # not ours yet: its parent has not ended
                        os.waitpid(pid, os.WNOHANG)
        if left:
            raise RuntimeError("processes that do not end: " + "; ".join(f"{pid} {command_line(pid)}" for pid in left))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
