"""ClickHouse's Native format, by the codecs of clickhouse-driver: what goes over the wire to a server and into chDB.

One writer and one reader for both stores, so that a value is the same in either. Blocks of revision 0: names, types and
columns, as in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clickhouse_driver.block import ColumnOrientedBlock
from clickhouse_driver.bufferedreader import BufferedSocketReader
from clickhouse_driver.bufferedwriter import BufferedSocketWriter
from clickhouse_driver.streams.native import BlockInputStream, BlockOutputStream

from campaign_express.ports import Rows

BUFFER = 1 << 20


class _Info:
    used_revision = 0

    @staticmethod
    def get_timezone() -> str:
        """Of columns that name none; their times come without one."""
        return "UTC"


class _Context:
    """What the codecs want to know of a connection."""

    server_info = _Info()
    settings: Mapping[str, Any] = {}
    client_settings: Mapping[str, Any] = {
        "strings_as_bytes": False,
        "strings_encoding": "utf-8",
        "use_numpy": False,
        "input_format_null_as_default": False,
        "namedtuple_as_json": False,
        "server_side_params": False,
    }


class _Sink:
    """Stands for a socket that is written to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(bytes(data))


class _Source:
    """Stands for a socket that is read from."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def recv_into(self, buffer: Any) -> int:
        piece = self._data[self._at : self._at + len(buffer)]
        memoryview(buffer)[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def encode_block(columns: Sequence[tuple[str, str]], data: Mapping[str, Sequence[Any]]) -> bytes:
    """One block of `columns` (name, type) with the values of `data`.

    Times are whole units of their column (milliseconds of a DateTime64(3)). Raises ValueError and its like for a value
    that its column cannot hold.
    """
    sink = _Sink()
    block = ColumnOrientedBlock(columns_with_types=list(columns), data=[list(data[name]) for name, _ in columns])
    BlockOutputStream(BufferedSocketWriter(sink, BUFFER), _Context()).write(block)
    return b"".join(sink.parts)


def decode_blocks(data: bytes) -> Rows:
    """All rows of a file of blocks."""
    names: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    source = _Source(data)
    stream = BlockInputStream(BufferedSocketReader(source, BUFFER), _Context())
    while True:
        try:
            block = stream.read()
        except EOFError:
            return Rows(names, rows)
        names = tuple(name for name, _ in block.columns_with_types)
        if block.num_rows:
            rows += block.get_rows()
