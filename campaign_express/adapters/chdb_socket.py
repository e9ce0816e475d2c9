"""The chDB directory of another process: its owner answers on a Unix socket in the directory, for this user only.

A message is eight bytes of length and MessagePack: `_Asked` there, `_Answer` back. Statements are those of
`ports.Warehouse` with their values bound; they run in the owner, one at a time with its own. Whoever can open the
socket can open the directory's files, so it gives nobody anything, and it is on no network: docs/decisions/0011.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.adapters.native_store import NativeStore, Written
from campaign_express.errors import CampaignExpressError, Unavailable, WarehouseError

log = logging.getLogger(__name__)

SOCKET = "owner.sock"
ANSWER_S = 900.0  # a mutation of large tables takes minutes
_LENGTH = struct.Struct(">Q")
_PEER = struct.Struct("3i")  # pid, uid, gid
_LATER, _NEVER = "later", "never"


class _Asked(Struct, array_like=True):
    sql: str
    parameters: dict[str, str | int | float] | None = None
    form: str = "Native"
    block: bytes | None = None  # rows that an INSERT inserts


class _Answer(Struct, array_like=True):
    body: bytes
    problem: str = ""  # _LATER or _NEVER: then `body` says what


_encode = msgspec.msgpack.Encoder().encode
_read_asked = msgspec.msgpack.Decoder(_Asked).decode
_read_answer = msgspec.msgpack.Decoder(_Answer).decode


class OwnedChdb(ChdbWarehouse):
    """`ChdbWarehouse` that answers others as long as it is open."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        try:
            self._listener = _listen(directory)
        except BaseException:
            super().close()
            raise
        self._path = directory / SOCKET
        self._guard = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._ended = False
        threading.Thread(target=self._accept, name="chdb-socket", daemon=True).start()

    def close(self) -> None:
        """Whoever waits for an answer gets none."""
        with self._guard:
            ended, self._ended = self._ended, True
            connections = list(self._connections)
        if not ended:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in `accept`
            self._listener.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._guard:
                if self._ended:
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="chdb-asked", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (message := _receive(connection)) is not None:
                _send(connection, self._answer(message))
        except OSError as error:
            log.info("who asked the tables is gone: %s", error)
        finally:
            with self._guard:
                self._connections.discard(connection)
            connection.close()

    def _answer(self, message: bytes) -> bytes:
        try:
            asked = _read_asked(message)
            if asked.block is None:
                return _encode(_Answer(self.ask(asked.sql, asked.parameters, asked.form)))
            self.put(asked.sql, asked.block)
            return _encode(_Answer(b""))
        except Unavailable as error:
            return _encode(_Answer(str(error).encode(), _LATER))
        except (CampaignExpressError, msgspec.DecodeError) as error:
            return _encode(_Answer(str(error).encode(), _NEVER))
        except Exception as error:  # the answer says it as well, or who asked would think that we have ended
            log.exception("a fault while the tables are asked")
            return _encode(_Answer(f"a fault: {type(error).__name__}: {error}".encode(), _NEVER))


class AskedChdb(NativeStore):
    """`ports.Warehouse` of a directory that another process owns. One statement at a time.

    Where that process ends, what is under way raises Unavailable, and the next statement asks the next owner.
    """

    def __init__(self, directory: Path, answer_s: float = ANSWER_S) -> None:
        """Raises Unavailable where no owner listens."""
        super().__init__()
        self._directory = directory
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self.where = f"chDB in {directory}"
        self._connection: socket.socket | None = self._connect()

    def ask(self, sql: str, parameters: Written | None, form: str = "Native") -> bytes:
        return self._do(_Asked(sql, None if parameters is None else dict(parameters), form))

    def put(self, sql: str, block: bytes) -> None:
        self._do(_Asked(sql, block=block))

    def close(self) -> None:
        with self._lock:
            self._leave()

    def _do(self, asked: _Asked) -> bytes:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            try:
                _send(self._connection, _encode(asked))
                message = _receive(self._connection)
            except OSError as error:
                self._leave()
                raise Unavailable(f"{self.where}: does not answer: {error or type(error).__name__}") from error
            except BaseException:  # an answer that nobody takes would be taken for the next one's
                self._leave()
                raise
            if message is None:
                self._leave()
                raise Unavailable(f"{self.where}: the process has ended meanwhile; repeat this")
        answer = _read_answer(message)
        if answer.problem:
            kind = Unavailable if answer.problem == _LATER else WarehouseError
            raise kind(answer.body.decode(errors="replace"))
        return answer.body

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short(self._directory) as folder:
                connection.connect(f"{folder}/{SOCKET}")
            connection.settimeout(self._answer_s)
            peer, _, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        except OSError as error:
            connection.close()
            raise Unavailable(f"chDB in {self._directory}: its owner does not answer: {error.strerror}") from error
        self.where = f"chDB in {self._directory}, asked of the bidder that runs (process {peer})"
        return connection

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _listen(directory: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        (directory / SOCKET).unlink(missing_ok=True)  # of one that was killed: the directory is ours now
        os.fchmod(listener.fileno(), 0o600)  # before: the file is made with it
        with _short(directory) as folder:
            listener.bind(f"{folder}/{SOCKET}")
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """Another name of `directory`: the address of a Unix socket has no more than a hundred characters."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(message)) + message)


def _receive(connection: socket.socket) -> bytes | None:
    """The next message, None where the other side has closed."""
    head = _exactly(connection, _LENGTH.size)
    return None if head is None else _exactly(connection, *_LENGTH.unpack(head))


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    message = bytearray(size)
    view, got = memoryview(message), 0
    while got < size:
        received = connection.recv_into(view[got:])
        if not received:
            return None
        got += received
    return bytes(message)
