"""Every port that the system opens is reachable for whom it is meant, and for nobody else.

Ports come from where they are decided: settings' defaults, rayStartParams, the table of names. The policies are
evaluated as Kubernetes does: traffic passes when a rule of the sender's pod lets it out and one of the receiver's lets
it in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from campaign_express import config
from tests.support.rendered import (
    NAMESPACE,
    ROOT,
    Object,
    bidders,
    container,
    groups,
    objects,
    ray_service,
    serve_config,
)

NAMES = yaml.safe_load((ROOT / "deploy/names.yaml").read_text())["components"]
EIGHT = {
    *("default-deny-all", "allow-internal", "allow-nats", "allow-redis", "allow-clickhouse", "allow-prometheus"),
    *("allow-haproxy", "allow-dns"),
}
OURS = {"app.kubernetes.io/name": NAMESPACE}
# Pods, by name: (labels, labels of their namespace)
HERE = {"kubernetes.io/metadata.name": NAMESPACE}
PODS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "bidder": ({**OURS, "app.kubernetes.io/component": "bidder"}, HERE),
    "ray-head": (
        {"app.kubernetes.io/part-of": NAMESPACE, "app.kubernetes.io/component": "ray-head"},
        HERE,
    ),
    "job": ({**OURS, "app.kubernetes.io/component": "job"}, HERE),
    "client": ({"campaign-express.io/client": "bidder"}, HERE),
    "operator": (
        {"app.kubernetes.io/name": "kuberay-operator"},
        {"kubernetes.io/metadata.name": "kuberay-system"},
    ),
    # It reads logs from the node, which this namespace forbids.
    "alloy": ({"app.kubernetes.io/name": "alloy"}, {"kubernetes.io/metadata.name": "monitoring"}),
    "dns": ({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}),
    "stranger": ({"app.kubernetes.io/name": "stranger"}, HERE),
    **{
        name: ({"app.kubernetes.io/name": name}, HERE)
        for name in (
            *("ray-gcs-redis", "nats", "redis", "redis-exporter", "clickhouse", "clickhouse-keeper", "haproxy"),
            *("prometheus", "alertmanager", "grafana", "loki", "tempo"),
        )
    },
}
OUTSIDE = {"operator", "alloy", "dns", "internet"}  # their namespaces have policies of their own, or none


def ray_ports(group: Object) -> dict[str, int]:
    """Ports that `ray start` opens on every node, of its own parameters."""
    names = ("metrics-export-port", "node-manager-port", "object-manager-port", "runtime-env-agent-port")
    more = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "min-worker-port", "max-worker-port")
    return {name: int(group["rayStartParams"][name]) for name in (*names, *more)}


def opened() -> dict[str, set[int]]:
    """Every port, by the pod that opens it."""
    service = ray_service("base")
    head, bidder = groups(service)["head"], bidders(service)
    defaults = config.load({}, {})
    serve = int(serve_config(service)["http_options"]["port"])
    ours = {defaults.http_port, defaults.grpc_port, defaults.metrics_port}
    of_head = {int(head["rayStartParams"][name]) for name in ("port", "dashboard-port", "ray-client-server-port")}
    of_head |= {NAMES["ray-head"]["ports"][name] for name in ("autoscaler-metrics", "dashboard-metrics")}
    found = {
        "bidder": ours | {serve} | set(ray_ports(bidder).values()),
        "ray-head": of_head | {serve} | set(ray_ports(head).values()),
        "nats": set(NAMES["nats"]["ports"].values()) | set(NAMES["nats-exporter"]["ports"].values()),
    }
    for name in PODS.keys() & NAMES.keys() - found.keys():
        found[name] = set(NAMES[name]["ports"].values())
    found["prometheus"].discard(NAMES["prometheus"]["ports"]["compose"])  # of docker compose alone
    return found


def flows() -> Iterator[tuple[str, str, int]]:
    """(who, whom, on which port) of everything that the system does."""
    service = ray_service("base")
    head, bidder = groups(service)["head"], bidders(service)
    port = {name: entry["ports"] for name, entry in NAMES.items() if "ports" in entry}
    for name in ("http", "grpc", "metrics"):
        yield "haproxy", "bidder", port["bidder"][name]
    for name in ("http", "grpc"):
        yield "client", "bidder", port["bidder"][name]
    yield "client", "bidder", port["serve"]["serve"]
    for who, whom, group in (
        ("ray-head", "bidder", bidder),
        ("bidder", "ray-head", head),
        ("bidder", "bidder", bidder),
    ):
        for name, number in ray_ports(group).items():
            if name != "metrics-export-port":
                yield who, whom, number
        yield who, whom, (ray_ports(group)["min-worker-port"] + ray_ports(group)["max-worker-port"]) // 2
    yield "bidder", "ray-head", int(head["rayStartParams"]["port"])
    for who in ("ray-head", "bidder"):  # a proxy's requests go to replicas; a head's proxy is asked after its health
        yield who, "bidder", port["serve"]["serve"]
    for number in (port["ray-head"]["dashboard"], port["serve"]["serve"]):
        yield "operator", "ray-head", number
    yield "ray-head", "ray-gcs-redis", port["ray-gcs-redis"]["redis"]
    for who in ("bidder", "job"):
        yield who, "nats", port["nats"]["client"]
        yield who, "redis", port["redis"]["redis"]
        yield who, "clickhouse", port["clickhouse"]["native"]
    yield "bidder", "tempo", port["tempo"]["otlp-http"]
    for name in ("client", "cluster"):
        yield "nats", "nats", port["nats"][name]
    for name in ("redis", "bus"):
        yield "redis", "redis", port["redis"][name]
    yield "redis-exporter", "redis", port["redis"]["redis"]
    for name in ("native", "interserver", "http"):
        yield "clickhouse", "clickhouse", port["clickhouse"][name]
    yield "clickhouse", "clickhouse-keeper", port["clickhouse-keeper"]["client"]
    yield "clickhouse-keeper", "clickhouse-keeper", port["clickhouse-keeper"]["raft"]
    for whom, name in (("bidder", "metrics"), ("redis-exporter", "metrics"), ("clickhouse", "metrics")):
        yield "prometheus", whom, port[whom][name]
    yield "prometheus", "nats", port["nats"]["monitor"]
    yield "prometheus", "nats", port["nats-exporter"]["metrics"]
    yield "prometheus", "haproxy", port["haproxy"]["stats"]
    for whom, group in (("bidder", bidder), ("ray-head", head)):
        yield "prometheus", whom, ray_ports(group)["metrics-export-port"]
    for name in ("autoscaler-metrics", "dashboard-metrics"):
        yield "prometheus", "ray-head", port["ray-head"][name]
    yield "prometheus", "alertmanager", port["alertmanager"]["web"]
    for name in ("http", "https", "grpc"):
        yield "internet", "haproxy", port["haproxy"][name]
    yield "grafana", "prometheus", port["prometheus"]["web"]
    yield "grafana", "loki", port["loki"]["http"]
    yield "grafana", "tempo", port["tempo"]["http"]
    yield "alloy", "loki", port["loki"]["http"]
    for who in PODS.keys() - OUTSIDE:
        yield who, "dns", 53
    for who in ("bidder", "alertmanager", "ray-head", "prometheus"):  # SendGrid and Twilio; pagers; the API server
        yield who, "internet", 443


# Open to nobody, and why.
CLOSED = {
    ("ray-head", "client"): "who reaches Ray's client runs what he likes as the bidder",
    ("tempo", "otlp-grpc"): "the product sends over HTTP; open to bidders and Alloy all the same",
    ("tempo", "jaeger"): "for programs that speak Jaeger; open to bidders and Alloy all the same",
    ("grafana", "web"): "people come by port-forward",
    ("clickhouse-keeper", "control"): "for probes, which come from the node",
}


def policies() -> list[Object]:
    return [copy.deepcopy(item) for item in objects("base") if item["kind"] == "NetworkPolicy"]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def is_peer(peer: Object, pod: str) -> bool:
    if pod == "internet":
        return "ipBlock" in peer
    if "ipBlock" in peer:
        return False  # pods are meant by their labels
    labels, namespace = PODS[pod]
    if "namespaceSelector" in peer:
        return selects(peer["namespaceSelector"], namespace) and selects(peer.get("podSelector", {}), labels)
    return namespace == HERE and selects(peer["podSelector"], labels)


def has_port(rule: Object, number: int) -> bool:
    if not rule.get("ports"):
        return True
    return any(p["protocol"] == "TCP" and p["port"] <= number <= p.get("endPort", p["port"]) for p in rule["ports"])


def allowed(found: list[Object], way: str, pod: str, other: str, number: int) -> bool:
    """Whether `pod` may take (Ingress) or send (Egress) traffic from or to `other`."""
    if pod in OUTSIDE:
        return True
    key = {"Ingress": "from", "Egress": "to"}[way]
    mine = [
        p["spec"] for p in found if way in p["spec"]["policyTypes"] and selects(p["spec"]["podSelector"], PODS[pod][0])
    ]
    assert mine, "default-deny-all selects every pod"
    return any(
        has_port(rule, number) and (key not in rule or any(is_peer(peer, other) for peer in rule[key]))
        for spec in mine
        for rule in spec.get(way.lower(), [])
    )


def passes(found: list[Object], who: str, whom: str, number: int) -> bool:
    return allowed(found, "Egress", who, whom, number) and allowed(found, "Ingress", whom, who, number)


def test_the_eight_of_the_reference_are_there() -> None:
    assert {policy["metadata"]["name"] for policy in policies()} >= EIGHT


def test_all_that_the_system_does_passes() -> None:
    found = policies()
    assert [flow for flow in flows() if not passes(found, *flow)] == []


def test_every_port_that_is_opened_is_somebodys_business() -> None:
    """Opened, and neither used nor closed on purpose: the table of flows is incomplete, or the port superfluous."""
    used = {(whom, number) for _, whom, number in flows()}
    closed = {(pod, NAMES[pod]["ports"].get(name)) for pod, name in CLOSED}
    left = {(pod, number) for pod, numbers in opened().items() for number in numbers} - used - closed
    assert left == set()


def test_nothing_is_let_in_on_a_port_that_nobody_opens() -> None:
    ports = opened()
    for policy in policies():
        for pod, (labels, _) in PODS.items():
            if pod not in ports or not selects(policy["spec"]["podSelector"], labels):
                continue
            for rule in policy["spec"].get("ingress", []):
                for entry in rule["ports"]:
                    span = range(entry["port"], entry.get("endPort", entry["port"]) + 1)
                    assert ports[pod] & set(span), f"{policy['metadata']['name']}: {entry}"


@pytest.mark.parametrize("whom", sorted(set(PODS) - OUTSIDE - {"client", "job", "stranger"}))
def test_a_stranger_reaches_nobody(whom: str) -> None:
    found = policies()
    outer = {80, 443, 9090} if whom == "haproxy" else set()  # the door
    for number in opened()[whom] - outer:
        assert not allowed(found, "Ingress", whom, "stranger", number)
    assert not any(allowed(found, "Egress", "stranger", whom, number) for number in opened()[whom])


@pytest.mark.parametrize(
    ("who", "whom", "number"),
    [
        ("bidder", "ray-head", 10001),
        ("bidder", "ray-gcs-redis", 6379),
        ("bidder", "redis", 16379),
        ("haproxy", "nats", 4222),
        ("haproxy", "bidder", 8000),
        ("prometheus", "redis", 6379),
        ("internet", "bidder", 8080),
        ("nats", "internet", 443),
        ("client", "ray-head", 8265),
    ],
)
def test_what_must_not_pass(who: str, whom: str, number: int) -> None:
    assert not passes(policies(), who, whom, number)


def test_the_clouds_metadata_is_nobodys() -> None:
    for policy in policies():
        for rule in policy["spec"].get("egress", []):
            for peer in rule["to"]:
                if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                    assert peer["ipBlock"]["except"] == ["169.254.0.0/16"]


def _without(found: list[Object], name: str, way: str, number: int) -> None:
    (policy,) = [p for p in found if p["metadata"]["name"] == name]
    for rule in policy["spec"][way]:
        rule["ports"] = [p for p in rule["ports"] if not p["port"] <= number <= p.get("endPort", p["port"])]
        rule["ports"] = rule["ports"] or [{"protocol": "UDP", "port": 1}]


@pytest.mark.parametrize(
    ("name", "way", "number"),
    [
        ("allow-bidder", "ingress", 9091),
        ("allow-bidder", "egress", 4222),
        ("allow-ray-head", "ingress", 8265),
        ("allow-bidder", "ingress", 15000),
        ("allow-nats", "ingress", 6222),
        ("allow-dns", "egress", 53),
    ],
)
def test_a_rule_that_is_taken_away_is_missed(name: str, way: str, number: int) -> None:
    found = policies()
    _without(found, name, way, number)
    assert [flow for flow in flows() if not passes(found, *flow)]


def test_pods_have_the_labels_that_policies_select() -> None:
    for name, group in groups(ray_service("base")).items():
        labels: dict[str, Any] = group["template"]["metadata"]["labels"]
        wanted = PODS["ray-head" if name == "head" else "bidder"][0]
        assert wanted.items() <= labels.items()
        assert container(group)["ports"]
