# What comes next needs these: docs/terraform.md says which goes where.

output "kubeconfig" {
  description = "For ~/.kube/config. It holds no password: kubelogin asks Entra ID."
  value       = azurerm_kubernetes_cluster.main.kube_config_raw
  sensitive   = true
}

output "resource_group_name" {
  description = "Group of everything here: dns-resource-group and models-resource-group of overlays/aks."
  value       = azurerm_resource_group.main.name
}

output "cluster_name" {
  description = "For `az aks get-credentials` and `az aks command invoke`."
  value       = azurerm_kubernetes_cluster.main.name
}

output "dns_service_ip" {
  description = "Address of the cluster's DNS: where HAProxy asks for bidders."
  value       = local.dns_service_ip
}

output "acr_name" {
  description = "For `az acr login`."
  value       = azurerm_container_registry.main.name
}

output "acr_login_server" {
  description = "Registry to push the image to."
  value       = azurerm_container_registry.main.login_server
}

output "key_vault_uri" {
  description = "vault-url of overlays/aks."
  value       = azurerm_key_vault.main.vault_uri
}

output "key_vault_name" {
  description = "For `az keyvault secret set`."
  value       = azurerm_key_vault.main.name
}

output "identity_client_id" {
  description = "identity-client-id of overlays/aks: who reads the vault and writes the zone."
  value       = azurerm_user_assigned_identity.workload.client_id
}

output "tenant_id" {
  description = "tenant-id of overlays/aks."
  value       = data.azurerm_client_config.current.tenant_id
}

output "subscription_id" {
  description = "subscription-id of overlays/aks."
  value       = data.azurerm_client_config.current.subscription_id
}

output "dns_name_servers" {
  description = "Where the parent zone must delegate dns_zone_name to; none without one."
  value       = flatten(azurerm_dns_zone.bidder[*].name_servers)
}

output "models_storage_account" {
  description = "models-storage-account of overlays/aks."
  value       = azurerm_storage_account.main.name
}

output "models_share" {
  description = "models-share of overlays/aks."
  value       = azurerm_storage_share.models.name
}

output "redis_url" {
  description = "The secret redis-url. Null where Redis runs in the cluster."
  value = one(concat(
    [for redis in azurerm_managed_redis.main : "rediss+cluster://:${urlencode(redis.default_database[0].primary_access_key)}@${redis.hostname}:${redis.default_database[0].port}"],
    [for redis in azurerm_redis_cache.main : "rediss+cluster://:${urlencode(redis.primary_access_key)}@${redis.hostname}:${redis.ssl_port}"],
  ))
  sensitive = true
}

output "clickhouse_backup_url" {
  description = "The secret clickhouse-backup-url; clickhouse-backup-key-id is models_storage_account."
  value       = trimsuffix(azurerm_storage_account.main.primary_blob_endpoint, "/")
}

output "clickhouse_backup_key" {
  description = "The secret clickhouse-backup-key."
  value       = azurerm_storage_account.main.primary_access_key
  sensitive   = true
}

output "clickhouse_volumes" {
  description = "Volumes of the disks, for `kubectl apply -f -` before deploy/clickhouse-azure: each waits for the claim of one replica."
  value = join("---\n", [
    for index, disk in azurerm_managed_disk.clickhouse : yamlencode({
      apiVersion = "v1"
      kind       = "PersistentVolume"
      metadata   = { name = "clickhouse-${index}" }
      spec = {
        capacity                      = { storage = "${disk.disk_size_gb}Gi" }
        accessModes                   = ["ReadWriteOnce"]
        persistentVolumeReclaimPolicy = "Retain"
        storageClassName              = "clickhouse-data"
        claimRef                      = { namespace = "campaign-express", name = "data-clickhouse-${index}" }
        csi = {
          driver           = "disk.csi.azure.com"
          volumeHandle     = disk.id
          volumeAttributes = { fsType = "ext4", cachingMode = "None" }
        }
        nodeAffinity = {
          required = {
            nodeSelectorTerms = [{
              matchExpressions = [{
                key      = "topology.disk.csi.azure.com/zone"
                operator = "In"
                values   = ["${disk.location}-${disk.zone}"]
              }]
            }]
          }
        }
      }
    })
  ])
}
