variable "environment" {
  description = "What this is: dev, staging or prod. Part of every name."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment is dev, staging or prod."
  }
}

variable "region" {
  description = "AWS region. It must have three availability zones."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is like us-east-1."
  }
}

variable "dr_region" {
  description = "Region for disaster recovery: images are replicated there."
  type        = string
  default     = "us-west-2"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.dr_region)) && var.dr_region != var.region
    error_message = "dr_region is a region other than region."
  }
}

variable "kubernetes_version" {
  # The reference's 1.29 lost its standard support in 2025.
  description = "Kubernetes of the cluster and of its nodes."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version is like 1.35."
  }
}

variable "operator_cidrs" {
  description = "Public addresses of operators: from there the API server answers. None: it answers inside the network only."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "operator_cidrs are CIDR blocks, such as 203.0.113.0/28, and not the whole internet."
  }
}

variable "admin_role_arns" {
  description = "IAM roles that administer the cluster. Who applies this does so in any case."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.admin_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", arn))])
    error_message = "admin_role_arns are ARNs of IAM roles."
  }
}

variable "deletion_protection" {
  description = "Whether the cluster refuses to be destroyed: set it to false and apply, before `terraform destroy`."
  type        = bool
  default     = true
}

variable "vpc_cidr" {
  description = "Addresses of the network, a /16."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && endswith(var.vpc_cidr, "/16") && !startswith(var.vpc_cidr, "172.20.")
    error_message = "vpc_cidr is a /16 outside 172.20.0.0/16, which holds the addresses of services."
  }
}

variable "bidding_npu" {
  # The product scores on the CPU or on AMD XDNA, which no instance of AWS has.
  description = "none; or aws-neuron for nodes with Inferentia or Trainium, whose devices neuron-device-plugin.yaml offers to software of your own."
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "aws-neuron"], var.bidding_npu)
    error_message = "bidding_npu is none or aws-neuron."
  }
}

variable "bidding_instance_types" {
  description = "Instance types of bidding nodes without NPU. A bidder pod asks for 4 CPUs and 8 GiB, and one runs on a node."
  type        = list(string)
  default     = ["m7i.4xlarge", "m6i.4xlarge"]

  validation {
    condition     = length(var.bidding_instance_types) > 0
    error_message = "bidding_instance_types names at least one type."
  }
}

variable "neuron_instance_types" {
  description = "Instance types of bidding nodes where bidding_npu is aws-neuron."
  type        = list(string)
  default     = ["inf2.8xlarge"]

  validation {
    condition     = alltrue([for type in var.neuron_instance_types : can(regex("^(inf|trn)", type))]) && length(var.neuron_instance_types) > 0
    error_message = "neuron_instance_types are of the families inf and trn."
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
    condition     = var.bidding_max_count >= var.bidding_min_count && var.bidding_max_count <= 450
    error_message = "bidding_max_count is at least bidding_min_count and at most 450, the quota of a node group."
  }
}

variable "clickhouse_instance_type" {
  description = "Instance type of the two ClickHouse nodes."
  type        = string
  default     = "r7i.2xlarge"

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9]+$", var.clickhouse_instance_type))
    error_message = "clickhouse_instance_type is like r7i.2xlarge."
  }
}

variable "redis_engine" {
  description = "valkey or redis: what ElastiCache runs. none: deploy/redis in the cluster."
  type        = string
  default     = "valkey"

  validation {
    condition     = contains(["valkey", "redis", "none"], var.redis_engine)
    error_message = "redis_engine is valkey, redis or none."
  }
}

variable "redis_node_type" {
  description = "Size of each node of ElastiCache: 8 GiB at least, as in deploy/redis."
  type        = string
  default     = "cache.r7g.large"

  validation {
    condition     = startswith(var.redis_node_type, "cache.")
    error_message = "redis_node_type is like cache.r7g.large."
  }
}

variable "redis_shard_count" {
  description = "Shards, each with one replica in another zone."
  type        = number
  default     = 3

  validation {
    condition     = var.redis_shard_count >= 1 && var.redis_shard_count <= 250 && floor(var.redis_shard_count) == var.redis_shard_count
    error_message = "redis_shard_count is a whole number from 1 to 250."
  }
}

variable "redis_auth_token" {
  description = "Password of ElastiCache, 16 to 128 letters, digits, - and _. It is written, and stands in no state or plan."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = var.redis_engine == "none" || can(regex("^[A-Za-z0-9_-]{16,128}$", var.redis_auth_token))
    error_message = "redis_auth_token is 16 to 128 letters, digits, - and _: TF_VAR_redis_auth_token=$(openssl rand -hex 24)."
  }
}

variable "redis_auth_token_version" {
  description = "Raised by one whenever redis_auth_token is another."
  type        = number
  default     = 1

  validation {
    condition     = var.redis_auth_token_version >= 1
    error_message = "redis_auth_token_version is 1 or more."
  }
}

variable "dns_zone_name" {
  description = "Zone to make for the bidder's host, in which cert-manager proves that it is ours. Empty: none is made, and hosted_zone_id names yours."
  type        = string
  default     = ""

  validation {
    condition     = var.dns_zone_name == "" || can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.dns_zone_name))
    error_message = "dns_zone_name is a domain, such as bid.example.com."
  }
}

variable "hosted_zone_id" {
  description = "A zone of Route 53 that is there already. Empty where dns_zone_name makes one."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(Z[A-Z0-9]+)?$", var.hosted_zone_id)) && (var.hosted_zone_id == "" || var.dns_zone_name == "")
    error_message = "hosted_zone_id begins with Z, and excludes dns_zone_name."
  }
}
