"""`RayServiceApi`: the methods of KubeRay's client, over HTTP, against the CRD's own schema."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator

import pytest

from campaign_express.cluster.ray_service_api import RayServiceApi
from campaign_express.errors import ClusterConflict, ClusterError
from tests.support.kube_cli import Operated
from tests.support.kube_store import Object
from tests.support.kube_world import CLUSTER, NAMESPACE, ray_service, service_status

NAME = "campaign-express"


@pytest.fixture
def api(kube: Operated) -> Iterator[RayServiceApi]:
    with kube.connection() as connection:
        yield RayServiceApi(connection)


def test_names_and_order_of_parameters_are_those_of_kuberays_client() -> None:
    """Its classes have `METHOD(name, ..., k8s_namespace)`, and waits `timeout, delay_between_attempts` behind them."""
    wanted = {
        "list_ray_services": ["k8s_namespace"],
        "get_ray_service": ["name", "k8s_namespace"],
        "create_ray_service": ["body", "k8s_namespace"],
        "delete_ray_service": ["name", "k8s_namespace"],
        "patch_ray_service": ["name", "ray_patch", "k8s_namespace"],
        "get_ray_service_status": ["name", "k8s_namespace", "timeout", "delay_between_attempts"],
        "wait_until_ray_service_running": ["name", "k8s_namespace", "timeout", "delay_between_attempts"],
        "get_ray_cluster": ["name", "k8s_namespace"],
        "patch_ray_cluster": ["name", "ray_patch", "k8s_namespace"],
    }
    for method, parameters in wanted.items():
        have = list(inspect.signature(getattr(RayServiceApi, method)).parameters)[1:]
        assert have[: len(parameters)] == parameters


def test_life_of_a_service(empty_kube: Operated) -> None:
    empty_kube.api.store.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    with empty_kube.connection() as connection:
        api = RayServiceApi(connection)
        assert api.get_ray_service(NAME) is None
        assert api.list_ray_services() == []
        made = api.create_ray_service(ray_service())
        assert made["metadata"]["resourceVersion"]
        with pytest.raises(ClusterConflict, match="already exists"):
            api.create_ray_service(ray_service())
        assert [one["metadata"]["name"] for one in api.list_ray_services()] == [NAME]
        assert api.delete_ray_service(NAME)
        assert not api.delete_ray_service(NAME)


def test_a_dict_is_a_merge_patch_and_a_list_a_json_patch(kube: Operated, api: RayServiceApi) -> None:
    api.patch_ray_service(NAME, {"spec": {"serviceUnhealthySecondThreshold": 60}})
    assert kube.service["spec"]["serviceUnhealthySecondThreshold"] == 60
    assert kube.service["spec"]["upgradeStrategy"] == {"type": "NewCluster"}
    api.patch_ray_service(NAME, [{"op": "remove", "path": "/spec/serviceUnhealthySecondThreshold"}])
    assert "serviceUnhealthySecondThreshold" not in kube.service["spec"]
    assert [request.content for request in kube.api.writes()] == [
        "application/merge-patch+json",
        "application/json-patch+json",
    ]


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"spec": {"serveConfigV3": ""}}, 'unknown field "spec"'),
        ({"spec": {"serveConfigV2": 3}}, "is not of type 'string'"),
        ([{"op": "add", "path": "/spec/rayClusterConfig/workerGroupSpecs/0/minReplica", "value": 1}], "minReplica"),
        (
            [{"op": "replace", "path": "/spec/rayClusterConfig/workerGroupSpecs/0/minReplicas", "value": 99}],
            "maxReplicas",
        ),
    ],
)
def test_what_the_schema_does_not_know_is_refused(
    kube: Operated, api: RayServiceApi, patch: Object | list[Object], says: str
) -> None:
    before = kube.service
    with pytest.raises(ClusterError) as caught:
        api.patch_ray_service(NAME, patch)
    assert says in str(caught.value)
    assert "remedy: mend the fields named above" in str(caught.value)
    assert kube.service == before


def test_a_version_that_is_old_is_a_conflict(kube: Operated, api: RayServiceApi) -> None:
    old = kube.service["metadata"]["resourceVersion"]
    kube.change("rayservices", NAME, spec__suspend=False)
    with pytest.raises(ClusterConflict, match="the object has been modified"):
        api.patch_ray_service(NAME, {"metadata": {"resourceVersion": old}, "spec": {"suspend": True}})
    with pytest.raises(ClusterConflict, match="changed by somebody else meanwhile"):
        api.patch_ray_service(NAME, [{"op": "test", "path": "/spec/suspend", "value": True}])


def test_a_dry_run_keeps_nothing(kube: Operated, api: RayServiceApi) -> None:
    before = kube.cluster
    answer = api.patch_ray_cluster(CLUSTER, {"spec": {"suspend": True}}, dry_run=True)
    assert answer["spec"]["suspend"] is True
    assert kube.cluster == before


def test_waiting_for_a_status(kube: Operated, api: RayServiceApi) -> None:
    assert (api.get_ray_service_status(NAME) or {})["serviceStatus"] == "Running"
    assert api.wait_until_ray_service_running(NAME)
    kube.change("rayservices", NAME, status={})
    assert api.get_ray_service_status(NAME, timeout=0.1, delay_between_attempts=0.05) is None
    assert not api.wait_until_ray_service_running(NAME, timeout=0.1, delay_between_attempts=0.05)
    later = threading.Timer(0.2, lambda: kube.change("rayservices", NAME, status=service_status()))
    later.start()
    assert api.wait_until_ray_service_running(NAME, timeout=10, delay_between_attempts=0.05)
    later.join()


def test_a_watch_brings_changes_until_its_time_is_over(kube: Operated, api: RayServiceApi) -> None:
    version = kube.service["metadata"]["resourceVersion"]
    later = threading.Timer(0.1, lambda: kube.change("rayservices", NAME, spec__suspend=True))
    later.start()
    seen = list(api.watch_ray_service(NAME, resource_version=version, timeout=1))
    later.join()
    assert [one["spec"].get("suspend") for one in seen] == [True]
    assert [one["spec"]["suspend"] for one in api.watch_ray_service(NAME, timeout=1)] == [True]  # from the beginning


def test_a_watch_from_too_far_back_ends(kube: Operated, api: RayServiceApi) -> None:
    kube.api.store.oldest = kube.api.store.revision
    assert list(api.watch_ray_service(NAME, resource_version="5", timeout=5)) == []


def test_a_watch_tells_of_a_deletion(kube: Operated, api: RayServiceApi) -> None:
    version = kube.service["metadata"]["resourceVersion"]
    later = threading.Timer(0.1, lambda: api.delete_ray_service(NAME))
    later.start()
    with pytest.raises(ClusterError, match="it was deleted"):
        list(api.watch_ray_service(NAME, resource_version=version, timeout=5))
    later.join()


def test_lists_come_page_by_page(kube: Operated) -> None:
    with kube.connection() as connection:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        first = connection.get(path, "list pods", limit="8")
        assert len(first["items"]) == 8
        assert len(connection.items(path, "list pods")) == 21
