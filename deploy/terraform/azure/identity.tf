# Who may do what. Pods are identities of their own; a node's identity pulls images, and no more.

resource "azurerm_user_assigned_identity" "cluster" {
  name                = "${local.name}-cluster"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
}

# Load balancers and disks of the cluster.
resource "azurerm_role_assignment" "cluster_network" {
  scope                = azurerm_virtual_network.main.id
  role_definition_name = "Network Contributor"
  principal_id         = azurerm_user_assigned_identity.cluster.principal_id
}

resource "azurerm_role_assignment" "cluster_disks" {
  count = length(azurerm_managed_disk.clickhouse)

  scope                = azurerm_managed_disk.clickhouse[count.index].id
  role_definition_name = "Contributor"
  principal_id         = azurerm_user_assigned_identity.cluster.principal_id
}

# The driver of Azure Files asks for the account's key to mount the share of models: on a node as the kubelet.
resource "azurerm_role_assignment" "models_key" {
  for_each = {
    cluster = azurerm_user_assigned_identity.cluster.principal_id
    kubelet = azurerm_kubernetes_cluster.main.kubelet_identity[0].object_id
  }

  scope                = azurerm_storage_account.main.id
  role_definition_name = "Storage Account Key Operator Service Role"
  principal_id         = each.value
}

resource "azurerm_role_assignment" "pull" {
  scope                = azurerm_container_registry.main.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_kubernetes_cluster.main.kubelet_identity[0].object_id
}

# One identity for what overlays/aks/settings.yaml calls identity-client-id: it reads the vault and writes the zone.
resource "azurerm_user_assigned_identity" "workload" {
  name                = "${local.name}-workload"
  resource_group_name = azurerm_resource_group.main.name
  location            = azurerm_resource_group.main.location
  tags                = local.tags
}

resource "azurerm_federated_identity_credential" "workload" {
  for_each = {
    secrets      = "system:serviceaccount:campaign-express:campaign-express-secrets"
    cert-manager = "system:serviceaccount:cert-manager:cert-manager"
  }

  name                      = each.key
  user_assigned_identity_id = azurerm_user_assigned_identity.workload.id
  issuer                    = azurerm_kubernetes_cluster.main.oidc_issuer_url
  audience                  = ["api://AzureADTokenExchange"]
  subject                   = each.value
}

resource "azurerm_role_assignment" "vault_reader" {
  scope                = azurerm_key_vault.main.id
  role_definition_name = "Key Vault Secrets User"
  principal_id = (
    var.key_vault_reader == "workload"
    ? azurerm_user_assigned_identity.workload.principal_id
    : azurerm_kubernetes_cluster.main.kubelet_identity[0].object_id
  )
}

resource "azurerm_role_assignment" "zone_writer" {
  count = length(azurerm_dns_zone.bidder)

  scope                = azurerm_dns_zone.bidder[count.index].id
  role_definition_name = "DNS Zone Contributor"
  principal_id         = azurerm_user_assigned_identity.workload.principal_id
}

# Who applies this writes secrets into the vault and administers the cluster.
resource "azurerm_role_assignment" "operator_vault" {
  scope                = azurerm_key_vault.main.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = data.azurerm_client_config.current.object_id
}

resource "azurerm_role_assignment" "operator_cluster" {
  scope                = azurerm_kubernetes_cluster.main.id
  role_definition_name = "Azure Kubernetes Service RBAC Cluster Admin"
  principal_id         = data.azurerm_client_config.current.object_id
}
