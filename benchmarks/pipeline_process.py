"""The event pipeline in a process that can be killed, the store that it writes to, and whether it has stored all."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats.js.errors

from campaign_express.adapters.nats import connect
from campaign_express.adapters.stream_ranges import PREFIX
from campaign_express.config import PREFIX as ENVIRONMENT
from campaign_express.events import CHANGES, DECISIONS, STREAM


class Pipeline:
    """The event pipeline, in a process that can be killed."""

    def __init__(self, settings: dict[str, Any], directory: Path) -> None:
        self._environment = {
            **os.environ,
            **{ENVIRONMENT + name.upper(): str(value) for name, value in settings.items()},
        }
        self._log = directory / "pipeline.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "campaign_express.serving.pipeline_alone"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_end(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(number)
            process.wait(30)


@contextmanager
def taken(store: Path) -> Iterator[None]:
    """Hold the lock that says whose a chDB directory is: nobody else can write there."""
    descriptor = os.open(store / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def waiting(nats_url: str) -> int | None:
    """Messages of the streams that the pipeline has not stored; None while it does not read all of them yet."""
    client = await connect(nats_url, "pipeline-process")
    try:
        context = client.jetstream()
        count = 0
        for stream in (STREAM, DECISIONS, CHANGES):
            found = [c for c in await context.consumers_info(stream) if (c.name or "").startswith(PREFIX)]
            if not found:
                return None
            count += sum((c.num_pending or 0) + (c.num_ack_pending or 0) for c in found)
        return count
    except nats.js.errors.NotFoundError:
        return None
    finally:
        await client.close()


def caught_up(nats_url: str) -> bool:
    """Whether the pipeline has stored everything that the streams hold."""
    return asyncio.run(waiting(nats_url)) == 0
