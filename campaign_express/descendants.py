"""Every process that this one has started, however far down: so that a stop can leave none behind and touch no other.

Ray and Serve start daemons that start daemons (raylet, workers, HAProxy). As "child subreaper" (Linux) a process
becomes the parent of orphans below it instead of PID 1, so its descendants stay findable in /proc by parenthood alone,
with no list of pids to go stale and no matching by name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.05


def adopt_orphans() -> None:
    """Make this process the parent of every orphan among its descendants, from now on."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def living(root: int, spared: Iterable[int] = ()) -> list[int]:
    """Pids of all descendants of `root` that are not zombies. Those in `spared` and what is below them are left out."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    zombies: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # "pid (name) state ppid ...", where the name may hold spaces and parentheses.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        pid = int(entry.name)
        children[int(parent)].append(pid)
        if state == "Z":
            zombies.add(pid)
    left_out = set(spared)
    found: list[int] = []
    below = [root]
    while below:
        for pid in children[below.pop()]:
            if pid not in left_out:
                below.append(pid)
                if pid not in zombies:
                    found.append(pid)
    return found


def end(root: int, patience_s: float, spared: Iterable[int] = ()) -> None:
    """SIGTERM to every living descendant, SIGKILL to what is left after `patience_s`; returns when none lives."""
    spared = frozenset(spared)
    deadline = time.monotonic() + patience_s
    told: set[int] = set()
    while pids := living(root, spared):
        killing = time.monotonic() > deadline
        for pid in pids:
            if killing or pid not in told:
                told.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if killing else signal.SIGTERM)
        _reap()
        time.sleep(POLL_S)
    _reap()


def _reap() -> None:
    """Collect every child that has ended. Only once no Popen of ours is waited for: this takes their exit codes too."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
