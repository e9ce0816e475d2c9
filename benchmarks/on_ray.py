"""A Ray cluster and a Serve of this process's own, for as long as a `with` block lasts.

To be imported before anything else imports ray, which reads its environment then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import free_port
from campaign_express.serving import environment

environment.prepare()

import ray  # noqa: E402
from ray import serve  # noqa: E402

__all__ = ["on_ray", "serve"]


@contextmanager
def on_ray(directory: Path, namespace: str) -> Iterator[int]:
    """Serve's port on loopback. What Ray writes lies in `directory`."""
    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        namespace=namespace,
        _temp_dir=str(directory / "ray"),
    )
    try:
        port = free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"enable_access_log": False})
        yield port
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
