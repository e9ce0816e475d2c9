"""`serve run serve_config.yaml` starts here: settings in, Serve application out."""

from __future__ import annotations

from typing import Any

import msgspec
from ray import serve

from campaign_express import config
from campaign_express.config import Secret, Settings
from campaign_express.serving.cell import AGENT_CPUS, GATEWAY_CPUS
from campaign_express.serving.deployment import BidGateway


def app(args: dict[str, Any]) -> serve.Application:
    """The application of serve_config.yaml (`import_path: campaign_express.serving.builder:app`).

    Raises ConfigError with every problem of `args` and the environment at once; unknown names are problems.
    """
    return build(config.load(args))


def build(settings: Settings, bidder_factory: str = "", **options: Any) -> serve.Application:
    """A cell's deployment from settings. `options` go to the deployment; `bidder_factory` is for tests and benchmarks."""
    bundle = (
        {"CPU": AGENT_CPUS, "npu": float(settings.npu_per_agent)} if settings.npu_per_agent else {"CPU": AGENT_CPUS}
    )
    deployment = serve.deployment(
        serve.ingress()(BidGateway),
        name="BidGateway",
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": GATEWAY_CPUS},
        placement_group_bundles=[{"CPU": GATEWAY_CPUS}, *([bundle] * settings.agents_per_cell)],
        placement_group_strategy="STRICT_PACK",
        health_check_period_s=1,
        health_check_timeout_s=10,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=settings.drain_window_s + 10,
        max_constructor_retry_count=3,
    )
    if options:
        deployment = deployment.options(**options)
    return deployment.bind(public(settings), bidder_factory)


def public(settings: Settings) -> dict[str, Any]:
    """The settings without secrets, as plain values: what may stand in Ray's records and on its dashboard."""
    return {f.name: getattr(settings, f.name) for f in msgspec.structs.fields(Settings) if f.type is not Secret}
