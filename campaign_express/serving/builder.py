"""`serve run serve_config.yaml` starts here: settings in, Serve application out.

Secrets never stand in what Serve keeps and its dashboard shows: `args` may not hold any, and each replica reads them
from its own environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from ray import serve

from campaign_express import config
from campaign_express.config import SECRET_FIELDS, URL_FIELDS, Settings, has_password, refuse_secrets
from campaign_express.serving.cell import AGENT_CPUS, GATEWAY_CPUS
from campaign_express.serving.deployment import BidGateway, EventPipeline, Treasury

TREASURY_CPUS = 0.1  # logical, as those of a cell
PIPELINE_CPUS, PIPELINE_SHUTDOWN_S = 0.1, 30.0  # likewise; the insert in hand
TREASURY_SHUTDOWN_S = 20.0  # its steps in hand, and embedded servers
SHUTDOWN_S = 10.0  # beyond the drain window: uvicorn's stop, agents, embedded servers


def app(args: dict[str, Any]) -> serve.Application:
    """The application of serve_config.yaml (`import_path: campaign_express.serving.builder:app`).

    Without `redis_url` or `nats_url` the embedded server of that kind is started. Raises ConfigError with every problem
    of `args` and the environment at once; unknown names are problems, and so are secrets in `args`.
    """
    refuse_secrets(args)
    settings = config.load(args)
    absolute = msgspec.structs.replace(settings, data_dir=str(Path(settings.data_dir).absolute()))
    values = public(absolute)
    beside = {
        "treasury": _treasury().bind(values, start_embedded=True),
        "pipeline": _pipeline().bind(values, start_embedded=True),
    }
    application: serve.Application = _deployment(absolute).bind(values, start_embedded=True, **beside)
    return application


def build(
    settings: Settings, bidder_factory: str = "", treasury: bool | None = None, pipeline: bool = False, **options: Any
) -> serve.Application:
    """A cell from ready settings, without embedded servers: for programs such as tests and benchmarks.

    `bidder_factory` ("module:function") makes the agents' bidder; `treasury`: start one beside it, by default where
    there are a Redis and a NATS for it; `pipeline`: likewise, only if asked for; `options` go to the cell's Serve
    deployment.
    """
    if treasury is None:
        treasury = bool(settings.redis_url and settings.nats_url)
    beside = {"treasury": _treasury().bind(settings)} if treasury else {}
    if pipeline:
        beside["pipeline"] = _pipeline().bind(settings)
    application: serve.Application = _deployment(settings, **options).bind(settings, bidder_factory, **beside)
    return application


def _deployment(settings: Settings, **options: Any) -> Any:
    agent: dict[str, float] = {"CPU": AGENT_CPUS}
    if settings.npu_per_agent:
        agent["npu"] = settings.npu_per_agent
    chosen: dict[str, Any] = {
        "max_ongoing_requests": 1000,
        "ray_actor_options": {"num_cpus": GATEWAY_CPUS},
        "placement_group_bundles": [{"CPU": GATEWAY_CPUS}, *([agent] * settings.agents_per_cell)],
        "placement_group_strategy": "STRICT_PACK",
        "health_check_period_s": 1,
        "health_check_timeout_s": 10,
        "graceful_shutdown_wait_loop_s": 0.1,
        "graceful_shutdown_timeout_s": settings.drain_window_s + SHUTDOWN_S,
        **options,
    }
    return serve.deployment(serve.ingress()(BidGateway), name="BidGateway", **chosen)


def _treasury() -> Any:
    return serve.deployment(
        Treasury,
        name="Treasury",
        num_replicas=1,
        ray_actor_options={"num_cpus": TREASURY_CPUS},
        health_check_period_s=5,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=TREASURY_SHUTDOWN_S,
    )


def _pipeline() -> Any:
    return serve.deployment(
        EventPipeline,
        name="EventPipeline",
        num_replicas=1,
        ray_actor_options={"num_cpus": PIPELINE_CPUS},
        health_check_period_s=5,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=PIPELINE_SHUTDOWN_S,
    )


def public(settings: Settings) -> dict[str, Any]:
    """The settings without secrets, as plain values: what may stand in Ray's records and on its dashboard."""
    values = {name: getattr(settings, name) for name in settings.__struct_fields__ if name not in SECRET_FIELDS}
    return {name: value for name, value in values.items() if name not in URL_FIELDS or not has_password(value)}
