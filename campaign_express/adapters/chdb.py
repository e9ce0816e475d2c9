"""ClickHouse in this process (chDB): the tables of a start on one machine.

A directory belongs to one process, which holds a lock on it: the replica of the event pipeline, or a command while no
bidder runs. Everybody else asks that replica.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from campaign_express.adapters.native_block import decode_blocks, encode_block
from campaign_express.errors import Unavailable, WarehouseError
from campaign_express.ports import Rows

log = logging.getLogger(__name__)

DATABASE = "campaign_express"
_CODE = re.compile(r"Code: (\d+)\.")
# ClickHouse's error codes that say "not now": memory, disk, too many parts, timeouts, being shut down, files.
_LATER = frozenset({"159", "202", "209", "210", "236", "241", "243", "252", "394", "74", "75", "76", "107", "625"})


class ChdbWarehouse:
    """`ports.Warehouse`. One statement at a time."""

    cluster = ""

    def __init__(self, directory: Path, memory_bytes: int = 0) -> None:
        """Opens or makes the directory. Raises Unavailable where another process has it.

        `memory_bytes`: the most that one query may use, 0: no limit.
        """
        from chdb.session import Session  # half a gigabyte, wanted only where it is used

        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.where = f"chDB in {directory}"
        self._lock = threading.Lock()
        self._owner = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._owner)
            raise Unavailable(f"{self.where}: another process has it") from None
        self._types: dict[str, list[tuple[str, str]]] = {}
        try:
            make: Any = Session  # its methods have no types
            self._session: Any = make(str(directory))
            self.run(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
            self.run(f"USE {DATABASE}")
            if memory_bytes:
                self.run(f"SET max_memory_usage = {memory_bytes:d}")
        except BaseException:
            os.close(self._owner)
            raise

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        return decode_blocks(self._do(sql, parameters))

    def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self._do(sql, parameters)

    def file(self, sql: str, form: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The answer in one of ClickHouse's formats, such as Parquet."""
        return self._do(sql, parameters, form)

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], token: str) -> None:
        types = self._types.get(table)
        if types is None:
            found = self.query(
                "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}",
                {"table": table},
            )
            types = self._types[table] = [(str(name), str(kind)) for name, kind in found.rows]
        block = encode_block([column for column in types if column[0] in columns], columns)
        names = ", ".join(name for name, _ in types if name in columns)
        sql = f"INSERT INTO {table} ({names}) SETTINGS insert_deduplication_token = '{_quoted(token)}'"
        with self._lock:
            try:
                with self._session.send_insert(sql, "Native") as sending:
                    sending.append(block)
                    sending.finish()
            except RuntimeError as error:
                raise self._error(error) from error

    def close(self) -> None:
        with self._lock:
            self._session.close()
            os.close(self._owner)

    def _do(self, sql: str, parameters: Mapping[str, Any] | None, form: str = "Native") -> bytes:
        with self._lock:
            try:
                answer = self._session.query(sql, form, params=_written(parameters))
            except (RuntimeError, ValueError) as error:
                raise self._error(error) from error
            return bytes(answer.bytes()) if answer is not None else b""

    def _error(self, error: Exception) -> Unavailable | WarehouseError:
        text = str(error).split("\n")[0][:500]
        code = _CODE.search(text)
        kind = Unavailable if code is None or code[1] in _LATER else WarehouseError
        return kind(f"{self.where}: {text}")


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"})


def _written(parameters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Parameters as ClickHouse reads them: strings escaped as in its TabSeparated format, lists as literals."""
    if not parameters:
        return None
    return {name: _value(value) for name, value in parameters.items()}


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, list | tuple):
        shown = (f"'{_quoted(one)}'" if isinstance(one, str) else str(one) for one in value)
        return f"[{', '.join(shown)}]"
    return value


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
