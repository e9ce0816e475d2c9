"""A short `make chaos`: money events of the exchanges while the event pipeline is killed, the broker restarts and the
store refuses. Nothing is lost, nothing counted twice, and it costs what the exchanges say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cells, free_port

from benchmarks import chaos, day_plan
from benchmarks.day_servers import Servers

SIZE = chaos.Size(requests=4_000, seconds=24.0, kills=3, broker_restarts=2, refuses_s=4.0, lead_s=35.0)


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_is_counted_twice(deploy: Callable[..., Cells], tmp_path: Path) -> None:
    told: list[str] = []
    with Servers(tmp_path / "servers", single=True) as servers:
        more: dict[str, Any] = {}
        prepared = chaos.prepared(SIZE, tmp_path, servers, free_port(), more)
        day_plan.publish(prepared, servers.redis_url)
        cells = deploy(cells=1, factory="", **prepared.settings)
        outcome = chaos.bring_about(SIZE, tmp_path, servers, prepared, cells.settings, told.append)
    assert outcome.events_sent > 5_000
    assert min(outcome.told[kind] for kind in ("win", "loss", "billing", "impression", "click")) > 0
    assert outcome.copies_sent > 50
    assert (outcome.kills, outcome.broker_restarts) == (3, 2)
    assert outcome.refused_s >= 4
    assert outcome.unanswered == 0
    assert outcome.told == {kind: outcome.stored.get(kind, 0) for kind in chaos.KINDS}
    assert (outcome.lost, outcome.doubled, outcome.spend_difference_micros) == (0, 0, 0)
    assert outcome.spend_micros > 0
