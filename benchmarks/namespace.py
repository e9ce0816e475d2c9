"""Programs in namespaces of their own, whose clusters see no other process and no other port, and what they share."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct, field

from campaign_express.loadgen import run_load
from campaign_express.loadreport import LoadReport

SPELL_S = 3.0  # of load with the same connections
BODY = b'{"id":"r","tmax":1000,"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]},"bidfloor":0.01}]}'


def command() -> list[str]:
    """What runs a command in PID and network namespaces of its own, which end with it.

    Raises RuntimeError where this user may not make them, with the reason.
    """
    refusals = []
    for as_root in ([], ["--map-root-user"]):  # the latter for users other than root
        words = ["unshare", *as_root, "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
        try:
            done = subprocess.run([*words, "true"], capture_output=True, text=True, timeout=10)
        except OSError as error:
            raise RuntimeError(f"unshare (of util-linux) cannot be run: {error}") from None
        if not done.returncode:
            return words
        refusals.append(done.stderr.strip())
    raise RuntimeError("namespaces cannot be made here: " + "; ".join(refusals))


def loopback_up() -> None:
    """In a new network namespace it is down."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket() as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, get_flags, request))[1]
        fcntl.ioctl(sock, set_flags, struct.pack("16sh14x", b"lo", flags | up))


def resident_mb() -> int:
    """Of all processes of this PID namespace, what they share (most of it libraries) in parts."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*/smaps_rollup"):
        try:
            lines = entry.read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total // 1024


class Stream:
    """Load at a rate, spell after spell, each with connections of its own, until the end of the block."""

    def __init__(self, url: str, rate: float) -> None:
        self.reports: list[LoadReport] = []
        self.error: BaseException | None = None
        self._url, self._rate = url, rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self.reports.append(run_load(self._url, self._rate, SPELL_S, [BODY], connections=16))
        except BaseException as error:  # told to whoever leaves the block
            self.error = error


class Served(Struct):
    """Of all spells together."""

    sent: int = 0
    bids: int = 0
    failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    longest_gap_s: float = 0.0  # without any answer

    def add(self, reports: Iterable[LoadReport]) -> Served:
        for report in reports:
            self.sent += report.sent
            self.bids += report.bids
            self.failed += report.failed
            self.longest_gap_s = max(self.longest_gap_s, round(report.longest_gap_s, 3))
            for kind, count in report.failures.items():
                self.failures[kind] = self.failures.get(kind, 0) + count
        return self


def wait_for(condition: Callable[[], bool], seconds: float, what: str, told: Callable[[], object] = str) -> float:
    """Seconds until the condition held. Raises RuntimeError, with what `told` returns, where it does not in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise RuntimeError(f"not within {seconds:.0f} s: {what} {told()}")
        time.sleep(0.2)
    return round(time.monotonic() - began, 1)


def end_in(seconds: float, directory: Path, logs: str) -> threading.Timer:
    """A timer that gives up: see `give_up`."""
    timer = threading.Timer(seconds, give_up, [directory, logs])
    timer.daemon = True
    timer.start()
    return timer


def give_up(directory: Path, logs: str) -> None:
    """Show the ends of the logs that match below the directory, and end this process: in a PID namespace, all of it."""
    for log in sorted(directory.rglob(logs)):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr, flush=True)
    os._exit(1)
