"""The chart: the reference's values reach their places, wrong ones are refused, and it renders what kustomize does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.rendered import (
    AWS_VALUES,
    CHART,
    NAMESPACE,
    ROOT,
    Object,
    bidders,
    chart,
    container,
    objects,
    one,
    output,
    parse,
    program,
    run,
    serve_config,
)
from tools import programs

# The defaults of the infrastructure reference, section 4.
REFERENCE = yaml.safe_load("""
replicaCount: 20
image: campaign-express:latest
config: {agentsPerNode: 20, httpPort: 8080, grpcPort: 9090, metricsPort: 9091}
npu: {enabled: true, resource: amd.com/xdna, count: 1}
nats: nats://nats:4222
redis: redis://redis-cluster:6379
clickhouse: http://clickhouse:8123
resources:
  requests: {cpu: 2, memory: 4Gi}
  limits: {cpu: 4, memory: 8Gi}
autoscaling: {minReplicas: 10, maxReplicas: 40, targetCPU: 70, targetMemory: 80}
pdb: {minAvailable: 80%}
""")
HELM_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance")


def rendered(*settings: str) -> tuple[Object, ...]:
    return parse(chart(*(part for setting in settings for part in ("--set", setting))))


def service(*settings: str) -> Object:
    return one(rendered(*settings), "RayService")


def comparable(found: tuple[Object, ...]) -> dict[tuple[str, str], Object]:
    """By kind and name, without what Helm adds, and with serveConfigV2 as what it says."""
    result = {}
    for item in found:
        item = json.loads(json.dumps(item))
        for label in HELM_LABELS:
            item["metadata"].get("labels", {}).pop(label, None)
        if item["kind"] == "RayService":
            item["spec"]["serveConfigV2"] = serve_config(item)
        result[item["kind"], item["metadata"]["name"]] = item
    return result


def test_the_references_keys_and_defaults_are_the_charts() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert {key: values[key] for key in REFERENCE} == REFERENCE
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (described["version"], described["type"]) == ("0.1.0", "application")


@pytest.mark.parametrize("options", [(), ("--values", str(AWS_VALUES)), ("--set", "npu.enabled=false")])
def test_lint_has_nothing_to_say(options: tuple[str, ...]) -> None:
    said = output(program(programs.helm), "lint", "--strict", str(CHART), *options)
    assert "0 chart(s) failed" in said


# The chart's render, and the kustomization that has the same inputs.
PAIRS = {"chart:default": "with-xdna", "chart:npu-off": "base", "chart:aws": "overlays/eks"}


@pytest.mark.parametrize("name", PAIRS)
def test_the_chart_renders_what_kustomize_renders(name: str) -> None:
    if PAIRS[name] == "with-xdna":
        folder = Path(__file__).parent / "with-xdna"
        theirs = comparable(parse(output(program(programs.kubectl), "kustomize", str(folder))))
    else:
        theirs = comparable(objects(PAIRS[name]))
    ours = comparable(objects(name))
    assert len(ours.keys() & theirs.keys()) == len(ours) == 11
    for key, item in ours.items():
        assert item == theirs[key], key


def test_values_reach_their_places() -> None:
    one_service = service(
        *("replicaCount=30", "image=registry/bidder:7", "config.agentsPerNode=8", "config.httpPort=8081"),
        *("config.grpcPort=9092", "config.metricsPort=9093", "npu.count=2", "autoscaling.minReplicas=12"),
        *("autoscaling.maxReplicas=36", "autoscaling.targetCPU=60", "autoscaling.targetMemory=75"),
        *("resources.limits.cpu=6", "resources.requests.memory=5Gi"),
    )
    group, config = bidders(one_service), serve_config(one_service)
    application = config["applications"][0]
    scaling = application["deployments"][0]["autoscaling_config"]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (12, 30, 36)
    assert (scaling["min_replicas"], scaling["initial_replicas"], scaling["max_replicas"]) == (12, 30, 36)
    assert scaling["policy"]["policy_kwargs"] == {"cpu": 0.6, "memory": 0.75}
    assert group["resources"]["npu"] == "8"
    wanted = {"agents_per_cell": 8, "http_port": 8081, "grpc_port": 9092, "metrics_port": 9093}
    assert wanted.items() <= application["args"].items()
    bidder = container(group)
    assert bidder["image"] == "registry/bidder:7"
    assert [port["containerPort"] for port in bidder["ports"][:3]] == [8081, 9092, 9093]
    assert group["template"]["metadata"]["annotations"]["prometheus.io/port"] == "9093"
    assert bidder["resources"]["limits"] == {"cpu": "6", "memory": "8Gi", "amd.com/xdna": "2"}
    assert bidder["resources"]["requests"]["memory"] == "5Gi"


def test_urls_reach_the_environment() -> None:
    found = one(rendered("nats=tls://n:1", "redis=rediss://r:2", "clickhouse=clickhouse://c:3/d"), "ConfigMap")
    data = found["data"]
    names = ("CAMPAIGN_EXPRESS_NATS_URL", "CAMPAIGN_EXPRESS_REDIS_URL", "CAMPAIGN_EXPRESS_CLICKHOUSE_URL")
    assert [data[name] for name in names] == ["tls://n:1", "rediss://r:2", "clickhouse://c:3/d"]
    assert all(isinstance(value, str) for value in data.values())


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("redis://redis-cluster:6379", "redis+cluster://redis-cluster:6379"),
        ("rediss://redis-cluster", "rediss+cluster://redis-cluster"),
        ("redis+cluster://other:6379", "redis+cluster://other:6379"),
        ("redis://redis-clusters:6379", "redis://redis-clusters:6379"),
    ],
)
def test_one_address_of_the_redis_cluster_is_a_clusters(given: str, becomes: str) -> None:
    assert one(rendered(f"redis={given}"), "ConfigMap")["data"]["CAMPAIGN_EXPRESS_REDIS_URL"] == becomes


@pytest.mark.parametrize(
    ("settings", "pods"),
    [((), 16), (("replicaCount=30",), 24), (("replicaCount=11",), 9), (("pdb.minAvailable=3",), 3)],
)
def test_the_budget_is_a_whole_number_of_pods(settings: tuple[str, ...], pods: int) -> None:
    assert one(rendered(*settings), "PodDisruptionBudget")["spec"]["minAvailable"] == pods


def test_without_a_device_nothing_asks_for_one() -> None:
    text = chart("--set", "npu.enabled=false")
    assert "xdna" not in text
    assert one(parse(text), "ConfigMap")["data"]["CAMPAIGN_EXPRESS_ACCELERATOR"] == "cpu"
    assert bidders(one(parse(text), "RayService"))["resources"]["npu"] == "20"


def test_without_a_share_agents_read_the_model_of_the_image() -> None:
    found = rendered("models.enabled=false")
    assert not [item for item in found if item["kind"] == "PersistentVolumeClaim"]
    assert one(found, "ConfigMap")["data"]["CAMPAIGN_EXPRESS_MODEL_FILE"] == ""
    assert "models" not in json.dumps(bidders(one(found, "RayService")))


WRONG = {
    "replicas=5": "replicas",
    "replicaCount=0": "replicaCount",
    "replicaCount=many": "replicaCount",
    "replicaCount=50": "is not between autoscaling.minReplicas 10 and autoscaling.maxReplicas 40",
    "image=campaign-express": "image",
    "config.httpPort=80": "httpPort",
    "config.httpPort=9090": "must differ",
    "npu.enabled=maybe": "enabled",
    "redis=redis://:secret@host:6379": "redis",
    "nats=http://nats:4222": "nats",
    "resources.limits.memory=8GB": "memory",
    "autoscaling.targetCPU=170": "targetCPU",
    "pdb.minAvailable=120%": "minAvailable",
    "pdb.minAvailable=100%": "leaves none of 20 bidder pods",
    "extraConfig.LOG_LEVEL=info": "LOG_LEVEL",
    "upgradeStrategy=Rolling": "upgradeStrategy",
}


@pytest.mark.parametrize("setting", WRONG)
def test_wrong_values_are_refused_by_name(setting: str) -> None:
    ran = run(program(programs.helm), "template", "campaign-express", str(CHART), "--set", setting)
    assert ran.returncode != 0
    assert WRONG[setting] in ran.stderr


def test_notes_say_what_is_missing_and_how_to_look() -> None:
    options = ("--dry-run=client", "--namespace", NAMESPACE)
    ran = run(program(programs.helm), "install", "campaign-express", str(CHART), *options)
    notes = ran.stdout.partition("NOTES:")[2]
    assert "get pods,svc,rayservice" in notes, ran.stderr
    assert "campaign-express-keys" in notes
    assert "npu.enabled=false" in notes


def test_the_readme_explains_the_references_file_names() -> None:
    text = (CHART / "README.md").read_text()
    for name in ("deployment.yaml", "hpa.yaml", "templates/rayservice.yaml"):
        assert name in text
    assert (CHART / "templates/rayservice.yaml").is_file()
    for name in ("service.yaml", "pdb.yaml", "pvc.yaml", "serviceaccount.yaml", "_helpers.tpl"):
        assert (CHART / "templates" / name).is_file()
    assert (ROOT / "deploy/aws/values-aws.yaml").is_file()
