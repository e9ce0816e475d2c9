# What keeps the stores private: endpoints inside the network, names that lead to them, and who may knock.

resource "azurerm_subnet" "endpoints" {
  name                              = "endpoints"
  resource_group_name               = azurerm_resource_group.main.name
  virtual_network_name              = azurerm_virtual_network.main.name
  address_prefixes                  = ["10.241.2.0/24"]
  default_outbound_access_enabled   = false
  private_endpoint_network_policies = "NetworkSecurityGroupEnabled"
}

resource "azurerm_network_security_group" "stores" {
  name                = "${local.name}-stores"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags

  # Pods reach what is outside their overlay from their node's address.
  security_rule {
    name                    = "nodes"
    priority                = 100
    direction               = "Inbound"
    access                  = "Allow"
    protocol                = "Tcp"
    source_address_prefixes = concat(azurerm_subnet.aks.address_prefixes, azurerm_subnet.clickhouse.address_prefixes)
    source_port_range       = "*"
    # TLS of vault, registry and blobs; SMB; Managed Redis and its shards; Azure Cache for Redis and its shards.
    destination_port_ranges    = ["443", "445", "10000", "8500-8599", "6380", "13000-15999"]
    destination_address_prefix = "*"
  }

  security_rule {
    name                       = "nobody-else"
    priority                   = 4096
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "*"
    source_port_range          = "*"
    destination_port_range     = "*"
    destination_address_prefix = "*"
  }
}

resource "azurerm_subnet_network_security_group_association" "redis" {
  subnet_id                 = azurerm_subnet.redis.id
  network_security_group_id = azurerm_network_security_group.stores.id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  subnet_id                 = azurerm_subnet.endpoints.id
  network_security_group_id = azurerm_network_security_group.stores.id
}

locals {
  endpoints = merge(
    {
      vault    = { of = azurerm_key_vault.main.id, part = "vault", zone = "privatelink.vaultcore.azure.net", subnet = azurerm_subnet.endpoints.id }
      registry = { of = azurerm_container_registry.main.id, part = "registry", zone = "privatelink.azurecr.io", subnet = azurerm_subnet.endpoints.id }
      blob     = { of = azurerm_storage_account.main.id, part = "blob", zone = "privatelink.blob.core.windows.net", subnet = azurerm_subnet.endpoints.id }
      file     = { of = azurerm_storage_account.main.id, part = "file", zone = "privatelink.file.core.windows.net", subnet = azurerm_subnet.endpoints.id }
    },
    {
      for redis in azurerm_managed_redis.main :
      "redis" => { of = redis.id, part = "redisEnterprise", zone = "privatelink.redis.azure.net", subnet = azurerm_subnet.redis.id }
    },
    {
      for redis in azurerm_redis_cache.main :
      "redis" => { of = redis.id, part = "redisCache", zone = "privatelink.redis.cache.windows.net", subnet = azurerm_subnet.redis.id }
    },
  )
}

resource "azurerm_private_dns_zone" "endpoint" {
  for_each = local.endpoints

  name                = each.value.zone
  resource_group_name = azurerm_resource_group.main.name
  tags                = local.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "endpoint" {
  for_each = local.endpoints

  name                = each.key
  private_dns_zone_id = azurerm_private_dns_zone.endpoint[each.key].id
  virtual_network_id  = azurerm_virtual_network.main.id
  tags                = local.tags
}

resource "azurerm_private_endpoint" "endpoint" {
  for_each = local.endpoints

  name                = "${local.name}-${each.key}"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  subnet_id           = each.value.subnet
  tags                = local.tags

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.of
    subresource_names              = [each.value.part]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [azurerm_private_dns_zone.endpoint[each.key].id]
  }
}

resource "azurerm_dns_zone" "bidder" {
  count = var.dns_zone_name == "" ? 0 : 1

  name                = var.dns_zone_name
  resource_group_name = azurerm_resource_group.main.name
  tags                = local.tags
}

resource "azurerm_monitor_diagnostic_setting" "cluster" {
  name                       = "control-plane"
  target_resource_id         = azurerm_kubernetes_cluster.main.id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  enabled_log {
    category = "kube-audit-admin"
  }

  enabled_log {
    category = "cluster-autoscaler"
  }
}

resource "azurerm_monitor_diagnostic_setting" "vault" {
  name                       = "audit"
  target_resource_id         = azurerm_key_vault.main.id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id

  enabled_log {
    category = "AuditEvent"
  }
}
