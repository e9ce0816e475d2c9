"""A leaving cell's listening sockets go to another cell of the node, so that no new connection is lost with them.

Each cell of a node has a listening socket of its own on the shared port (SO_REUSEPORT), and the kernel has already
chosen one of them when a handshake begins. Closing it resets the connections that end their handshake too late to be
accepted. So it is not closed: another cell is given the socket (SCM_RIGHTS, unix(7)) and accepts from it beside its
own. A cell that starts takes such a second socket over, where one is held, in place of a new one; so a port never has
more sockets than cells that have lived at once, and each cell its even share again after a rolling update.

    CELL.listener     Unix socket of a living cell, in the cells' socket directory

    who connects                              the cell
                                              one byte: how many sockets it accepts from
    TAKE and sockets                          DONE once it accepts from them; the giver then closes its own
    SPARE                                     TAKE and a socket, or the end of the conversation
    DONE once it accepts from the socket      closes its own

Whoever is asked answers in milliseconds or not at all: a cell that hangs or has gone is passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from campaign_express.gateway.listeners import HttpListener

SUFFIX = ".listener"
TAKE, SPARE, DONE = b"T", b"S", b"D"
ANSWER_S = 1.0
PATIENCE_S = 3.0  # with one that has asked others, too, and waits for the slowest
MOST = 64  # sockets in one message


class Spare:
    """A socket that another cell gives us. It goes on accepting until told that we do."""

    def __init__(self, sock: socket.socket, giver: socket.socket) -> None:
        self.socket = sock
        self._giver = giver

    def served(self) -> None:
        """We accept from it now."""
        with self._giver, contextlib.suppress(OSError):
            self._giver.sendall(DONE)


async def find_spare(directory: Path, address: tuple[str, int]) -> Spare | None:
    """A second socket bound to `address` from the cell that holds most of them, if any cell holds two."""
    spare = None
    for held, giver in reversed(await _siblings(directory)):
        if spare is None and held > 1:
            found = await asyncio.to_thread(_ask_for_spare, giver, address)
            if found is not None:
                spare = Spare(found, giver)
                continue
        giver.close()
    return spare


class Handover:
    """This cell's part: takes sockets in, gives a second one away, and hands all of its own over when it leaves."""

    def __init__(self, listener: HttpListener, path: Path) -> None:
        self._listener = listener
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._giving = asyncio.Lock()  # one spare at a time
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    async def start(self) -> None:
        """Answer other cells from now on."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._door.bind(str(self._path))
        self._door.listen()
        self._door.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    async def leave(self) -> bool:
        """Hand every socket to the cell with the fewest. False: nobody has taken them, so they are ours to close."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait((self._accepting, *self._tasks))  # what is given or taken right now counts as ours
            self._path.unlink(missing_ok=True)
        self._door.close()
        taken = unsure = False
        for _, sibling in await _siblings(self._path.parent):
            with sibling:
                if not taken:
                    answer = await asyncio.to_thread(_give, sibling, self._listener.sockets)
                    taken = answer is True
                    unsure |= answer is None  # it may accept from them yet: not ours alone any more
        return taken or unsure

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._door)
            task = asyncio.create_task(self._answer(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: socket.socket) -> None:
        listener = self._listener
        connection.settimeout(PATIENCE_S)
        with connection, contextlib.suppress(OSError):
            connection.sendall(bytes([min(len(listener.sockets), MOST)]))
            message, sockets = await asyncio.to_thread(_receive, connection)
            if message == TAKE and all(_listens_at(sock, listener.address) for sock in sockets):
                for sock in sockets:
                    await listener.adopt(sock)
                connection.sendall(DONE)
            elif message == SPARE:
                async with self._giving:
                    if len(listener.sockets) > 1:
                        spare = listener.sockets[-1]
                        if await asyncio.to_thread(_give, connection, [spare]):
                            listener.release(spare)
            else:
                for sock in sockets:
                    sock.close()


def _give(to: socket.socket, sockets: list[socket.socket]) -> bool | None:
    """Whether `to` accepts from them now; None: it does not say."""
    try:
        socket.send_fds(to, [TAKE], [sock.fileno() for sock in sockets[:MOST]])
        return to.recv(1) == DONE
    except TimeoutError:
        return None
    except OSError:
        return False


def _receive(connection: socket.socket) -> tuple[bytes, list[socket.socket]]:
    message, descriptors, _, _ = socket.recv_fds(connection, 1, MOST)
    return message, [socket.socket(fileno=descriptor) for descriptor in descriptors]


def _ask_for_spare(giver: socket.socket, address: tuple[str, int]) -> socket.socket | None:
    try:
        giver.sendall(SPARE)
        _, sockets = _receive(giver)
    except OSError:
        return None
    if len(sockets) == 1 and _listens_at(sockets[0], address):
        return sockets[0]
    for sock in sockets:
        sock.close()
    return None


def _listens_at(sock: socket.socket, address: tuple[str, int]) -> bool:
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(listens) and sock.getsockname()[:2] == address


async def _siblings(directory: Path) -> list[tuple[int, socket.socket]]:
    """Connections to the cells that answer, with the number of their sockets, the fewest first."""
    paths = await asyncio.to_thread(lambda: list(directory.glob(f"*{SUFFIX}")))
    found = await asyncio.gather(*(asyncio.to_thread(_connect, path) for path in paths))
    return sorted((sibling for sibling in found if sibling is not None), key=lambda sibling: sibling[0])


def _connect(path: Path) -> tuple[int, socket.socket] | None:
    sibling = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sibling.settimeout(ANSWER_S)
    try:
        sibling.connect(str(path))
        held = sibling.recv(1)
    except ConnectionRefusedError:  # nobody listens: a cell that was killed
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        held = b""
    except OSError:
        held = b""
    if not held:
        sibling.close()
        return None
    return held[0], sibling
