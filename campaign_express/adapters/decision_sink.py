"""Frames of decisions to NATS JetStream, without anybody waiting for them. docs/events.md, "Decisions".

What JetStream has not acknowledged is kept in memory, up to `buffer_bytes`, and sent again when a connection was lost;
the frame's id is its message id, so that a frame that arrives twice is one. Beyond the bound the oldest frames that
wait are dropped and counted. No spool: decisions tell how we bid, not what we owe.

A frame that is dropped after a lost connection may have been stored before; so at most what is counted is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from zlib import crc32

import msgspec
from msgspec import Struct

from campaign_express.adapters.nats import CLOSE_S, MESSAGE_ID, Ack, Publisher, StreamTerms, keep_up
from campaign_express.errors import Unavailable
from campaign_express.events import DECISION_SUBJECTS, DECISIONS, decision_subject

log = logging.getLogger(__name__)

WINDOW = 64  # frames under way: a frame has some 50 KB, and what is under way is not dropped
OVERDUE_S = 5.0  # without an acknowledgement: the connection is made anew


class _Head(Struct, array_like=True, gc=False):
    """What of a `DecisionFrame` is read here: its events are passed on as they came."""

    schema: int
    id: str
    decisions: msgspec.Raw = msgspec.Raw(b"\x90")
    requests: msgspec.Raw = msgspec.Raw(b"\x90")


class _Frame(Struct, frozen=True, gc=False):
    id: str
    subject: str
    payload: bytes
    events: int


_read_head = msgspec.msgpack.Decoder(_Head).decode


class DecisionSink:
    """`offer` takes frames, in the event loop that `start` was called in; counts are read by whoever shows them."""

    def __init__(self, url: str, *, name: str, terms: StreamTerms, partitions: int, buffer_bytes: int) -> None:
        self._publisher = Publisher(url, name, terms, (DECISIONS, DECISION_SUBJECTS), self._on_ack, self._on_lost)
        self._partitions = partitions
        self._buffer_bytes = buffer_bytes
        self._waiting: deque[_Frame] = deque()  # oldest first
        self._under_way: dict[str, tuple[_Frame, float]] = {}  # by token, with the loop's time of sending
        self._number = 0
        self._refused = False
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._tending: asyncio.Task[None] | None = None
        self.pending_bytes = 0  # of all that is not acknowledged
        self.pending_events = 0
        self.published = 0  # events that JetStream has acknowledged
        self.dropped = 0  # events
        self.dropped_frames = 0

    def start(self) -> None:
        """Begin to connect. Frames are taken from now on, whether JetStream is there or not."""
        self._tending = asyncio.get_running_loop().create_task(
            keep_up(
                self._work,
                self._rest,
                self._on_lost,
                tell=("decisions wait for JetStream", "decisions are published again"),
                counts=lambda: {"dropped": self.dropped},
            )
        )

    def offer(self, payloads: Sequence[bytes]) -> None:
        """Take encoded frames, to be published when it can be done."""
        for payload in payloads:
            try:
                head = _read_head(payload)
                events = _length(head.decisions) + _length(head.requests)
            except msgspec.MsgspecError:
                log.exception("a frame of decisions cannot be read")
                self.dropped_frames += 1
                continue
            partition = crc32(head.id.encode()) % self._partitions
            self._waiting.append(_Frame(head.id, decision_subject(partition), payload, events))
            self.pending_bytes += len(payload)
            self.pending_events += events
        while self.pending_bytes > self._buffer_bytes and self._waiting:
            self._drop(self._waiting.popleft())
        if self._waiting:
            self._empty.clear()
            self._wake.set()

    async def close(self) -> None:
        """Returns when all is acknowledged, or soon; what is not by then is dropped and counted."""
        if self._tending is not None:
            if self._publisher.connected:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._empty.wait(), CLOSE_S)
            self._tending.cancel()
            await asyncio.wait([self._tending])
        await self._on_lost()
        while self._waiting:
            self._drop(self._waiting.popleft())
        if self.dropped_frames:
            log.warning("decisions were dropped", extra={"frames": self.dropped_frames, "events": self.dropped})

    def _drop(self, frame: _Frame) -> None:
        self._settle(frame)
        self.dropped += frame.events
        self.dropped_frames += 1

    def _settle(self, frame: _Frame) -> None:
        """It is pending no more."""
        self.pending_bytes -= len(frame.payload)
        self.pending_events -= frame.events

    async def _work(self) -> None:
        if not self._publisher.connected:
            await self._publisher.connect()
        await self._send()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), OVERDUE_S)
        self._wake.clear()

    async def _send(self) -> None:
        """Send what waits, as far as there is room. Raises one of TROUBLE where JetStream takes nothing."""
        if self._refused:
            self._refused = False
            raise Unavailable("JetStream refuses a frame")
        now = asyncio.get_running_loop().time()
        oldest = next(iter(self._under_way.values()), None)
        if oldest is not None and now - oldest[1] > OVERDUE_S:
            raise TimeoutError("JetStream does not acknowledge")
        while self._waiting and len(self._under_way) < WINDOW:
            frame = self._waiting.popleft()
            self._number += 1
            token = str(self._number)
            self._under_way[token] = frame, now
            await self._publisher.send(token, frame.subject, frame.payload, {MESSAGE_ID: frame.id})

    def _on_ack(self, token: str, ack: Ack | None) -> None:
        found = self._under_way.pop(token, None)
        if found is None:
            return
        frame, _ = found
        if ack is None or not ack.stream or ack.error:
            # Nobody has the stream, or it has no room: tried again with the next connection, which sees to the stream.
            self._waiting.appendleft(frame)
            log.debug("JetStream refuses a frame", extra={"error": str(ack.error) if ack else "no stream"})
            self._refused = True
            self._wake.set()
            return
        self._settle(frame)
        self.published += frame.events
        if self._waiting:
            self._wake.set()
        elif not self._under_way:
            self._empty.set()

    async def _on_lost(self) -> None:
        """What was under way is sent again, first."""
        self._waiting.extendleft(frame for frame, _ in reversed(self._under_way.values()))
        self._under_way.clear()
        await self._publisher.disconnect()
        self._wake.set()


def _length(array: msgspec.Raw) -> int:
    """Elements of an encoded MessagePack array, by its header."""
    head = bytes(memoryview(array)[:5])
    if head[0] & 0xF0 == 0x90:
        return head[0] & 0x0F
    if head[0] == 0xDC:
        return int.from_bytes(head[1:3], "big")
    if head[0] == 0xDD:
        return int.from_bytes(head[1:5], "big")
    raise msgspec.ValidationError("is no array")
