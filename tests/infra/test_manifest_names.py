"""Names, ports and images of kuberay/ and the chart are those of deploy/names.yaml."""

from __future__ import annotations

import pytest
import yaml

from campaign_express import config
from tests.support.rendered import (
    RENDERS,
    ROOT,
    Object,
    bidders,
    container,
    groups,
    objects,
    one,
    pods,
    ray_service,
    serve_config,
)

TABLE = yaml.safe_load((ROOT / "deploy/names.yaml").read_text())
COMPONENTS = TABLE["components"]
IMAGES = {entry["name"]: entry for entry in TABLE["images"].values()}
OURS = IMAGES["campaign-express"]["name"]


@pytest.mark.parametrize("name", RENDERS)
def test_everything_has_the_namespace(name: str) -> None:
    elsewhere = {"amd-xdna-device-plugin"}
    whole = {"Namespace", "ClusterIssuer", "ClusterRole", "ClusterRoleBinding", "PersistentVolume"}
    for item in objects(name):
        if item["kind"] in whole:
            assert "namespace" not in item["metadata"]
        elif item["metadata"]["name"] not in elsewhere:
            assert item["metadata"]["namespace"] == TABLE["namespace"], item["metadata"]["name"]


@pytest.mark.parametrize("name", RENDERS)
def test_images_are_the_tables(name: str) -> None:
    for owner, template in pods(objects(name)):
        for entry in template["spec"]["containers"]:
            image, _, tag = entry["image"].rpartition(":")
            if image.rpartition("/")[2] == OURS:
                continue  # an overlay names its registry and version
            assert tag == IMAGES[image]["tag"], owner
    if name in ("base", "chart:default", "chart:npu-off"):
        service = next(item for item in objects(name) if item["kind"] == "RayService")
        assert container(bidders(service))["image"] == f"{OURS}:{IMAGES[OURS]['tag']}"


@pytest.mark.parametrize("name", [n for n in RENDERS if not n.startswith("chart:") and "model" not in n])
def test_images_of_overlays_have_a_version(name: str) -> None:
    if name == "base":
        return
    for group in groups(ray_service(name)).values():
        assert container(group)["image"].endswith(":0.1.0")


def service_ports(service: Object) -> dict[str, int]:
    return {port["name"]: port["port"] for port in service["spec"]["ports"]}


def test_services_are_the_tables() -> None:
    bidder = COMPONENTS["bidder"]
    for name in (bidder["service"], bidder["headless"]):
        assert service_ports(one(objects("base"), "Service", name)) == bidder["ports"]
    assert one(objects("base"), "Service", bidder["headless"])["spec"]["clusterIP"] == "None"
    redis = COMPONENTS["ray-gcs-redis"]
    assert service_ports(one(objects("base"), "Service", redis["service"])) == redis["ports"]
    spec = ray_service("base")["spec"]
    assert spec["serveService"]["metadata"]["name"] == COMPONENTS["serve"]["service"]
    assert service_ports(spec["serveService"]) == COMPONENTS["serve"]["ports"]


def test_ports_of_the_product_are_the_tables() -> None:
    defaults = config.load({}, {})
    ours = {"http": defaults.http_port, "grpc": defaults.grpc_port, "metrics": defaults.metrics_port}
    assert ours == COMPONENTS["bidder"]["ports"]
    assert defaults.serve_port == COMPONENTS["serve"]["ports"]["serve"]
    service = ray_service("base")
    assert serve_config(service)["http_options"]["port"] == COMPONENTS["serve"]["ports"]["serve"]
    args = serve_config(service)["applications"][0]["args"]
    assert {name: args[f"{name}_port"] for name in ours} == ours


def test_ports_of_ray_are_the_tables() -> None:
    head, bidder = groups(ray_service("base"))["head"], bidders(ray_service("base"))
    table = COMPONENTS["ray-node"]["ports"]
    params = {
        "ray-metrics": "metrics-export-port",
        "node-manager": "node-manager-port",
        "object-manager": "object-manager-port",
        "runtime-env": "runtime-env-agent-port",
        "agent-grpc": "dashboard-agent-grpc-port",
        "agent-http": "dashboard-agent-listen-port",
    }
    assert set(table) == set(params)
    for group in (head, bidder):
        start = group["rayStartParams"]
        assert {name: int(start[param]) for name, param in params.items()} == table
        workers = [int(start["min-worker-port"]), int(start["max-worker-port"])]
        assert workers == COMPONENTS["ray-node"]["worker_ports"]
    start = head["rayStartParams"]
    names = {"gcs": "port", "dashboard": "dashboard-port", "client": "ray-client-server-port"}
    assert {name: int(start[param]) for name, param in names.items()}.items() <= COMPONENTS["ray-head"]["ports"].items()


@pytest.mark.parametrize("name", ["base", "overlays/aks", "overlays/eks"])
def test_urls_name_the_tables_services(name: str) -> None:
    data = one(objects(name), "ConfigMap")["data"]

    def url(scheme: str, component: str, port: str) -> str:
        entry = COMPONENTS[component]
        return f"{scheme}://{entry['service']}:{entry['ports'][port]}"

    assert data["CAMPAIGN_EXPRESS_NATS_URL"] == url("nats", "nats", "client")
    assert data["CAMPAIGN_EXPRESS_REDIS_URL"] == url("redis+cluster", "redis", "redis")
    assert data["CAMPAIGN_EXPRESS_CLICKHOUSE_URL"] == url("http", "clickhouse", "http")
    options = ray_service(name)["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == url("redis", "ray-gcs-redis", "redis")


def test_nodes_are_the_tables() -> None:
    pool = TABLE["nodes"]["bidding"]
    spec = bidders(ray_service("base"))["template"]["spec"]
    assert spec["nodeSelector"] == {pool["label"]: pool["value"]}
    (toleration,) = spec["tolerations"]
    assert f"{toleration['key']}={toleration['value']}:{toleration['effect']}" == pool["taint"]
    plugin = one(objects("base"), "DaemonSet", "amd-xdna-device-plugin")["spec"]["template"]["spec"]
    npu = TABLE["nodes"]["npu"]
    assert plugin["nodeSelector"] == {npu["label"]: npu["value"]}
    domain, _, device = npu["resource"].partition("/")
    arguments = plugin["containers"][0]["args"]
    assert f"--domain={domain}" in arguments
    assert any(f'"name": "{device}"' in argument for argument in arguments)


def test_the_references_files_are_there() -> None:
    names = (
        *("namespace", "configmap", "rayservice", "service", "pdb", "pvc", "cert-manager", "external-secrets"),
        *("network-policies", "npu-device-plugin", "rbac"),
    )
    for name in names:
        assert (ROOT / "kuberay/base" / f"{name}.yaml").is_file()


def test_haproxys_certificate_is_the_one_that_is_made() -> None:
    certificate = one(objects("base"), "Certificate", "haproxy-tls")["spec"]
    issuers = {item["metadata"]["name"] for item in objects("base") if item["kind"] == "ClusterIssuer"}
    assert certificate["issuerRef"]["name"] in issuers
    assert len(issuers) == 2
    assert {"type": "CombinedPEM"} in certificate["additionalOutputFormats"]
    staging = one(objects("overlays/staging"), "Certificate", "haproxy-tls")["spec"]
    assert staging["issuerRef"]["name"] == "letsencrypt-staging"


def test_secrets_of_the_reference_are_fetched() -> None:
    fetched = {item["metadata"]["name"] for item in objects("base") if item["kind"] == "ExternalSecret"}
    for name in ("redis", "clickhouse", "nats", "twilio", "sendgrid"):
        assert f"campaign-express-{name}" in fetched
    stores = [item for item in objects("base") if item["kind"] == "SecretStore"]
    assert [store["spec"]["provider"]["azurekv"]["authType"] for store in stores] == ["WorkloadIdentity"]
    aws = one(objects("overlays/eks"), "SecretStore")["spec"]["provider"]
    assert list(aws) == ["aws"]
