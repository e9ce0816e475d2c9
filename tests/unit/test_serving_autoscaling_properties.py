"""What holds of the autoscaling policy whatever the cells report."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.serving.autoscaling import HpaPolicy, Rules, desired
from tests.support.autoscaling_world import NOW, World, context

LOW, HIGH = 10, 40
SHARES = st.floats(0, 1)
CELLS = st.integers(LOW, HIGH)
METRICS = st.fixed_dictionaries({"cpu": SHARES, "load": SHARES, "memory": SHARES})
STEPS = st.fixed_dictionaries(
    {
        "up_window_s": st.sampled_from([0.0, 5.0, 30.0]),
        "down_window_s": st.sampled_from([0.0, 30.0, 300.0]),
        "up_cells": st.integers(1, 10),
        "up_percent": st.sampled_from([0.0, 10.0, 100.0]),
        "down_cells": st.integers(1, 10),
        "down_percent": st.sampled_from([0.0, 10.0, 50.0]),
        "up_period_s": st.sampled_from([1.0, 15.0]),
        "down_period_s": st.sampled_from([1.0, 60.0]),
    }
)


@given(CELLS, METRICS, st.sampled_from(["cpu", "load", "memory"]), SHARES)
def test_it_is_monotone_in_each_metric(cells: int, metrics: dict[str, float], name: str, other: float) -> None:
    more, less = {**metrics, name: max(metrics[name], other)}, {**metrics, name: min(metrics[name], other)}
    assert desired(cells, more) >= desired(cells, less)
    policy = HpaPolicy(down_window_s=0, down_cells=HIGH, up_cells=HIGH)
    assert policy(context(cells, **more))[0] >= policy(context(cells, **less))[0]


@given(CELLS, METRICS)
def test_memory_alone_asks_for_a_quarter_more_at_most(cells: int, metrics: dict[str, float]) -> None:
    work = desired(cells, {name: metrics[name] for name in ("cpu", "load")})
    assert work <= desired(cells, metrics) <= max(work, math.ceil(work * 1.25))


@settings(deadline=None)
@given(
    STEPS,
    st.lists(
        st.tuples(
            METRICS,
            st.integers(0, HIGH),  # cells that run
            st.sampled_from([{}, {"silent": 1}, {"silent": HIGH}, {"lacks": "load"}, {"age_s": 99.0}]),
            st.floats(0.1, 40),  # seconds until then
        ),
        max_size=30,
    ),
)
def test_bounds_hold_and_nothing_shrinks_without_news(
    steps: dict[str, Any], course: list[tuple[dict[str, float], int, dict[str, Any], float]]
) -> None:
    world = World(HpaPolicy(**steps), cells=20)
    for metrics, running, missing, seconds in course:
        before = world.target
        world.now += seconds
        world.decide(running=running, **metrics, **missing)
        assert LOW <= world.target <= HIGH
        if missing or not running:
            assert world.target >= before
        assert all(len(world.state[kept]) <= 2 * HIGH for kept in ("most", "least"))


@settings(deadline=None)
@given(STEPS, st.lists(st.tuples(METRICS, st.integers(1, 40)), min_size=1, max_size=12))
def test_steps_are_bounded_within_every_period(
    steps: dict[str, Any], course: list[tuple[dict[str, float], int]]
) -> None:
    rules = Rules.of(steps)
    world = World(HpaPolicy(**steps), cells=20)
    for metrics, seconds in course:
        world.run(seconds, **metrics)
    targets = [20, *world.targets]
    # Counted from what ran when the period began, so that a step back makes room for as many steps on.
    for at, target in enumerate(targets):
        up = targets[max(0, at - int(rules.up_period_s)) : at + 1]
        down = targets[max(0, at - int(rules.down_period_s)) : at + 1]
        assert target <= max(n + max(rules.up_cells, math.floor(n * rules.up_percent / 100)) for n in up)
        assert target >= min(n - max(rules.down_cells, math.floor(n * rules.down_percent / 100)) for n in down)


@settings(deadline=None, max_examples=30)
@given(st.floats(3, 40), CELLS, SHARES)
def test_steady_work_is_met_with_cells_at_their_target_and_then_nothing_moves(
    work: float, cells: int, memory: float
) -> None:
    world = World(HpaPolicy(), cells=cells)
    world.run(2 * 3600 // 4, work=work, memory=memory)
    settled = world.target
    world.run(900, work=work, memory=memory)
    assert set(world.targets[-900:]) == {settled}
    needed = min(HIGH, max(LOW, work / 0.7))
    assert settled >= math.floor(min(HIGH, needed / 1.1))
    assert settled <= min(HIGH, max(LOW, math.ceil(math.ceil(needed / 0.9) * 1.25)))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.floats(10, 26), st.floats(0, 0.25))
def test_noise_makes_it_grow_once_and_never_flap(seed: int, work: float, amplitude: float) -> None:
    world, rng = World(HpaPolicy(), cells=40), random.Random(seed)
    for _ in range(1800):
        world.now += 1.0
        world.decide(work=work * (1 + rng.uniform(-amplitude, amplitude)))
    turns = [after - before for before, after in pairwise(world.targets) if after != before]
    # Down from where it began, and at most a correction after that: never down, up and down again.
    changes = sum((one > 0) != (two > 0) for one, two in pairwise(turns))
    assert changes <= 2, world.targets
    assert set(world.targets[-300:]) <= set(range(min(world.targets[-300:]), min(world.targets[-300:]) + 3))


def test_the_same_situation_has_the_same_answer() -> None:
    """Nothing is kept outside the state that is handed back."""
    policy = HpaPolicy()
    first = policy(context(20, cpu=1.0, now=NOW))
    policy(context(30, cpu=0.0, now=NOW + 1))
    assert policy(context(20, cpu=1.0, now=NOW)) == first
