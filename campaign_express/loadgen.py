"""Open-loop HTTP/1.1 load: what an exchange does to a bidder, and an honest account of how it was answered.

Arrivals are a Poisson process fixed in advance: none ever waits for an answer, and every latency counts from the moment
the request was due, not from when it could be sent. A slow server (or a slow generator) therefore lengthens the figures
instead of thinning out the load, which is the "coordinated omission" of closed-loop tools. A request that times out
counts with the time it was waited for.

The generator measures itself too: how late it served its own arrivals. Where that lateness is a good part of the
latency, the report says so (`measures_generator`). Timers of event loops are too coarse for this (1 ms in libuv), so
arrivals are woken by a Linux timerfd, and by the loop's own timer elsewhere.
"""

from __future__ import annotations

import asyncio
import collections
import ctypes
import gc
import os
import random
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from campaign_express.loadreport import LoadReport, Quantiles, Tally

MAX_HEAD = 65_536  # bytes of response head; a longer one is malformed
SWEEP_S = 0.1  # period of the look for timed-out requests and of progress reports
BURST = 64  # late arrivals served before answers are read again

Progress = Callable[[float, int, int], None]  # seconds since the start, requests sent, requests finished


class _Tmax(msgspec.Struct):
    tmax: int = 0


def _tmax_ns(body: bytes, default_ms: float) -> int:
    """What a bid request allows for its answer; the default for a body that names nothing or is not JSON."""
    try:
        named = msgspec.json.decode(body, type=_Tmax).tmax
    except msgspec.MsgspecError:
        named = 0
    return int((named or default_ms) * 1e6)


class _Connection(asyncio.Protocol):
    """A keep-alive connection with at most one request under way. `due` is that request's time, 0 without one."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._transport: asyncio.Transport
        self.due = 0
        self.tmax = 0
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def send(self, due: int, request: bytes, tmax: int) -> None:
        self.due, self.tmax = due, tmax
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        while end > 0 and data[9:10] == b"1":  # an interim answer (100 Continue) stands before the real one
            data = data[end + 4 :]
            end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            if len(data) > MAX_HEAD:
                self._broken()
            return
        head = data[:end].lower()
        last = b"\r\nconnection: close" in head
        try:
            status = int(head[9:12])
            length = _content_length(head, status)
        except ValueError:
            self._broken()
            return
        if length is None and last:  # the body ends with the connection
            self._buffer = data
            return
        if length is None or not self.due or len(data) > end + 4 + length:
            self._broken()
            return
        if len(data) < end + 4 + length:
            self._buffer = data
            return
        self._buffer = b""
        self._finish(status, data, last)

    def _finish(self, status: int, data: bytes, last: bool) -> None:
        due, self.due = self.due, 0
        self._load.answered(self, due, status, status == 200 and b'"seatbid"' in data, last)

    def _broken(self) -> None:
        due, self.due = self.due, 0
        self.open = False
        self._load.lost(self, due, "malformed")
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        due = self.due
        if due and self._buffer and b"\r\n\r\n" in self._buffer and b"content-length" not in self._buffer.lower():
            self._finish(int(self._buffer[9:12]), self._buffer, last=True)
            return
        self.due = 0
        self._load.lost(self, due, "closed" if error is None else "reset")

    def close(self) -> None:
        self.open = False
        self._transport.close()

    def abandon(self) -> None:
        """Drop the connection and forget its request, which the caller has counted."""
        self.due = 0
        self.open = False
        self._transport.abort()


def _content_length(head: bytes, status: int) -> int | None:
    """Bytes of body by the lower-case response head; None where it does not say. Raises ValueError for a bad number."""
    if status == 204 or status == 304:
        return 0
    start = head.find(b"\r\ncontent-length:")
    if start < 0:
        return None
    stop = head.find(b"\r\n", start + 17)
    return int(head[start + 17 : stop if stop > 0 else len(head)])


class _Alarm:
    """Calls `ring` at given CLOCK_MONOTONIC times, one at a time, to tens of microseconds where timerfd exists."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._fd = -1
        self._handle: asyncio.TimerHandle | None = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            self._time = (ctypes.c_long * 4)()  # struct itimerspec: interval s, ns; value s, ns
            self._time_ref = ctypes.byref(self._time)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._on_readable)

    def set(self, at_ns: int) -> None:
        if self._fd < 0:
            self._handle = self._loop.call_later(max(0, at_ns - time.monotonic_ns()) / 1e9, self._ring)
            return
        self._time[2], self._time[3] = divmod(at_ns, 1_000_000_000)
        self._libc.timerfd_settime(self._fd, 1, self._time_ref, None)  # 1: TFD_TIMER_ABSTIME

    def _on_readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # set again since it rang
            return
        self._ring()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)


class Load:
    """One run of load; `await Load(...).run()`, or `run_load(...)` outside an event loop.

    POSTs `bodies` in turn to `url`, `rate` a second on average, for `duration_s` seconds. `connections` are opened
    beforehand and kept alive; more are opened, up to `max_connections`, when all are busy. Idle ones are used in turn
    (longest idle first), so that all of them, and so all cells behind one port, share the load. After a share `churn`
    of the answers the connection is closed by us. `tmax_ms` judges lateness where a body has no tmax of its own.

    Raises ValueError for arguments that make no sense. A server that is not there is no exception but so many refusals.
    """

    def __init__(
        self,
        url: str,
        rate: float,
        duration_s: float,
        bodies: Sequence[bytes],
        connections: int = 64,
        *,
        max_connections: int = 4096,
        churn: float = 0.0,
        timeout_s: float = 3.0,
        tmax_ms: float = 100.0,
        headers: Mapping[str, str] | None = None,
        seed: int = 1,
        on_progress: Progress | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http or https URL: {url!r}")
        if not (rate > 0 and duration_s > 0 and timeout_s > 0 and 0 <= churn <= 1 and bodies):
            raise ValueError("rate, duration and timeout must be above 0, churn between 0 and 1, and a body is needed")
        self._host, self._tls = parts.hostname, ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._rate, self._duration_ns = rate, int(duration_s * 1e9)
        self._timeout_ns = int(timeout_s * 1e9)
        self._connections, self._max_connections, self._churn = connections, max_connections, churn
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = {"Host": parts.netloc.rpartition("@")[2], "Content-Type": "application/json", **(headers or {})}
        head = f"POST {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._requests = [
            (head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body, _tmax_ns(body, tmax_ms))
            for body in bodies
        ]
        self._random = random.Random(seed)  # noqa: S311 (arrival times, not secrets)
        self._on_progress = on_progress
        self._tally = Tally()
        self._idle: collections.deque[_Connection] = collections.deque()
        self._busy: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._next = 0

    async def run(self) -> LoadReport:
        """Returns once every request is answered, has failed or has timed out."""
        self._loop = loop = asyncio.get_running_loop()
        await asyncio.gather(*(self._open() for _ in range(self._connections)))
        self._alarm = _Alarm(loop, self._arrive)
        collects = gc.isenabled()
        gc.disable()  # a collection in between would be measured as the server's
        try:
            self._start = self._tally.last_ns = self._due = time.monotonic_ns()
            self._end = self._start + self._duration_ns
            self._schedule()
            while self._due < self._end or self._busy or self._opening:
                await asyncio.sleep(SWEEP_S)
                self._sweep()
        finally:
            self._alarm.close()
            if collects:
                gc.enable()
            for connection in (*self._idle, *self._busy):
                connection.abandon()
        return self._report()

    def _schedule(self) -> None:
        self._due += int(self._random.expovariate(self._rate) * 1e9) + 1
        if self._due < self._end:
            self._alarm.set(self._due)

    def _arrive(self) -> None:
        """Serve every arrival that is due, and set the alarm for the next one."""
        for _ in range(BURST):
            now = time.monotonic_ns()
            if self._due > now or self._due >= self._end:
                break
            self._tally.lags.append(now - self._due)
            self._dispatch(self._due, now)
            self._due += int(self._random.expovariate(self._rate) * 1e9) + 1
        if self._due < self._end:
            self._alarm.set(self._due)

    def _dispatch(self, due: int, now: int) -> None:
        request, tmax = self._requests[self._next % len(self._requests)]
        self._next += 1
        self._tally.sent += 1
        while self._idle:
            connection = self._idle.popleft()
            if connection.open:
                self._busy.add(connection)
                connection.send(due, request, tmax)
                return
        if len(self._busy) + len(self._opening) >= self._max_connections:
            self._tally.fail("exhausted", now)
            return
        task = self._loop.create_task(self._open(due, request, tmax))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, due: int = 0, request: bytes = b"", tmax: int = 0) -> None:
        """A new connection, for one request or (without one) for the pool."""
        kind = ""
        try:
            async with asyncio.timeout(self._timeout_ns / 1e9):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self), self._host, self._port, ssl=self._tls
                )
        except ConnectionRefusedError:
            kind = "refused"
        except ConnectionResetError:
            kind = "reset"
        except TimeoutError:
            kind = "timeout"
        except OSError:  # no file descriptor or no local port is left; no route
            kind = "exhausted"
        if kind:
            if due:
                now = time.monotonic_ns()
                self._tally.fail(kind, now, now - due if kind == "timeout" else 0)
            return
        self._tally.connects += 1
        if not due:
            self._idle.append(connection)
        elif connection.open:
            self._busy.add(connection)
            connection.send(due, request, tmax)
        else:
            self._tally.fail("reset", time.monotonic_ns())

    def answered(self, connection: _Connection, due: int, status: int, bid: bool, last: bool) -> None:
        self._tally.answer(time.monotonic_ns(), due, connection.tmax, status, bid)
        self._busy.discard(connection)
        if last or not connection.open or (self._churn and self._random.random() < self._churn):
            connection.close()
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection, due: int, kind: str) -> None:
        self._busy.discard(connection)
        if due:
            self._tally.fail(kind, time.monotonic_ns())

    def _sweep(self) -> None:
        now = time.monotonic_ns()
        for connection in [c for c in self._busy if now - c.due > self._timeout_ns]:
            self._tally.fail("timeout", now, now - connection.due)
            self._busy.discard(connection)
            connection.abandon()
        if self._on_progress is not None:
            done = self._tally.answered + len(self._tally.failure_ns)
            self._on_progress(min(now, self._end) / 1e9 - self._start / 1e9, self._tally.sent, done)

    def _report(self) -> LoadReport:
        tally = self._tally
        since_start = [(at - self._start) / 1e9 for at in tally.failure_ns]
        return LoadReport(
            rate=self._rate,
            duration_s=self._duration_ns / 1e9,
            sent=tally.sent,
            answered=tally.answered,
            bids=tally.bids,
            failed=len(tally.failure_ns),
            failures=dict(tally.failures),
            late=tally.late,
            latency=Quantiles.of(tally.latencies),
            generator_lag=Quantiles.of(tally.lags),
            connects=tally.connects,
            longest_gap_s=round(max(tally.gap_ns, self._end - tally.last_ns) / 1e9, 4),
            first_failure_s=round(min(since_start), 4) if since_start else None,
            last_failure_s=round(max(since_start), 4) if since_start else None,
        )


P = ParamSpec("P")


def _in_own_loop(load: Callable[P, Load]) -> Callable[P, LoadReport]:
    def run(*args: P.args, **kwargs: P.kwargs) -> LoadReport:
        return uvloop.run(load(*args, **kwargs).run())

    return run


run_load = _in_own_loop(Load)
