"""A few hours of `make day`: two cells, a Valkey cluster, lost, late and doubled notices, dead agents, a failover.

Budgets and caps hold, and the ledger says to the micro what the exchanges told it. Delivery over a whole day is the
business of `make day` itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cells, free_port

from benchmarks import day_audit, day_plan, day_report
from benchmarks.day_chaos import Chaos, agent_pids
from benchmarks.day_servers import Servers
from campaign_express.exchange import simulation

SIZE = day_plan.Size(requests=20_000, campaigns=40, minutes=1.0, hours=3, cells=2, agents=2, lead_s=55.0)


@pytest.mark.timeout(400)
def test_a_few_hours_with_faults(deploy: Callable[..., Cells], tmp_path: Path) -> None:
    with Servers(tmp_path / "servers") as servers:
        port = free_port()
        prepared = day_plan.prepare(SIZE, tmp_path, servers, port, {})
        day_plan.publish(prepared, servers.redis_url)
        settings: dict[str, Any] = prepared.settings
        cells = deploy(cells=SIZE.cells, factory="", **settings)
        plan = prepared.plan
        wait = plan.clock.real_s(plan.start_ms - plan.clock.now_ms())
        assert wait > 0, "the cells took too long to start"
        time.sleep(wait)
        chaos = Chaos(
            plan.clock,
            plan.start_ms,
            servers,
            lambda: agent_pids(cells.ingress, SIZE.cells),
            SIZE.seed,
            hours=SIZE.hours,
        )
        with chaos:
            results = simulation.run(plan, prepared.shapes)
        audit = day_audit.audit(cells.settings, plan, results)
        report = day_report.make(plan, results, audit, chaos)
    assert report.problems == []
    assert report.agents_killed == SIZE.hours
    assert report.failed_over
    told = report.report
    assert told.requests == SIZE.requests
    assert told.impressions > 500
    assert told.counts["notices lost"] > 50
    assert told.counts["notices sent twice"] > 50
    assert [line for line in report.overspent if "solo" not in line] == []
    assert report.overspend_micros_max == 0
    assert report.caps_exceeded == 0
    assert report.ledger_differs == []
    assert report.ledger_broken == []
    # Those that could overspend many times over did spend nearly all that they had.
    greedy = [row for row in told.campaigns if row.campaign.startswith("greedy") and row.charged_micros]
    assert greedy
