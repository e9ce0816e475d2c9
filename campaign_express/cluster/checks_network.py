"""Checks of names and ports: cluster DNS, the ports of the data plane, the services that the settings name.

From outside of the cluster a name cannot be resolved, so what is checked is what its answer is made of: that DNS
runs, that the Service is in the namespace that the name means, has the port, and has a ready pod behind it.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass

from campaign_express.cluster import names
from campaign_express.cluster.connection import Object
from campaign_express.cluster.doctor import Facts, Finding, bad, ok, warn
from campaign_express.errors import ClusterError

DISCOVERY = "/apis/discovery.k8s.io/v1"
RAY_METRICS = "metrics-export-port"
RAY_METRICS_DEFAULT = 8080
URL = re.compile(r"^[a-z][a-z0-9+.-]*://(?:[^@/]*@)?(?P<hosts>[^/?#]+)")


@dataclass(frozen=True, slots=True)
class Address:
    """`setting` names it."""

    setting: str
    host: str
    port: int


def dns(facts: Facts) -> Iterator[Finding]:
    found = facts.connection.find(
        facts.path("services", "kube-dns", namespace="kube-system"), "read the service kube-dns"
    )
    if found is None:
        yield warn("DNS", "no service kube-dns in kube-system", "where DNS has another name, pods use it all the same")
    elif not _endpoints(facts, "kube-dns", "kube-system"):
        remedy = (
            "`kubectl -n kube-system get pods -l k8s-app=kube-dns`: without DNS no pod finds Redis, NATS or Ray's head"
        )
        yield bad("DNS", "no ready pod behind kube-dns", remedy)
    else:
        yield ok("DNS", f"{_endpoints(facts, 'kube-dns', 'kube-system')} ready behind kube-dns")


def ports(facts: Facts) -> Iterator[Finding]:
    """The data ports on the pods, on the services in front of them, and nobody else on them."""
    container = facts.bidder_spec()["containers"][0]
    on_pod = {one.get("name", ""): one["containerPort"] for one in container.get("ports") or ()}
    lacking = [f"{name} {port}" for name, port in names.PORTS.items() if on_pod.get(name) != port]
    if lacking:
        yield bad(
            "ports", f"bidders do not name {', '.join(lacking)}", "name the container's ports as kuberay/base does"
        )
    params = facts.bidder_group().get("rayStartParams") or {}
    ray = int(params.get(RAY_METRICS) or RAY_METRICS_DEFAULT)
    if ray in names.PORTS.values():
        remedy = f'set rayStartParams {RAY_METRICS}: "8090" in the worker group'
        yield bad("ports", f"Ray's own metrics take {ray}, which is the bidder's", remedy)
    for service, wanted in ((names.SERVICE, tuple(names.PORTS)), (names.HEADLESS_SERVICE, ("grpc",))):
        yield from _front(facts, service, wanted, on_pod)


def _front(facts: Facts, service: str, wanted: tuple[str, ...], on_pod: dict[str, int]) -> Iterator[Finding]:
    found = facts.connection.find(facts.path("services", service), f"read service {service}")
    about = f"service {service}"
    if found is None:
        yield bad(about, "is not there: nobody reaches the bidders", "deploy kuberay again")
        return
    there = {one.get("name", ""): one for one in found["spec"].get("ports") or ()}
    problems = []
    for name in wanted:
        one = there.get(name)
        if one is None or one["port"] != names.PORTS[name]:
            problems.append(f"no port {names.PORTS[name]} named {name}")
        elif one.get("targetPort", one["port"]) not in (name, on_pod.get(name)):
            problems.append(f"port {name} leads to {one['targetPort']}, where no bidder listens")
    ready = _endpoints(facts, service, facts.namespace)
    if problems:
        yield bad(about, "; ".join(problems), "deploy kuberay again")
    elif not ready:
        yield bad(
            about, "no ready pod behind it", "its selector has to match the bidders' labels; see the check of cells"
        )
    else:
        yield ok(about, f"{ready} ready behind {', '.join(str(names.PORTS[name]) for name in wanted)}")


def services(facts: Facts) -> Iterator[Finding]:
    """Every address inside of the cluster that the bidders' settings name."""
    for address in sorted(set(_addresses(facts)), key=lambda one: (one.host, one.port)):
        name, namespace = _service_of(address.host, facts.namespace)
        about = f"{address.host}:{address.port}"
        found = facts.connection.find(facts.path("services", name, namespace=namespace), f"read service {name}")
        if found is None:
            remedy = f"deploy it, or correct {address.setting}"
            yield bad(about, f"no service {name} in namespace {namespace}", remedy)
        elif address.port not in [one["port"] for one in found["spec"].get("ports") or ()]:
            have = ", ".join(str(one["port"]) for one in found["spec"].get("ports") or ())
            yield bad(about, f"the service has {have or 'no port'}", f"correct the port in {address.setting}")
        elif not _endpoints(facts, name, namespace):
            remedy = f"`kubectl -n {namespace} get pods`: nothing answers there; bidders go on with what they have"
            yield bad(about, "no ready pod behind it", remedy)
        else:
            yield ok(about, f"{_endpoints(facts, name, namespace)} ready ({address.setting})")


def _addresses(facts: Facts) -> Iterator[Address]:
    """Of the values that are in force: an entry of `env` wins over `envFrom`, as in the pod."""
    container = facts.bidder_spec()["containers"][0]
    values: dict[str, str] = {}
    for one in container.get("envFrom") or ():
        name = (one.get("configMapRef") or {}).get("name")
        if name:
            found = facts.connection.find(facts.path("configmaps", name), f"read config map {name}") or {}
            values |= found.get("data") or {}
    for one in container.get("env") or ():
        values[one["name"]] = one.get("value") or _secret_value(facts, (one.get("valueFrom") or {}).get("secretKeyRef"))
    for setting, value in values.items():
        for url in value.split(","):
            match = URL.match(url.strip())
            for host_port in match["hosts"].split(",") if match else ():
                host, _, port = host_port.partition(":")
                if port.isdigit() and _inside(host):
                    yield Address(setting, host, int(port))


def _secret_value(facts: Facts, source: Object | None) -> str:
    """Of it only host and port of a URL are used. Empty where it cannot be read; the check of secrets says so."""
    if not source:
        return ""
    try:
        found = facts.connection.find(facts.path("secrets", source["name"]), f"read secret {source['name']}") or {}
    except ClusterError as error:
        if error.status != 403:
            raise
        return ""
    return b64decode((found.get("data") or {}).get(source["key"], "")).decode(errors="replace")


def _inside(host: str) -> bool:
    return host != "localhost" and (re.fullmatch(r"[a-z][a-z0-9-]*", host) is not None or ".svc" in host)


def _service_of(host: str, namespace: str) -> tuple[str, str]:
    """`nats` → (nats, ours); `nats.other.svc.cluster.local` → (nats, other); of a pod's name its service."""
    parts = host.partition(".svc")[0].split(".")
    if len(parts) == 1:
        return parts[0], namespace
    return parts[-2], parts[-1]


def _endpoints(facts: Facts, service: str, namespace: str) -> int:
    """How many ready ones."""
    selector = f"kubernetes.io/service-name={service}"
    path = facts.path("endpointslices", api=DISCOVERY, namespace=namespace)
    slices = facts.connection.items(path, f"read the endpoints of {service}", labelSelector=selector)
    return sum(_ready(endpoint) for one in slices for endpoint in one.get("endpoints") or ())


def _ready(endpoint: Object) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False
