"""Who answers reports: ClickHouse, the bidder that has the tables of this machine, or these while none runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from campaign_express.cli.common import open_tables
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import Unavailable, WarehouseError
from campaign_express.ports import Warehouse

Ask = Callable[[Sequence[tuple[str, str]]], tuple[str, bytes]]  # parameters -> (media type, body)

_NO_TABLES = ("code 60:", "code 81:")  # unknown table, unknown database


@contextmanager
def open_reports(settings: Settings) -> Iterator[Ask]:
    """What to ask. Asking raises InvalidRequest, or Unavailable and its like with what to do about it."""
    from campaign_express.adapters.chdb import ChdbWarehouse
    from campaign_express.analytics import rollups
    from campaign_express.bootstrap_warehouse import chdb_directory

    embedded = not settings.clickhouse_url
    if embedded and not chdb_directory(settings).is_dir():  # asking makes nothing
        raise Unavailable(f"{chdb_directory(settings)} does not exist: nothing has been recorded yet")
    with open_tables(settings, migrated=embedded) as warehouse:
        # While no bidder runs nobody else keeps the sums.
        while isinstance(warehouse, ChdbWarehouse) and rollups.catch_up(warehouse, True) == rollups.AT_ONCE:
            pass
        yield _of(settings, warehouse)


def _of(settings: Settings, warehouse: Warehouse) -> Ask:
    def ask(parameters: Sequence[tuple[str, str]]) -> tuple[str, bytes]:
        from campaign_express.analytics.reports import answer, budgets_of
        from campaign_express.cli.catalog import current

        now_ms = parse_clock(settings.simulated_clock).now_ms()
        try:
            return answer(warehouse, parameters, now_ms, lambda: budgets_of(current(settings)[0]))
        except WarehouseError as error:
            if any(code in str(error) for code in _NO_TABLES):
                raise Unavailable(f"there is no data yet: {error}") from error
            raise

    return ask
