"""deploy/haproxy as Kubernetes sees it, and that its numbers are the reference's and the table's."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from benchmarks.balancer import CELLS, CONFIG, FOLDER
from tests.support import rendered
from tests.support.manifests import (
    ROOT,
    container,
    hardened,
    image,
    images_of,
    names,
    one,
    pod,
    ports,
    resources,
    valid,
    variables,
)
from tests.support.terraform import module, text
from tools import programs

TEXT = CONFIG.read_text()


def test_manifests_are_valid_and_hardened() -> None:
    found = resources(FOLDER)
    for manifest in found:
        valid(manifest)
    hardened(found)
    assert images_of(found) == {image("haproxy")}


def test_three_replicas_of_which_two_stay() -> None:
    found = resources(FOLDER)
    deployment = one(found, "Deployment", "haproxy-ingress")
    assert deployment["spec"]["replicas"] == 3
    assert one(found, "PodDisruptionBudget", "haproxy-ingress")["spec"]["minAvailable"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_it_has_time_to_end() -> None:
    deployment = one(resources(FOLDER), "Deployment", "haproxy-ingress")
    before = container(deployment, "haproxy")["lifecycle"]["preStop"]["sleep"]["seconds"]
    (hard_stop,) = re.findall(r"hard-stop-after (\d+)s", TEXT)
    assert before + int(hard_stop) < pod(deployment)["terminationGracePeriodSeconds"]


def test_ports_are_the_tables() -> None:
    found, table = resources(FOLDER), names()["components"]["haproxy"]
    binds = [int(port) for port in re.findall(r"^\s*bind :(\d+)", TEXT, re.MULTILINE)]
    assert binds == list(table["ports"].values())
    haproxy = container(one(found, "Deployment", "haproxy-ingress"), "haproxy")
    assert {port["name"]: port["containerPort"] for port in haproxy["ports"]} == table["ports"]
    outside = one(found, "Service", table["service"])["spec"]
    inside = one(found, "Service", table["headless"])["spec"]
    published = {port["name"]: port["port"] for port in outside["ports"]}
    assert published | {port["name"]: port["port"] for port in inside["ports"]} == table["ports"]
    assert "stats" not in published
    assert outside["externalTrafficPolicy"] == "Local"


def test_cells_are_those_of_the_tables_headless_service() -> None:
    table = names()
    assert f"{table['components']['bidder']['headless']}.{table['namespace']}.svc.{table['cluster_domain']}" == CELLS
    templates = re.findall(r"server-template cell (\d+) ([^\s:]+):(\d+)", TEXT)
    assert {name for _, name, _ in templates} == {CELLS}
    assert [int(port) for _, _, port in templates] == [ports("bidder")[name] for name in ("http", "grpc", "metrics")]
    assert re.findall(r"http-check connect port (\d+)", TEXT) == [str(ports("bidder")["http"])]


def test_there_is_a_slot_for_each_cell_of_the_autoscaler() -> None:
    slots = [count for count, _, _ in re.findall(r"server-template cell (\d+) (\S+):(\d+)", TEXT)]
    assert slots == ["40", "40", "40"]


def section(name: str) -> str:
    found = re.search(
        rf"^(?:frontend|backend|resolvers) {name}\n(.*?)(?=^[a-z])", TEXT + "end", re.MULTILINE | re.DOTALL
    )
    assert found is not None, name
    return found[1]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("global", "maxconn 100000"),
        ("global", "nbthread 4"),
        ("per_source", "store http_req_rate(10s)"),
        ("ft_http", "deny_status 429"),
        ("ft_http", "sc_http_req_rate(0) gt 10000"),
        ("ft_http", "bind :443 ssl crt /etc/haproxy/tls/tls-combined.pem"),
        ("ft_grpc", "bind :9090 proto h2"),
        ("ft_grpc", "sc_http_req_rate(0) gt 10000"),
        ("bk_campaign_express", "balance leastconn"),
        ("bk_campaign_express", "http-check send meth GET uri /ready"),
        ("bk_campaign_express", "inter 500ms"),
        ("bk_grpc", "balance roundrobin"),
        ("kube-dns", 'nameserver kube-dns "${KUBE_DNS}"'),
    ],
)
def test_numbers_are_the_references(place: str, said: str) -> None:
    assert said in (TEXT.split("\ndefaults")[0] if place == "global" else section(place))


def test_it_asks_whom_its_pod_asks_unless_it_is_told_otherwise() -> None:
    assert re.search(r"^\.else\n\s+parse-resolv-conf\n\.endif$", section("kube-dns"), re.MULTILINE)
    haproxy = container(one(resources(FOLDER), "Deployment", "haproxy-ingress"), "haproxy")
    assert "KUBE_DNS" not in variables(haproxy)
    local = {
        cloud: {key: text(value) for _, body in module(cloud).blocks("locals") for key, value in body.items()}
        for cloud in ("azure", "aws")
    }
    clouds = {local["azure"]["dns_service_ip"], str(ip_network(local["aws"]["service_cidr"])[10])}
    assert clouds == {"172.16.0.10", "172.20.0.10"}
    for said in (TEXT, (ROOT / "docs/operations.md").read_text()):
        assert all(address in said for address in (*clouds, "10.96.0.10"))


def test_a_changed_file_is_a_rolling_restart(tmp_path: Path) -> None:
    kubectl = rendered.program(programs.kubectl)

    def config_map(folder: str) -> tuple[str, rendered.Object]:
        found = rendered.parse(rendered.output(kubectl, "kustomize", folder))
        (made,) = [item for item in found if item["kind"] == "ConfigMap"]
        (deployment,) = [item for item in found if item["kind"] == "Deployment"]
        volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
        used = volumes["config"]["projected"]["sources"][0]["configMap"]["name"]
        assert used == made["metadata"]["name"]
        assert all(item["metadata"]["namespace"] == names()["namespace"] for item in found)
        return used, made["data"]

    before, data = config_map(str(FOLDER))
    assert data["haproxy.cfg"] == TEXT
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "unlimited.lst").write_text("203.0.113.0/24\n")
    assert config_map(str(tmp_path))[0] != before
