"""The half of `ports.Warehouse` that is the same for chDB in this process and in another one: rows and parameters as
ClickHouse's formats want them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from campaign_express.adapters.native_block import decode_blocks, encode_block
from campaign_express.ports import Rows

Written = Mapping[str, Any]  # parameters as ClickHouse reads them


class NativeStore(ABC):
    """`ports.Warehouse` over two calls that take and give bytes."""

    cluster = ""
    where: str

    def __init__(self) -> None:
        self._types: dict[str, list[tuple[str, str]]] = {}

    @abstractmethod
    def ask(self, sql: str, parameters: Written | None, form: str = "Native") -> bytes:
        """The answer in one of ClickHouse's formats. Raises Unavailable, WarehouseError."""

    @abstractmethod
    def put(self, sql: str, block: bytes) -> None:
        """An INSERT of a Native block; durable when it returns. Raises Unavailable, WarehouseError."""

    @abstractmethod
    def close(self) -> None: ...

    def make_database(self) -> None:  # noqa: B027  # nothing to do: whoever opens a directory has made it
        """It is there."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        return decode_blocks(self.ask(sql, _written(parameters)))

    def run(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.ask(sql, _written(parameters))

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
        self.put(
            f"INSERT INTO {table} ({names}) SETTINGS insert_deduplication_token = '{_quoted(token)}'",
            block,
        )


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"})


def _written(parameters: Mapping[str, Any] | None) -> Written | None:
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
