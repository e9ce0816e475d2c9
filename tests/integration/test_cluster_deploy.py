"""`cluster deploy`: server-side apply, all checked before the first is changed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from tests.support.kube_cli import Operated
from tests.support.kube_store import Object
from tests.support.kube_world import NAMESPACE, ray_service


def manifests() -> list[Object]:
    budget = {"minAvailable": 16, "selector": {"matchLabels": {"ray.io/group": "npu-bidders"}}}
    service = ray_service()
    del service["metadata"]["generation"]
    meta = {"namespace": NAMESPACE}
    return [
        service,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **meta}, "data": {"A": "1"}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s", **meta},
            "stringData": {"password": "hunter2"},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "campaign-express", **meta},
            "spec": budget,
        },
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
    ]


def write(path: Path, bodies: list[Object]) -> str:
    path.write_text(yaml.safe_dump_all(bodies))
    return str(path)


def test_into_an_empty_cluster_and_again(empty_kube: Operated, tmp_path: Path) -> None:
    file = write(tmp_path / "all.yaml", manifests())
    first = empty_kube.run("deploy", file)
    assert first.exit_code == 0, first.output
    order = [line.split()[1] for line in first.stderr.splitlines()[:-1]]
    assert order == ["Namespace", "Secret", "ConfigMap", "PodDisruptionBudget", "RayService"]
    assert first.stderr.count("created") == 5
    assert empty_kube.service["spec"]["serveConfigV2"] == ray_service()["spec"]["serveConfigV2"]
    version = empty_kube.service["metadata"]["resourceVersion"]
    again = empty_kube.run("deploy", file)
    assert again.stderr.endswith("changed 0 of 5 objects\n")
    assert empty_kube.service["metadata"]["resourceVersion"] == version
    applies = [request for request in empty_kube.api.writes() if request.path.endswith("/rayservices/campaign-express")]
    assert {request.content for request in applies} == {"application/apply-patch+yaml"}
    assert applies[0].query["fieldManager"] == "campaign-express"
    assert applies[0].query["fieldValidation"] == "Strict"


def test_a_field_that_is_gone_from_the_manifest_goes(empty_kube: Operated, tmp_path: Path) -> None:
    bodies = manifests()
    bodies[1]["data"]["B"] = "2"
    empty_kube.done("deploy", write(tmp_path / "all.yaml", bodies))
    empty_kube.done("deploy", write(tmp_path / "all.yaml", manifests()))
    assert empty_kube.get("configmaps", "c", "")["data"] == {"A": "1"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("spec", "serveConfigV3"), "serveConfigV3"),
        (("spec", "rayClusterConfig", "headGroupSpec", "rayStartParms"), "rayStartParms"),
    ],
)
def test_unknown_fields_stop_everything(empty_kube: Operated, tmp_path: Path, path: tuple[str, ...], says: str) -> None:
    bodies = manifests()
    at = bodies[0]
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = {}
    bodies[3]["spec"]["minAvailabel"] = 1
    said = empty_kube.refused("deploy", write(tmp_path / "all.yaml", bodies))
    assert "2 objects cannot be applied, so none was" in said
    assert says in said
    assert "minAvailabel" in said
    assert [request.path for request in empty_kube.api.writes()] == [f"/api/v1/namespaces/{NAMESPACE}"]


def test_a_kind_whose_operator_lacks(empty_kube: Operated, tmp_path: Path) -> None:
    kinds = empty_kube.api.store.kinds
    kinds[:] = [kind for kind in kinds if kind.group != "ray.io"]
    said = empty_kube.refused("deploy", write(tmp_path / "all.yaml", manifests()))
    assert "does not know RayService of ray.io/v1" in said
    assert "helm install kuberay-operator" in said


def test_what_scale_has_set_is_not_overwritten(empty_kube: Operated, tmp_path: Path) -> None:
    file = write(tmp_path / "all.yaml", manifests())
    empty_kube.done("deploy", file)
    empty_kube.done("scale", "--min", "30", "--max", "60")
    said = empty_kube.refused("deploy", file)
    assert ".spec.serveConfigV2" in said
    assert 'conflict with "campaign-express-scale"' in said
    assert "put these values into the manifest, or take the fields over with --force-conflicts" in said
    assert "min_replicas: 30" in empty_kube.service["spec"]["serveConfigV2"]
    empty_kube.done("deploy", file, "--force-conflicts")
    assert empty_kube.service["spec"]["serveConfigV2"] == ray_service()["spec"]["serveConfigV2"]
    assert empty_kube.budget["spec"]["minAvailable"] == 16


def test_a_manifest_that_agrees_with_scale_is_no_conflict(empty_kube: Operated, tmp_path: Path) -> None:
    file = write(tmp_path / "all.yaml", manifests())
    empty_kube.done("deploy", file)
    empty_kube.done("scale", "--min", "30", "--max", "60")
    bodies = manifests()
    bodies[0]["spec"] = empty_kube.service["spec"]
    bodies[3]["spec"] = empty_kube.budget["spec"]
    empty_kube.done("deploy", write(tmp_path / "all.yaml", bodies))


def test_a_restart_does_not_stand_in_the_way(empty_kube: Operated, tmp_path: Path) -> None:
    file = write(tmp_path / "all.yaml", manifests())
    empty_kube.done("deploy", file)
    empty_kube.done("restart", "--no-wait")
    assert "RESTARTED_AT" in empty_kube.service["spec"]["serveConfigV2"]
    empty_kube.done("deploy", file)
    assert "RESTARTED_AT" not in empty_kube.service["spec"]["serveConfigV2"]


def test_a_dry_run_prints_and_changes_nothing(empty_kube: Operated, tmp_path: Path) -> None:
    file = write(tmp_path / "all.yaml", manifests())
    result = empty_kube.run("deploy", file, "--dry-run")
    assert result.exit_code == 0, result.output
    assert next(yaml.safe_load_all(result.stdout))["kind"] == "Namespace"
    assert "would change 5 of 5 objects" in result.stderr
    assert "hunter2" not in result.output
    assert empty_kube.api.writes() == []


def test_a_dry_run_against_what_is_there(kube: Operated, tmp_path: Path) -> None:
    bodies = [body for body in manifests() if body["kind"] == "ConfigMap"]
    kube.done("deploy", write(tmp_path / "all.yaml", bodies))
    bodies[0]["data"]["A"] = "2"
    result = kube.run("deploy", write(tmp_path / "all.yaml", bodies), "--dry-run")
    assert "changed   ConfigMap campaign-express/c" in result.stderr
    assert kube.get("configmaps", "c", "")["data"] == {"A": "1"}


def test_what_is_piped_in(empty_kube: Operated) -> None:
    empty_kube.done("deploy", "-", given=yaml.safe_dump_all(manifests()))
    assert empty_kube.service["metadata"]["namespace"] == NAMESPACE


def test_a_namespace_of_its_own_for_what_names_none(empty_kube: Operated, tmp_path: Path) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}}
    said = empty_kube.refused("deploy", write(tmp_path / "c.yaml", [body]), "-n", "other")
    assert 'namespaces "other" not found (404)' in said


def test_a_kustomization_is_rendered(empty_kube: Operated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever `kubectl` is on the PATH; this one prints what it is asked for and the manifests."""
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    write(folder / "all.yaml", manifests())
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(
        '#!/bin/sh\n[ "$1" = kustomize ] && exec /bin/cat "$2/all.yaml"\necho "bad arguments" >&2; exit 1\n'
    )
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(kubectl.parent))
    empty_kube.done("deploy", str(folder))
    assert empty_kube.budget["spec"]["minAvailable"] == 16
    kubectl.write_text('#!/bin/sh\necho "error: no such file all.yml" >&2; exit 1\n')
    said = empty_kube.refused("deploy", str(folder), code=2)
    assert "A kustomization that cannot be rendered" in said
    assert "no such file all.yml" in said


def test_a_conflict_that_names_no_fields_is_never_forced(kube: Operated, tmp_path: Path) -> None:
    bodies = [body for body in manifests() if body["kind"] == "ConfigMap"]
    kube.api.trouble("PATCH", "/configmaps/", code=409, reason="Conflict", message="the object is being deleted")
    assert "the object is being deleted" in kube.refused("deploy", write(tmp_path / "all.yaml", bodies))
    assert [request.query["force"] for request in kube.api.writes(dry_runs=True)] == ["false"]


def test_a_failure_half_way_says_how_far_it_came(kube: Operated, tmp_path: Path) -> None:
    kube.api.trouble("PATCH", "/rayservices/", code=500, message="etcd is full", dry_runs=False)
    said = kube.refused("deploy", write(tmp_path / "all.yaml", manifests()), "--force-conflicts")
    assert "the API server has failed (500): etcd is full" in said
    assert "4 of 5 objects were applied before" in said
