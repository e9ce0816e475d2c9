"""`cluster status` and `cluster logs`: what a person sees."""

from __future__ import annotations

import json
import threading

import pytest

from campaign_express.cluster.connection import Target, connect
from campaign_express.cluster.names import Part
from campaign_express.cluster.pod_logs import Wanted, sources, together
from tests.support.kube_cli import Operated
from tests.support.kube_world import CLUSTER, NAMESPACE, bidder, condition, service_status


def pod(at: int) -> str:
    return str(bidder(at)["metadata"]["name"])


def test_all_of_it(kube: Operated) -> None:
    said = kube.done("status")
    for part in (
        "ready",
        f"{CLUSTER}, ready: 20 of 20 bidders ready",
        "10 to 40; autoscaler v2, Default, nodes go after 120 s idle",
        "10 to 40, beginning with 20",
        "4 cells may leave now; 16 have to stay",
        "Ray 2.60.0, KubeRay v1.7.0, Kubernetes v1.33.4",
        "campaign-express:1.4.0",
        "BidGateway",
        "Cells: 20 of 20 ready",
        pod(19),
    ):
        assert part in said


def test_cells_that_are_not_ready_come_first_with_the_reason(kube: Operated) -> None:
    body = bidder(7, ready=False)
    body["status"]["phase"] = "Pending"
    body["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "False", "message": "0/21 nodes are available: 21 Insufficient amd.com/xdna"}
    )
    kube.api.store.put(body)
    said = kube.done("status").splitlines()
    rows = [line for line in said if "npu-bidders-worker" in line]
    assert pod(7) in rows[0]
    assert "Cells: 19 of 20 ready" in "\n".join(said)
    assert "Insufficient amd.com/xdna" in " ".join(" ".join(said).split())


def test_not_ready_is_exit_code_1(kube: Operated) -> None:
    conditions = [condition("Ready", "False", "X", "[red]no endpoints[/red]")]
    kube.change(
        "rayservices", "campaign-express", status=service_status("DEPLOYING", "UNHEALTHY", conditions=conditions)
    )
    result = kube.run("status")
    assert result.exit_code == 1
    assert "not ready: [red]no endpoints[/red]" in result.stdout  # not taken for markup
    assert "campaign-express (DEPLOYING)" in result.stdout


def test_during_an_upgrade_both_clusters_are_shown(kube: Operated) -> None:
    body = kube.cluster
    body["metadata"] = {"name": "campaign-express-new", "namespace": NAMESPACE}
    kube.api.store.put(body)
    conditions = [
        *service_status()["conditions"][:1],
        condition("UpgradeInProgress", "True", "X", "both clusters exist"),
    ]
    pending = {"rayClusterName": "campaign-express-new"}
    told = service_status(conditions=conditions, pendingServiceStatus=pending)
    kube.change("rayservices", "campaign-express", status=told)
    said = kube.done("status")
    assert "in progress: both clusters exist" in said
    assert "pending cluster" in said


def test_as_json(kube: Operated) -> None:
    told = json.loads(kube.done("status", "--json"))
    assert told["ready"] is True
    assert told["scaling"] == {"low": 10, "high": 40, "initial": 20}
    assert len(told["cells"]) == 20
    assert told["cells"][0]["node"] == "npu-00"


def test_what_may_not_be_read_is_not_known(kube: Operated) -> None:
    kube.api.forbidden |= {("list", "nodes"), ("list", "deployments"), ("get", "poddisruptionbudgets")}
    said = kube.done("status")
    assert "not known: no right to list nodes" in said
    assert "KubeRay not known: no right to read it" in said


def test_logs_of_all_cells_name_their_pod(kube: Operated) -> None:
    for at in range(20):
        kube.api.logs[(pod(at), "ray-worker")] = [f"first {at}", f"second {at}", f"third {at}"]
    said = kube.done("logs", "--tail", "2").splitlines()
    assert said[:3] == [f"{pod(0)}  second 0", f"{pod(0)}  third 0", f"{pod(1)}  second 1"]
    assert len(said) == 40
    assert kube.done("logs", "--pod", pod(3), "--tail", "0").splitlines() == ["first 3", "second 3", "third 3"]


def test_logs_of_the_head_and_its_autoscaler(kube: Operated) -> None:
    kube.api.logs[(f"{CLUSTER}-head", "ray-head")] = ["from the head"]
    kube.api.logs[(f"{CLUSTER}-head", "autoscaler")] = ["from the autoscaler"]
    assert kube.done("logs", "--of", "head") == "from the head\n"
    assert kube.done("logs", "--of", "autoscaler") == "from the autoscaler\n"


def test_logs_that_are_not_there(kube: Operated) -> None:
    said = kube.refused("logs", "--pod", "none")
    assert "there is no pod none of cells" in said
    assert pod(0) in said
    assert "there is no pod of operator" in kube.refused("logs", "--of", "operator")
    assert "previous terminated container" in kube.refused("logs", "--pod", pod(0), "--previous")


def test_one_pod_that_fails_does_not_hide_the_others(kube: Operated) -> None:
    kube.api.logs[(pod(1), "ray-worker")] = ["still here"]
    kube.api.trouble("GET", f"/{pod(0)}/log", code=500, message="kubelet is away")
    said = kube.done("logs")
    assert f"{pod(0)}  (cannot read the log of pod {pod(0)}: the API server has failed (500): kubelet is away)" in said
    assert f"{pod(1)}  still here" in said


def test_following_brings_lines_as_they_come(kube: Operated) -> None:
    with connect(Target(kubeconfig=kube.kubeconfig, timeout_s=5)) as connection:
        chosen = sources(connection, Part.CELLS)[:2]
        lines = together(connection, chosen, Wanted(follow=True))
        got: list[str] = []
        for at, text in ((0, "one"), (1, "two"), (0, "three")):
            kube.api.logs.setdefault((pod(at), "ray-worker"), []).append(text)
            source, line = next(lines)
            got.append(f"{source.pod} {line}")
        assert got == [f"{pod(0)} one", f"{pod(1)} two", f"{pod(0)} three"]
        ended = threading.Thread(target=lambda: got.extend(line for _, line in lines))
        ended.start()
        kube.api.ended.set()  # the pods end
        ended.join(10)
        assert not ended.is_alive()


@pytest.mark.parametrize("part", list(Part))
def test_every_part_can_be_named(kube: Operated, part: Part) -> None:
    assert kube.run("logs", "--of", part).exit_code in (0, 1)
