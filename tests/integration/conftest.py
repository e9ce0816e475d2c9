"""Real servers for integration tests: each on a free loopback port, stopped by its pid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nats_server import NatsProcess
from redis import Redis
from valkey_server import ValkeyCluster, ValkeyProcess

from tests.support import kube_world
from tests.support.kube_api import KubeApi
from tests.support.kube_cli import Operated


@pytest.fixture(scope="session")
def _valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    server = ValkeyProcess(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def valkey(_valkey_server: ValkeyProcess) -> str:
    """Url of a real server, one for the whole run, emptied for each test."""
    with Redis(port=_valkey_server.port) as client:
        client.flushall()
    return _valkey_server.url


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Url of a real server, one for the whole run: for those who publish and do not care what is there already."""
    server = NatsProcess(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def valkey_process(tmp_path: Path) -> Iterator[ValkeyProcess]:
    """A started server of the test's own, to stop and start."""
    server = ValkeyProcess(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition: `eventually(lambda: seen == [1])` fails the test after a minute, however busy we are."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "not within a minute"
            time.sleep(0.01)

    return wait


@pytest.fixture
def nats_process(tmp_path: Path) -> Iterator[NatsProcess]:
    """A started server of the test's own, to stop, kill and freeze."""
    directory = tmp_path / "nats"
    directory.mkdir()
    server = NatsProcess(directory)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def valkey_cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    """Six started nodes of the test's own, to stop and freeze."""
    cluster = ValkeyCluster(tmp_path)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


@pytest.fixture
def kube(shared: Path, tmp_path: Path) -> Iterator[Operated]:
    """A Kubernetes API server's double with a healthy cluster of 20 cells."""
    with KubeApi.running(shared) as api:
        yield Operated(kube_world.healthy(api), api.kubeconfig(tmp_path / "kubeconfig"))


@pytest.fixture
def empty_kube(shared: Path, tmp_path: Path) -> Iterator[Operated]:
    """The same before anything was deployed: operators are there, with their CRDs."""
    with KubeApi.running(shared) as api:
        kube_world.operators(api)
        yield Operated(api, api.kubeconfig(tmp_path / "kubeconfig"))
