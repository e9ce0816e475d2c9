"""What Ray must find in its environment before it starts, on head and workers alike: it is read once, at import.

`campaign-express up` sets it; with `ray start` or in a pod it is the deployment's business.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

RAY_ENVIRONMENT = {
    # Direct ingress holds a leaving replica's slots for 30 s more, and it would open a port of its own.
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    # Cells report CPU, memory and load this often; the default of 10 s would make autoscaling slow.
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    # Ray gives its workers way to all else on the machine (nice 15); here they are what the machine is for.
    "RAY_worker_niceness": "0",
    # No report of usage to Ray's makers.
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare(environ: MutableMapping[str, str] | None = None) -> None:
    """Set what is not set yet. To be called before `ray` is imported."""
    environ = os.environ if environ is None else environ
    for name, value in RAY_ENVIRONMENT.items():
        environ.setdefault(name, value)
