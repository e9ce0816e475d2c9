"""The event pipeline's part of bootstrap: settings in, a pipeline with its adapters out. Imports no Ray."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence

from campaign_express.adapters.catalog_store import CatalogStore
from campaign_express.adapters.leader import LeaderLock
from campaign_express.adapters.stream_ranges import Partition, RangeReader
from campaign_express.analytics import reports
from campaign_express.bidding.model import Catalog
from campaign_express.bootstrap_warehouse import kept, own_warehouse
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import ConfigError
from campaign_express.events import CHANGE_SUBJECTS, CHANGES, DECISIONS, STREAM
from campaign_express.packaged import read_catalog, read_exchanges
from campaign_express.pipeline.loader import LOADERS
from campaign_express.pipeline.service import EventPipeline, Store, Summer
from campaign_express.pipeline.worker import PartitionWorker
from campaign_express.ports import Warehouse
from campaign_express.streams import SUBJECTS_OF, stream_terms

RANGE_BYTES = 16_000_000
FRAME_AS = 100  # messages that a frame counts as


def partitions(settings: Settings) -> list[Partition]:
    """What replicas of the pipeline share among them. A partition's name is where its position is kept."""
    return [
        Partition("money-settling", STREAM, tuple(f"money.*.{kind}" for kind in ("win", "billing", "impression"))),
        Partition("money-others", STREAM, tuple(f"money.*.{kind}" for kind in ("loss", "click", "conversion"))),
        *(
            Partition(f"decisions-{number}", DECISIONS, (f"decisions.{number}",))
            for number in range(settings.decision_partitions)
        ),
        Partition("changes", CHANGES, (CHANGE_SUBJECTS,)),
    ]


def build_pipeline(settings: Settings) -> EventPipeline:
    """A pipeline of ready settings (`redis_url` and `nats_url` filled in); starts nothing. Raises ConfigError."""
    if not settings.redis_url or not settings.nats_url:
        raise ConfigError("Settings that cannot be used:", ["redis_url, nats_url: the event pipeline needs both"])
    owner = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
    terms = stream_terms(settings)
    store = Store(lambda: own_warehouse(settings), kept(settings))

    def worker(partition: Partition) -> PartitionWorker:
        most = settings.pipeline_range
        reader = RangeReader(
            settings.nats_url,
            partition,
            terms[partition.stream],
            SUBJECTS_OF[partition.stream],
            owner=owner[-17:].replace(".", "-"),
            most=most if partition.stream != DECISIONS else max(1, most // FRAME_AS),
            most_bytes=RANGE_BYTES,
            linger_s=settings.pipeline_linger_ms / 1000,
        )
        lock = LeaderLock(settings.redis_url, owner, work=f"pipeline:{partition.name}")
        return PartitionWorker(reader, LOADERS[partition.stream], store, lock)

    workers = [worker(partition) for partition in partitions(settings)]
    summer = Summer(store, LeaderLock(settings.redis_url, owner, work="pipeline:sums"))
    clock = parse_clock(settings.simulated_clock)

    def answer(warehouse: Warehouse, parameters: Sequence[tuple[str, str]]) -> tuple[str, bytes]:
        return reports.answer(warehouse, parameters, clock.now_ms(), lambda: reports.budgets_of(in_force(settings)))

    return EventPipeline(store, workers, summer, answer)


def in_force(settings: Settings) -> Catalog:
    """The published catalogue, or that of the file where none is."""
    catalogs = CatalogStore(settings.redis_url)
    try:
        published = catalogs.latest()
    finally:
        catalogs.close()
    return published if published is not None else read_catalog(settings, read_exchanges(settings))
