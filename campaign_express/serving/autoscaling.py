"""How many cells: the HPA's rule applied to the cells' own numbers, as a Serve autoscaling policy.

    desired = ceil(current * max over metrics of (mean over cells / target))

(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/, "Algorithm details"), with its tolerance of
10 %. The data path bypasses Serve's request counters, so every cell reports `cpu`, `memory` and `load` itself (see
`BidGateway.record_autoscaling_stats`). Used in a deployment's `autoscaling_config` without `num_replicas`:

    policy: {policy_function: "campaign_express.serving.autoscaling:hpa"}

Set RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S=1 before Ray starts; its default of 10 s makes this slow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TARGETS: Mapping[str, float] = {
    "cpu": 0.70,  # of the pod's CPUs
    "memory": 0.80,  # of the pod's memory
    "load": 0.70,  # of the agents' time
}
TOLERANCE = 0.10


def desired(current: int, metrics: Mapping[str, float], targets: Mapping[str, float] = TARGETS) -> int:
    """Cells wanted, given the mean of each metric over `current` cells. Metrics without a target are not looked at.

    Within the tolerance, and without any metric, it is `current`: no news is no reason to move.
    """
    ratios = [metrics[name] / target for name, target in targets.items() if name in metrics]
    if not ratios:
        return current
    ratio = max(ratios)
    if abs(ratio - 1.0) <= TOLERANCE:
        return current
    # Rounded first, so that 10 cells at 0.7 / 0.7 * 1.2 are 12 and not 13 by the last bit of a float.
    return math.ceil(round(current * ratio, 6))


def hpa(context: Any) -> tuple[int, dict[str, Any]]:
    """The policy. `context` is `ray.serve.config.AutoscalingContext`; returns (target number of cells, state)."""
    current = context.current_num_replicas or context.target_num_replicas
    means = {
        name: sum(by_replica.values()) / len(by_replica)
        for name, by_replica in (context.aggregated_metrics or {}).items()
        if by_replica
    }
    low, high = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return max(low, min(high, desired(current, means))), context.policy_state or {}
