"""BiddingAgent: the Ray actor that bids. Placed, supervised, restarted by Ray; asked for bids over its Unix socket.

Sync methods only (an async actor costs about twice as much a call). `__init__` runs again on every restart, so a
restarted agent listens at the same path.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import resource
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

import msgspec
import ray

from campaign_express import config
from campaign_express.config import Settings
from campaign_express.serving import logs
from campaign_express.serving.agent_socket import AgentSocket

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005  # a catalogue being compiled in another thread must not hold a batch up for the default 5 ms


def load_factory(name: str) -> Callable[[Settings], Any]:
    """The function `module:function` that makes a bidder from settings; "" is the product's own."""
    module, _, attribute = (name or "campaign_express.bootstrap:build_bidder").partition(":")
    return cast(Callable[[Settings], Any], getattr(importlib.import_module(module), attribute))


class BiddingAgent:
    """One bidding process of a cell. `path` is its Unix socket, which exists once the agent is warm."""

    def __init__(self, settings: dict[str, Any], path: str, bidder_factory: str = "") -> None:
        self._settings = config.load(settings)
        logs.configure(self._settings.log_level, component="agent")
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._bidder = load_factory(bidder_factory)(self._settings)
        self._bidder.warm_up()
        self._stop = threading.Event()
        if self._settings.redis_url:
            threading.Thread(target=self._watch_catalog, name="catalog-watch", daemon=True).start()
        gc.collect()
        gc.freeze()  # what is alive now lives on: later collections need not look at it
        self._socket = AgentSocket(self._bidder, path)
        logger.info("agent listens", extra={"agent": path, "catalog_version": self._bidder.catalog_version})

    def _watch_catalog(self) -> None:
        from campaign_express.adapters.redis import CatalogStore

        CatalogStore(self._settings.redis_url).watch(self._bidder.replace_catalog, self._stop)

    def ready(self) -> int:
        """The agent's pid. Returns when `__init__` has, so a call means: warm and listening."""
        return os.getpid()

    def catalog_version(self) -> int:
        return int(self._bidder.catalog_version)

    def stats(self) -> dict[str, Any]:
        """What this agent has done; for `/v1/status`."""
        return {
            "pid": os.getpid(),
            "batches": self._socket.batches,
            "requests": self._socket.requests,
            "failures": self._socket.failures,
            "catalog_version": self._bidder.catalog_version,
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }

    def explain(self, body: bytes, exchange: str) -> bytes:
        """Why this request is bid on or not, as JSON. Raises InvalidRequest."""
        return msgspec.json.encode(self._socket.explain(body, exchange))


def create(
    settings: dict[str, Any], path: str, *, bidder_factory: str, bundle: int, npu: int, num_cpus: float
) -> ray.actor.ActorHandle[Any]:
    """Start an agent in bundle `bundle` of the caller's placement group. It dies with the caller."""
    group = ray.util.get_current_placement_group()
    options: dict[str, Any] = {"num_cpus": num_cpus, "max_restarts": -1, "max_task_retries": 0}
    if npu:
        options["resources"] = {"npu": npu}
    if group is not None:
        options["scheduling_strategy"] = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(
            placement_group=group, placement_group_bundle_index=bundle
        )
    return ray.remote(BiddingAgent).options(**options).remote(settings, path, bidder_factory)
