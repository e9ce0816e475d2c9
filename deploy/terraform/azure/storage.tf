# One account: the share that models are published on, and the container that ClickHouse writes its backups into.

#trivy:ignore:AZU-0057 reads of models and backups are seen where they are read
#trivy:ignore:AZU-0060 encrypted with keys of the platform, see the cluster
resource "azurerm_storage_account" "main" {
  #checkov:skip=CKV2_AZURE_1: encrypted with keys of the platform, see the cluster
  #checkov:skip=CKV2_AZURE_40: Azure Files is mounted with the account's key, and so are ClickHouse's backups written
  #checkov:skip=CKV2_AZURE_41: no signed URLs are given out
  #checkov:skip=CKV_AZURE_33: there are no queues
  name                            = "campaign${var.environment}${local.suffix}"
  resource_group_name             = azurerm_resource_group.main.name
  location                        = azurerm_resource_group.main.location
  account_kind                    = "StorageV2"
  account_tier                    = "Standard"
  account_replication_type        = "GZRS"
  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  allow_nested_items_to_be_public = false
  default_to_oauth_authentication = true
  public_network_access_enabled   = false
  local_user_enabled              = false

  infrastructure_encryption_enabled = true

  tags = local.tags

  network_rules {
    default_action = "Deny"
    bypass         = ["AzureServices"]
  }

  blob_properties {
    delete_retention_policy {
      days = 14
    }

    container_delete_retention_policy {
      days = 14
    }
  }

  share_properties {
    retention_policy {
      days = 14
    }
  }
}

resource "azurerm_storage_share" "models" {
  name               = "models"
  storage_account_id = azurerm_storage_account.main.id
  quota              = 10
}

resource "azurerm_storage_container" "backups" {
  #checkov:skip=CKV2_AZURE_21: reads of backups are seen in ClickHouse's own log
  name                  = "clickhouse-backups"
  storage_account_id    = azurerm_storage_account.main.id
  container_access_type = "private"
}

# A whole backup is needed by the six after it: five weeks keep four whole weeks.
resource "azurerm_storage_management_policy" "backups" {
  storage_account_id = azurerm_storage_account.main.id

  rule {
    name    = "old-backups"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${azurerm_storage_container.backups.name}/"]
    }

    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = 35
      }
    }
  }
}
