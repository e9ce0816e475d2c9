"""The HPA's rule as a Serve policy, and where its numbers come from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from campaign_express.serving.autoscaling import desired, hpa
from campaign_express.serving.usage import CpuMeter, memory_share, resident_bytes


@pytest.mark.parametrize(
    ("current", "metrics", "wanted"),
    [
        (10, {}, 10),  # no news is no reason to move
        (10, {"cpu": 0.70}, 10),
        (10, {"cpu": 0.76}, 10),  # within the tolerance of 10 %
        (10, {"cpu": 0.84}, 12),  # exactly 1.2: no float makes it 13
        (10, {"cpu": 0.85}, 13),  # 12.14, rounded up
        (20, {"cpu": 0.35, "memory": 0.40, "load": 0.35}, 10),
        (20, {"cpu": 0.35, "memory": 0.88, "load": 0.10}, 20),  # the worst one decides: 1.1
        (20, {"cpu": 0.35, "memory": 0.96, "load": 0.10}, 24),
        (4, {"load": 0.0}, 0),  # the caller clamps
        (1, {"rps": 1e9}, 1),  # no target, not looked at
    ],
)
def test_desired(current: int, metrics: dict[str, float], wanted: int) -> None:
    assert desired(current, metrics) == wanted


def context(**fields: Any) -> SimpleNamespace:
    base = {
        "current_num_replicas": 10,
        "target_num_replicas": 10,
        "aggregated_metrics": {},
        "capacity_adjusted_min_replicas": 10,
        "capacity_adjusted_max_replicas": 40,
        "policy_state": {"kept": 1},
    }
    return SimpleNamespace(**{**base, **fields})


def test_the_policy_takes_means_over_cells_and_stays_within_bounds() -> None:
    assert hpa(context(aggregated_metrics={"cpu": {"a": 0.6, "b": 1.0}})) == (12, {"kept": 1})
    assert hpa(context(aggregated_metrics={"cpu": {"a": 0.01}}))[0] == 10
    assert hpa(context(current_num_replicas=39, aggregated_metrics={"load": {"a": 1.0}}))[0] == 40
    assert hpa(context(aggregated_metrics={"cpu": {}}))[0] == 10
    assert hpa(context(current_num_replicas=0, aggregated_metrics=None))[0] == 10


def test_the_policy_is_what_serve_accepts() -> None:
    from ray.serve.config import AutoscalingConfig

    found = AutoscalingConfig(
        min_replicas=10,
        initial_replicas=20,
        max_replicas=40,
        policy={"policy_function": "campaign_express.serving.autoscaling:hpa"},
    )
    assert found.policy.get_policy()(context(aggregated_metrics={"load": {"a": 0.84}})) == (12, {"kept": 1})


def test_usage_of_a_pod_with_limits(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 1\n")
    meter = CpuMeter(tmp_path)
    (tmp_path / "cpu.stat").write_text("usage_usec 900000000\nuser_usec 1\n")
    assert meter.share() == 1.0  # 899 CPU seconds in no time
    assert meter.share() == 0.0
    for name, text in {
        "memory.max": "1000",
        "memory.current": "900",
        "memory.stat": "anon 1\ninactive_file 100",
    }.items():
        (tmp_path / name).write_text(text)
    assert memory_share(tmp_path) == pytest.approx(0.8)


def test_usage_of_a_whole_machine(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "stat").write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1\n")
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n")
    meter = CpuMeter(tmp_path, tmp_path)
    (tmp_path / "stat").write_text("cpu  150 0 120 830 0 0 0 0 0 0\ncpu0 1\n")
    assert meter.share() == pytest.approx(0.7)
    assert memory_share(tmp_path, tmp_path) == pytest.approx(0.75)


def test_resident_memory_of_processes_that_live() -> None:
    import os

    assert resident_bytes([os.getpid(), 2**22 + 1]) == pytest.approx(resident_bytes([os.getpid()]), rel=0.2)
    assert resident_bytes([]) == 0
