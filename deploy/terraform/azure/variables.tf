# The eleven of the infrastructure reference, with its defaults but for the version of Kubernetes.

variable "environment" {
  description = "What this is: dev, staging or prod. Part of every name."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment is dev, staging or prod."
  }
}

variable "location" {
  description = "Azure region. It must have three availability zones."
  type        = string
  default     = "eastus2"

  validation {
    condition     = can(regex("^[a-z]+[0-9]?$", var.location))
    error_message = "location is a region's short name, such as eastus2."
  }
}

variable "dr_location" {
  description = "Region for disaster recovery: images are replicated there."
  type        = string
  default     = "westus2"

  validation {
    condition     = can(regex("^[a-z]+[0-9]?$", var.dr_location)) && var.dr_location != var.location
    error_message = "dr_location is the short name of a region other than location."
  }
}

variable "kubernetes_version" {
  # The reference's 1.29 lost its support in 2025, and new clusters of it are refused outside long-term support.
  description = "Kubernetes of the cluster and of its nodes, as MINOR or MINOR.PATCH."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}(\\.[0-9]+)?$", var.kubernetes_version))
    error_message = "kubernetes_version is like 1.35 or 1.35.2; `az aks get-versions` lists those of a region."
  }
}

variable "bidding_vm_size" {
  description = "Size of bidding nodes. A bidder pod asks for 4 CPUs and 8 GiB, and one runs on a node."
  type        = string
  default     = "Standard_D16s_v5"

  validation {
    condition     = startswith(var.bidding_vm_size, "Standard_")
    error_message = "bidding_vm_size is a size of virtual machines, such as Standard_D16s_v5."
  }
}

variable "bidding_node_count" {
  description = "Bidding nodes to begin with; afterwards the autoscaler decides."
  type        = number
  default     = 20

  validation {
    condition     = var.bidding_node_count >= var.bidding_min_count && var.bidding_node_count <= var.bidding_max_count
    error_message = "bidding_node_count lies between bidding_min_count and bidding_max_count."
  }
}

variable "bidding_min_count" {
  description = "Fewest bidding nodes."
  type        = number
  default     = 10

  validation {
    condition     = var.bidding_min_count >= 1 && floor(var.bidding_min_count) == var.bidding_min_count
    error_message = "bidding_min_count is a whole number, 1 or more."
  }
}

variable "bidding_max_count" {
  description = "Most bidding nodes."
  type        = number
  default     = 40

  validation {
    condition     = var.bidding_max_count >= var.bidding_min_count && var.bidding_max_count <= 1000
    error_message = "bidding_max_count is at least bidding_min_count and at most 1000, the limit of a pool."
  }
}

variable "redis_capacity" {
  description = "Size of a shard as Azure Cache for Redis counts: P1 to P5, of 6, 13, 26, 53 and 120 GB."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2, 3, 4, 5], var.redis_capacity)
    error_message = "redis_capacity is 1, 2, 3, 4 or 5."
  }
}

variable "redis_shard_count" {
  description = "Shards of that size. Azure Managed Redis shards by itself: there the sum of them is what counts."
  type        = number
  default     = 3

  validation {
    condition     = var.redis_shard_count >= 1 && var.redis_shard_count <= 10 && floor(var.redis_shard_count) == var.redis_shard_count
    error_message = "redis_shard_count is a whole number from 1 to 10."
  }
}

variable "clickhouse_disk_size_gb" {
  description = "Size of the data disk of each ClickHouse replica. Its claim asks for 200 GiB at least, and takes the whole disk."
  type        = number
  default     = 500

  validation {
    condition     = var.clickhouse_disk_size_gb >= 200 && var.clickhouse_disk_size_gb <= 65536
    error_message = "clickhouse_disk_size_gb is 200 (what the claim of deploy/clickhouse asks for) to 65536."
  }
}

# What the reference leaves open, or where the world has moved on.

variable "subscription_suffix" {
  description = "What makes names unique that all of Azure shares (registry, vault, storage, Redis). Empty: six digits of a hash of subscription and environment."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9]{0,8}$", var.subscription_suffix))
    error_message = "subscription_suffix is up to 8 small letters and digits."
  }
}

variable "operator_cidrs" {
  description = "Public addresses of operators: from there the API server, the vault and the registry answer. None: they answer inside the network only."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "operator_cidrs are CIDR blocks, such as 203.0.113.0/28, and not the whole internet."
  }
}

variable "admin_group_object_ids" {
  description = "Groups of Entra ID whose members administer the cluster. Who applies this does so in any case."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.admin_group_object_ids : can(regex("^[0-9a-f-]{36}$", id))])
    error_message = "admin_group_object_ids are object ids, such as 00000000-0000-0000-0000-000000000000."
  }
}

variable "bidding_npu" {
  # The reference labels D16s_v5 as nodes with an NPU. They have none: a label that says so would start device plugins
  # without a device, and a taint would keep bidders away that score on the CPU.
  description = "NPU of bidding nodes: none, or amd-xdna where bidding_vm_size has one (then kuberay/components/xdna asks for it)."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "amd-xdna"], var.bidding_npu)
    error_message = "bidding_npu is none or amd-xdna."
  }
}

variable "clickhouse_vm_size" {
  description = "Size of ClickHouse nodes, with disks on NVMe."
  type        = string
  default     = "Standard_E8ds_v6"

  validation {
    condition     = startswith(var.clickhouse_vm_size, "Standard_")
    error_message = "clickhouse_vm_size is a size of virtual machines, such as Standard_E8ds_v6."
  }
}

variable "redis_engine" {
  # The reference's Azure Cache for Redis takes no new customers since 2026 and is to be retired.
  description = "managed: Azure Managed Redis. cache: the reference's azurerm_redis_cache, Premium. none: deploy/redis in the cluster."
  type        = string
  default     = "managed"

  validation {
    condition     = contains(["managed", "cache", "none"], var.redis_engine)
    error_message = "redis_engine is managed, cache or none."
  }
}

variable "key_vault_reader" {
  # The reference lets the kubelet's identity read the vault: then every pod of every node can.
  description = "Who reads secrets: workload, the identity of one service account; or kubelet, the reference's."
  type        = string
  default     = "workload"

  validation {
    condition     = contains(["workload", "kubelet"], var.key_vault_reader)
    error_message = "key_vault_reader is workload or kubelet."
  }
}

variable "dns_zone_name" {
  description = "Zone to make for the bidder's host, in which cert-manager proves that it is ours. Empty: none is made."
  type        = string
  default     = ""

  validation {
    condition     = var.dns_zone_name == "" || can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.dns_zone_name))
    error_message = "dns_zone_name is a domain, such as bid.example.com."
  }
}
