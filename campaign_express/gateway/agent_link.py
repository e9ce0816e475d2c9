"""One agent's end of the line at the gateway: its Unix socket, and the batches in its hands."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from typing import NamedTuple, Protocol, cast

from campaign_express import frames
from campaign_express.frames import HEADER, Answer, Ask, Batch, Reply, StateCounts

_PEER = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class Waiter(Protocol):
    """Who waits for an answer: a future, or something as thin as one."""

    def done(self) -> bool:
        """Nobody waits any more."""
        ...

    def set_result(self, answer: Answer, /) -> None: ...


Waiting = tuple[Ask, Waiter]


class Sent(NamedTuple):
    """A batch in an agent's hands."""

    waiting: list[Waiting]
    sent_ns: int
    retried: bool


class LinkOwner(Protocol):
    """What a link tells the pool that it belongs to."""

    def link_up(self, link: AgentLink) -> None: ...

    def replied(self, link: AgentLink, sent: Sent, reply: Reply) -> None: ...

    def link_lost(self, link: AgentLink) -> None: ...


class AgentLink(asyncio.Protocol):
    """One agent's Unix socket: batches out, replies in, in order. Up once the agent has sent its greeting.

    The greeting is a `Reply` without answers. An agent that hangs accepts connections (its kernel does) but greets
    nobody, so it is given no work.
    """

    def __init__(self, pool: LinkOwner, path: str) -> None:
        loop = asyncio.get_running_loop()
        self.path = path
        self.pending: deque[Sent] = deque()
        self.pid = 0
        self.catalog_version = 0
        self.heard_ns = 0
        self.state = StateCounts()  # as the agent told it last
        self.greeted: asyncio.Future[bool] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []  # of the message that is not complete yet
        self._have = 0
        self._need = HEADER.size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        self.pid = _PEER.unpack(peer)[0]

    def close(self) -> None:
        """Break the link; `connection_lost` follows and sees to what was pending."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, sent: Sent) -> None:
        assert self._transport is not None
        self.pending.append(sent)
        payload = frames.encode(Batch([ask for ask, _ in sent.waiting]))
        self._transport.write(HEADER.pack(len(payload)) + payload)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return  # a long reply comes in pieces: joined once, when whole
        buffer = data if len(self._parts) == 1 else b"".join(self._parts)
        at, size = 0, len(buffer)
        while size - at >= HEADER.size:
            end = at + HEADER.size + HEADER.unpack_from(buffer, at)[0]
            if end > size:
                self._need = end - at
                break
            self._replied(frames.decode_reply(memoryview(buffer)[at + HEADER.size : end]))
            at = end
        else:
            self._need = HEADER.size
        rest = buffer[at:]
        self._parts = [rest] if rest else []
        self._have = len(rest)

    def _replied(self, reply: Reply) -> None:
        self.catalog_version = reply.catalog_version
        self.heard_ns = time.monotonic_ns()
        if not self.greeted.done():
            self.greeted.set_result(True)
            self._pool.link_up(self)
        else:
            self._pool.replied(self, self.pending.popleft(), reply)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.greeted.done():
            self.greeted.set_result(False)
        self._pool.link_lost(self)
        if not self.lost.done():
            self.lost.set_result(None)
