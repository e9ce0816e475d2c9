"""HTTP/1.1 as an exchange speaks it to a bidder: keep-alive connections, one request at a time on each, few headers.

Nothing here waits: `send` hands a request to an idle connection or queues it, and calls back with the answer. It costs
about 30 microseconds a request, so that a simulation leaves the machine to the bidder.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import cast

Done = Callable[[int, bytes, bytes, int], None]  # status (0: no answer), head, body, nanoseconds taken

RECONNECT_S = 0.05
MAX_ANSWER = 4_194_304


class _Connection(asyncio.Protocol):
    def __init__(self, pool: Connections) -> None:
        self._pool = pool
        self._transport: asyncio.Transport
        self._buffer = b""
        self.done: Done | None = None
        self.since_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pool.idle(self)

    def send(self, request: bytes, done: Done, now_ns: int) -> None:
        self.done, self.since_ns = done, now_ns
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._keep(data)
            return
        head = data[:end].lower()
        status = int(head[9:12]) if head[9:12].isdigit() else 0
        length = _length(head, status, data, end + 4)
        if self.done is None or status < 200 or length > MAX_ANSWER:
            self.abandon()
            return
        if length < 0 or len(data) < end + 4 + length:
            self._keep(data)
            return
        self._buffer = b""
        done, self.done = self.done, None
        self._pool.finished()
        taken = time.monotonic_ns() - self.since_ns
        if b"\r\nconnection: close" in head:
            self._transport.close()
        else:
            self._pool.idle(self)
        done(status, data[:end], data[end + 4 : end + 4 + length], taken)

    def _keep(self, data: bytes) -> None:
        self._buffer = data
        if len(data) > MAX_ANSWER:
            self.abandon()

    def abandon(self) -> None:
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        done, self.done = self.done, None
        self._pool.lost(self)
        if done is not None:
            self._pool.finished()
            done(0, b"", b"", time.monotonic_ns() - self.since_ns)


def _length(head: bytes, status: int, data: bytes, start: int) -> int:
    """Bytes of the body that begins at `start`, -1 while that cannot be known."""
    if status in (204, 304):
        return 0
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        stop = head.find(b"\r\n", at + 17)
        digits = head[at + 17 : stop if stop > 0 else len(head)].strip()
        return int(digits) if digits.isdigit() else MAX_ANSWER + 1
    if b"\r\ntransfer-encoding: chunked" in head:  # nobody reads such a body: it only has to be over
        return len(data) - start if data.endswith(b"0\r\n\r\n") else -1
    return 0


class Connections:
    """A pool of `count` connections to one address. `timeout_s`: an answer later than that is none."""

    def __init__(self, host: str, port: int, count: int, timeout_s: float, max_waiting: int = 100_000) -> None:
        self._host, self._port, self._count = host, port, count
        self._timeout_ns = int(timeout_s * 1e9)
        self._max_waiting = max_waiting
        self._idle: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._waiting: deque[tuple[bytes, Done, int]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.busy = 0

    async def open(self) -> None:
        """Raises OSError where nobody listens."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.create_connection(lambda: _Connection(self), self._host, self._port) for _ in range(self._count))
        )

    def send(self, request: bytes, done: Done) -> None:
        """Time counts from here, whether or not a connection is free."""
        now = time.monotonic_ns()
        if self._idle:
            self._use(self._idle.popleft(), request, done, now)
        elif len(self._waiting) < self._max_waiting:
            self._waiting.append((request, done, now))
        else:
            done(0, b"", b"", 0)

    @property
    def quiet(self) -> bool:
        """Nothing is under way and nothing waits."""
        return not self.busy and not self._waiting

    def _use(self, connection: _Connection, request: bytes, done: Done, since_ns: int) -> None:
        self.busy += 1
        connection.send(request, done, since_ns)

    def finished(self) -> None:
        """A connection has its answer, or will never have it."""
        self.busy -= 1

    def idle(self, connection: _Connection) -> None:
        """A connection that can take a request: new, or done with its last one."""
        self._all.add(connection)
        if self._waiting:
            self._use(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._closed:
            task = asyncio.get_running_loop().create_task(self._reopen())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reopen(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            try:
                await loop.create_connection(lambda: _Connection(self), self._host, self._port)
                return
            except OSError:
                await asyncio.sleep(RECONNECT_S)

    def sweep(self) -> None:
        """Give up what has waited too long; to be called a few times a second."""
        now = time.monotonic_ns()
        for connection in [c for c in self._all if c.done is not None and now - c.since_ns > self._timeout_ns]:
            connection.abandon()
        while self._waiting and now - self._waiting[0][2] > self._timeout_ns:
            _, done, since = self._waiting.popleft()
            done(0, b"", b"", now - since)

    async def close(self) -> None:
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._all):
            connection.abandon()
        await asyncio.sleep(0)
