"""A bidder pod is large enough for its cell, reads what it is given, and ends in the right order."""

from __future__ import annotations

import ast
import copy
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from campaign_express import config
from campaign_express.serving import builder, cell
from campaign_express.serving.environment import RAY_ENVIRONMENT
from tests.support.rendered import (
    KUBERAY,
    ROOT,
    Object,
    bidders,
    bytes_of,
    container,
    groups,
    objects,
    one,
    output,
    parse,
    program,
    ray_service,
    serve_config,
)
from tools import programs

WHOLE = ("base", "production", "staging", "aks", "eks")  # renders that have a bidder
MB = 1_000_000
# Variables that are not settings of ours, and who reads them.
NOT_SETTINGS = {
    **dict.fromkeys(RAY_ENVIRONMENT, "Ray, when it starts (serving/environment.py)"),
    "RAY_LOG_TO_STDERR": "Ray, of its processes and workers alike: their lines come out of the container",
    "HOME": "Python and Ray: the user has no home on a read-only file system",
    "RAY_GRAFANA_HOST": "Ray's dashboard: asks whether Grafana is there",
    "RAY_GRAFANA_IFRAME_HOST": "Ray's dashboard: where browsers find Grafana's panels",
    "RAY_PROMETHEUS_HOST": "Ray's dashboard: asks Prometheus whether it has Ray's figures",
}
SECRETS_NEEDED = {
    *("CAMPAIGN_EXPRESS_REDIS_URL", "CAMPAIGN_EXPRESS_NATS_URL", "CAMPAIGN_EXPRESS_CLICKHOUSE_URL"),
    *("CAMPAIGN_EXPRESS_NOTICE_KEYS", "CAMPAIGN_EXPRESS_OPERATOR_TOKEN"),
}


def render(name: str) -> str:
    return name if name == "base" else f"overlays/{name}"


def environment(name: str) -> dict[str, str]:
    data: dict[str, str] = one(objects(render(name)), "ConfigMap")["data"]
    return data


def settings(name: str) -> config.Settings:
    """As a cell has them: arguments of serveConfigV2, the ConfigMap, and secrets in place of those that it lacks."""
    args = serve_config(ray_service(render(name)))["applications"][0]["args"]
    config.refuse_secrets(args)
    return config.load(args, environment(name))


@pytest.mark.parametrize("name", WHOLE)
def test_every_variable_is_read_by_the_product(name: str) -> None:
    given = set(environment(name))
    for group in groups(ray_service(render(name))).values():
        given |= {variable["name"] for variable in container(group)["env"]}
    known = {config.PREFIX + field.name.upper() for field in msgspec.structs.fields(config.Settings)}
    assert given - known - set(NOT_SETTINGS) == set()
    assert len(environment(name)) >= 20
    assert RAY_ENVIRONMENT.items() <= environment(name).items()


def test_rays_dashboard_finds_grafana_and_prometheus() -> None:
    table = yaml.safe_load((ROOT / "deploy/names.yaml").read_text())["components"]
    head = {one["name"]: one.get("value") for one in container(groups(ray_service("base"))["head"])["env"]}
    for name in ("grafana", "prometheus"):
        assert head[f"RAY_{name.upper()}_HOST"] == f"http://{table[name]['service']}:{table[name]['ports']['web']}"
    assert head["RAY_GRAFANA_IFRAME_HOST"] in (ROOT / "docs/monitoring.md").read_text(), "the port-forward"


@pytest.mark.parametrize("name", WHOLE)
def test_every_setting_is_accepted(name: str) -> None:
    found = settings(name)
    assert found.host == "0.0.0.0"
    assert found.npu_per_agent == 1
    assert found.socket_dir == ""
    path = f"{found.data_dir}/sockets"
    assert len(path) + cell.LONGEST_NAME <= cell.UNIX_PATH_MAX, "a socket's path must fit where data_dir is mounted"
    broken = {**environment(name), "CAMPAIGN_EXPRESS_MAX_BATCH": "none"}
    with pytest.raises(config.ConfigError, match="CAMPAIGN_EXPRESS_MAX_BATCH"):
        config.load({}, broken)


@pytest.mark.parametrize("name", WHOLE)
def test_secrets_come_from_secrets(name: str) -> None:
    bidder = container(bidders(ray_service(render(name))))
    from_secrets = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in bidder["env"] if "valueFrom" in v}
    assert {n for n, ref in from_secrets.items() if not ref.get("optional")} == SECRETS_NEEDED
    secret = {config.PREFIX + field.upper() for field in config.SECRET_FIELDS}
    assert not secret & set(environment(name))
    assert not any(config.has_password(value) for value in environment(name).values() if "://" in value)
    made = {
        (item["spec"]["target"]["name"], entry["secretKey"])
        for item in objects(render(name))
        if item["kind"] == "ExternalSecret"
        for entry in item["spec"]["data"]
    }
    redis = ray_service(render(name))["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]["redisPassword"]
    wanted = [*from_secrets.values(), redis["valueFrom"]["secretKeyRef"]]
    assert {(ref["name"], ref["key"]) for ref in wanted} <= made


def footprint_mb(agents: int) -> float:
    """Of the fullest pod: its agents, all that is beside them, and an object store that is full."""
    bench = json.loads((ROOT / "benchmarks/results/latest.json").read_text())
    beside = yaml.safe_load((KUBERAY / "footprint.yaml").read_text())
    beside.pop("fits")
    group = bidders(ray_service("base"))
    store = int(group["rayStartParams"]["object-store-memory"]) / MB
    return float(agents * bench["figures"]["pss_mb_per_agent"]["median"] + sum(beside.values()) + store)


@pytest.mark.parametrize("name", WHOLE)
def test_the_fullest_pod_fits(name: str) -> None:
    limits = container(bidders(ray_service(render(name))))["resources"]["limits"]
    needs = footprint_mb(settings(name).agents_per_cell) * MB
    # The autoscaling policy's memory target is of the limit: a cell at rest must stay below it.
    scaling = serve_config(ray_service(render(name)))["applications"][0]["deployments"][0]["autoscaling_config"]
    assert needs < bytes_of(limits["memory"]) * scaling["policy"]["policy_kwargs"]["memory"]
    if settings(name).agents_per_cell == 20:
        assert needs < bytes_of(yaml.safe_load((KUBERAY / "footprint.yaml").read_text())["fits"])


def test_the_documented_footprint_is_about_the_measured_one() -> None:
    text = (ROOT / "docs/kubernetes.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", text, re.MULTILINE))
    figures = [int(value.replace(",", "")) for value in rows.values()]
    assert (
        figures[-1] == sum(figures[:-1]) == pytest.approx(footprint_mb(20), rel=0.1)
    )  # a bench is not an edit of pages
    assert f"That is {figures[-1] * MB / 2**30:.1f} GiB" in text


def test_a_pod_that_is_too_small_is_found() -> None:
    assert footprint_mb(20) * MB > bytes_of("4Gi")


def test_shared_memory_holds_the_object_store() -> None:
    for group in groups(ray_service("base")).values():
        volumes = {volume["name"]: volume for volume in group["template"]["spec"]["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container(group)["volumeMounts"]}
        shared = volumes[mounts["/dev/shm"]]["emptyDir"]
        assert shared["medium"] == "Memory"
        assert bytes_of(shared["sizeLimit"]) > int(group["rayStartParams"]["object-store-memory"])


def logical(name: str) -> dict[str, float]:
    """Ray's resources that a cell asks for, by the product's own builder."""
    options = builder._deployment(settings(name))
    bundles = options._replica_config.placement_group_bundles
    return {key: sum(bundle.get(key, 0) for bundle in bundles) for key in ("CPU", "npu")}


@pytest.mark.parametrize("name", WHOLE)
def test_a_pod_holds_one_cell_and_what_runs_beside_it(name: str) -> None:
    group = bidders(ray_service(render(name)))
    cpus, slots = (int(group["resources"][key]) for key in ("CPU", "npu"))
    asked = logical(name)
    assert asked["CPU"] + builder.TREASURY_CPUS + builder.PIPELINE_CPUS <= cpus
    assert asked["npu"] == slots == settings(name).agents_per_cell, "a second cell would fit, or none"


@pytest.mark.parametrize("name", WHOLE)
def test_cells_and_pods_have_the_same_bounds(name: str) -> None:
    service = ray_service(render(name))
    group = bidders(service)
    deployment = serve_config(service)["applications"][0]["deployments"][0]
    scaling = deployment["autoscaling_config"]
    assert "num_replicas" not in deployment
    pods = (group["minReplicas"], group["replicas"], group["maxReplicas"])
    assert pods == (scaling["min_replicas"], scaling["initial_replicas"], scaling["max_replicas"])
    if name != "staging":
        assert pods == (10, 20, 40)
    budget = one(objects(render(name)), "PodDisruptionBudget")["spec"]["minAvailable"]
    assert budget == (math.floor if name == "staging" else math.ceil)(0.8 * pods[1])
    assert isinstance(budget, int)


def hook(name: str) -> dict[str, float]:
    command = container(bidders(ray_service(render(name))))["lifecycle"]["preStop"]["exec"]["command"]
    assert command[:3] == ["python", "-m", "campaign_express.serving.leave"]
    return {key: float(value) for key, value in zip(command[3::2], command[4::2], strict=True)}


@pytest.mark.parametrize("name", WHOLE)
def test_there_is_time_to_leave(name: str) -> None:
    times, found = hook(name), settings(name)
    cell_s = found.drain_window_s + builder.SHUTDOWN_S
    assert times["--deadline"] >= cell_s + 15, "Serve has time to start the cell elsewhere before it ends this one"
    assert max(builder.TREASURY_SHUTDOWN_S, builder.PIPELINE_SHUTDOWN_S) < times["--deadline"]
    grace = bidders(ray_service(render(name)))["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= times["--unlisted-after"] + times["--deadline"] + 30, "Ray drains for 30 s after SIGTERM"
    assert grace >= 60
    assert hook(name)["--unlisted-after"] >= 5
    probe = container(bidders(ray_service(render(name))))["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= found.drain_window_s, "unready before its port closes"


def test_the_hooks_options_are_the_programs() -> None:
    source = ast.parse((ROOT / "campaign_express/serving/leave.py").read_text())
    options = {
        node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and str(node.value)[:2] == "--"
    }
    assert set(hook("base")) <= options


@pytest.mark.parametrize("name", WHOLE)
def test_pods_are_hardened(name: str) -> None:
    for group in groups(ray_service(render(name))).values():
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for context in (entry["securityContext"] for entry in pod["containers"]):
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
        written = {mount["mountPath"] for mount in container(group)["volumeMounts"] if not mount.get("readOnly")}
        assert {"/tmp", "/dev/shm", settings(name).data_dir} <= written
    assert bidders(ray_service(render(name)))["template"]["spec"]["automountServiceAccountToken"] is False
    autoscaler = ray_service(render(name))["spec"]["rayClusterConfig"]["autoscalerOptions"]
    assert autoscaler["securityContext"]["readOnlyRootFilesystem"] is True
    assert autoscaler["volumeMounts"], "a read-only root wants a /tmp"


@pytest.mark.parametrize("name", WHOLE)
def test_one_bidder_a_node_and_only_on_nodes_for_bidders(name: str) -> None:
    pod = bidders(ray_service(render(name)))["template"]["spec"]
    (rule,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = bidders(ray_service(render(name)))["template"]["metadata"]["labels"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"].items() <= labels.items()
    nodes = yaml.safe_load((ROOT / "deploy/names.yaml").read_text())["nodes"]
    assert pod["nodeSelector"][nodes["bidding"]["label"]] == nodes["bidding"]["value"]
    device = nodes["npu"]["resource"]
    limits = container(bidders(ray_service(render(name))))["resources"]["limits"]
    has_device = name == "production"
    assert (limits.get(device) == "1") is has_device
    assert (pod["nodeSelector"].get(nodes["npu"]["label"]) == nodes["npu"]["value"]) is has_device
    assert (settings(name).accelerator == "amd_xdna") is has_device
    assert any(toleration["key"] == device for toleration in pod["tolerations"]) is has_device


def test_the_sizes_of_the_reference() -> None:
    def size(name: str) -> Any:
        found = copy.deepcopy(container(bidders(ray_service(render(name))))["resources"])
        return [(found[kind]["cpu"], found[kind]["memory"]) for kind in ("requests", "limits")]

    assert size("base") == [("2", "4Gi"), ("4", "8Gi")]
    for name in ("production", "aks", "eks"):
        assert size(name) == [("4", "8Gi"), ("8", "16Gi")]


def test_prod_is_another_name_of_production() -> None:
    assert objects("overlays/prod") == objects("overlays/production")


def test_services_select_the_ready_bidders_of_every_ray_cluster() -> None:
    labels = bidders(ray_service("base"))["template"]["metadata"]["labels"]
    head = groups(ray_service("base"))["head"]["template"]["metadata"]["labels"]
    for name in ("campaign-express", "campaign-express-headless"):
        spec: Object = one(objects("base"), "Service", name)["spec"]
        assert spec["selector"].items() <= labels.items()
        assert not spec["selector"].items() <= head.items()
        assert not any(key.startswith("ray.io/") for key in spec["selector"])
        assert not spec.get("publishNotReadyAddresses")
        ports = {port["name"]: port["containerPort"] for port in container(bidders(ray_service("base")))["ports"]}
        assert all(ports[port["targetPort"]] == port["port"] for port in spec["ports"])


def test_the_model_volume_is_only_read_and_its_claim_filled_by_another() -> None:
    pod = bidders(ray_service("base"))["template"]["spec"]
    (volume,) = [v for v in pod["volumes"] if v["name"] == "models"]
    (mount,) = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "models"]
    assert volume["persistentVolumeClaim"]["readOnly"] is mount["readOnly"] is True
    claim = one(objects("base"), "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
    assert claim["spec"]["accessModes"] == ["ReadOnlyMany"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    job = one(objects("model"), "Job", "campaign-express-publish-model")["spec"]["template"]["spec"]
    directory, version = job["containers"][0]["command"][-2:]
    assert environment("base")["CAMPAIGN_EXPRESS_MODEL_FILE"] == f"{directory}/{version}/model.onnx"
    for name in ("aks", "eks"):
        volumes = {
            item["metadata"]["name"]: item for item in objects(f"overlays/{name}") if item["kind"] == "PersistentVolume"
        }
        claims = [claim, one(objects("model"), "PersistentVolumeClaim", "campaign-express-models-publish")]
        for wanted in claims:
            offered = volumes[wanted["metadata"]["name"]]["spec"]
            assert offered["accessModes"] == wanted["spec"]["accessModes"]
            assert offered["storageClassName"] == wanted["spec"]["storageClassName"]
            assert offered["claimRef"]["name"] == wanted["metadata"]["name"]
        handles = {item["spec"]["csi"]["volumeHandle"] for item in volumes.values()}
        assert len(handles) == 2, "a handle is one volume's own"
        assert not any("set by" in handle for handle in handles)


@pytest.mark.parametrize("name", ["aks", "eks"])
def test_settings_of_a_cloud_reach_every_place(name: str, tmp_path: Path) -> None:
    """Each value of settings.yaml, made something of its own, is rendered; nothing is left that only it can fill."""
    shutil.copytree(KUBERAY, tmp_path / "kuberay")
    path = tmp_path / "kuberay/overlays" / name / "settings.yaml"
    given = yaml.safe_load(path.read_text())
    given["data"] = {key: f"{key}-of-ours" for key in given["data"]}
    path.write_text(yaml.safe_dump(given))
    text = output(program(programs.kubectl), "kustomize", str(path.parent))
    assert [value for value in given["data"].values() if not re.search(rf"(^|[^-\w]){value}\b", text)] == []
    assert "set by settings.yaml" not in text
    assert "name: settings" not in text
    if name == "aks":
        for volume in parse(text):
            if volume["kind"] == "PersistentVolume":
                attributes = volume["spec"]["csi"]["volumeAttributes"]
                wanted = {"resourceGroup": "resource-group", "storageAccount": "storage-account", "shareName": "share"}
                assert attributes == {key: f"models-{value}-of-ours" for key, value in wanted.items()}
