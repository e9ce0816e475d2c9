"""Terraform against its providers' schemas: arguments are known, required ones are there, what is named is declared."""

from __future__ import annotations

import pytest

from tests.support.terraform import MODULES, PROVIDER, changed, module, problems, schema, text

# Module, text, what is put in its place, and what must be found then.
BREAKS = [
    ("azure", "rbac_authorization_enabled ", "enable_rbac ", "no argument or block enable_rbac"),
    ("azure", "  rbac_authorization_enabled    = true\n", "", "rbac_authorization_enabled is required"),
    ("azure", "clustering_policy ", "cluster_policy ", "default_database: no argument or block cluster_policy"),
    (
        "azure",
        '    mode = "Manual"\n',
        '    modes = "Manual"\n',
        "node_provisioning_profile: no argument or block modes",
    ),
    ("azure", '    network_plugin      = "azure"\n', "", "network_profile: network_plugin is required"),
    ("azure", '"azurerm_managed_redis"', '"azurerm_managed_radish"', "no such resource in azurerm 5."),
    ("azure", "kubelet_identity[0].object_id", "kubelet_identity[0].objekt_id", "no attribute objekt_id"),
    ("azure", "redis.default_database[0].port", "redis.default_database[0].gate", "no attribute gate"),
    (
        "azure",
        "azurerm_key_vault.main.vault_uri",
        "azurerm_key_vault.my.vault_uri",
        "azurerm_key_vault.my is declared nowhere",
    ),
    ("azure", "var.dr_location\n", "var.dr_region\n", "var.dr_region is declared nowhere"),
    ("azure", "var.dr_location\n", "var.location\n", "var.dr_location is used nowhere"),
    ("azure", "    recover_soft_deleted_key_vaults", "    recover_vaults", "no argument or block recover_vaults"),
    (
        "azure",
        "  ip_range = ip_rule.value",
        "  range = ip_rule.value",
        "network_rule_set.ip_rule: no argument or block range",
    ),
    ("aws", "    desired_size = each.value.desired\n", "", "scaling_config: desired_size is required"),
    ("aws", 'data "aws_partition" "current"', 'data "aws_partitions" "current"', "no such data in aws 6."),
    ("aws", "identity[0].oidc[0].issuer", "identity[0].oidc[0].url", "no attribute url"),
    ("aws", "      key    = taint.key\n", "      keys   = taint.key\n", "taint: no argument or block keys"),
]


@pytest.mark.parametrize("name", MODULES)
def test_modules_use_what_their_providers_have(name: str) -> None:
    assert problems(module(name)) == []


@pytest.mark.parametrize(("name", "before", "after", "found"), BREAKS)
def test_what_is_broken_is_found(name: str, before: str, after: str, found: str) -> None:
    broken = problems(changed(name, before, after))
    assert any(found in problem for problem in broken), broken


@pytest.mark.parametrize("name", MODULES)
def test_the_schema_is_of_a_version_that_the_module_allows(name: str) -> None:
    ((_, body),) = module(name).blocks("terraform")
    wanted = text(body["required_providers"][0][PROVIDER[name]]["version"])
    version = schema(name)["version"]
    assert wanted.startswith("~> ")
    major, minor = wanted.removeprefix("~> ").split(".")
    assert version.split(".")[:2] == [major, minor]
