# The thirteen of the infrastructure reference, in its order. What they need besides: network.tf, identity.tf, storage.tf.

locals {
  name   = "campaign-express-${var.environment}"
  digest = substr(sha256("${data.azurerm_client_config.current.subscription_id} ${var.environment}"), 0, 6)
  suffix = var.subscription_suffix == "" ? local.digest : var.subscription_suffix
  zones  = ["1", "2", "3"]

  tags = {
    application = "campaign-express"
    environment = var.environment
    managed-by  = "terraform"
  }

  # Without addresses of operators nothing answers outside the network.
  private = length(var.operator_cidrs) == 0

  # Nodes lie inside 10.0.0.0/8, so addresses of pods and services lie outside.
  pod_cidr       = "192.168.0.0/16"
  service_cidr   = "172.16.0.0/16"
  dns_service_ip = "172.16.0.10"
}

resource "azurerm_resource_group" "main" {
  name     = local.name
  location = var.location
  tags     = local.tags
}

resource "azurerm_virtual_network" "main" {
  name                = local.name
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  address_space       = ["10.0.0.0/8"]
  tags                = local.tags
}

resource "azurerm_subnet" "aks" {
  name                 = "aks"
  resource_group_name  = azurerm_resource_group.main.name
  virtual_network_name = azurerm_virtual_network.main.name
  address_prefixes     = ["10.240.0.0/16"]
}

resource "azurerm_subnet" "redis" {
  name                            = "redis"
  resource_group_name             = azurerm_resource_group.main.name
  virtual_network_name            = azurerm_virtual_network.main.name
  address_prefixes                = ["10.241.0.0/24"]
  default_outbound_access_enabled = false
  # A private endpoint obeys the subnet's security group only so.
  private_endpoint_network_policies = "NetworkSecurityGroupEnabled"
}

resource "azurerm_subnet" "clickhouse" {
  name                 = "clickhouse"
  resource_group_name  = azurerm_resource_group.main.name
  virtual_network_name = azurerm_virtual_network.main.name
  address_prefixes     = ["10.241.1.0/24"]
}

#trivy:ignore:AZU-0066 the namespace of the bidder enforces Kubernetes' own pod security standards
#trivy:ignore:AZU-0067 disks are encrypted with keys of the platform
resource "azurerm_kubernetes_cluster" "main" {
  #checkov:skip=CKV_AZURE_116: the namespace of the bidder enforces Kubernetes' own pod security standards
  #checkov:skip=CKV_AZURE_117: disks are encrypted with keys of the platform; keys of one's own would need a vault before the cluster
  #checkov:skip=CKV_AZURE_172: no volume of the secrets store driver is used; external-secrets renews every hour
  #checkov:skip=CKV_AZURE_226: an ephemeral disk needs a local one of 128 GB, which D4s_v5 has not
  #checkov:skip=CKV_AZURE_227: encryption at the host must first be registered for the subscription (EncryptionAtHost)
  #checkov:skip=CKV_AZURE_232: brokers and monitoring run in this pool too, as the reference has no other
  name                      = local.name
  resource_group_name       = azurerm_resource_group.main.name
  location                  = azurerm_resource_group.main.location
  dns_prefix                = local.name
  kubernetes_version        = var.kubernetes_version
  sku_tier                  = "Standard"
  automatic_upgrade_channel = "patch"
  node_os_upgrade_channel   = "NodeImage"
  local_account_disabled    = true
  private_cluster_enabled   = local.private
  run_command_enabled       = local.private
  image_cleaner_enabled     = true
  oidc_issuer_enabled       = true
  workload_identity_enabled = true
  tags                      = local.tags

  image_cleaner_interval_hours = 168

  default_node_pool {
    name                        = "system"
    temporary_name_for_rotation = "systemtmp"
    vm_size                     = "Standard_D4s_v5"
    orchestrator_version        = var.kubernetes_version
    vnet_subnet_id              = azurerm_subnet.aks.id
    zones                       = local.zones
    auto_scaling_enabled        = true
    min_count                   = 3
    # Six nodes of Redis, of 8 GiB each, take one of these each where they run in the cluster.
    max_count   = var.redis_engine == "none" ? 12 : 6
    max_pods    = 60
    os_sku      = "AzureLinux"
    node_labels = { "campaign-express.io/pool" = "system" }
    tags        = local.tags

    upgrade_settings {
      max_surge = "33%"
    }
  }

  node_provisioning_profile {
    mode = "Manual"
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.cluster.id]
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_policy      = "cilium"
    network_data_plane  = "cilium"
    load_balancer_sku   = "standard"
    outbound_type       = "loadBalancer"
    pod_cidr            = local.pod_cidr
    service_cidr        = local.service_cidr
    dns_service_ip      = local.dns_service_ip
  }

  dynamic "api_server_access_profile" {
    for_each = local.private ? [] : [var.operator_cidrs]

    content {
      authorized_ip_ranges = api_server_access_profile.value
    }
  }

  azure_active_directory_role_based_access_control {
    azure_rbac_enabled     = true
    admin_group_object_ids = var.admin_group_object_ids
  }

  auto_scaler_profile {
    balance_similar_node_groups   = true
    skip_nodes_with_local_storage = false
    # Ray gives a node back after five idle minutes; it is kept five more.
    scale_down_unneeded          = "5m"
    max_graceful_termination_sec = "120"
  }

  oms_agent {
    log_analytics_workspace_id      = azurerm_log_analytics_workspace.main.id
    msi_auth_for_monitoring_enabled = true
  }

  maintenance_window_auto_upgrade {
    frequency   = "Weekly"
    interval    = 1
    duration    = 4
    day_of_week = "Sunday"
    start_time  = "04:00"
    utc_offset  = "+00:00"
  }

  maintenance_window_node_os {
    frequency   = "Weekly"
    interval    = 1
    duration    = 6
    day_of_week = "Tuesday"
    start_time  = "04:00"
    utc_offset  = "+00:00"
  }

  depends_on = [azurerm_role_assignment.cluster_network]
}

resource "azurerm_kubernetes_cluster_node_pool" "bidding" {
  #checkov:skip=CKV_AZURE_227: see the cluster
  name                        = "bidding"
  temporary_name_for_rotation = "biddingtmp"
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.main.id
  vm_size                     = var.bidding_vm_size
  orchestrator_version        = var.kubernetes_version
  vnet_subnet_id              = azurerm_subnet.aks.id
  zones                       = local.zones
  auto_scaling_enabled        = true
  node_count                  = var.bidding_node_count
  min_count                   = var.bidding_min_count
  max_count                   = var.bidding_max_count
  max_pods                    = 50
  os_sku                      = "AzureLinux"
  tags                        = local.tags

  node_labels = {
    "campaign-express.io/pool" = "bidding"
    "campaign-express.io/npu"  = var.bidding_npu
  }

  node_taints = concat(
    ["campaign-express.io/pool=bidding:NoSchedule"],
    var.bidding_npu == "amd-xdna" ? ["amd.com/xdna=present:NoSchedule"] : [],
  )

  upgrade_settings {
    max_surge = "10%"
    # A bidder's pod takes 90 seconds to leave.
    drain_timeout_in_minutes = 30
  }

  lifecycle {
    # The autoscaler's own.
    ignore_changes = [node_count]
  }
}

resource "azurerm_kubernetes_cluster_node_pool" "clickhouse" {
  #checkov:skip=CKV_AZURE_227: see the cluster
  name                        = "clickhouse"
  temporary_name_for_rotation = "clickhtmp"
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.main.id
  vm_size                     = var.clickhouse_vm_size
  orchestrator_version        = var.kubernetes_version
  vnet_subnet_id              = azurerm_subnet.clickhouse.id
  zones                       = slice(local.zones, 0, 2)
  node_count                  = 2
  max_pods                    = 50
  os_sku                      = "AzureLinux"
  os_disk_size_gb             = 500
  os_disk_type                = "Managed"
  tags                        = local.tags

  # No taint: Keeper and monitoring may run here beside it.
  node_labels = {
    "campaign-express.io/pool" = "clickhouse"
    "campaign-express.io/disk" = "nvme"
  }

  upgrade_settings {
    max_surge = "1"
  }
}

resource "azurerm_container_registry" "main" {
  #checkov:skip=CKV_AZURE_139: closed to the public unless operator_cidrs names who may push, see network_rule_set
  #checkov:skip=CKV_AZURE_164: signatures are the business of who builds; content trust of registries is no longer offered
  #checkov:skip=CKV_AZURE_166: with quarantine nothing can be pulled until a scanner of one's own has released it
  name                          = "campaignexpress${var.environment}${local.suffix}"
  resource_group_name           = azurerm_resource_group.main.name
  location                      = azurerm_resource_group.main.location
  sku                           = "Premium"
  admin_enabled                 = false
  anonymous_pull_enabled        = false
  data_endpoint_enabled         = true
  zone_redundancy_enabled       = true
  retention_policy_in_days      = 30
  public_network_access_enabled = !local.private
  network_rule_bypass_option    = "AzureServices"
  tags                          = local.tags

  georeplications {
    location                        = var.dr_location
    zone_redundancy_enabled         = true
    global_endpoint_routing_enabled = true
    tags                            = local.tags
  }

  dynamic "network_rule_set" {
    for_each = local.private ? [] : [var.operator_cidrs]

    content {
      default_action = "Deny"

      dynamic "ip_rule" {
        for_each = network_rule_set.value

        content {
          action   = "Allow"
          ip_range = ip_rule.value
        }
      }
    }
  }
}

locals {
  # GB of a shard P1 to P5, and of the sizes of Azure Managed Redis.
  redis_shard_gb = { 1 = 6, 2 = 13, 3 = 26, 4 = 53, 5 = 120 }
  redis_sizes_gb = [6, 12, 24, 60, 120, 150, 250, 350, 500, 700, 1000]
  redis_names    = ["B5", "B10", "B20", "B50", "B100", "B150", "B250", "B350", "B500", "B700", "B1000"]
  redis_gb       = local.redis_shard_gb[var.redis_capacity] * var.redis_shard_count
  # The smallest that holds all shards together; the largest where none does.
  redis_fitting = [for i, size in local.redis_sizes_gb : local.redis_names[i] if size >= local.redis_gb]
  redis_sku     = "Balanced_${try(local.redis_fitting[0], "B1000")}"
}

# Holds money: it must not forget (no eviction, an append-only file), and is a cluster to its clients.
resource "azurerm_managed_redis" "main" {
  count = var.redis_engine == "managed" ? 1 : 0

  name                      = "${local.name}-${local.suffix}"
  resource_group_name       = azurerm_resource_group.main.name
  location                  = azurerm_resource_group.main.location
  sku_name                  = local.redis_sku
  high_availability_enabled = true
  public_network_access     = "Disabled"
  tags                      = local.tags

  default_database {
    access_keys_authentication_enabled            = true
    client_protocol                               = "Encrypted"
    clustering_policy                             = "OSSCluster"
    eviction_policy                               = "NoEviction"
    persistence_append_only_file_backup_frequency = "1s"
  }
}

resource "azurerm_redis_cache" "main" {
  count = var.redis_engine == "cache" ? 1 : 0

  name                          = "${local.name}-${local.suffix}"
  resource_group_name           = azurerm_resource_group.main.name
  location                      = azurerm_resource_group.main.location
  sku_name                      = "Premium"
  family                        = "P"
  capacity                      = var.redis_capacity
  shard_count                   = var.redis_shard_count
  replicas_per_primary          = 1
  zones                         = local.zones
  redis_version                 = "6"
  minimum_tls_version           = "1.2"
  non_ssl_port_enabled          = false
  public_network_access_enabled = false
  tags                          = local.tags

  redis_configuration {
    # Like deploy/redis: nothing in it may be forgotten. docs/decisions/0014-redis-evicts-nothing.md
    maxmemory_policy = "noeviction"
  }

  patch_schedule {
    day_of_week    = "Sunday"
    start_hour_utc = 4
  }
}

resource "azurerm_key_vault" "main" {
  #checkov:skip=CKV_AZURE_189: answers inside the network, and to operator_cidrs if there are any, see network_acls
  name                          = "ce-${var.environment}-${local.suffix}"
  resource_group_name           = azurerm_resource_group.main.name
  location                      = azurerm_resource_group.main.location
  tenant_id                     = data.azurerm_client_config.current.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  soft_delete_retention_days    = 90
  purge_protection_enabled      = true
  public_network_access_enabled = !local.private
  tags                          = local.tags

  network_acls {
    bypass         = "AzureServices"
    default_action = "Deny"
    ip_rules       = var.operator_cidrs
  }
}

resource "azurerm_log_analytics_workspace" "main" {
  name                = local.name
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  sku                 = "PerGB2018"
  retention_in_days   = 30
  tags                = local.tags
}

# A disk for each ClickHouse replica, each in the zone of one of its nodes. The output clickhouse_volumes gives them to the
# claims of deploy/clickhouse.
resource "azurerm_managed_disk" "clickhouse" {
  #checkov:skip=CKV_AZURE_93: encrypted with keys of the platform, see the cluster
  count = 2

  name                          = "${local.name}-clickhouse-${count.index}"
  resource_group_name           = azurerm_resource_group.main.name
  location                      = azurerm_resource_group.main.location
  zone                          = local.zones[count.index]
  storage_account_type          = "PremiumV2_LRS"
  create_option                 = "Empty"
  disk_size_gb                  = var.clickhouse_disk_size_gb
  disk_iops_read_write          = 6000
  disk_mbps_read_write          = 400
  public_network_access_enabled = false
  network_access_policy         = "DenyAll"
  tags                          = local.tags

  lifecycle {
    prevent_destroy = true
  }
}
