"""A deployment as the autoscaling policy sees it, second by second, without Serve."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

NOW = 1_800_000_000.0
IDLE = {"cpu": 0.01, "load": 0.01, "memory": 0.1}

Policy = Callable[[Any], tuple[int, dict[str, Any]]]


def context(
    running: int,
    *,
    target: int | None = None,
    low: int = 10,
    high: int = 40,
    now: float = NOW,
    state: dict[str, Any] | None = None,
    silent: int = 0,
    lacks: str = "",
    age_s: float = 0.0,
    config: Any = None,
    **metrics: float | list[float],
) -> SimpleNamespace:
    """Metrics are those of all cells alike, or a list; idle where not given. `silent` cells report nothing, none
    reports the metric that it `lacks`, and reports are `age_s` old."""
    told: dict[str, dict[int, float]] = {}
    for name, value in {**IDLE, **metrics}.items():
        if name != lacks:
            values = value if isinstance(value, list) else [value] * running
            told[name] = dict(list(enumerate(values))[: max(0, running - silent)])
    stamp = [SimpleNamespace(timestamp=now - age_s)]
    return SimpleNamespace(
        current_num_replicas=running,
        target_num_replicas=running if target is None else target,
        running_replicas=list(range(running)),
        total_num_requests=0,
        aggregated_metrics=told,
        raw_metrics={name: dict.fromkeys(cells, stamp) for name, cells in told.items()},
        capacity_adjusted_min_replicas=low,
        capacity_adjusted_max_replicas=high,
        policy_state=state,
        current_time=now,
        config=config,
    )


class World:
    """Calls the policy once a second; the number of cells follows its decision at once."""

    def __init__(self, policy: Policy, cells: int, low: int = 10, high: int = 40, config: Any = None) -> None:
        self.policy, self.target, self.now = policy, cells, NOW
        self.state: dict[str, Any] = {}
        self.targets: list[int] = []
        self._bounds, self._config = {"low": low, "high": high}, config

    def decide(self, running: int | None = None, work: float | None = None, **situation: Any) -> None:
        """`work`: as many cells as it would keep busy all the time, shared among those that run."""
        cells = self.target if running is None else running
        if work is not None:
            situation["load"] = situation["cpu"] = min(1.0, work / cells) if cells else 0.0
        self.target, self.state = self.policy(
            context(
                cells,
                target=self.target,
                now=self.now,
                state=dict(self.state),
                config=self._config,
                **self._bounds,
                **situation,
            )
        )
        self.targets.append(self.target)

    def run(self, seconds: int, **situation: Any) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.decide(**situation)
