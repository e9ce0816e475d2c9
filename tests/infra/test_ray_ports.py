"""`ray start`, with the manifest's own parameters and a token, opens the ports of the table and no other; its probes
answer without one, and what actors log comes out of the container.

In its own network and process namespaces: the ports are fixed, and what Ray started ends with them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import absent
from tests.support.rendered import ROOT, container, groups, objects, one, ray_service, run

HERE = Path(__file__).resolve().parent
ADDRESS = "10.99.0.1"
EPHEMERAL = 32768  # where Linux's own begin; Ray's worker ports end before


@pytest.fixture(scope="module")
def said() -> tuple[str, str]:
    """(what `ss` says of listening sockets, output of `ray start` when an actor had logged)."""
    for tool in ("unshare", "ip", "ss", "curl"):
        if not shutil.which(tool):
            absent(tool)
    unshare = ("unshare", "--net", "--pid", "--fork", "--mount-proc")
    if run(*unshare, "true").returncode:
        absent("a kernel that lets us have namespaces (root is needed)")
    head = groups(ray_service("base"))["head"]
    # KubeRay adds these two.
    params = {**head["rayStartParams"], "no-monitor": "true"}
    flags = " ".join(f"--{name}" if value == "true" else f"--{name}={value}" for name, value in params.items())
    data = one(objects("base"), "ConfigMap")["data"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {name: value for name, value in data.items() if name.startswith("RAY_")}
    assert ray_service("base")["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # as the operator does then
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as session:  # its sockets' paths are short
        ray = str(Path(sys.prefix, "bin", "ray"))
        ran = run(
            *unshare,
            "sh",
            str(HERE / "ray_ports_world.sh"),
            ray,
            ADDRESS,
            session,
            flags,
            *(sys.executable, str(HERE / "ray_logging_actor.py")),
            env=environment,
        )
    assert ran.returncode == 0, ran.stderr
    sockets, _, container_log = ran.stdout.partition("container:\n")
    return sockets, container_log


def test_what_actors_log_comes_out_of_the_container(said: tuple[str, str]) -> None:
    """Else neither `kubectl logs` nor Loki ever sees a line of a cell: Ray keeps them in files of its session."""
    (line,) = [line for line in said[1].splitlines() if '"component": "gateway"' in line]
    told = json.loads(line[line.index("{") :])
    assert (told["message"], told["level"], told["cell"]) == ("told", "info", "c1")


def test_a_head_opens_the_ports_of_the_table(said: tuple[str, str]) -> None:
    listening = {int(line.split()[3].rpartition(":")[2]) for line in said[0].splitlines()}
    table = yaml.safe_load((ROOT / "deploy/names.yaml").read_text())["components"]
    wanted = set(table["ray-node"]["ports"].values()) | set(table["ray-head"]["ports"].values())
    wanted.discard(table["ray-head"]["ports"]["autoscaler-metrics"])  # of the container beside it
    first, last = table["ray-node"]["worker_ports"]
    workers = {port for port in listening if first <= port <= last}
    assert listening - workers == wanted, "names.yaml, network policies and Ray disagree"


def test_probes_ask_where_ray_answers() -> None:
    """The two addresses that the world above asks are those of the manifest's probes."""
    text = (HERE / "ray_ports_world.sh").read_text()
    for group in groups(ray_service("base")).values():
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            asked = container(group).get(probe, {}).get("httpGet")
            if asked and asked["path"] != "/ready":
                ports = {port["name"]: port["containerPort"] for port in container(group)["ports"]}
                port = ports.get(asked["port"], asked["port"])
                assert f":{port}{asked['path']}" in text
