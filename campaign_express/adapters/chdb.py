"""ClickHouse in this process (chDB): the tables of a start on one machine.

A directory belongs to one process, which holds a lock on it: the replica of the event pipeline, which answers others on
a socket (`chdb_socket.py`), or a command while no bidder runs.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from pathlib import Path
from typing import Any

from campaign_express.adapters.native_store import NativeStore, Written
from campaign_express.errors import Unavailable, WarehouseError

DATABASE = "campaign_express"
OWNER = "owner.lock"
_CODE = re.compile(r"Code: (\d+)\.")
# ClickHouse's error codes that say "not now": memory, disk, too many parts, timeouts, being shut down, files.
_LATER = frozenset({"159", "202", "209", "210", "236", "241", "243", "252", "394", "74", "75", "76", "107", "625"})


class Taken(Unavailable):
    """Another process has the directory."""


class ChdbWarehouse(NativeStore):
    """`ports.Warehouse`. One statement at a time."""

    def __init__(self, directory: Path, memory_bytes: int = 0) -> None:
        """Opens or makes the directory. Raises Taken where another process has it.

        `memory_bytes`: the most that one query may use, 0: no limit.
        """
        super().__init__()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._name = f"chDB in {directory}"
        self.where = f"{self._name}, opened by this process"
        self._lock = threading.Lock()
        self._closed = False
        self._owner = _take(directory)
        try:
            from chdb.session import Session  # half a gigabyte, wanted only where it is used

            make: Any = Session  # its methods have no types
            self._session: Any = make(str(directory))
            self.run(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
            self.run(f"USE {DATABASE}")
            if memory_bytes:
                self.run(f"SET max_memory_usage = {memory_bytes:d}")
        except BaseException:
            os.close(self._owner)
            raise

    def ask(self, sql: str, parameters: Written | None, form: str = "Native") -> bytes:
        with self._lock:
            self._check()
            try:
                answer = self._session.query(sql, form, params=parameters)
            except (RuntimeError, ValueError) as error:
                raise self._error(error) from error
            return bytes(answer.bytes()) if answer is not None else b""

    def put(self, sql: str, block: bytes) -> None:
        with self._lock:
            self._check()
            try:
                with self._session.send_insert(sql, "Native") as sending:
                    sending.append(block)
                    sending.finish()
            except RuntimeError as error:
                raise self._error(error) from error

    def close(self) -> None:
        """Once the statement under way is done. May be repeated."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._session.close()
                os.close(self._owner)

    def _check(self) -> None:
        if self._closed:
            raise Unavailable(f"{self._name}: is closed")

    def _error(self, error: Exception) -> Unavailable | WarehouseError:
        text = str(error).split("\n")[0][:500]
        code = _CODE.search(text)
        kind = Unavailable if code is None or code[1] in _LATER else WarehouseError
        return kind(f"{self._name}: {text}")


def _take(directory: Path) -> int:
    """The descriptor that holds the directory's lock, with this process's number in the file."""
    descriptor = os.open(directory / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise Taken(f"chDB in {directory}: another process has it ({holder or 'of unknown number'})") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
