"""How many cells: the HPA's rule applied to the cells' own numbers, as a Serve autoscaling policy.

    desired = ceil(current * max over metrics of (mean over cells / target))

with a tolerance of 10 %, a stabilisation window in each direction and limits of the steps, each as the Kubernetes HPA
has them (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/, "Algorithm details" and
"Configurable scaling behavior"). The data path bypasses Serve's request counters, so every cell reports `cpu`, `memory`
and `load` itself (see `BidGateway.record_autoscaling_stats`). Used in a deployment's `autoscaling_config` without
`num_replicas`, and with Serve's own delays off, since they would come on top of the windows:

    upscale_delay_s: 0
    downscale_delay_s: 0
    policy:
      policy_function: "campaign_express.serving.autoscaling:hpa"
      policy_kwargs: {down_window_s: 600}  # any field of `Rules`

Percentages are of the pod's limits, never of its requests. And memory is not divided by adding cells, as work is: what
20 agents and their catalogue take is the same at 10 requests a second and at 1,000, so a footprint above the target
would ask for more cells for ever, and one just below it would keep all that a peak has brought. Memory alone therefore
asks for at most `memory_extra` more cells than CPU and load do.

Set RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S=1 before Ray starts; its default of 10 s makes this slow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from campaign_express.errors import ConfigError

Remembered = list[tuple[float, int]]  # (seconds, number of cells), the oldest first

POSITIVE = frozenset({"cpu", "memory", "load", "up_period_s", "down_period_s", "stale_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What `policy_kwargs` may set. Shares are 0..1, windows and periods seconds."""

    cpu: float = 0.70  # target: of the pod's CPU limit
    memory: float = 0.80  # target: of the pod's memory limit
    load: float = 0.70  # target: of the agents' time
    tolerance: float = 0.10  # a ratio this near to 1 changes nothing
    memory_extra: float = 0.25  # more cells than CPU and load ask for, at most, for the sake of memory alone
    up_window_s: float = 0.0  # grow to the least that was desired within this window; 0: at once
    down_window_s: float = 300.0  # shrink to the most that was desired within this window
    # Steps: within a period at most so many cells or so many percent, whichever is more.
    up_cells: int = 4
    up_percent: float = 100.0
    up_period_s: float = 15.0
    down_cells: int = 2
    down_percent: float = 10.0
    down_period_s: float = 60.0
    stale_s: float = 30.0  # a cell whose newest report is older has not reported

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Rules:
        """Raises ConfigError with every problem at once."""
        known = {field.name: field.default for field in fields(cls)}
        problems = [
            f"{name}: there is no such rule; those are {', '.join(known)}" for name in sorted(given.keys() - known)
        ]
        values: dict[str, Any] = {}
        for name in sorted(given.keys() & known):
            whole = isinstance(known[name], int)
            if _usable(given[name], whole, least=name not in POSITIVE):
                values[name] = given[name]
            else:
                kind = f"{'a whole' if whole else 'a'} number {'above' if name in POSITIVE else 'from'} 0"
                problems.append(f"{name} = {given[name]!r}: {kind} is wanted")
        if not problems:
            rules = cls(**values)
            problems = [
                f"{way}_cells, {way}_percent: one of them must be above 0, or no cell is ever moved"
                for way in ("up", "down")
                if not (getattr(rules, f"{way}_cells") or getattr(rules, f"{way}_percent"))
            ]
        if problems:
            raise ConfigError("policy_kwargs of the autoscaling policy that cannot be used:", problems)
        return rules


def _usable(value: Any, whole: bool, least: bool) -> bool:
    """A finite number above 0, or 0 itself where that is the least allowed."""
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return False
    return math.isfinite(value) and (value > 0 or (least and value == 0))


DEFAULT = Rules()


def desired(current: int, metrics: Mapping[str, float], rules: Rules = DEFAULT) -> int:
    """Cells wanted, given the mean of each metric over `current` cells; monotone in each metric.

    Other metrics than `cpu`, `load` and `memory` are not looked at. Without any it is `current`: no news is no reason
    to move.
    """
    work = [metrics[name] / getattr(rules, name) for name in ("cpu", "load") if name in metrics]
    asked = _scaled(current, max(work), rules.tolerance) if work else current
    if "memory" not in metrics:
        return asked
    for_memory = _scaled(current, metrics["memory"] / rules.memory, rules.tolerance)
    return max(asked, min(for_memory, _ceil(asked * (1 + rules.memory_extra)))) if work else for_memory


def _scaled(current: int, ratio: float, tolerance: float) -> int:
    return current if round(abs(ratio - 1.0), 9) <= tolerance else _ceil(current * ratio)


def _ceil(value: float) -> int:
    # Rounded first, so that 10 cells at 0.98 of a target of 0.7 are 14 and not 15 by the last bit of a float.
    return math.ceil(round(value, 6))


class HpaPolicy:
    """The policy; Serve makes one a deployment and calls it some ten times a second.

    All that it remembers is in the state that Serve hands back. Serve begins with an empty one when its controller has
    been restarted, and when it is told of the deployment anew: the target then counts as desired just now.
    """

    def __init__(self, **policy_kwargs: Any) -> None:
        """`policy_kwargs`: fields of `Rules`. Raises ConfigError."""
        self.rules = Rules.of(policy_kwargs)

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """`context` is `ray.serve.config.AutoscalingContext`; returns (target number of cells, state)."""
        rules, now, state = self.rules, float(context.current_time), context.policy_state or {}
        running, target = context.current_num_replicas, context.target_num_replicas
        low, high = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        means, complete = _means(context, now, rules.stale_s)
        wanted = desired(running, means, rules) if running else target
        if not complete:  # who has not reported may be the busiest of all
            wanted = max(wanted, target)
        most = _remember(state.get("most", [(now, target)]), now, wanted, rules.down_window_s, keep_larger=True)
        least = _remember(state.get("least", []), now, wanted, rules.up_window_s, keep_larger=False)
        changes = _recent(state.get("changes", []), now, max(rules.up_period_s, rules.down_period_s))
        if target != state.get("target", target):
            changes = [*changes, (now, target - state["target"])]
        settled = min(max(target, least[0][1]), most[0][1])
        chosen = max(low, min(high, _step(target, settled, changes, now, rules)))
        return chosen, {"most": most, "least": least, "changes": changes, "target": target}


hpa = HpaPolicy  # as configurations call it


def _means(context: Any, now: float, stale_s: float) -> tuple[dict[str, float], bool]:
    """Mean of each metric over all running cells, and whether each of them has reported each metric lately.

    A cell that has not counts as idle, as it does for the HPA where it grows.
    """
    cells = list(context.running_replicas)
    told, stamps = context.aggregated_metrics or {}, context.raw_metrics or {}
    means: dict[str, float] = {}
    complete = bool(cells)
    for name in ("cpu", "load", "memory"):
        fresh = [
            value
            for cell in cells
            if math.isfinite(value := told.get(name, {}).get(cell, math.nan))
            and (samples := stamps.get(name, {}).get(cell))
            and samples[-1].timestamp >= now - stale_s
        ]
        complete = complete and len(fresh) == len(cells)
        if fresh:
            means[name] = sum(fresh) / len(cells)
    return means, complete


def _remember(
    past: Sequence[tuple[float, int]], now: float, value: int, window_s: float, keep_larger: bool
) -> Remembered:
    """A sliding maximum (or minimum), which stands first: only what may still become it is kept."""
    kept = [(at, v) for at, v in _recent(past, now, window_s) if (v > value if keep_larger else v < value)]
    return [*kept, (now, value)]


def _recent(past: Sequence[tuple[float, int]], now: float, window_s: float) -> Remembered:
    """A clock that was set back makes nothing last longer than its window."""
    return [(min(at, now), v) for at, v in past if now - at < window_s]


def _step(start: int, wanted: int, changes: Remembered, now: float, rules: Rules) -> int:
    """`wanted`, or as far towards it from `start` as the period allows, given the changes made in it."""
    up = wanted > start
    cells, percent, period_s = (
        (rules.up_cells, rules.up_percent, rules.up_period_s)
        if up
        else (rules.down_cells, rules.down_percent, rules.down_period_s)
    )
    before = start - sum(change for _, change in _recent(changes, now, period_s))
    allowed = max(cells, math.floor(before * percent / 100))
    return min(wanted, max(start, before + allowed)) if up else max(wanted, min(start, before - allowed))
