"""BidGateway, the Serve deployment. Serve pickles this class by value, so it only delegates to imported modules."""

from __future__ import annotations

from typing import Any

from ray import serve

from campaign_express import config
from campaign_express.serving import logs
from campaign_express.serving.cell import Cell


class BidGateway:
    """A replica is a cell. `__init__` returns only when agents are linked and listeners up: returning means RUNNING."""

    async def __init__(self, public: dict[str, Any], bidder_factory: str = "") -> None:
        settings = config.load(public)
        cell_id = serve.get_replica_context().replica_id.unique_id
        logs.configure(settings.log_level, component="gateway", cell=cell_id)
        self._cell = Cell(settings, public, cell_id, bidder_factory)
        try:
            await self._cell.start()
        except BaseException:
            await self._cell.drain()
            raise

    def __serve_build_asgi_app__(self) -> Any:
        return self._cell.exchange_app

    def check_health(self) -> None:
        self._cell.check()

    async def __del__(self) -> None:
        cell = getattr(self, "_cell", None)
        if cell is not None:
            await cell.drain()
