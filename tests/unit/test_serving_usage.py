"""How much of its machine a cell's pod uses: what the autoscaling policy is fed with."""

from __future__ import annotations

from pathlib import Path

import pytest

from campaign_express.serving.usage import CpuMeter, memory_share, resident_bytes


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
