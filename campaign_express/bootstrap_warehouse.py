"""The store of events that settings name. Imports no Ray."""

from __future__ import annotations

import time
from pathlib import Path

from campaign_express.analytics.retention import LEAST_DAYS, Kept
from campaign_express.config import Settings
from campaign_express.errors import ConfigError, Unavailable
from campaign_express.ports import Warehouse

CHDB = "chdb"  # below data_dir
PATIENCE_S = 10.0  # for a bidder that is starting or ending, or a command that has the directory
PAUSE_S = 0.2


def chdb_directory(settings: Settings) -> Path:
    return Path(settings.data_dir, CHDB).absolute()


def own_warehouse(settings: Settings) -> Warehouse:
    """For the pipeline: ClickHouse where `clickhouse_url` is set, else chDB below `data_dir`, whose owner this process
    becomes and which it answers others from.

    Not migrated. Raises ConfigError for a bad url, Unavailable where chDB is another process's.
    """
    if settings.clickhouse_url:
        return _servers(settings)
    from campaign_express.adapters.chdb_socket import OwnedChdb

    return OwnedChdb(chdb_directory(settings))


def open_warehouse(settings: Settings) -> Warehouse:
    """For commands: as `own_warehouse`, but a chDB that a bidder owns is asked of that.

    Raises ConfigError, Unavailable likewise.
    """
    if settings.clickhouse_url:
        return _servers(settings)
    from campaign_express.adapters.chdb import ChdbWarehouse, Taken
    from campaign_express.adapters.chdb_socket import AskedChdb

    directory = chdb_directory(settings)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ChdbWarehouse(directory)
        except Taken as taken:
            try:
                return AskedChdb(directory)
            except Unavailable as silent:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{taken}, and does not answer: a command that works on the tables, or a bidder that is "
                        "starting or ending. Repeat this later"
                    ) from silent
        time.sleep(PAUSE_S)


def kept(settings: Settings) -> Kept:
    """For how long the tables are to keep rows. Raises ConfigError."""
    days = {
        "events_keep_days": settings.events_keep_days,
        "decisions_keep_days": settings.decisions_keep_days,
        "requests_keep_days": settings.requests_keep_days,
        "minute_sums_keep_days": settings.minute_sums_keep_days,
        "hour_sums_keep_days": settings.hour_sums_keep_days,
    }
    problems = [
        f"{name}: {value} days are too few: {LEAST_DAYS} or more, 0 for ever"
        for name, value in days.items()
        if 0 < value < LEAST_DAYS
    ]
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
    return Kept(*days.values())


def _servers(settings: Settings) -> Warehouse:
    from campaign_express.adapters.clickhouse import ClickHouseWarehouse

    return ClickHouseWarehouse(settings.clickhouse_url, settings.clickhouse_cluster, quorum=settings.clickhouse_quorum)
