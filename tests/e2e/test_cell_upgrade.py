"""Upgrades and ends: rolling update, change in place, shutdown."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import grpc
import msgspec
import pytest
from conftest import APP, Cells, alive, eventually
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from campaign_express.gateway.grpc import SERVICE

Deploy = Callable[..., Cells]


class Calls:
    """gRPC calls one after the other on a connection, beside the test."""

    def __init__(self, port: int) -> None:
        self.answered, self.failures = 0, list[grpc.StatusCode]()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._call, args=(port,))

    def _call(self, port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            bid = channel.unary_unary(f"/{SERVICE}/Bid")
            while not self._stopped.wait(0.01):
                try:
                    bid(b"", timeout=5)
                    self.answered += 1
                except grpc.RpcError as error:
                    self.failures.append(error.code())

    def __enter__(self) -> Calls:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()


@pytest.mark.parametrize("churn", [0.0, 0.5], ids=["keep-alive", "new-connections"])
def test_a_rolling_update_of_two_cells_fails_no_request(deploy: Deploy, churn: float) -> None:
    cells = deploy(cells=2, agents_per_cell=1, request_timeout_ms=2000)
    before = {cell["cell"] for cell in cells.status(2)}
    with cells.load(300, 16, churn=churn, connections=100) as load, Calls(cells.settings.grpc_port) as calls:
        cells.settings = msgspec.structs.replace(cells.settings, max_queue=2048)
        cells.deploy()
        after = {cell["cell"] for cell in cells.status(2)}
    assert not before & after
    assert load.report.failed == 0, load.report
    assert load.report.bids == load.report.answered
    # Of each leaving cell the one call that met its GOAWAY on the way, see docs/cell.md.
    assert len(calls.failures) <= 2, calls.failures
    assert set(calls.failures) <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    assert calls.answered > 100


def declare(cells: Cells, replicas: int, **deployment: Any) -> None:
    """Deploy as `serve deploy` does: what has not changed is left alone. Returns when it runs."""
    args = {name: getattr(cells.settings, name) for name in cells.settings.__struct_fields__}
    application = {
        "name": APP,
        "route_prefix": "/",
        "import_path": "fake_bidder:app",
        "args": args,
        "deployments": [{"name": "BidGateway", "num_replicas": replicas, **deployment}],
    }
    _get_global_client().deploy_apps(ServeDeploySchema(applications=[application]))

    def runs() -> bool:
        told = serve.status().applications[APP]
        states = told.deployments["BidGateway"].replica_states if told.deployments else {}
        return told.status == "RUNNING" and states == {"RUNNING": replicas}

    eventually(runs, 40, "the declared deployment")


def test_scaling_down_and_user_config_leave_the_rest_alone_and_totals_whole(deploy: Deploy) -> None:
    cells = deploy(cells=1, agents_per_cell=1)  # for its settings
    declare(cells, 2)
    before = {cell["pid"] for cell in cells.status(2)}
    declare(cells, 2, user_config={"log_level": "debug"})
    assert {cell["pid"] for cell in cells.status(2)} == before
    for _ in range(30):
        assert cells.bid()[0] == 200
    with cells.load(200, 8) as load:
        declare(cells, 1, user_config={"log_level": "debug"})
    assert load.report.failed == 0, load.report
    eventually(lambda: len(list(cells.sockets.glob("*.metrics"))) == 1, 20, "one cell left")
    assert cells.status()[0]["pid"] in before
    assert cells.metrics()['requests_total{protocol="http"}'] == 30 + load.report.sent


def test_shutdown_leaves_no_process_port_or_socket_file(deploy: Deploy) -> None:
    cells = deploy(cells=2, agents_per_cell=2)
    told = cells.status(2)
    pids = [cell["pid"] for cell in told] + [agent["pid"] for cell in told for agent in cell["agents"]]
    assert all(map(alive, pids))
    # A socket for each agent; for each cell one for metrics and one for handing over.
    assert len([p for p in cells.sockets.iterdir() if p.is_socket()]) == 8
    with cells.load(100, 2):
        pass
    serve.delete(APP)
    eventually(lambda: not any(map(alive, pids)), 10, "processes have ended")
    assert not [p.name for p in cells.sockets.iterdir() if p.is_socket()]
    for port in (cells.settings.http_port, cells.settings.grpc_port, cells.settings.metrics_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT of what we closed is no listener
            probe.bind(("127.0.0.1", port))  # without SO_REUSEPORT: raises if anybody listens
