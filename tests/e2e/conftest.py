"""One Ray cluster and one Serve for all e2e tests of a run; each test deploys the cells it needs and takes them away.

Loopback and free ports only. The load generator runs in a thread of the test's process.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from campaign_express.serving import environment

environment.prepare()

import ray  # noqa: E402  # reads its environment when imported
from ray import serve  # noqa: E402

from campaign_express import config, embedded  # noqa: E402
from campaign_express.loadgen import run_load  # noqa: E402
from campaign_express.loadreport import LoadReport  # noqa: E402
from campaign_express.serving import builder  # noqa: E402

HERE = Path(__file__).resolve().parent
APP = "bidding"
KEYS = "test:" + "07" * 32
BODY = b'{"id":"r","tmax":1000,"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]}}]}'


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def http(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers in lower case, body); refusals are no exceptions."""
    request = urllib.request.Request(url, body, {k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def eventually(condition: Callable[[], Any], seconds: float, what: str = "") -> Any:
    """The condition's first true value; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Url of Serve's ingress on the cluster of this run."""
    previous = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *([previous] if previous else [])])  # for fake_bidder
    ray.init(
        address="local",
        num_cpus=8,
        resources={"npu": 8},
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        namespace="e2e",
    )
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"enable_access_log": False})
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()
    if previous is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = previous


@dataclass
class Cells:
    """What a test has deployed."""

    settings: config.Settings
    ingress: str
    factory: str
    options: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def sockets(self) -> Path:
        return Path(self.settings.socket_dir)

    def bid(self, body: bytes = BODY, exchange: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        return http(f"{self.url}/v1/bid{'/' if exchange else ''}{exchange}", body, **headers)

    def metrics(self) -> dict[str, float]:
        status, _, text = http(f"http://127.0.0.1:{self.settings.metrics_port}/metrics")
        assert status == 200
        lines = [line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#")]
        return {name.removeprefix("campaign_express_"): float(value) for name, value in lines}

    def deploy(self) -> None:
        """Bring the deployment to what the fields say now; returns when it runs."""
        application = builder.build(self.settings, self.factory, **self.options)
        serve.run(application, name=APP, route_prefix="/")

    def status(self, cells: int = 1) -> list[dict[str, Any]]:
        """Status of each cell; asks until `cells` different ones have answered."""
        found: dict[str, dict[str, Any]] = {}

        def complete() -> bool:
            try:
                status, _, body = http(f"{self.ingress}/v1/status")
            except OSError:
                return False
            if status == 200:
                told = json.loads(body)
                found[told["cell"]] = told
            return len(found) >= cells

        eventually(complete, 30, f"{cells} cells")
        return list(found.values())

    def load(self, rate: float, seconds: float, **options: Any) -> Load:
        return Load(f"{self.url}/v1/bid", rate, seconds, options)


class Load:
    """Open-loop load beside the test: `with cells.load(300, 5) as load: ...; load.report`."""

    report: LoadReport

    def __init__(self, url: str, rate: float, seconds: float, options: dict[str, Any]) -> None:
        self._thread = threading.Thread(target=self._run, args=(url, rate, seconds, options))

    def _run(self, url: str, rate: float, seconds: float, options: dict[str, Any]) -> None:
        self.report = run_load(url, rate, seconds, [BODY], **options)

    def __enter__(self) -> Load:
        self.started = time.monotonic()
        self._thread.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join()


@pytest.fixture
def deploy(cluster: str, tmp_path: Path) -> Iterator[Callable[..., Cells]]:
    """`deploy(cells=1, factory="fake_bidder:build", **settings)`; "" is the product's own bidder."""

    def run(
        cells: int = 1, factory: str = "fake_bidder:build", options: dict[str, Any] | None = None, **settings: Any
    ) -> Cells:
        chosen = {
            "http_port": free_port(),
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "data_dir": str(tmp_path),
            "socket_dir": str(short),
            "notice_keys": KEYS,
            **settings,
        }
        found = Cells(config.load(chosen, {}), cluster, factory, {"num_replicas": cells, **(options or {})})
        found.deploy()
        return found

    short = Path("/tmp") / f"ce-e2e-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"  # Unix paths are short
    yield run
    serve.delete(APP)
    assert not [p.name for p in short.glob("*") if p.is_socket()], "socket files are left"
    for path in short.glob("*"):
        path.unlink()
    if short.exists():
        short.rmdir()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Urls of real NATS and Valkey servers of the test's own."""
    ports = {"embedded_redis_port": 0, "embedded_nats_port": 0}
    settings = embedded.ensure(config.load({"data_dir": str(tmp_path / "servers"), **ports}, {}))
    yield {"redis_url": settings.redis_url, "nats_url": settings.nats_url}
    embedded.release(settings)
