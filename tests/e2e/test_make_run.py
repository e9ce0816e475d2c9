"""The first command of the README, whole: it starts, bids, keeps its data and leaves nothing behind, however it ends.

Leftovers are looked for in the environment of every process of the machine: all that a start brings to life inherits a
mark that only this test has.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.timeout(300)

PORTS = (
    *("http_port", "grpc_port", "metrics_port", "serve_port", "dashboard_port"),
    *("embedded_redis_port", "embedded_nats_port"),
)
UP_S = 150.0
DOWN_S = 60.0


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def until(condition: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@dataclass
class Installation:
    """A data directory, a set of ports and the command, as `make run` gives it."""

    data_dir: Path
    ports: dict[str, int]
    mark: str = field(default_factory=lambda: f"TEST_MAKE_RUN_{uuid.uuid4().hex}")
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGN_EXPRESS_")}
        ports = {f"CAMPAIGN_EXPRESS_{name.upper()}": str(port) for name, port in self.ports.items()}
        return {**mine, **ports, "CAMPAIGN_EXPRESS_DATA_DIR": str(self.data_dir), self.mark: "1"}

    def start(self) -> subprocess.Popen[str]:
        # Under `make test` this is `make run` itself; elsewhere it would first build a .venv.
        inside = Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()
        command = ["make", "run"] if inside else [str(Path(sys.executable).parent / "campaign-express"), "up"]
        log = open(self.data_dir.parent / f"up-{len(self.started)}.txt", "w")  # noqa: SIM115 - lives as long as the child
        process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, text=True, start_new_session=True
        )
        self.started.append(process)
        return process

    @property
    def output(self) -> str:
        """What the latest start has printed so far."""
        return (self.data_dir.parent / f"up-{len(self.started) - 1}.txt").read_text()

    def is_up(self) -> bool:
        return "Try it:" in self.output

    def processes(self) -> dict[int, str]:
        """Pid -> command line of everything alive that carries the mark."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
            except OSError:
                continue
        return found

    def taken_ports(self) -> list[str]:
        taken = []
        for name, port in self.ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    taken.append(name)
        return taken

    def assert_nothing_is_left(self) -> None:
        until(lambda: not self.processes() and not self.taken_ports(), DOWN_S)
        assert self.processes() == {}
        assert self.taken_ports() == []


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    # Short, since the agents' sockets lie below it and their paths end at 107 bytes.
    installation = Installation(tmp_path / "v", dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    yield installation
    for process in installation.started:
        process.poll()
    for pid in installation.processes():
        os.kill(pid, signal.SIGKILL)


def bring_up(here: Installation) -> subprocess.Popen[str]:
    process = here.start()
    assert until(lambda: here.is_up() or process.poll() is not None, UP_S), here.output
    assert process.poll() is None, here.output
    return process


def try_it(here: Installation) -> dict[str, object]:
    """Run the curl line of the screen as it stands there."""
    line = next(line for line in here.output.splitlines() if line.strip().startswith("curl "))
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True)
    head, _, body = done.stdout.partition("\n\n")
    assert " 200 " in head.splitlines()[0], done.stdout
    answer: dict[str, object] = json.loads(body)
    return answer


def campaign_express(here: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "campaign-express"), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=here.environment, capture_output=True, text=True, timeout=120, check=False
    )


def tables_are_asked(here: Installation) -> None:
    """Beside the bidder, which has them open, by commands and by the operator's app."""

    def told() -> bool:
        """Of the bids that were asked for."""
        url = f"http://127.0.0.1:{here.ports['serve_port']}/v1/reports?report=funnel"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return sum(row[1] for row in json.load(answer)["rows"]) >= 2

    assert until(told, 60.0)
    today = str(datetime.now(UTC).date())
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))  # when it is midnight
    days = ("--from", yesterday, "--to", today)
    for command, said in (
        (("report", "funnel", "--from", "yesterday", "--group-by", "reason"), "bid"),
        (("audit",), "ledger, event log, tables and sums agree"),
        (("events", "replay", *days), "rows of these days"),
        (("privacy", "erase", "ifa:nobody"), "nothing is left"),
    ):
        done = campaign_express(here, *command)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
        assert "asked of the bidder that runs (process" in done.stderr
    assert told(), "what was built anew is what was there"


def test_it_starts_bids_stops_and_finds_its_data_again(here: Installation, tmp_path: Path) -> None:
    process = bring_up(here)
    answer = try_it(here)
    assert answer["id"] == "1"
    assert answer["seatbid"]
    for name, port in here.ports.items():
        assert str(port) in here.output, f"the screen does not say where {name} is"
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
    with urllib.request.urlopen(f"http://127.0.0.1:{here.ports['metrics_port']}/metrics", timeout=5) as metrics:
        assert b"campaign_express" in metrics.read()

    second = campaign_express(here, "up")
    assert second.returncode == 2
    assert f"http_port = {here.ports['http_port']}" in second.stderr
    assert "CAMPAIGN_EXPRESS_HTTP_PORT" in second.stderr
    try_it(here)  # the first one is not disturbed

    catalog = Path(ROOT, "campaign_express", "data", "examples", "catalog.yaml")
    assert "published version 1" in campaign_express(here, "catalog", "publish", str(catalog)).stdout

    tables_are_asked(here)

    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C at a terminal goes to the whole group
    process.wait(DOWN_S)
    here.assert_nothing_is_left()
    assert list(here.data_dir.rglob("*.sock")) == []

    assert "published version 1" in campaign_express(here, "catalog", "show").stdout
    here.assert_nothing_is_left()


def test_ctrl_c_while_it_starts_and_kill_9_while_it_runs(here: Installation) -> None:
    process = here.start()
    assert until(lambda: len(here.processes()) > 6, UP_S), "Ray is starting"
    os.killpg(process.pid, signal.SIGINT)
    process.wait(DOWN_S)
    here.assert_nothing_is_left()

    bring_up(here)
    try_it(here)
    command = re.compile(r"campaign-express up")
    [pid] = [pid for pid, line in here.processes().items() if command.search(line)]
    os.kill(pid, signal.SIGKILL)
    here.assert_nothing_is_left()


def test_a_taken_port_stops_it_before_anything_has_started(here: Installation) -> None:
    with socket.create_server(("127.0.0.1", here.ports["serve_port"])):
        process = here.start()
        process.wait(60)
    assert process.returncode != 0
    assert f"serve_port = {here.ports['serve_port']}" in here.output
    assert "CAMPAIGN_EXPRESS_SERVE_PORT" in here.output
    assert not (here.data_dir / "redis").exists()
    here.assert_nothing_is_left()


def test_a_cell_that_cannot_start_says_why_and_leaves_nothing(here: Installation) -> None:
    here.ports["agents_per_cell"] = 0  # no port, but it travels the same way
    process = here.start()
    process.wait(60)
    del here.ports["agents_per_cell"]
    assert process.returncode != 0
    assert "CAMPAIGN_EXPRESS_AGENTS_PER_CELL" in here.output
    here.assert_nothing_is_left()
