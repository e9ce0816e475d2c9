"""The store of events that settings name. Imports no Ray."""

from __future__ import annotations

from pathlib import Path

from campaign_express.config import Settings
from campaign_express.ports import Warehouse

CHDB = "chdb"  # below data_dir


def open_warehouse(settings: Settings) -> Warehouse:
    """ClickHouse where `clickhouse_url` is set, else chDB below `data_dir`, which only one process may have open.

    Not migrated. Raises ConfigError for a bad url, Unavailable where chDB is another process's.
    """
    if settings.clickhouse_url:
        from campaign_express.adapters.clickhouse import ClickHouseWarehouse

        return ClickHouseWarehouse(
            settings.clickhouse_url, settings.clickhouse_cluster, quorum=settings.clickhouse_quorum
        )
    from campaign_express.adapters.chdb import ChdbWarehouse

    return ChdbWarehouse(Path(settings.data_dir, CHDB).absolute())
