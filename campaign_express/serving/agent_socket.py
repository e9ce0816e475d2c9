"""An agent's end of the Unix socket: reads batches, lets the bidder answer, writes replies. Imports no ray.

One thread serves one connection; an agent has one gateway, so there is one such thread but for the moment of a
reconnection. Batches are decided under a lock, one at a time; explanations (asked for by Ray in another thread) run
beside them. When a reply is sent and no further batch follows within QUIET_S, the bidder is told so (`idle`): what it
has put off until nobody waits is done then. Under steady load there is no such pause, and it travels with the next
batch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from typing import Any, Protocol

from campaign_express import frames
from campaign_express.clock import Clock
from campaign_express.frames import HEADER, Ask, Reply, Timings

logger = logging.getLogger(__name__)

PIECE = 1 << 16  # read at a time: a larger buffer would be mapped anew for every read
MESSAGE_LIMIT = 1 << 30  # a longer length is not ours
QUIET_S = 0.02  # without a batch: nobody waits


class Answering(Protocol):
    """The part of `bidder.Bidder` that an agent uses on the data path."""

    catalog_version: int

    def idle(self) -> None:
        """Nobody waits for an answer just now."""
        ...

    def events(self) -> list[bytes]:
        """Frames of all that has been decided and not been told yet."""
        ...

    def answer(self, asks: list[Ask], now_ns: int, wall_ms: int) -> Reply: ...

    def explain(self, body: bytes, exchange: str, wall_ms: int) -> dict[str, Any]: ...


class AgentSocket:
    """Serves `bidder` at the Unix socket `path`. Construct it when the bidder is warm: listening means ready."""

    def __init__(self, bidder: Answering, path: str, clock: Clock = Clock()) -> None:  # noqa: B008  # it is frozen
        self.bidder = bidder
        self.clock = clock
        self.path = path
        self.batches = 0
        self.requests = 0
        self.failures = 0
        self._lock = threading.Lock()
        # Bound under another name and renamed: whoever connects to `path` finds a socket that listens, and a stale file
        # of a predecessor is replaced in one step.
        temporary = f"{path}.{os.getpid()}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        self._listener.bind(temporary)
        self._listener.listen(4)
        os.rename(temporary, path)
        threading.Thread(target=self._accept, name="agent-accept", daemon=True).start()

    def close(self) -> None:
        """Stop listening and remove the socket file. Open connections end with the process."""
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def explain(self, body: bytes, exchange: str) -> dict[str, Any]:
        # Not under the lock: with a large catalogue it takes longer than a gateway waits for an agent. What it shares
        # with batches are remembered masks, each read and written in one step.
        return self.bidder.explain(body, exchange, self.clock.now_ms())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), name="agent-serve", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                stream = _Stream(connection)
                with self._lock:  # a bidder that hangs greets nobody, so that no gateway counts on it
                    greeting = Reply([], Timings(), self.bidder.catalog_version)
                _send(connection, greeting)
                while (payload := stream.message()) is not None:
                    _send(connection, self._reply(frames.decode_batch(payload).asks))
                    if not stream.more(QUIET_S):
                        self._idle()
        except OSError:
            pass  # the gateway has gone; the next one connects anew
        except Exception:
            logger.exception("connection to the gateway failed")

    def _reply(self, asks: list[Ask]) -> Reply:
        bidder = self.bidder
        if not asks:  # a heartbeat: time to tell what there is
            return Reply([], Timings(), bidder.catalog_version, self._events())
        self.batches += 1
        self.requests += len(asks)
        try:
            with self._lock:
                return bidder.answer(asks, time.monotonic_ns(), self.clock.now_ms())
        except Exception:
            # `answer` never raises; should it, the agent and the other batches live on. A reply without answers has the
            # gateway answer this one, in the way that each exchange wants its no-bids.
            self.failures += 1
            if self.failures & (self.failures - 1) == 0:  # 1st, 2nd, 4th, ...: a storm must not fill the log
                logger.exception("deciding a batch failed", extra={"failures": self.failures})
            return Reply([], Timings(), bidder.catalog_version)

    def _events(self) -> list[bytes]:
        try:
            with self._lock:
                return self.bidder.events()
        except Exception:
            self.failures += 1
            logger.exception("what was decided could not be told")
            return []

    def _idle(self) -> None:
        try:
            with self._lock:
                self.bidder.idle()
        except Exception:
            self.failures += 1
            logger.exception("what was put off has failed")


class _Stream:
    """Messages from a connection, and whether another one is there already."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._read = bytearray()
        self._arrivals = select.poll()
        self._arrivals.register(connection, select.POLLIN)

    def message(self) -> bytes | None:
        """The next message; None at the end, or where a length is not one of ours."""
        if not self._fill(HEADER.size):
            return None
        size = HEADER.unpack_from(self._read)[0]
        if size > MESSAGE_LIMIT or not self._fill(HEADER.size + size):
            return None
        payload = bytes(memoryview(self._read)[HEADER.size : HEADER.size + size])
        del self._read[: HEADER.size + size]
        return payload

    def more(self, wait_s: float) -> bool:
        """Whether something of a further message, or the end, is there or comes within `wait_s`."""
        return bool(self._read) or bool(self._arrivals.poll(wait_s * 1000))

    def _fill(self, size: int) -> bool:
        while len(self._read) < size:
            piece = self._connection.recv(PIECE)
            if not piece:
                return False
            self._read += piece
        return True


def _send(connection: socket.socket, reply: Reply) -> None:
    payload = frames.encode(reply)
    connection.sendall(HEADER.pack(len(payload)) + payload)
