"""One at a time of what replaces or blanks rows that are stored: a replay, an erasure.

A lock in Redis, kept by a thread while the work goes on and let go at its end. Of a process that was killed it ends by
itself within seconds, and the next one, which waits for that, takes over.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from campaign_express.adapters.leader import LIFE_S, LeaderLock
from campaign_express.errors import Unavailable

WORK = "tables:rebuild"
PAUSE_S = 0.25

StillAlone = Callable[[], None]  # raises Unavailable where another one may have begun


@contextmanager
def alone(url: str, what: str, life_s: float = LIFE_S) -> Iterator[StillAlone]:
    """While nobody else does such work on these tables. `what` is told to those who have to wait.

    To be asked before each step that cannot be taken back. Raises Unavailable where another one is at work, or Redis is
    away.
    """
    owner = f"{what}, process {os.getpid()} on {os.uname().nodename} ({secrets.token_hex(4)})"
    lock = LeaderLock(url, owner, life_s, WORK)
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(life_s / 5):
            with suppress(Unavailable):  # it may be back before the lock's end
                lock.hold()

    epoch = 0

    def still_alone() -> None:
        if not lock.held or lock.epoch != epoch:  # in between another one may have had it
            raise Unavailable(f"{what} has lost its lock, since Redis at {lock.where} did not answer: repeat it")

    keeper = threading.Thread(target=keep, name="rebuild-lock", daemon=True)
    try:
        epoch = _take(lock, life_s)
        keeper.start()
        try:
            yield still_alone
        finally:
            ended.set()
            keeper.join()
            with suppress(Unavailable):
                lock.let_go()
    finally:
        lock.close()


def _take(lock: LeaderLock, life_s: float) -> int:
    """The epoch of the lock. Waits for as long as the lock of a killed process may live."""
    deadline = time.monotonic() + life_s * 1.2
    while not lock.hold():
        if time.monotonic() > deadline:
            raise Unavailable(f"another one works on the tables: {lock.holder() or 'just now'}. Repeat this later")
        time.sleep(PAUSE_S)
    return lock.epoch
