"""A cell: the node's listeners, its queue and its agents, started and ended in the order that loses no request.

Plain asyncio; `deployment.BidGateway` is the thin Serve class around it. Order of start: agents (warm before they
listen), links, then listeners, so that a port that answers can bid. Order of end: see `drain`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from campaign_express import embedded, memory
from campaign_express.bootstrap_notices import NoticeService, build_notice_service, build_spans
from campaign_express.compiled import is_compiled
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError, ConfigError, Unavailable
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.grpc import GrpcListener
from campaign_express.gateway.handover import SUFFIX as HANDOVER_SUFFIX
from campaign_express.gateway.handover import Handover, find_spare
from campaign_express.gateway.http import ExchangeApp
from campaign_express.gateway.limits import RateLimits
from campaign_express.gateway.listeners import HttpListener
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.node import NodeMetrics, sweep
from campaign_express.serving import agent
from campaign_express.serving.usage import CpuMeter, memory_share, resident_bytes

logger = logging.getLogger(__name__)

GATEWAY_CPUS, AGENT_CPUS = 0.1, 0.05  # Ray's CPUs are logical: small, so that a laptop holds a cell
UNIX_PATH_MAX = 107
LONGEST_NAME = 40  # of a socket file: replica id, agent's number, pid while it is being made
AGENT_START_S = 180.0
AGENT_ANSWER_S = 10.0
COLLECT_S = 1.0  # for agents to hand over what they have not told of their decisions
AGENT_CLOSE_S = 3.0  # to give back what it holds
DEAD_CELL_S = 30.0  # without a living agent for this long, the cell is replaced


def socket_dir(settings: Settings) -> Path:
    """Where the cells' Unix sockets are. Made if absent, for this user only.

    Below `data_dir` unless `socket_dir` is set. A path too long for a Unix socket is replaced by a short one below
    the system's temporary directory, the same for the same `data_dir`; where `socket_dir` itself is too long, or is
    another user's, ConfigError is raised.
    """
    chosen = Path(settings.socket_dir or Path(settings.data_dir, "sockets")).absolute()
    directory = chosen
    if len(os.fsencode(chosen)) + LONGEST_NAME > UNIX_PATH_MAX:
        if settings.socket_dir:
            raise _unusable(f"{chosen} is too long for a Unix socket")
        digest = hashlib.sha256(os.fsencode(chosen)).hexdigest()[:12]
        directory = Path(tempfile.gettempdir(), f"campaign-express-{os.getuid()}-{digest}")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise _unusable(f"{directory} belongs to another user")
    return directory


def _unusable(problem: str) -> ConfigError:
    return ConfigError("Settings that cannot be used:", [f"socket_dir: {problem}"])


class Cell:
    """One gateway with its agents. To be made in the event loop that serves."""

    def __init__(
        self, settings: Settings, cell_id: str, *, bidder_factory: str = "", start_embedded: bool = False
    ) -> None:
        """`cell_id` names sockets and metrics; `bidder_factory`: see `agent.load_factory`; `start_embedded`: start the
        NATS and Valkey servers that `settings` has no urls of."""
        self.settings = settings
        self.id = cell_id
        self._factory = bidder_factory
        self._start_embedded = start_embedded
        self._directory = socket_dir(settings)
        self._paths = [str(self._directory / f"{cell_id}-{n}.sock") for n in range(settings.agents_per_cell)]
        self._agents: list[Any] = []
        self._alive_at = time.monotonic()
        self._cpu = CpuMeter()
        self._busy: tuple[int, int] = (time.monotonic_ns(), 0)
        self.meters = Meters(cell_id)
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
        self._handover: Handover | None = None
        self._grpc: GrpcListener | None = None
        self._metrics: HttpListener | None = None
        self._notices: NoticeService | None = None
        self._spans = build_spans(settings, cell_id)
        if self._spans is not None:
            self.pool.trace(self._spans.bid)
        self._node = NodeMetrics(self.meters, self._directory, self._refresh)

    async def start(self) -> None:
        """Returns when every agent is linked and every listener is up. Raises what an agent raised on its start."""
        await asyncio.to_thread(sweep, self._directory)
        if self._start_embedded:
            self.settings = await asyncio.to_thread(embedded.ensure, self.settings)
        await self._start_notices()
        await self._start_agents()
        # Before anybody connects, since it takes a third of a second: a replica holds some 300,000 objects of Ray's.
        memory.settle()
        await self._start_listeners()
        logger.info("cell listens", extra={"ports": self.ports(), "agents": len(self._paths)})

    async def _start_notices(self) -> None:
        if not (self.settings.nats_url and self.settings.redis_url):  # tests and benchmarks of bids alone
            logger.warning("no nats_url or no redis_url: notices are not taken")
            return
        trace = self._spans.notice if self._spans is not None else None
        self._notices = await asyncio.to_thread(build_notice_service, self.settings, self.meters, self.id, trace)
        await self._notices.start()
        self.exchange_app.notices = self._notices.desk
        self.pool.publish(self._notices.decisions.offer)

    async def _start_agents(self) -> None:
        self._agents = [
            agent.create(self.settings, path, bidder_factory=self._factory, bundle=1 + n, num_cpus=AGENT_CPUS)
            for n, path in enumerate(self._paths)
        ]
        ready = await asyncio.wait_for(asyncio.gather(*(a.ready.remote() for a in self._agents)), AGENT_START_S)
        self._heed(ready[0])
        for path in self._paths:
            self.pool.connect(path)
        await asyncio.wait_for(self.pool.wait_live(len(self._paths)), AGENT_START_S)

    def _heed(self, exchanges: list[agent.ExchangeTerms]) -> None:
        """Say no in the way each exchange wants, and hold it to its requests a second (by its own name: the default
        exchange has two)."""
        self.pool.no_bids.speak(terms.key for terms in exchanges if terms.no_bid_status == 200)
        qps = {terms.name: terms.qps for terms in exchanges if terms.qps}
        if qps:
            limits, names = RateLimits(qps), {terms.key: terms.name for terms in exchanges}
            self.pool.limit(lambda exchange, now_ns: limits.admit(names.get(exchange, exchange), now_ns))

    async def _start_listeners(self) -> None:
        s = self.settings
        self._grpc = GrpcListener(self.pool, self.meters, s.host, s.grpc_port, max_body_bytes=s.max_body_bytes)
        self._metrics = HttpListener(self._node, s.host, s.metrics_port, keep_alive_s=s.keep_alive_s)
        await self._node.start()
        await self._metrics.start()
        await self._grpc.start()
        spare = await find_spare(self._directory, (s.host, s.http_port))
        self._http = HttpListener(
            self.exchange_app,
            s.host,
            s.http_port,
            keep_alive_s=s.keep_alive_s,
            inherited=spare.socket if spare is not None else None,
        )
        self._handover = Handover(self._http, self._directory / f"{self.id}{HANDOVER_SUFFIX}")
        await self._http.start()
        if spare is not None:
            spare.served()
        await self._handover.start()

    async def drain(self) -> None:
        """End without losing a request that has reached us, and leave no process, port or file behind."""
        window = self.settings.drain_window_s
        self.exchange_app.draining = True
        leaving = []
        if self._http is not None:
            handed_over = await self._handover.leave() if self._handover is not None else False
            leaving.append(self._http.drain(window, handed_over=handed_over))
        if self._grpc is not None:
            leaving.append(self._grpc.drain(window))
        for result in await asyncio.gather(*leaving, return_exceptions=True):
            if isinstance(result, BaseException):
                logger.error("a listener did not drain cleanly", exc_info=result)
        for listener in (self._http, self._metrics):
            if listener is not None:
                await listener.stop()
        if self._notices is not None:
            await self.pool.collect(COLLECT_S)
            await self._notices.close()
        self.pool.close()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        closing = [asyncio.wait_for(actor.close.remote(), AGENT_CLOSE_S) for actor in self._agents]
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, BaseException):  # it is dead or stuck: its leases are swept in time
                logger.warning("an agent did not close", extra={"reason": type(result).__name__})
        for actor in self._agents:
            with contextlib.suppress(RayError, ValueError):
                ray.kill(actor)
        await self._node.retire()
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if self._start_embedded:
            await asyncio.to_thread(embedded.release, self.settings)
        logger.info("cell has ended")

    def check(self) -> None:
        """Raises Unavailable when no agent has lived for so long that only a new cell helps."""
        now = time.monotonic()
        if self.pool.live:
            self._alive_at = now
        elif now - self._alive_at > DEAD_CELL_S:
            raise Unavailable(f"no agent has lived for {now - self._alive_at:.0f} s")

    # What the operator, Prometheus and the autoscaler ask

    def ports(self) -> dict[str, int]:
        """Ports that listen, by protocol."""
        listeners = {"http": self._http, "grpc": self._grpc, "metrics": self._metrics}
        return {name: listener.port for name, listener in listeners.items() if listener is not None}

    async def explain(self, body: bytes, exchange: str) -> bytes:
        """An agent's explanation of a bid request, as JSON. Raises InvalidRequest or Unavailable."""
        for actor in self._agents:
            try:
                answer: bytes = await asyncio.wait_for(actor.explain.remote(body, exchange), AGENT_ANSWER_S)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, CampaignExpressError):
                    raise error.cause from None
                raise
            except (RayError, TimeoutError):
                continue  # this one is being restarted
            return answer
        raise Unavailable("no agent lives")

    async def report(self, parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        raise Unavailable("no event pipeline runs beside this cell")

    async def status(self) -> dict[str, Any]:
        """The cell as an operator wants to see it."""
        self._refresh()
        stats = await asyncio.gather(
            *(asyncio.wait_for(actor.stats.remote(), AGENT_ANSWER_S) for actor in self._agents), return_exceptions=True
        )
        return {
            "cell": self.id,
            "pid": os.getpid(),
            "ready": self.exchange_app.not_ready() or "yes",
            "ports": self.ports(),
            "queued": self.pool.queued,
            "in_flight": self.pool.in_flight,
            "catalog_version": self.pool.catalog_version,
            "compiled": self.meters.gauges.compiled,
            "agents": [found if isinstance(found, dict) else {"away": type(found).__name__} for found in stats],
        }

    def autoscaling_stats(self) -> dict[str, float]:
        """Shares (0..1) since the last call: the pod's CPU and memory, and the agents' time spent deciding."""
        now, busy = time.monotonic_ns(), self.meters.counters.busy_ns
        then, busy_then = self._busy
        self._busy = now, busy
        load = (busy - busy_then) / max(1, now - then) / len(self._paths)
        return {"cpu": self._cpu.share(), "memory": memory_share(), "load": min(1.0, load)}

    def _refresh(self) -> None:
        gauges, pool = self.meters.gauges, self.pool
        if self._notices is not None:
            self._notices.refresh()
        gauges.catalog_version = pool.catalog_version
        gauges.live_agents = pool.live
        gauges.agents = len(self._paths)
        gauges.connections = self._http.connections if self._http is not None else 0
        gauges.in_flight = pool.in_flight
        gauges.queued = pool.queued
        gauges.open_breakers = pool.open_breakers
        gauges.compiled = is_compiled()
        gauges.draining = self.exchange_app.draining
        gauges.resident_bytes = resident_bytes([os.getpid(), *pool.pids])
