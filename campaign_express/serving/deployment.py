"""The Serve deployments. Serve pickles these classes by value, so they only delegate to imported modules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve._private.constants import (
    RAY_SERVE_ENABLE_DIRECT_INGRESS,
    SERVE_CONTROLLER_NAME,
    SERVE_NAMESPACE,
)
from ray.serve.handle import DeploymentHandle

from campaign_express import config
from campaign_express.bootstrap_pipeline import build_pipeline
from campaign_express.bootstrap_treasury import build_treasury
from campaign_express.config import Settings
from campaign_express.errors import ConfigError, Unavailable
from campaign_express.serving import logs
from campaign_express.serving.cell import Cell
from campaign_express.serving.operator import Guard, Operated, WithOthers, WithReports, operator_app
from campaign_express.serving.process import SideProcess


class BidGateway:
    """A replica is a cell. `__init__` returns only when agents are linked and listeners up: returning means RUNNING."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        settings: Settings | dict[str, Any],
        bidder_factory: str = "",
        start_embedded: bool = False,
        treasury: DeploymentHandle[Any] | None = None,
        pipeline: DeploymentHandle[Any] | None = None,
    ) -> None:
        """`settings` as values without secrets are completed from this process's environment; ready ones are taken.

        `treasury` and `pipeline` are asked for their parts of `/v1/status`.
        """
        if not isinstance(settings, Settings):
            settings = config.load(settings)
        cell_id = serve.get_replica_context().replica_id.unique_id
        logs.configure(settings.log_level, component="gateway", cell=cell_id)
        self._cell = Cell(settings, cell_id, bidder_factory=bidder_factory, start_embedded=start_embedded)
        self._beside = {"treasury": treasury, "pipeline": pipeline}
        self._serve_host = await serve_host()
        try:
            await self._cell.start()
        except BaseException:
            await self._cell.drain()
            raise

    def __serve_build_asgi_app__(self) -> Any:
        settings = self._cell.settings
        guard = Guard(str(settings.operator_token), self._serve_host)
        asked = {
            name: functools.partial(_status, handle) for name, handle in self._beside.items() if handle is not None
        }
        operated: Operated = WithOthers(self._cell, asked)
        pipeline = self._beside["pipeline"]
        if pipeline is not None:
            operated = WithReports(operated, pipeline.report.remote)
        return operator_app(operated, self._cell.exchange_app, guard, settings.max_body_bytes)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Change in place what can change without a new cell: `log_level`. Raises ConfigError for anything else."""
        level = config.load({"log_level": self._cell.settings.log_level, **_only_log_level(user_config)}).log_level
        logs.set_level(level)

    def check_health(self) -> None:
        self._cell.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        return self._cell.autoscaling_stats()

    async def status(self) -> dict[str, Any]:
        """As `/v1/status`, for calls through a Serve handle."""
        return await self._cell.status()

    async def __del__(self) -> None:
        cell = getattr(self, "_cell", None)
        if cell is not None:
            await cell.drain()


class Beside:
    """What runs beside the cells in a replica of its own: `component` names it in logs, `build` makes it."""

    component = ""
    build: Callable[[Settings], Any]

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: Settings | dict[str, Any], start_embedded: bool = False
    ) -> None:
        """`settings`: as for BidGateway."""
        if not isinstance(settings, Settings):
            settings = config.load(settings)
        name = serve.get_replica_context().replica_id.unique_id
        logs.configure(settings.log_level, component=self.component)
        self._process: SideProcess[Any] = SideProcess(settings, name, type(self).build, start_embedded)
        try:
            await self._process.start()
        except BaseException:
            await self._process.stop()
            raise

    async def status(self) -> dict[str, Any]:
        """Its part of `/v1/status`."""
        return self._process.status()

    async def __del__(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            await process.stop()


class Treasury(Beside):
    """One replica works; a second one, during a rolling update, waits until the first has ended."""

    component = "treasury"
    build = staticmethod(build_treasury)


class EventPipeline(Beside):
    """Any number of replicas share the partitions of the streams; with chDB one owns the store and the rest wait."""

    component = "pipeline"
    build = staticmethod(build_pipeline)

    async def report(self, parameters: list[tuple[str, str]]) -> tuple[str, bytes]:
        """As `/v1/reports`. Raises InvalidRequest and Unavailable."""
        if self._process.service is None:
            raise Unavailable("the event pipeline is not up yet")
        answer: tuple[str, bytes] = await self._process.service.report(parameters)
        return answer


def _only_log_level(user_config: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(user_config) - {"log_level"})
    if unknown:
        raise ConfigError("user_config that cannot be used:", [f"{name}: not changed in place" for name in unknown])
    return user_config


async def serve_host() -> str | None:
    """The address that Serve's proxies are bound to; None when it is not known or replicas have ports of their own."""
    if RAY_SERVE_ENABLE_DIRECT_INGRESS:
        return None
    try:
        controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        options = await controller.get_http_config.remote()
    except (RayError, ValueError):
        return None
    host: str | None = options.host
    return host


async def _status(handle: DeploymentHandle[Any]) -> dict[str, Any]:
    answer: dict[str, Any] = await handle.status.remote()
    return answer
