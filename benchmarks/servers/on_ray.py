"""What runs on Ray: the cell with its own listener, or the same core behind Serve's ingress (default proxy or HAProxy).

Which proxy Serve uses is decided by RAY_SERVE_* in the environment, see `benchmarks.targets`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

import ray
from ray import serve

from benchmarks import stateful
from campaign_express import config
from campaign_express.serving.builder import build


class Behind:
    """The core as a plain Serve deployment."""

    def __init__(self, settings: dict[str, Any]) -> None:
        from benchmarks.servers.in_process import deciding, ready_bidder

        app = deciding(ready_bidder(settings))

        async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "lifespan":
                return await app(scope, receive, send)
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return None

        self._app = with_lifespan

    def __serve_build_asgi_app__(self) -> Any:
        return self._app


def behind_serve(settings: dict[str, Any], replicas: int) -> serve.Application:
    deployment: Any = serve.deployment(
        serve.ingress()(Behind),
        name="Behind",
        num_replicas=replicas,
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0.1},
    )
    application: serve.Application = deployment.bind(settings)
    return application


def cell(settings: dict[str, Any], port: int, metrics_port: int, agents: int, folder: str) -> serve.Application:
    own = {
        "http_port": port,
        "grpc_port": 0,
        "metrics_port": metrics_port,
        "agents_per_cell": agents,
        "data_dir": folder,
    }
    # Nobody applies or stores what is told: that is another machine's work, and would be measured with the cell's.
    return build(config.load({**settings, **own}), treasury=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("cell", "serve"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--serve-port", type=int, default=0, help="of Serve's own ingress, for the cell")
    parser.add_argument("--settings", type=Path, required=True, help="JSON file")
    parser.add_argument("--folder", type=Path, required=True, help="for all that this writes; a short path")
    parser.add_argument("--metrics-port", type=int, default=0, help="of the cell")
    parser.add_argument("--state", action="store_true", help="with money and memory, in a Valkey of its own")
    parser.add_argument("--events", choices=("on", "off"), help="with a NATS of its own, telling of decisions or not")
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--replicas", type=int, default=1)
    options = parser.parse_args()
    settings = json.loads(options.settings.read_text())
    if options.state:
        settings = stateful.prepare(settings, options.folder)
    if options.events:
        settings = {**settings, **stateful.events(options.folder, options.events == "on")}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ray.init(
        address="local",
        include_dashboard=False,
        num_cpus=8,
        log_to_driver=False,
        _temp_dir=str(options.folder / "r"),
        namespace="bench",
    )
    try:
        proxy = options.port if options.kind == "serve" else options.serve_port
        serve.start(http_options={"host": "127.0.0.1", "port": proxy}, logging_config={"enable_access_log": False})
        if options.kind == "cell":
            application = cell(settings, options.port, options.metrics_port, options.agents, str(options.folder))
        else:
            application = behind_serve(settings, options.replicas)
        try:
            serve.run(application, name="bench", route_prefix="/")
        except RuntimeError:
            for name, state in serve.status().applications["bench"].deployments.items():
                print(f"{name}: {state.message}", file=sys.stderr)
            raise
        signal.pause()
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


if __name__ == "__main__":
    main()
