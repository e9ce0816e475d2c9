"""Manifests of deploy/monitoring: valid by Kubernetes' schemas, the table's names, the reference's numbers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.monitoring import MONITORING, NAMES

CUSTOM = {"ExternalSecret"}  # no schema of Kubernetes'
IMAGES = {f"{entry['name']}:{entry['tag']}" for entry in NAMES["images"].values()}
KUSTOMIZATION = yaml.safe_load((MONITORING / "kustomization.yaml").read_text(encoding="utf-8"))

Object = dict[str, Any]


def objects() -> Iterator[Object]:
    for name in KUSTOMIZATION["resources"]:
        yield from yaml.safe_load_all((MONITORING / name).read_text(encoding="utf-8"))


def one(kind: str, name: str) -> Object:
    (found,) = [item for item in objects() if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def workloads() -> list[Object]:
    return [item for item in objects() if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]


def valid(item: Object) -> None:
    kubernetes_validate.validate(item, "1.37.0", strict=True)


def test_kubernetes_accepts_every_object() -> None:
    found = [item for item in objects() if item["kind"] not in CUSTOM]
    assert len(found) > 30
    for item in found:
        valid(item)


def test_a_misspelt_field_is_refused() -> None:
    broken = copy.deepcopy(one("Deployment", "prometheus"))
    broken["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        valid(broken)


def test_images_ports_and_services_are_the_tables() -> None:
    for item in workloads():
        name = item["metadata"]["name"]
        if name == "alloy":  # asked by its node alone
            assert {one["image"] for one in item["spec"]["template"]["spec"]["containers"]} <= IMAGES
            continue
        ports = NAMES["components"][name]["ports"]
        for container in item["spec"]["template"]["spec"]["containers"]:
            assert container["image"] in IMAGES
            opened = {port["containerPort"] for port in container["ports"]}
            assert opened == {number for kind, number in ports.items() if kind != "compose"}, name
        served = {port["port"] for port in one("Service", NAMES["components"][name]["service"])["spec"]["ports"]}
        assert served == opened


def test_policies_open_ports_of_the_table_between_pods_of_the_table() -> None:
    outside = {443, 6443, 10250}  # the API server, kubelets
    ports = {
        (name, number)
        for name, entry in NAMES["components"].items()
        for kind, number in entry.get("ports", {}).items()
        if kind != "compose"
    }
    seen = set()
    for policy in (item for item in objects() if item["kind"] == "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                numbers = {port["port"] for port in rule["ports"]}
                if "ipBlock" in peer:
                    assert numbers <= outside
                else:
                    whom = peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
                    seen |= {(whom, number) for number in numbers}
    assert seen <= ports
    asked = {("kube-state-metrics", 8080), ("grafana", 3000), ("loki", 3100), ("tempo", 3200), ("prometheus", 9090)}
    assert seen == asked


def test_the_references_numbers() -> None:
    arguments = one("Deployment", "prometheus")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--storage.tsdb.retention.time=30d" in arguments
    volumes = {
        item["metadata"]["name"]: item["spec"]["resources"]["requests"]["storage"]
        for item in objects()
        if item["kind"] == "PersistentVolumeClaim"
    }
    assert volumes["prometheus-data"] == "50Gi"
    assert volumes["tempo-data"] == "20Gi"
    (claim,) = one("StatefulSet", "loki")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    for item in workloads():
        assert item["kind"] == "DaemonSet" or item["spec"]["replicas"] == 1
    loki = yaml.safe_load((MONITORING / "logging/loki.yaml").read_text())
    assert loki["limits_config"]["retention_period"] == f"{7 * 24}h"
    assert loki["compactor"]["retention_enabled"] is True
    tempo = yaml.safe_load((MONITORING / "tracing/tempo.yaml").read_text())
    assert tempo["compactor"]["compaction"]["block_retention"] == "72h"
    receivers = tempo["distributor"]["receivers"]
    ports = NAMES["components"]["tempo"]["ports"]
    assert receivers["otlp"]["protocols"]["grpc"]["endpoint"] == f"0.0.0.0:{ports['otlp-grpc']}"
    assert receivers["otlp"]["protocols"]["http"]["endpoint"] == f"0.0.0.0:{ports['otlp-http']}"
    assert receivers["jaeger"]["protocols"]["thrift_http"]["endpoint"] == f"0.0.0.0:{ports['jaeger']}"


def test_pods_run_without_rights_they_do_not_need() -> None:
    for item in workloads():
        pod = item["spec"]["template"]["spec"]
        name = item["metadata"]["name"]
        asks_the_api = name in ("prometheus", "kube-state-metrics", "alloy")
        assert pod["automountServiceAccountToken"] is asks_the_api
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"].get("runAsNonRoot", False) is (name != "alloy")
        assert any("hostPath" in volume for volume in pod.get("volumes", [])) is (name == "alloy")
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"]["drop"] == ["ALL"]
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}
            assert "readinessProbe" in container


def test_alloy_alone_lives_elsewhere() -> None:
    for item in workloads():
        alone = item["metadata"]["name"] == "alloy"
        assert item["metadata"]["namespace"] == ("monitoring" if alone else NAMES["namespace"])


def test_every_file_reaches_the_pod_that_reads_it() -> None:
    made = {
        entry["name"]: {Path(name).name for name in entry["files"]} for entry in KUSTOMIZATION["configMapGenerator"]
    }
    mounted = {
        volume["configMap"]["name"]
        for item in workloads()
        for volume in item["spec"]["template"]["spec"].get("volumes", [])
        if "configMap" in volume
    }
    assert mounted == made.keys()
    prometheus = yaml.safe_load((MONITORING / "prometheus/prometheus.yml").read_text())
    assert {Path(name).name for name in prometheus["rule_files"]} == made["prometheus-config"] - {"prometheus.yml"}
    listed = {Path(name) for entry in KUSTOMIZATION["configMapGenerator"] for name in entry["files"]}
    read = {path.relative_to(MONITORING) for path in MONITORING.rglob("*") if path.is_file()}
    assert read == listed | {Path(name) for name in KUSTOMIZATION["resources"]} | {Path("kustomization.yaml")}
