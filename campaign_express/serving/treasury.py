"""A treasury as a process of its own: built, started, asked and ended; gives its metrics to the node's cells.

Plain asyncio; `deployment.Treasury` is the thin Serve class around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from campaign_express import embedded
from campaign_express.bootstrap_treasury import Parts, build_treasury
from campaign_express.config import Settings
from campaign_express.families import SUFFIX, encode_families
from campaign_express.serving.cell import socket_dir

logger = logging.getLogger(__name__)


class TreasuryProcess:
    """To be made in the event loop that serves. `name` tells its socket from others'."""

    def __init__(self, settings: Settings, name: str, start_embedded: bool = False) -> None:
        """`start_embedded`: start, or join, the NATS and Valkey servers that `settings` has no urls of."""
        self.settings = settings
        self._start_embedded = start_embedded
        self._path = socket_dir(settings) / f"{name}{SUFFIX}"
        self._parts: Parts | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Returns when it works, or waits for the lead. For a Redis or NATS that is away it waits in the background."""
        if self._start_embedded:
            self.settings = await asyncio.to_thread(embedded.ensure, self.settings)
        self._parts = await asyncio.to_thread(build_treasury, self.settings)
        await self._parts.treasury.start()
        self._server = await asyncio.start_unix_server(self._give, str(self._path))
        logger.info("treasury is up")

    async def stop(self) -> None:
        """Leave the lead to another, and nothing behind."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        if self._parts is not None:
            await self._parts.treasury.stop()
        if self._start_embedded:
            await asyncio.to_thread(embedded.release, self.settings)
        logger.info("treasury has ended")

    def status(self) -> dict[str, Any]:
        return {} if self._parts is None else self._parts.status()

    async def _give(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._parts is not None
        with contextlib.suppress(OSError):
            writer.write(encode_families(self._parts.families()))
            await writer.drain()
        writer.close()
