"""What Terraform makes agrees with the reference, with the manifests, and with docs/terraform.md."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.conftest import ROOT
from tests.support.terraform import MODULES, module, text

DOCS = (ROOT / "docs/terraform.md").read_text(encoding="utf-8")
NAMES = yaml.safe_load((ROOT / "deploy/names.yaml").read_text(encoding="utf-8"))
SECTIONS = {"azure": "Azure", "aws": "AWS"}
# The reference's table of resources, and of variables with their defaults but for that of kubernetes_version.
RESOURCES = {
    "azurerm_resource_group": 1,
    "azurerm_virtual_network": 1,
    "azurerm_subnet": 4,  # one more for private endpoints
    "azurerm_kubernetes_cluster": 1,
    "azurerm_kubernetes_cluster_node_pool": 2,
    "azurerm_container_registry": 1,
    "azurerm_redis_cache": 1,
    "azurerm_key_vault": 1,
    "azurerm_log_analytics_workspace": 1,
    "azurerm_managed_disk": 1,
}
DEFAULTS: dict[str, Any] = {
    "environment": None,
    "location": "eastus2",
    "dr_location": "westus2",
    "kubernetes_version": "1.35",
    "bidding_vm_size": "Standard_D16s_v5",
    "bidding_node_count": 20,
    "bidding_min_count": 10,
    "bidding_max_count": 40,
    "redis_capacity": 2,
    "redis_shard_count": 3,
    "clickhouse_disk_size_gb": 500,
}


def section(name: str) -> str:
    return re.split(r"^## ", DOCS.split(f"\n## {SECTIONS[name]}\n")[1], flags=re.MULTILINE)[0]


def cell(row: str) -> set[str]:
    return set(re.findall(r"`([a-z0-9_]+)`", row.split("|")[1]))


def test_the_references_resources_are_there() -> None:
    found = [labels[0] for labels, _ in module("azure").blocks("resource")]
    assert {kind: found.count(kind) for kind in RESOURCES} == RESOURCES


def test_the_references_variables_have_its_defaults() -> None:
    variables = {labels[0]: body for labels, body in module("azure").blocks("variable")}
    assert {name: text(variables[name].get("default")) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("name", MODULES)
def test_each_variable_says_what_it_is_and_refuses_what_it_cannot_be(name: str) -> None:
    for (variable,), body in module(name).blocks("variable"):
        assert {"description", "type"} <= body.keys(), variable
        if body["type"] != "bool" and "${bool}" not in str(body["type"]):
            conditions = [each["condition"] for each in body["validation"]]
            assert all(f"var.{variable}" in condition for condition in conditions), variable
            assert all(
                text(each["error_message"]).endswith(".") or ":" in each["error_message"] for each in body["validation"]
            )


@pytest.mark.parametrize("name", MODULES)
def test_each_output_says_what_it_is_for_and_hides_keys(name: str) -> None:
    for (output,), body in module(name).blocks("output"):
        assert "description" in body, output
        secret = re.search(r"access_key|kube_config", str(body["value"]))
        assert bool(secret) == (body.get("sensitive") is True), output


@pytest.mark.parametrize("name", MODULES)
def test_the_page_lists_the_variables_and_outputs_that_there_are(name: str) -> None:
    variables, outputs = (
        {word for row in table.splitlines() if row.startswith("| `") for word in cell(row)}
        for table in section(name).split("| Variable |")[1].split("| Output |")
    )
    assert variables == module(name).named("variable")
    assert outputs == module(name).named("output")


@pytest.mark.parametrize("name", MODULES)
def test_the_page_says_each_default(name: str) -> None:
    for (variable,), body in module(name).blocks("variable"):
        default = text(body.get("default"))
        said = {"": "empty", "None": "none", "True": "true"}.get(str(default), default)
        (row,) = (r for r in section(name).splitlines() if r.startswith(f"| `{variable}` | "))
        words = [text(each) for each in said] if isinstance(said, list) else [said]
        assert all(str(word) in row.split("|")[2] for word in words), row


@pytest.mark.parametrize("name", MODULES)
def test_outputs_that_pages_and_manifests_read_are_there(name: str) -> None:
    place = str(MODULES[name].relative_to(ROOT))
    read = re.compile(rf"terraform -chdir={place} output -raw (\w+)")
    files = [
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("deploy/**/*.yaml"),
        *ROOT.glob("deploy/**/*.md"),
        *ROOT.glob("kuberay/**/*.yaml"),
    ]
    asked = {word for path in files for word in read.findall(path.read_text(encoding="utf-8"))}
    assert len(asked) >= 2
    assert asked <= module(name).named("output")


def test_networks_of_azure_lie_where_they_must() -> None:
    azure = module("azure")
    (network,) = (
        ip_network(text(n)) for n in azure.body("resource", "azurerm_virtual_network", "main")["address_space"]
    )
    subnets = {
        labels[1]: ip_network(text(body["address_prefixes"][0]))
        for labels, body in azure.blocks("resource")
        if labels[0] == "azurerm_subnet"
    }
    assert str(network) == "10.0.0.0/8"
    assert {name: str(subnet) for name, subnet in subnets.items() if name != "endpoints"} == {
        "aks": "10.240.0.0/16",
        "redis": "10.241.0.0/24",
        "clickhouse": "10.241.1.0/24",
    }
    values = list(subnets.values())
    assert all(subnet.subnet_of(network) for subnet in values)  # type: ignore[arg-type]
    assert not any(a.overlaps(b) for i, a in enumerate(values) for b in values[i + 1 :])
    local = {k: text(v) for _, body in azure.blocks("locals") for k, v in body.items()}
    pods, services = ip_network(local["pod_cidr"]), ip_network(local["service_cidr"])
    assert not pods.overlaps(network)
    assert not services.overlaps(network)
    assert not pods.overlaps(services)
    assert ip_address(local["dns_service_ip"]) in services


def test_labels_and_taints_are_those_of_the_manifests() -> None:
    label, value = NAMES["nodes"]["bidding"]["label"], NAMES["nodes"]["bidding"]["value"]
    pool = module("azure").body("resource", "azurerm_kubernetes_cluster_node_pool", "bidding")
    labels = {text(key): text(item) for key, item in pool["node_labels"].items()}
    assert labels[label] == value
    assert f'"{NAMES["nodes"]["bidding"]["taint"]}"' in str(pool["node_taints"])
    npu = NAMES["nodes"]["npu"]
    assert npu["label"] in labels
    assert f'"{npu["value"]}"' in str(module("azure").body("variable", "bidding_npu")["validation"])
    assert f'"{npu["resource"]}=present:NoSchedule"' in str(pool["node_taints"])
    assert f'"{label}" = "{value}", "{npu["label"]}" = var.bidding_npu' in module("aws").code
    assert re.search(rf'taints += {{ "{label}" = "{value}" }}', module("aws").code)
    assert "NO_SCHEDULE" in module("aws").code


def test_secrets_of_aws_are_those_that_manifests_ask_for() -> None:
    asked = set[str]()
    for path in [*ROOT.glob("kuberay/base/*.yaml"), *ROOT.glob("deploy/**/*.yaml")]:
        if "ExternalSecret" in (content := path.read_text(encoding="utf-8")):
            for found in yaml.safe_load_all(content):
                if found and found["kind"] == "ExternalSecret":
                    asked |= {each["remoteRef"]["key"] for each in found["spec"]["data"]}
    local = next(body["secrets"] for _, body in module("aws").blocks("locals") if "secrets" in body)
    made = set(re.findall(r'"([a-z-]+)"', local))
    assert made == asked


def test_costs_are_the_sum_of_the_prices_that_are_assumed() -> None:
    prices = re.findall(r"^\| (Azure|AWS) \| .*? \| (n|\d+) \| ([\d.]+) \|$", DOCS, re.MULTILINE)
    said = re.findall(r"^\| (\d+) \| ([\d,]+) \| ([\d,]+) \|$", DOCS, re.MULTILINE)
    assert [int(row[0]) for row in said] == [10, 20, 40]
    for nodes, *sums in said:
        for cloud, total in zip(("Azure", "AWS"), sums, strict=True):
            hourly = sum(float(nodes if many == "n" else many) * float(each) for c, many, each in prices if c == cloud)
            assert int(total.replace(",", "")) == round(730 * hourly)


@pytest.mark.parametrize("path", ["neuron-device-plugin.yaml", "external-secrets-aws.yaml"])
def test_manifests_of_aws_pass_kubernetes_own_schema(path: str) -> None:
    content = (ROOT / "deploy/aws" / path).read_text(encoding="utf-8")
    for item in yaml.safe_load_all(content):
        if "external-secrets.io" not in item["apiVersion"]:
            kubernetes_validate.validate(item, "1.37.0", strict=True)


def test_the_store_of_aws_passes_its_definition(shared: Path) -> None:
    from tests.support.kube_schemas import schemas

    items = list(yaml.safe_load_all((ROOT / "deploy/aws/external-secrets-aws.yaml").read_text(encoding="utf-8")))
    (store,) = (item for item in items if item["kind"] == "SecretStore")
    assert schemas(shared).causes(store) == []
    assert store["spec"]["provider"]["aws"]["auth"]["jwt"]["serviceAccountRef"]["name"] == items[0]["metadata"]["name"]


def test_the_device_plugin_runs_on_nodes_that_terraform_labels() -> None:
    items = list(yaml.safe_load_all((ROOT / "deploy/aws/neuron-device-plugin.yaml").read_text(encoding="utf-8")))
    (pod,) = (item["spec"]["template"]["spec"] for item in items if item["kind"] == "DaemonSet")
    ((label, value),) = pod["nodeSelector"].items()
    assert label == NAMES["nodes"]["npu"]["label"]
    assert f'"{value}"' in str(module("aws").body("variable", "bidding_npu")["validation"])
    image = NAMES["images"]["neuron-device-plugin"]
    assert pod["containers"][0]["image"] == f"{image['name']}:{image['tag']}"
