"""The cells of a node as one for Prometheus: each gives its counters on a Unix socket, the one that is scraped adds up.

SO_REUSEPORT lets any of the node's cells answer on the metrics port. Files, all in the cells' socket directory:

    CELL.metrics            Unix socket of a living cell: connect, read one encoded `Snapshot` to the end
    NAME.families           likewise of another process, such as the treasury: see `families.py`
    retired.counters        counters of cells that have ended, so that totals never fall when one of several leaves
    model-load-failures     one byte a failure, appended by the agent that failed (its process ends with it)
    node.lock               flock: held shared while a scrape reads, alone while a cell retires
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from campaign_express.families import SUFFIX as FAMILIES
from campaign_express.families import decode_families, merge_families
from campaign_express.gateway.http import Receive, Scope, Send
from campaign_express.gateway.meters import Counters, Meters, Snapshot, decode_snapshot, encode_snapshot
from campaign_express.gateway.metrics import NodeCollector, expose, merge

T = TypeVar("T")

SIBLING_TIMEOUT_S = 0.5
SUFFIX = ".metrics"
RETIRED, FAILURES, LOCK = "retired.counters", "model-load-failures", "node.lock"

_encode_counters = msgspec.msgpack.Encoder().encode
_decode_counters = msgspec.msgpack.Decoder(Counters).decode


class NodeMetrics:
    """This cell's part in the node's metrics, and the ASGI app of the metrics port (`GET /metrics`)."""

    def __init__(self, meters: Meters, directory: Path, refresh: Callable[[], None]) -> None:
        self._meters = meters
        self._directory = directory
        self._path = directory / f"{meters.cell}{SUFFIX}"
        self._refresh = refresh  # brings the gauges up to date
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Give our counters to siblings. The first cell of a node begins with nothing retired."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        living, _ = await self._siblings()
        if not living:
            (self._directory / RETIRED).unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._give, str(self._path))

    async def retire(self) -> None:
        """Leave our counters behind and go. Call it when nothing is counted any more."""
        if self._server is None:
            return
        self._server.close()
        await asyncio.to_thread(self._retire)

    def _retire(self) -> None:
        with _locked(self._directory, fcntl.LOCK_EX):
            total = _read_retired(self._directory) or Counters()
            total.add(self._meters.counters)
            temporary = self._directory / f"{RETIRED}.{os.getpid()}"
            temporary.write_bytes(_encode_counters(total))
            temporary.rename(self._directory / RETIRED)
            self._path.unlink(missing_ok=True)

    async def _give(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._refresh()
        with contextlib.suppress(OSError):
            writer.write(encode_snapshot(self._meters.snapshot()))
            await writer.drain()
        writer.close()

    async def _siblings(self) -> tuple[list[Snapshot], Counters | None]:
        """Snapshots of the other living cells, and what the ended ones left. Sockets of dead cells are swept."""
        lock = await asyncio.to_thread(_take, self._directory, fcntl.LOCK_SH)
        try:
            paths = [p for p in self._directory.glob(f"*{SUFFIX}") if p != self._path]
            found = await asyncio.gather(*(_ask(path, decode_snapshot) for path in paths))
            return [snapshot for snapshot in found if snapshot is not None], _read_retired(self._directory)
        finally:
            os.close(lock)

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The node's metrics: (body, content type)."""
        siblings, retired = await self._siblings()
        self._refresh()
        total, gauges = merge([self._meters.snapshot(), *siblings], retired)
        others = await asyncio.gather(*(_ask(p, decode_families) for p in self._directory.glob(f"*{FAMILIES}")))
        families = merge_families(found for found in others if found is not None)
        failures = self._directory / FAILURES
        count = failures.stat().st_size if failures.exists() else 0
        return expose(NodeCollector(total, gauges, count, families), accept)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, content_type, body = 404, "text/plain", b"metrics are at /metrics\n"
        if scope["path"] == "/metrics":
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            body, content_type = await self.render(accept)
            status = 200
        elif scope["path"] == "/health":
            status, body = 200, b"ok\n"
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        # Each scrape may meet another cell; a kept connection would hold up the draining of this one.
        headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def count_model_load_failure(directory: Path) -> None:
    """Remember that a model could not be loaded; the process that failed will not be there to be scraped."""
    with contextlib.suppress(OSError), (directory / FAILURES).open("ab") as file:
        file.write(b".")


async def _ask(path: Path, decode: Callable[[bytes], T]) -> T | None:
    try:
        async with asyncio.timeout(SIBLING_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                return decode(await reader.read())
            finally:
                writer.close()
    except ConnectionRefusedError:  # nobody listens: a cell that was killed
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except (OSError, TimeoutError, msgspec.DecodeError):
        pass  # just leaving, too busy, or of another version
    return None


def sweep(directory: Path) -> None:
    """Remove sockets of agents that were killed with their gateway (`ray stop`, kill -9): nobody listens there."""
    for path in directory.glob("*.sock*"):
        owner = path.suffix.removeprefix(".")
        if owner.isdigit() and Path("/proc", owner).exists():
            continue  # being made: bound under this name, not yet listening
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.settimeout(SIBLING_TIMEOUT_S)
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                pass


def _read_retired(directory: Path) -> Counters | None:
    try:
        return _decode_counters((directory / RETIRED).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _take(directory: Path, kind: int) -> int:
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, kind)
    return descriptor


@contextlib.contextmanager
def _locked(directory: Path, kind: int) -> Iterator[None]:
    descriptor = _take(directory, kind)
    try:
        yield
    finally:
        os.close(descriptor)
