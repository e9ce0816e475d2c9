"""A cell: the node's listeners, its queue and its agents, started and ended in the order that loses no request.

Plain asyncio; `deployment.BidGateway` is the thin Serve class around it. Order of start: agents (warm before they
listen), links, then listeners, so that a port that answers can bid. Order of end: see `drain`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
from pathlib import Path
from typing import Any

import ray

from campaign_express.config import Settings
from campaign_express.errors import ConfigError, Unavailable
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.http import ExchangeApp
from campaign_express.gateway.listeners import HttpListener
from campaign_express.gateway.meters import Meters
from campaign_express.serving import agent

logger = logging.getLogger(__name__)

GATEWAY_CPUS, AGENT_CPUS = 0.1, 0.05  # Ray's CPUs are logical: small, so that a laptop holds a cell
UNIX_PATH_MAX = 107
AGENT_START_S = 120.0
GC_THRESHOLD = 20_000  # new containers between young collections; under load 700 would be one every few milliseconds
DEAD_CELL_S = 30.0  # without a living agent for this long, the cell is replaced


def socket_dir(settings: Settings) -> Path:
    """Where the cell's Unix sockets are. Made if absent, for this user only. Raises ConfigError for a path too long."""
    directory = Path(settings.socket_dir or Path(settings.data_dir, "sockets")).absolute()
    if len(str(directory)) + 40 > UNIX_PATH_MAX:
        where = "socket_dir" if settings.socket_dir else "data_dir"
        raise ConfigError(
            "Settings that cannot be used:",
            [
                f"{where}: {directory} is too long for a Unix socket; set socket_dir to a shorter one"
            ],
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


class Cell:
    """One gateway with its agents. `public` are the settings as plain values without secrets, as agents get them."""

    def __init__(self, settings: Settings, public: dict[str, Any], cell_id: str, bidder_factory: str = "") -> None:
        self.settings = settings
        self.id = cell_id
        self._public = public
        self._factory = bidder_factory
        self._directory = socket_dir(settings)
        self._paths = [str(self._directory / f"{cell_id}-{n}.sock") for n in range(settings.agents_per_cell)]
        self._agents: list[Any] = []
        self._alive_at = time.monotonic()
        self.meters = Meters(cell_id)
        self.meters.gauges.agents = settings.agents_per_cell
        self.pool = AgentPool(
            self.meters,
            max_batch=settings.max_batch,
            batches_in_flight=settings.batches_in_flight,
            max_queue=settings.max_queue,
            timeout_ms=settings.request_timeout_ms,
        )
        self.exchange_app = ExchangeApp(
            self.pool,
            self.meters,
            max_body_bytes=settings.max_body_bytes,
            connection_max_answers=settings.connection_max_answers,
        )
        self._http: HttpListener | None = None

    async def start(self) -> None:
        """Returns when every agent is linked and every listener is up. Raises what an agent raised on its start."""
        s = self.settings
        self._agents = [
            agent.create(
                self._public,
                path,
                bidder_factory=self._factory,
                bundle=1 + n,
                npu=s.npu_per_agent,
                num_cpus=AGENT_CPUS,
            )
            for n, path in enumerate(self._paths)
        ]
        await asyncio.wait_for(asyncio.gather(*(a.ready.remote() for a in self._agents)), AGENT_START_S)
        for path in self._paths:
            self.pool.connect(path)
        while self.pool.live < len(self._paths):
            await asyncio.sleep(0.005)
        self._http = HttpListener(
            self.exchange_app,
            s.host,
            s.http_port,
            keep_alive_s=s.keep_alive_s,
            count_answers=s.connection_max_answers > 0,
        )
        await self._http.start()
        gc.collect()
        gc.freeze()  # a replica holds some 300,000 objects of Ray's: later collections need not look at them
        gc.set_threshold(GC_THRESHOLD)
        logger.info("cell listens", extra={"http_port": self._http.port, "agents": len(self._paths)})

    async def drain(self) -> None:
        """End without losing a request that has reached us, and leave no file behind."""
        self.exchange_app.draining = True
        if self._http is not None:
            await self._http.drain(self.settings.drain_window_s)
            await self._http.stop()
        self.pool.close()
        for actor in self._agents:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        logger.info("cell has ended")

    def check(self) -> None:
        """Raises Unavailable when no agent has lived for so long that only a new cell helps."""
        now = time.monotonic()
        if self.pool.live:
            self._alive_at = now
        elif now - self._alive_at > DEAD_CELL_S:
            raise Unavailable(f"no agent has lived for {now - self._alive_at:.0f} s")
