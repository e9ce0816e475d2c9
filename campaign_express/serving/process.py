"""What runs beside the cells in a process of its own: built, started, asked and ended; gives its metrics to the node's
cells. The treasury and the event pipeline are such.

Plain asyncio; the classes of `deployment.py` are the thin Serve classes around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from campaign_express import embedded
from campaign_express.config import Settings
from campaign_express.families import SUFFIX, Family, encode_families
from campaign_express.serving.cell import socket_dir

logger = logging.getLogger(__name__)


class Service(Protocol):
    """What such a process runs."""

    async def start(self) -> None:
        """For a Redis or NATS that is away it waits in the background."""
        ...

    async def stop(self) -> None:
        """Leave the work to another, and nothing behind."""
        ...

    def status(self) -> dict[str, Any]: ...

    def families(self) -> list[Family]: ...


S = TypeVar("S", bound=Service)


class SideProcess(Generic[S]):
    """To be made in the event loop that serves. `name` tells its socket from others'."""

    def __init__(
        self, settings: Settings, name: str, build: Callable[[Settings], S], start_embedded: bool = False
    ) -> None:
        """`build`: the service, of ready settings; may block. `start_embedded`: start, or join, the NATS and Valkey
        servers that `settings` has no urls of."""
        self.settings = settings
        self.service: S | None = None
        self._build = build
        self._start_embedded = start_embedded
        self._path = socket_dir(settings) / f"{name}{SUFFIX}"
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        if self._start_embedded:
            self.settings = await asyncio.to_thread(embedded.ensure, self.settings)
        self.service = await asyncio.to_thread(self._build, self.settings)
        await self.service.start()
        self._server = await asyncio.start_unix_server(self._give, str(self._path))
        logger.info("up")

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        if self.service is not None:
            await self.service.stop()
        if self._start_embedded:
            await asyncio.to_thread(embedded.release, self.settings)
        logger.info("has ended")

    def status(self) -> dict[str, Any]:
        return {} if self.service is None else self.service.status()

    async def _give(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.service is not None
        with contextlib.suppress(OSError):
            writer.write(encode_families(self.service.families()))
            await writer.drain()
        writer.close()
