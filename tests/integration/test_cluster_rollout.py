"""`cluster rollout status` and `cluster restart`: what is waited for, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from campaign_express.cluster import rollout
from campaign_express.errors import ClusterError
from tests.support.kube_cli import Operated
from tests.support.kube_world import CLUSTER, bidder, condition, service_status

QUICK = ("--settle", "0.1", "--timeout", "10")


def status(kube: Operated, *arguments: Any, **more: Any) -> None:
    kube.change("rayservices", "campaign-express", status=service_status(*arguments, **more))


def ready(kind: str, text: str) -> list[dict[str, Any]]:
    return [condition("Ready", "False", kind, text), condition("UpgradeInProgress", "False", "x", "")]


def upgrading(kube: Operated) -> None:
    """A new cluster comes up beside the old one."""
    body = kube.cluster
    body["metadata"] = {"name": "campaign-express-new", "namespace": "campaign-express"}
    body["status"] |= {"readyWorkerReplicas": 5}
    kube.api.store.put(body)
    pending = {"rayClusterName": "campaign-express-new", "trafficRoutedPercent": 0}
    status(kube, pendingServiceStatus=pending)


def not_ready(kube: Operated) -> None:
    pod = bidder(3, ready=False)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}
    pod["status"]["containerStatuses"][0]["state"] = waiting
    kube.api.store.put(pod)


WAITS: dict[str, tuple[Callable[[Operated], Any], str]] = {
    "nothing": (lambda kube: None, ""),
    "operator": (lambda kube: status(kube, generation=2), "the operator to take up the change"),
    "no status": (lambda kube: kube.change("rayservices", "campaign-express", status={}), "the operator to take up"),
    "service": (
        lambda kube: status(kube, conditions=ready("X", "Serve is starting")),
        "the service: Serve is starting",
    ),
    "application": (lambda kube: status(kube, "DEPLOYING"), "application campaign-express: DEPLOYING"),
    "deployment": (lambda kube: status(kube, "RUNNING", "UPDATING"), "deployment BidGateway: UPDATING"),
    "no application": (
        lambda kube: status(kube, activeServiceStatus={"rayClusterName": CLUSTER}),
        "Serve to tell of its applications",
    ),
    "pods": (not_ready, "bidders: 19 of 20 ready (ray-worker: ImagePullBackOff no such tag)"),
    "upgrade": (upgrading, "new cluster campaign-express-new: 5 of 20 bidders ready, 0 % of the traffic"),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_it_waits_for(kube: Operated, name: str) -> None:
    change, says = WAITS[name]
    change(kube)
    with kube.connection() as connection:
        now = rollout.progress(connection)
    assert now.done == (not says)
    assert says in "; ".join(now.waiting_for)
    assert not now.failed


def test_done(kube: Operated) -> None:
    assert "done: 20 of 20 bidders ready" in kube.done("rollout", "status", *QUICK)


def test_it_waits_through_an_update_and_tells_of_it(kube: Operated) -> None:
    status(kube, "DEPLOYING", "UPDATING")
    seen = []

    def told(now: rollout.Progress) -> None:
        seen.append(now.waiting_for)
        if len(seen) == 2:
            status(kube)

    with kube.connection() as connection:
        rollout.wait(connection, 10, 0.1, told)
    assert seen[0] == ("application campaign-express: DEPLOYING", "deployment BidGateway: UPDATING")
    assert seen[-1] == ()


def test_well_for_a_moment_is_not_done(kube: Operated) -> None:
    """Serve's states reach the RayService late: what was well may be the state before the change."""
    looks = []

    def told(now: rollout.Progress) -> None:
        looks.append(now.done)
        if len(looks) == 1:
            status(kube, "RUNNING", "UPDATING")
        elif len(looks) == 2:
            status(kube)

    with kube.connection() as connection:
        rollout.wait(connection, 10, 0.2, told)
    assert looks[:3] == [True, False, True]


def test_a_change_that_serve_refuses_fails_at_once(kube: Operated) -> None:
    told = service_status("DEPLOY_FAILED")
    told["activeServiceStatus"]["applicationStatuses"]["campaign-express"]["message"] = "unknown argument agents"
    kube.change("rayservices", "campaign-express", status=told)
    said = kube.refused("rollout", "status", "--timeout", "60")
    assert "the roll-out has failed: application campaign-express cannot be deployed: unknown argument agents" in said
    assert "deploy what worked before" in said


def test_what_lasts_too_long_says_what_for(kube: Operated) -> None:
    not_ready(kube)
    said = kube.refused("rollout", "status", "--timeout", "0.5", "--settle", "0")
    assert "not done after 0.5 s; it waits for bidders: 19 of 20 ready" in said
    assert "cluster doctor" in said


def test_an_api_server_that_is_away_for_a_moment(kube: Operated) -> None:
    kube.api.trouble("GET", "/rayservices/", code=503, message="restarting", times=3, skip=1)
    status(kube, "RUNNING", "UPDATING")
    seen = []

    def told(now: rollout.Progress) -> None:
        seen.append(now.waiting_for)
        if len(seen) == 2:
            status(kube)

    with kube.connection() as connection:
        rollout.wait(connection, 10, 0.1, told)
    assert ("the API server to answer",) in seen
    kube.api.trouble("GET", "/rayservices/", code=503, message="restarting", skip=1)
    status(kube, "RUNNING", "UPDATING")
    with kube.connection() as connection, pytest.raises(ClusterError, match="has failed"):
        rollout.wait(connection, 10, 0.1)


def test_restart_changes_the_environment_alone_and_waits(kube: Operated) -> None:
    before = yaml.safe_load(kube.service["spec"]["serveConfigV2"])
    store = kube.api.store

    def operator() -> None:
        with store.changed:
            assert store.changed.wait_for(lambda: kube.service["metadata"]["generation"] > 3, 60)
        status(kube, "RUNNING", "UPDATING", 4)
        kube.api.ended.wait(0.3)
        status(kube, "RUNNING", "HEALTHY", 4)

    thread = threading.Thread(target=operator)
    thread.start()
    said = kube.run("restart", *QUICK)
    thread.join()
    assert said.exit_code == 0, said.output
    assert "deployment BidGateway: UPDATING" in said.stderr
    assert "done: 20 of 20" in said.stdout
    after = yaml.safe_load(kube.service["spec"]["serveConfigV2"])
    assert "CAMPAIGN_EXPRESS_RESTARTED_AT" in after["applications"][0].pop("runtime_env")["env_vars"]
    assert after == before
    assert kube.service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["minReplicas"] == 10


def test_restart_dry(kube: Operated) -> None:
    said = kube.done("restart", "--dry-run")
    assert "+    runtime_env: {env_vars: {CAMPAIGN_EXPRESS_RESTARTED_AT:" in said
    assert kube.api.writes() == []


def test_a_pod_is_evicted_as_the_budget_allows(kube: Operated) -> None:
    names = [bidder(at)["metadata"]["name"] for at in range(6)]
    kube.done("restart", "--pod", names[0], "--dry-run")
    for name in names[:4]:
        assert f"evicted {name}" in kube.done("restart", "--pod", name, "--no-wait")
    said = kube.refused("restart", "--pod", names[4], "--no-wait")
    assert "would violate the pod's disruption budget" in said
    assert "no room until more cells are ready" in said
    assert 'pods "none" not found' in kube.refused("restart", "--pod", "none", "--no-wait")


def test_a_change_of_the_service_is_seen_at_once(kube: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "POLL_S", 60.0)
    status(kube, "RUNNING", "UPDATING")
    later = threading.Timer(0.2, lambda: status(kube))
    began = time.monotonic()
    with kube.connection() as connection:
        rollout.wait(connection, 100, 0, lambda _: None if later.ident else later.start())
    assert time.monotonic() - began < 30  # or it has slept


def test_without_a_right_to_watch_it_looks_now_and_then(kube: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "POLL_S", 1.0)
    kube.api.forbidden.add(("watch", "rayservices"))
    status(kube, "RUNNING", "UPDATING")
    later = threading.Timer(0.2, lambda: status(kube))
    with kube.connection() as connection:
        rollout.wait(connection, 100, 0, lambda _: None if later.ident else later.start())
    assert any(request.query.get("watch") == "true" for request in kube.api.requests)
