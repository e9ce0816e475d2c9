"""A spool on the local disk: records that must outlive the process and wait for a broker that is away.

A record is durable when `append` returns: written and fsynced together with all that came while the disk was busy with
the ones before (group commit). The spool of a cell is a row of segment files in a directory that the cells of a node
share:

    <time ns>-<owner>.spool    "CXSPOOL1", then records: length and CRC-32 of the payload (little endian), payload

A segment belongs to whoever holds a lock on its file, and a process that dies lets go of its locks: `adopt` takes over
what the dead left. A segment is removed when all its records have been delivered, so that a crash in between delivers
some twice, never none. Records behind a torn one were never acknowledged to anybody, since a batch is acknowledged
after its fsync; a segment that is damaged in its middle is kept aside for an operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import logging
import os
import re
import struct
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from campaign_express.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

SUFFIX = ".spool"
NEW = ".new"  # a segment that is not locked yet
DAMAGED = ".damaged"
MAGIC = b"CXSPOOL1"
SEGMENT_BYTES = 8_388_608  # a segment is closed beyond this, and removed as a whole
BATCH = 256  # records delivered together

_frame = struct.Struct("<II")
_unsafe = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(slots=True, eq=False)
class Segment:
    """One file, locked by us as long as `descriptor` is open."""

    path: Path
    descriptor: int
    size: int  # bytes known to be on disk
    records: int


class Spool:
    """Used from one event loop. A thread of its own writes, reads and removes the files."""

    def __init__(self, directory: Path, owner: str, *, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._owner = _unsafe.sub("_", owner)[:80]
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._current: Segment | None = None  # touched by the thread alone
        self._closed: deque[Segment] = deque()  # oldest first, likewise
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._waiting_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self.bytes = 0  # on disk
        self.records = 0  # on disk; those of adopted segments are counted once they are read
        self.torn = 0  # segments that ended in a record which a crash had cut
        self.damaged = 0  # segments kept aside

    @property
    def empty(self) -> bool:
        return not self.bytes

    async def open(self) -> None:
        """Make the directory, and adopt what dead processes left. Raises Unavailable."""
        try:
            await self._run(lambda: self._directory.mkdir(mode=0o700, parents=True, exist_ok=True))
        except OSError as error:
            raise Unavailable(f"the spool cannot be opened: {error.strerror or error}") from None
        await self.adopt()

    async def append(self, payload: bytes) -> None:
        """Returns when the record is on disk. Raises Unavailable when the spool is full or the disk fails."""
        size = _frame.size + len(payload)
        if self.bytes + self._waiting_bytes + size > self._max_bytes:
            raise Unavailable(f"the spool is full ({self._max_bytes} bytes)")
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((_frame.pack(len(payload), zlib.crc32(payload)) + payload, written))
        self._waiting_bytes += size
        if self._writer is None:
            self._writer = loop.create_task(self._write_waiting())
        await written

    async def adopt(self) -> int:
        """Take over segments whose owners are dead; returns how many there were."""
        return await self._run(self._adopt)

    async def drain(self, deliver: Callable[[Sequence[bytes]], Awaitable[None]]) -> int:
        """Deliver all records, oldest first, at most BATCH at once, and remove what was delivered.

        Returns how many. What `deliver` raises ends it; the segment's records will then be delivered again.
        """
        done = 0
        await self._run(self._close_current)
        while self._closed:
            segment = self._closed[0]
            payloads, intact = await self._run(functools.partial(self._read, segment))
            for start in range(0, len(payloads), BATCH):
                await deliver(payloads[start : start + BATCH])
            done += len(payloads)
            await self._run(functools.partial(self._remove, segment, intact))
        return done

    async def close(self) -> None:
        """Wait for what is being written, then let go of the files, for the next process to adopt."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        await self._run(self._release)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                data = b"".join([frame for frame, _ in batch])
                failure = await self._run(functools.partial(self._write, data, len(batch)))
                self._waiting_bytes -= len(data)
                for _, written in batch:
                    if written.done():
                        continue
                    if failure is None:
                        written.set_result(None)
                    else:
                        written.set_exception(Unavailable(f"the spool cannot be written: {failure}"))
        finally:
            self._writer = None

    # In the thread.

    def _write(self, data: bytes, records: int) -> str | None:
        """Append `data` and make it durable; returns what went wrong."""
        try:
            segment = self._current or self._create()
        except OSError as error:
            return error.strerror or str(error)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(segment.descriptor, rest) :]
            os.fdatasync(segment.descriptor)
        except OSError as error:
            # After a failed fsync nobody knows what of this file is on disk: begin another one.
            with contextlib.suppress(OSError):
                os.ftruncate(segment.descriptor, segment.size)
            self._close_current()
            return error.strerror or str(error)
        segment.size += len(data)
        segment.records += records
        self.bytes += len(data)
        self.records += records
        if segment.size >= self._segment_bytes:
            self._close_current()
        return None

    def _create(self) -> Segment:
        """A new segment, locked before anybody can see it as one."""
        try:
            return self._create_once()
        except (BlockingIOError, FileNotFoundError):  # another process took it for a dead one's before we had the lock
            return self._create_once()

    def _create_once(self) -> Segment:
        final = self._directory / f"{time.time_ns():020d}-{self._owner}{SUFFIX}"
        fresh = final.with_suffix(NEW)
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, MAGIC)
            os.fsync(descriptor)
            fresh.rename(final)
            self._sync_directory()
        except OSError:
            os.close(descriptor)
            fresh.unlink(missing_ok=True)
            raise
        self._current = Segment(final, descriptor, len(MAGIC), 0)
        self.bytes += len(MAGIC)
        return self._current

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _close_current(self) -> None:
        if self._current is not None:
            self._closed.append(self._current)
            self._current = None

    def _adopt(self) -> int:
        ours = {segment.path.name for segment in self._closed}
        if self._current is not None:
            ours.add(self._current.path.name)
        found: list[Segment] = []
        for path in sorted(self._directory.iterdir()):
            if path.name in ours or path.suffix not in (SUFFIX, NEW):
                continue
            descriptor = _lock(path)
            if descriptor is None:
                continue
            if path.suffix == NEW:  # nothing was ever acknowledged from there
                path.unlink(missing_ok=True)
                os.close(descriptor)
                continue
            segment = Segment(path, descriptor, os.fstat(descriptor).st_size, 0)
            found.append(segment)
            self.bytes += segment.size
        self._closed.extendleft(reversed(found))
        if found:
            log.warning("the spool of a dead process is taken over", extra={"segments": len(found)})
        return len(found)

    def _read(self, segment: Segment) -> tuple[list[bytes], bool]:
        """A segment's records, and whether nothing but a cut end is missing."""
        data = os.pread(segment.descriptor, os.fstat(segment.descriptor).st_size, 0)
        payloads = list(read_records(data))
        end = len(MAGIC) + sum(_frame.size + len(payload) for payload in payloads)
        intact = True
        if end < len(data):
            intact = _is_cut(data[end:]) and (data.startswith(MAGIC) or len(data) < len(MAGIC))
            if intact:
                self.torn += 1
            log.warning(
                "a spool segment ends in a record that was cut" if intact else "a spool segment is damaged",
                extra={"segment": segment.path.name, "at": end, "bytes": len(data) - end},
            )
        self.records += len(payloads) - segment.records
        segment.records = len(payloads)
        return payloads, intact

    def _remove(self, segment: Segment, intact: bool) -> None:
        if intact:
            segment.path.unlink(missing_ok=True)
        else:
            self.damaged += 1
            segment.path.replace(segment.path.with_suffix(DAMAGED))
        self._closed.remove(segment)
        os.close(segment.descriptor)
        self.bytes -= segment.size
        self.records -= segment.records

    def _release(self) -> None:
        self._close_current()
        for segment in self._closed:
            if segment.size <= len(MAGIC):
                segment.path.unlink(missing_ok=True)
            os.close(segment.descriptor)
        self._closed.clear()


def read_records(data: bytes) -> Iterator[bytes]:
    """Payloads of a segment's bytes, up to the first that is not whole."""
    if not data.startswith(MAGIC):
        return
    at = len(MAGIC)
    while at + _frame.size <= len(data):
        length, check = _frame.unpack_from(data, at)
        payload = data[at + _frame.size : at + _frame.size + length]
        if not length or len(payload) < length or zlib.crc32(payload) != check:
            return
        yield payload
        at += _frame.size + length


def _is_cut(rest: bytes) -> bool:
    """Whether these bytes look like what a crash leaves: a record longer than the file, or blocks never written."""
    if len(rest) < _frame.size or not rest.strip(b"\0"):
        return True
    length, _ = _frame.unpack_from(rest)
    return bool(_frame.size + length >= len(rest))


def _lock(path: Path) -> int | None:
    """A descriptor that locks the file; None when another has it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:  # else its owner removed it just now
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
