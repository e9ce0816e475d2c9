"""Listening sockets that go from cell to cell: nothing that waits in them is lost, and they do not grow in number."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from campaign_express.gateway.handover import DONE, SUFFIX, TAKE, Handover, find_spare
from campaign_express.gateway.http import Receive, Scope, Send
from campaign_express.gateway.listeners import HttpListener, shared_socket

REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short one: Unix sockets have paths of 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as path:
        yield Path(path)


class Cell:
    """The part of a cell that hands over: a listener whose app answers with the cell's name."""

    def __init__(self, directory: Path, name: str, port: int) -> None:
        self.directory, self.name, self.port = directory, name, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"%d" % len(self.name))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.name.encode()})

    async def start(self) -> Cell:
        spare = await find_spare(self.directory, ("127.0.0.1", self.port))
        inherited = spare.socket if spare is not None else None
        self.listener = HttpListener(self, "127.0.0.1", self.port, keep_alive_s=5, inherited=inherited)
        await self.listener.start()
        if spare is not None:
            spare.served()
        self.handover = Handover(self.listener, self.directory / f"{self.name}{SUFFIX}")
        await self.handover.start()
        return self

    async def end(self) -> bool:
        handed_over = await self.handover.leave()
        await self.listener.drain(2, handed_over=handed_over)
        await self.listener.stop()
        return handed_over

    @property
    def held(self) -> int:
        return len(self.listener.sockets)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def run(test: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(asyncio.wait_for(test(), 60))  # the loop of a cell


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.001)


def get(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(REQUEST)
        found = b""
        while part := client.recv(4096):
            found += part
    return found


def offer(cell: Cell, *sockets: socket.socket) -> bytes:
    """What the cell says when it is given sockets."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(cell.directory / f"{cell.name}{SUFFIX}"))
        assert client.recv(1) == bytes([cell.held])
        socket.send_fds(client, [TAKE], [sock.fileno() for sock in sockets])
        return client.recv(1)


class Callers:
    """Threads that open connection after connection; what fails is kept."""

    def __init__(self, port: int) -> None:
        self.port, self.answered, self.failures, self.stopped = port, 0, [], False  # type: ignore[var-annotated]
        self.threads = [threading.Thread(target=self._call) for _ in range(4)]

    def _call(self) -> None:
        while not self.stopped:
            try:
                assert b"200 OK" in get(self.port)
                self.answered += 1
            except (OSError, AssertionError) as error:
                self.failures.append(error)

    async def __aenter__(self) -> Callers:
        for thread in self.threads:
            thread.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stopped = True
        for thread in self.threads:
            await asyncio.to_thread(thread.join)


def test_cells_that_come_and_go_lose_no_new_connection(directory: Path) -> None:
    async def test() -> None:
        port = free_port()
        cells = [await Cell(directory, f"cell-{n}", port).start() for n in range(2)]
        async with Callers(port) as callers:
            for n in range(2, 27):
                assert await cells.pop(0).end()
                cells.append(await Cell(directory, f"cell-{n}", port).start())
                await until(lambda: [cell.held for cell in cells] == [1, 1])
        assert callers.failures == []
        assert callers.answered > 100
        for cell in cells:
            await cell.end()

    run(test)
    assert not list(directory.iterdir())


def test_what_waits_in_a_leaving_cells_socket_is_answered_by_another(directory: Path) -> None:
    async def test() -> None:
        leaving = shared_socket("127.0.0.1", 0)
        leaving.listen()
        port: int = leaving.getsockname()[1]
        waiting = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(5)]
        staying = await Cell(directory, "staying", port).start()
        assert await asyncio.to_thread(offer, staying, leaving) == DONE
        leaving.close()
        for client in waiting:
            client.sendall(REQUEST)
            assert (await asyncio.to_thread(client.recv, 4096)).endswith(b"staying")
            client.close()
        assert staying.held == 2
        await staying.end()

    run(test)


def test_sockets_go_to_the_cell_with_the_fewest_and_a_new_cell_takes_from_the_one_with_most(directory: Path) -> None:
    async def test() -> None:
        port = free_port()
        cells = [await Cell(directory, f"cell-{n}", port).start() for n in range(5)]
        assert await cells[0].end()
        assert await cells[1].end()
        assert sorted(cell.held for cell in cells[2:]) == [1, 2, 2]
        most = max(cells[2:], key=lambda cell: cell.held)
        assert await most.end()
        rest = [cell for cell in cells[2:] if cell is not most]
        assert sorted(cell.held for cell in rest) == [2, 3]
        newer = await Cell(directory, "newer", port).start()
        await until(lambda: sorted(cell.held for cell in [*rest, newer]) == [1, 2, 2])
        for cell in [*rest, newer]:
            await cell.end()
        with pytest.raises(ConnectionRefusedError):
            get(port)

    run(test)


def test_the_last_cell_closes_its_socket(directory: Path) -> None:
    async def test() -> None:
        cell = await Cell(directory, "only", free_port()).start()
        assert not await cell.end()
        with pytest.raises(ConnectionRefusedError):
            get(cell.port)

    run(test)


def test_cells_that_have_died_or_hang_or_listen_elsewhere_are_passed_over(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaign_express.gateway.handover.ANSWER_S", 0.2)

    async def test() -> None:
        def door(name: str) -> socket.socket:
            made = socket.socket(socket.AF_UNIX)
            made.bind(str(directory / f"{name}{SUFFIX}"))
            made.listen()
            return made

        dead, hanging = door("dead"), door("hanging")
        dead.close()
        elsewhere = await Cell(directory, "elsewhere", free_port()).start()
        leaving = await Cell(directory, "leaving", free_port()).start()
        staying = Cell(directory, "staying", leaving.port)
        await staying.start()
        assert await leaving.end()
        assert (elsewhere.held, staying.held) == (1, 2)
        assert not (directory / f"dead{SUFFIX}").exists()
        assert await asyncio.to_thread(get, staying.port)
        await staying.end()
        await elsewhere.end()
        hanging.close()

    run(test)


def test_a_cell_takes_no_socket_that_is_not_its_own(directory: Path) -> None:
    async def test() -> None:
        cell = await Cell(directory, "cell", free_port()).start()
        with shared_socket("127.0.0.1", cell.port) as silent, shared_socket("127.0.0.1", 0) as other:
            other.listen()
            assert await asyncio.to_thread(offer, cell, silent) == b""  # does not listen
            assert await asyncio.to_thread(offer, cell, other) == b""
        assert cell.held == 1
        await cell.end()

    run(test)
