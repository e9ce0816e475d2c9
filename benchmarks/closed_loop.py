"""Closed-loop load, where every connection asks again once it is answered: how much a server can do.

wrk does it (Debian package, C, little of the machine's time); where it is absent an own client in Python does, which
takes so much time itself that its figures only compare with each other.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

SCRIPT = Path(__file__).with_name("cycle.lua")
INSTALL = "wrk is absent (`sudo apt-get install wrk`): a slower client of our own stands in, and lowers all figures"


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """Outcome of one run. Latencies in milliseconds."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    bytes_an_answer: float  # heads included: a server that answers "no bid" to everything shows here


def client() -> str:
    """Which client `run` uses: "wrk" or "own"."""
    return "wrk" if shutil.which("wrk") else "own"


def run(url: str, bodies: Path, seconds: float, connections: int = 64) -> ClosedLoop:
    """Load `url` with the lines of `bodies`. Raises RuntimeError when the client fails."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return uvloop.run(_own(url, bodies.read_bytes().splitlines(), seconds, connections))
    whole = max(1, math.ceil(seconds))  # wrk takes whole seconds
    command = [wrk, "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "5s", "-s", str(SCRIPT), url, "--"]
    command.append(str(bodies))
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    return parse_wrk(done.stdout, done.stdout + done.stderr)


def parse_wrk(output: str, everything: str = "") -> ClosedLoop:
    """Reads the line that cycle.lua prints. Raises RuntimeError where there is none."""
    line = next((line for line in output.splitlines() if line.startswith("FIGURES ")), None)
    if line is None:
        raise RuntimeError(f"wrk printed no figures:\n{everything or output}")
    requests, duration_us, received, p50_us, p99_us, errors = (int(field) for field in line.split()[1:])
    return ClosedLoop(requests / (duration_us / 1e6), p50_us / 1e3, p99_us / 1e3, errors, received / max(1, requests))


async def _own(url: str, bodies: Sequence[bytes], seconds: float, connections: int) -> ClosedLoop:
    host, _, port = url.split("/")[2].partition(":")
    path = "/" + url.split("/", 3)[3]
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: ".encode()
    requests = [head + b"%d\r\n\r\n" % len(body) + body for body in bodies]
    latencies: list[float] = []
    errors = turn = received = 0
    start = time.perf_counter()
    end = start + seconds

    async def one() -> None:
        nonlocal errors, turn, received
        reader, writer = await asyncio.open_connection(host, int(port))
        while (asked := time.perf_counter()) < end:
            turn += 1
            writer.write(requests[turn % len(requests)])
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"content-length: " in answer:
                length = int(answer.split(b"content-length: ")[1].split(b"\r\n")[0])
                received += len(await reader.readexactly(length))
            received += len(answer)
            errors += answer[9:10] != b"2"
            latencies.append(time.perf_counter() - asked)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    latencies.sort()

    def at(share: float) -> float:
        return latencies[max(0, math.ceil(share * len(latencies)) - 1)] * 1e3

    elapsed = time.perf_counter() - start
    return ClosedLoop(len(latencies) / elapsed, at(0.5), at(0.99), errors, received / max(1, len(latencies)))
