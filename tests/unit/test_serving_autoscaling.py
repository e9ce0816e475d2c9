"""The HPA's rule as a Serve policy: its arithmetic, windows, steps, and what it does without news."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from campaign_express.errors import ConfigError
from campaign_express.serving.autoscaling import HpaPolicy, Rules, desired
from tests.support.autoscaling_world import World, context


@pytest.mark.parametrize(
    ("current", "metrics", "wanted"),
    [
        (10, {}, 10),  # no news is no reason to move
        (10, {"cpu": 0.70}, 10),
        (10, {"cpu": 0.76}, 10),  # within the tolerance of 10 %
        (10, {"cpu": 0.98}, 14),  # exactly 1.4: no float makes it 15
        (10, {"cpu": 0.85}, 13),  # 12.14, rounded up
        (20, {"cpu": 0.35, "memory": 0.40, "load": 0.35}, 10),
        (20, {"cpu": 0.35, "load": 0.77}, 20),  # the worst one decides: 1.1
        (20, {"cpu": 0.35, "load": 0.84}, 24),
        (20, {"cpu": 0.70, "memory": 0.96}, 24),
        (20, {"cpu": 0.70, "memory": 1.20}, 25),  # not 30: memory alone is a quarter at most
        (20, {"cpu": 0.35, "memory": 0.75}, 13),  # nor does it keep what the work does not need
        (20, {"memory": 0.96}, 24),
        (4, {"load": 0.0}, 0),  # the caller clamps
        (1, {"rps": 1e9}, 1),  # no target, not looked at
    ],
)
def test_desired(current: int, metrics: dict[str, float], wanted: int) -> None:
    assert desired(current, metrics) == wanted


def test_bounds_and_means_over_cells() -> None:
    policy = HpaPolicy(down_window_s=0, down_cells=40)
    assert policy(context(10, cpu=[0.6, 1.0] * 5))[0] == 12
    assert policy(context(12, cpu=0.01, load=0.01, memory=0.1))[0] == 10
    assert policy(context(39, load=1.0))[0] == 40
    assert policy(context(5, target=5, cpu=0.7, load=0.7, memory=0.8))[0] == 10  # no step limit holds below the minimum


def test_growing_is_at_once_and_in_steps() -> None:
    world = World(HpaPolicy(up_cells=4, up_percent=20, up_period_s=15), cells=20)
    world.run(1, cpu=1.0)
    assert world.target == 24
    world.run(13, cpu=1.0)
    assert world.target == 24
    world.run(3, cpu=1.0)
    assert world.target == 28


def test_an_up_window_waits_out_what_is_short() -> None:
    world = World(HpaPolicy(up_window_s=10), cells=20)
    world.run(10, cpu=0.7)
    world.run(8, cpu=1.0)
    assert world.target == 20
    world.run(4, cpu=1.0)
    assert world.target == 29


def test_shrinking_waits_for_its_window_and_is_in_steps() -> None:
    world = World(HpaPolicy(), cells=30)
    world.run(100, cpu=0.7)
    world.run(298, cpu=0.1)
    assert world.target == 30
    world.run(4, cpu=0.1)
    assert world.target == 27
    world.run(57, cpu=0.1)
    assert world.target == 27
    world.run(4, cpu=0.1)
    assert world.target == 25
    world.run(1, cpu=1.0)
    assert world.target == 36  # while it grows at once


def test_one_peak_within_the_window_holds_what_runs() -> None:
    world = World(HpaPolicy(), cells=30)
    world.run(250, cpu=0.1)
    world.run(1, cpu=0.7)
    world.run(250, cpu=0.1)
    assert world.target == 30


@pytest.mark.parametrize(
    "silence",
    [
        {"silent": 1},  # one cell of all
        {"silent": 30},
        {"lacks": "memory"},
        {"age_s": 31.0},  # the last reports are old
        {"cpu": float("nan")},
    ],
)
def test_nothing_shrinks_while_anything_is_missing(silence: dict[str, Any]) -> None:
    world = World(HpaPolicy(down_window_s=10), cells=30)
    world.run(400, **{"cpu": 0.01, **silence})
    assert world.target == 30
    world.run(15, cpu=0.01)
    assert world.target < 30


def test_it_grows_with_some_missing_counted_as_idle() -> None:
    world = World(HpaPolicy(), cells=20)
    world.run(1, cpu=1.0, silent=4)
    assert world.target == 23  # 20 * 0.8 / 0.7, where all 20 busy would make 29


def test_no_cell_runs_yet() -> None:
    assert HpaPolicy()(context(0, target=20))[0] == 20
    assert HpaPolicy()(context(0, target=0))[0] == 10


def test_a_controller_that_was_restarted_shrinks_no_sooner() -> None:
    """Serve has kept the target and lost the state, and cells report to it one after the other."""
    world = World(HpaPolicy(), cells=38)
    world.run(10, cpu=0.7)
    world.state = {}
    for running in range(39):
        world.now += 0.1
        world.decide(running=running, cpu=0.01)
    assert world.target == 38
    world.run(290, cpu=0.01)
    assert world.target == 38
    world.run(15, cpu=0.01)
    assert world.target < 38


def test_a_steady_footprint_of_memory_neither_grows_for_ever_nor_keeps_a_peak() -> None:
    for share, most in ((0.75, 13), (0.79, 13), (0.95, 13)):
        world = World(HpaPolicy(), cells=10)
        world.run(7200, work=2.0, memory=share)
        assert world.target <= most, share
        world.run(600, work=28.0, memory=share)
        assert world.target >= 38
        world.run(3 * 3600, work=2.0, memory=share)
        assert world.target <= most, share


def test_a_clock_that_is_set_back_does_not_stop_it() -> None:
    world = World(HpaPolicy(), cells=20)
    world.run(10, cpu=0.7)
    world.now -= 3600
    world.run(400, cpu=0.1)
    assert world.target < 20


def test_every_problem_of_policy_kwargs_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        HpaPolicy(cpu=0, down_window_s=-1, up_cells=1.5, load="0.7", windows=3, tolerance=float("nan"), stale_s=True)
    text = str(told.value)
    assert all(name in text for name in ("cpu", "down_window_s", "up_cells", "load", "windows", "tolerance", "stale_s"))
    with pytest.raises(ConfigError, match="up_percent"):
        HpaPolicy(up_cells=0, up_percent=0)
    assert HpaPolicy().rules == Rules()


def test_serve_takes_it_with_its_kwargs_and_hands_its_state_back() -> None:
    """Through what Serve's controller itself does with a policy."""
    from ray.serve._private.autoscaling_state import _resolve_policy_callable
    from ray.serve.autoscaling_policy import _apply_autoscaling_config
    from ray.serve.config import AutoscalingConfig

    found = AutoscalingConfig(
        min_replicas=10,
        initial_replicas=20,
        max_replicas=40,
        upscale_delay_s=0,
        downscale_delay_s=0,
        policy={
            "policy_function": "campaign_express.serving.autoscaling:hpa",
            "policy_kwargs": {"down_window_s": 5.0, "down_cells": 30},
        },
    )
    policy = _apply_autoscaling_config(_resolve_policy_callable(found.policy))
    world = World(policy, cells=20, config=found)
    world.run(1, cpu=1.0)
    assert world.target == 29
    world.run(3, cpu=0.1)
    assert world.target == 29
    world.run(4, cpu=0.1)
    assert world.target == 10
    assert {"most", "least", "changes", "target"} < set(world.state)


def test_what_a_cell_reports_is_what_the_policy_looks_at() -> None:
    from campaign_express.serving.cell import Cell

    cell = SimpleNamespace(
        meters=SimpleNamespace(counters=SimpleNamespace(busy_ns=1)),
        _busy=(0, 0),
        _paths=["one"],
        _cpu=SimpleNamespace(share=lambda: 0.5),
    )
    assert set(Cell.autoscaling_stats(cell)) == {"cpu", "memory", "load"}  # type: ignore[arg-type]
