"""BiddingAgent: the Ray actor that bids. Placed, supervised, restarted by Ray; asked for bids over its Unix socket.

Sync methods only (an async actor costs about twice as much a call). `__init__` runs again on every restart, so a
restarted agent listens at the same path.
"""

from __future__ import annotations

import importlib
import logging
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from campaign_express import compiled, memory
from campaign_express.adapters.catalog_store import CatalogStore
from campaign_express.bidding.model import Catalog
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError, ModelError
from campaign_express.gateway.node import count_model_load_failure
from campaign_express.serving import logs
from campaign_express.serving.agent_socket import AgentSocket

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005  # a catalogue compiled in another thread must not hold a batch up for the default 5 ms
OWN_FACTORY = "campaign_express.bootstrap:build_agent"

_LEAN = str(Path(__file__).parent / "lean")
_PATHS = (_LEAN, *(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", _LEAN)))
# Of an agent's process: it takes 25 MB less with it (`rss_mb_per_agent`).
LEAN_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(_PATHS),
    "MALLOC_ARENA_MAX": "2",  # as `memory.few_arenas`, for the threads that Ray starts before it
}

Factory = Callable[[Settings, Catalog | None], Any]


def load_factory(name: str) -> Factory:
    """The function `module:function` that makes a bidder from settings and a catalogue; "" is the product's own."""
    module, _, attribute = (name or OWN_FACTORY).partition(":")
    return cast(Factory, getattr(importlib.import_module(module), attribute))


class ExchangeTerms(NamedTuple):
    """What the gateway heeds of an exchange without an agent; see `bidding.model.Exchange`."""

    key: str  # its name in the path, "" is the default exchange
    name: str
    qps: int
    no_bid_status: int


class BiddingAgent:
    """One bidding process of a cell. `path` is its Unix socket, which exists once the agent is warm."""

    def __init__(self, settings: Settings, path: str, bidder_factory: str = "") -> None:
        logs.configure(settings.log_level, component="agent", agent=Path(path).stem)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        memory.few_arenas()
        self._stop = threading.Event()
        store = CatalogStore(settings.redis_url) if settings.redis_url else None
        try:
            self._bidder, known = _make(load_factory(bidder_factory), settings, store)
            self._bidder.warm_up()
        except ModelError:
            count_model_load_failure(Path(path).parent)
            raise
        if store is not None:
            store.watch(self._replace_catalog, self._stop, known)
        memory.settle()
        self._socket = AgentSocket(self._bidder, path, parse_clock(settings.simulated_clock))
        logger.info("agent listens", extra={"catalog_version": self._bidder.catalog_version})

    def _replace_catalog(self, catalog: Catalog) -> None:
        self._bidder.replace_catalog(catalog)
        memory.trim()  # the one before it is gone

    def close(self) -> None:
        """Give leases back before this agent is ended. It bids no more with money that is limited."""
        self._stop.set()
        close = getattr(self._bidder, "close", None)
        if close is not None:
            close()

    def ready(self) -> list[ExchangeTerms]:
        """What the gateway must know of each exchange. Returns when `__init__` has, so it means: warm and listening."""
        exchanges = getattr(self._bidder, "exchanges", {})
        return [ExchangeTerms(key, e.name, e.qps, e.no_bid_status) for key, e in exchanges.items()]

    def catalog_version(self) -> int:
        return int(self._bidder.catalog_version)

    def stats(self) -> dict[str, Any]:
        """What this agent has done; for `/v1/status`."""
        return {
            "pid": os.getpid(),
            "compiled": compiled.is_compiled(),
            "batches": self._socket.batches,
            "requests": self._socket.requests,
            "failures": self._socket.failures,
            "catalog_version": self._bidder.catalog_version,
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }

    def explain(self, body: bytes, exchange: str) -> bytes:
        """Why this request is bid on or not, as JSON. Raises InvalidRequest."""
        return msgspec.json.encode(self._socket.explain(body, exchange))


def _make(factory: Factory, settings: Settings, store: CatalogStore | None) -> tuple[Any, int]:
    """(bidder, version of the published catalogue it bids with; 0: the one of its files)."""
    published: Catalog | None = None
    if store is not None:
        try:
            published = store.latest()
        except CampaignExpressError as error:
            logger.warning("starting with the catalogue of the files", extra={"reason": str(error)})
    if published is None:
        return factory(settings, None), 0
    try:
        return factory(settings, published), published.version
    except ModelError:
        raise
    except CampaignExpressError as error:
        # It was accepted when it was published, by another version of the program perhaps. Bidding goes on without it.
        logger.error("the published catalogue is refused", extra={"reason": str(error)})
        return factory(settings, None), published.version


def create(
    settings: Settings, path: str, *, bidder_factory: str, bundle: int, num_cpus: float
) -> ray.actor.ActorHandle[Any]:
    """Start an agent in bundle `bundle` of the caller's placement group. It dies with the caller."""
    options: dict[str, Any] = {"num_cpus": num_cpus, "max_restarts": -1, "max_task_retries": 0}
    if settings.npu_per_agent:
        options["resources"] = {"npu": settings.npu_per_agent}
    options["runtime_env"] = {"env_vars": LEAN_ENVIRONMENT}
    group = ray.util.get_current_placement_group()
    if group is not None:
        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)
    actor = ray.remote(BiddingAgent).options(**options).remote(settings, path, bidder_factory)
    return cast("ray.actor.ActorHandle[Any]", actor)
