"""`ray start`, with the manifest's own parameters, opens the ports of the table and no other, and its probes answer.

In its own network and process namespaces: the ports are fixed, and what Ray started ends with them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

from campaign_express.serving.environment import RAY_ENVIRONMENT
from tests.conftest import absent
from tests.support.rendered import ROOT, container, groups, ray_service, run

HERE = Path(__file__).resolve().parent
ADDRESS = "10.99.0.1"
EPHEMERAL = 32768  # where Linux's own begin; Ray's worker ports end before


def test_a_head_opens_the_ports_of_the_table() -> None:
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
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
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
            env={**environment, **RAY_ENVIRONMENT},
        )
    assert ran.returncode == 0, ran.stderr
    listening = {int(line.split()[3].rpartition(":")[2]) for line in ran.stdout.splitlines()}
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
