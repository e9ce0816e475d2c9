"""What dies under load, and what exchanges notice of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from conftest import Cells, alive, eventually, http

Deploy = Callable[..., Cells]


def test_an_agent_killed_under_load_fails_no_request_and_comes_back(deploy: Deploy) -> None:
    cells = deploy(agents_per_cell=2)
    victim = max(cells.status()[0]["agents"], key=lambda agent: agent["requests"])["pid"]
    with cells.load(300, 7) as load:
        time.sleep(0.5)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: cells.metrics()["agent_restarts_total"] == 1, 15, "the agent again")
    assert load.report.failed == 0, load.report
    assert load.report.bids == load.report.answered  # nor was one answered with a no-bid for want of an agent
    assert victim not in [agent.get("pid") for agent in cells.status()[0]["agents"]]


def test_an_agent_that_hangs_is_given_up_and_its_requests_are_answered(deploy: Deploy) -> None:
    cells = deploy(agents_per_cell=2, request_timeout_ms=300)
    victim = cells.status()[0]["agents"][0]["pid"]
    with cells.load(200, 4) as load:
        os.kill(victim, signal.SIGSTOP)
        try:
            eventually(lambda: [v for k, v in cells.metrics().items() if k.startswith("live_agents")] == [1.0], 5)
        finally:
            time.sleep(1)
            os.kill(victim, signal.SIGCONT)
    assert load.report.failed == 0, load.report
    assert (
        load.report.answered - load.report.bids <= 100
    )  # late ones: what it held, and what it got before it was known
    eventually(lambda: [v for k, v in cells.metrics().items() if k.startswith("live_agents")] == [2.0], 5)


def test_a_cell_whose_agents_all_died_is_unready_and_recovers(deploy: Deploy) -> None:
    cells = deploy(agents_per_cell=2)
    before = cells.status()[0]
    for agent in before["agents"]:
        os.kill(agent["pid"], signal.SIGKILL)
    eventually(lambda: http(f"{cells.url}/ready")[0] == 503, 2, "unready")
    assert cells.bid()[0] == 204  # no agent: no bid, and no error to the exchange
    eventually(lambda: http(f"{cells.url}/ready")[0] == 200, 20, "ready again")
    assert cells.bid()[0] == 200
    assert cells.status()[0]["pid"] == before["pid"]  # the gateway stayed


def test_one_gateway_of_two_killed_loses_what_it_held_and_is_back_in_ten_seconds(deploy: Deploy) -> None:
    cells = deploy(cells=2, agents_per_cell=1)
    victim, survivor = cells.status(2)
    with cells.load(300, 12) as load:
        time.sleep(1)
        killed_at = time.monotonic()
        os.kill(victim["pid"], signal.SIGKILL)
        eventually(lambda: not alive(victim["agents"][0]["pid"]), 3, "its agent has ended with it")

        def recovered() -> bool:
            metrics = cells.metrics()
            return sum(value for name, value in metrics.items() if name.startswith("live_agents{")) == 2

        eventually(recovered, 10, "two cells again")
        took = time.monotonic() - killed_at
    report = load.report
    assert took < 10
    # Those in flight in it: within the moment of the kill, and no more than it can have held.
    assert report.failed <= 30, report
    if report.failed:
        moment = killed_at - load.started
        assert report.first_failure_s is not None
        assert report.last_failure_s is not None
        assert moment - 0.1 < report.first_failure_s
        assert report.last_failure_s < moment + 1.0, report
    assert set(report.failures) <= {"closed", "reset"}, report
    assert survivor["cell"] in {cell["cell"] for cell in cells.status(2)}
