"""Upgrades and ends: rolling update, change in place, shutdown."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec
import pytest
from conftest import APP, Cells, alive, eventually
from ray import serve

Deploy = Callable[..., Cells]


@pytest.mark.parametrize("churn", [0.0, 0.5], ids=["keep-alive", "new-connections"])
def test_a_rolling_update_of_two_cells_fails_no_request(deploy: Deploy, churn: float) -> None:
    cells = deploy(cells=2, agents_per_cell=1, request_timeout_ms=2000)
    before = {cell["cell"] for cell in cells.status(2)}
    with cells.load(300, 16, churn=churn, connections=100) as load:
        cells.settings = msgspec.structs.replace(cells.settings, max_queue=2048)
        cells.deploy()
        after = {cell["cell"] for cell in cells.status(2)}
    assert not before & after
    assert load.report.failed == 0, load.report
    assert load.report.bids == load.report.answered


def test_user_config_changes_in_place(deploy: Deploy) -> None:
    cells = deploy(agents_per_cell=1)
    before = cells.status()[0]["pid"]
    cells.options["user_config"] = {"log_level": "debug"}
    cells.deploy()
    assert cells.status()[0]["pid"] == before


def test_shutdown_leaves_no_process_port_or_socket_file(deploy: Deploy) -> None:
    cells = deploy(cells=2, agents_per_cell=2)
    told = cells.status(2)
    pids = [cell["pid"] for cell in told] + [agent["pid"] for cell in told for agent in cell["agents"]]
    assert all(map(alive, pids))
    assert len([p for p in cells.sockets.iterdir() if p.is_socket()]) == 6
    with cells.load(100, 2):
        pass
    serve.delete(APP)
    eventually(lambda: not any(map(alive, pids)), 10, "processes have ended")
    assert not [p.name for p in cells.sockets.iterdir() if p.is_socket()]
    for port in (cells.settings.http_port, cells.settings.grpc_port, cells.settings.metrics_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT of what we closed is no listener
            probe.bind(("127.0.0.1", port))  # without SO_REUSEPORT: raises if anybody listens
