# The cluster on AWS: network, EKS and its nodes. Registry, Redis, secrets, models and backups: stores.tf. Roles: iam.tf.

locals {
  name  = "campaign-express-${var.environment}"
  zones = slice(data.aws_availability_zones.available.names, 0, 3)

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  tags = {
    application = "campaign-express"
    environment = var.environment
    managed-by  = "terraform"
  }

  service_cidr = "172.20.0.0/16"
  redis        = var.redis_engine != "none"
}

module "vpc" {
  #checkov:skip=CKV_TF_1: a release of the registry, pinned by its number; the registry's module has no commit to name
  source  = "terraform-aws-modules/vpc/aws"
  version = "6.5.1"

  name             = local.name
  cidr             = var.vpc_cidr
  azs              = local.zones
  private_subnets  = [for index in range(3) : cidrsubnet(var.vpc_cidr, 3, index)]
  public_subnets   = [for index in range(3) : cidrsubnet(var.vpc_cidr, 8, 240 + index)]
  database_subnets = [for index in range(3) : cidrsubnet(var.vpc_cidr, 8, 244 + index)]

  # Redis needs a group of subnets of ElastiCache's kind, and makes it itself.
  create_database_subnet_group = false

  # A zone that is lost takes its own way out along, and no other's.
  enable_nat_gateway     = true
  one_nat_gateway_per_az = true

  public_subnet_tags  = { "kubernetes.io/role/elb" = "1" }
  private_subnet_tags = { "kubernetes.io/role/internal-elb" = "1" }
}

resource "aws_flow_log" "vpc" {
  vpc_id                   = module.vpc.vpc_id
  traffic_type             = "REJECT"
  log_destination          = aws_cloudwatch_log_group.flow.arn
  iam_role_arn             = aws_iam_role.flow.arn
  max_aggregation_interval = 600
}

resource "aws_cloudwatch_log_group" "flow" {
  #checkov:skip=CKV_AWS_338: thirty days, as the reference keeps logs
  name              = "/campaign-express/${var.environment}/flow"
  retention_in_days = 30
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_cloudwatch_log_group" "cluster" {
  #checkov:skip=CKV_AWS_338: thirty days, as the reference keeps logs
  name              = "/aws/eks/${local.name}/cluster"
  retention_in_days = 30
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_eks_cluster" "main" {
  name                          = local.name
  role_arn                      = aws_iam_role.cluster.arn
  version                       = var.kubernetes_version
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false
  deletion_protection           = var.deletion_protection

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = true
  }

  vpc_config {
    subnet_ids              = module.vpc.private_subnets
    endpoint_private_access = true
    endpoint_public_access  = length(var.operator_cidrs) > 0
    public_access_cidrs     = length(var.operator_cidrs) > 0 ? var.operator_cidrs : null
  }

  kubernetes_network_config {
    service_ipv4_cidr = local.service_cidr
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.main.arn
    }
  }

  upgrade_policy {
    support_type = "STANDARD"
  }

  depends_on = [aws_cloudwatch_log_group.cluster, aws_iam_role_policy_attachment.cluster]
}

resource "aws_eks_access_entry" "admin" {
  for_each = var.admin_role_arns

  cluster_name  = aws_eks_cluster.main.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = aws_eks_access_entry.admin

  cluster_name  = aws_eks_cluster.main.name
  principal_arn = each.value.principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

locals {
  addons = {
    # Policies of the network are obeyed only where the driver is told to.
    vpc-cni            = { before_nodes = true, role = null, settings = { enableNetworkPolicy = "true", env = { ENABLE_PREFIX_DELEGATION = "true" } } }
    kube-proxy         = { before_nodes = true, role = null, settings = null }
    coredns            = { before_nodes = false, role = null, settings = null }
    metrics-server     = { before_nodes = false, role = null, settings = null }
    aws-ebs-csi-driver = { before_nodes = false, role = aws_iam_role.pod["ebs"].arn, settings = { defaultStorageClass = { enabled = true } } }
    aws-efs-csi-driver = { before_nodes = false, role = aws_iam_role.pod["efs"].arn, settings = null }
  }
}

resource "aws_eks_addon" "before_nodes" {
  for_each = { for name, addon in local.addons : name => addon if addon.before_nodes }

  cluster_name                = aws_eks_cluster.main.name
  addon_name                  = each.key
  service_account_role_arn    = each.value.role
  configuration_values        = each.value.settings == null ? null : jsonencode(each.value.settings)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"
}

resource "aws_eks_addon" "on_nodes" {
  for_each = { for name, addon in local.addons : name => addon if !addon.before_nodes }

  cluster_name                = aws_eks_cluster.main.name
  addon_name                  = each.key
  service_account_role_arn    = each.value.role
  configuration_values        = each.value.settings == null ? null : jsonencode(each.value.settings)
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [aws_eks_node_group.node]
}

# Disks of nodes are encrypted, and pods do not reach the node's credentials.
resource "aws_launch_template" "node" {
  for_each = { system = 100, bidding = 100, clickhouse = 100 }

  name_prefix            = "${local.name}-${each.key}-"
  update_default_version = true

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = each.value
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  monitoring {
    enabled = true
  }
}

locals {
  neuron = var.bidding_npu == "aws-neuron"

  # A disk lies in one zone: each of ClickHouse's nodes is the only one of its group, and stays in its zone.
  nodes = merge(
    {
      system = {
        template = "system", types = ["m7i.xlarge"], ami = "AL2023_x86_64_STANDARD", subnets = module.vpc.private_subnets, min = 3, desired = 3
        # Six nodes of Redis, of 8 GiB each, take one of these each where they run in the cluster.
        max    = local.redis ? 6 : 12
        labels = { "campaign-express.io/pool" = "system" }
        taints = {}
      }
      bidding = {
        template = "bidding"
        types    = local.neuron ? var.neuron_instance_types : var.bidding_instance_types
        ami      = local.neuron ? "AL2023_x86_64_NEURON" : "AL2023_x86_64_STANDARD"
        subnets  = module.vpc.private_subnets, min = var.bidding_min_count, desired = var.bidding_node_count, max = var.bidding_max_count
        labels   = { "campaign-express.io/pool" = "bidding", "campaign-express.io/npu" = var.bidding_npu }
        taints   = { "campaign-express.io/pool" = "bidding" }
      }
    },
    {
      for index in range(2) : "clickhouse-${index}" => {
        template = "clickhouse", types = [var.clickhouse_instance_type], ami = "AL2023_x86_64_STANDARD", min = 1, desired = 1, max = 2
        subnets  = [module.vpc.private_subnets[index]]
        labels   = { "campaign-express.io/pool" = "clickhouse" }
        taints   = {}
      }
    },
  )
}

resource "aws_eks_node_group" "node" {
  for_each = local.nodes

  cluster_name    = aws_eks_cluster.main.name
  node_group_name = each.key
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = each.value.subnets
  version         = var.kubernetes_version
  ami_type        = each.value.ami
  capacity_type   = "ON_DEMAND"
  instance_types  = each.value.types
  labels          = each.value.labels

  scaling_config {
    min_size     = each.value.min
    desired_size = each.value.desired
    max_size     = each.value.max
  }

  dynamic "taint" {
    for_each = each.value.taints

    content {
      key    = taint.key
      value  = taint.value
      effect = "NO_SCHEDULE"
    }
  }

  launch_template {
    id      = aws_launch_template.node[each.value.template].id
    version = aws_launch_template.node[each.value.template].latest_version
  }

  update_config {
    max_unavailable_percentage = 10
  }

  node_repair_config {
    enabled = true
  }

  lifecycle {
    # The autoscaler's own.
    ignore_changes = [scaling_config[0].desired_size]
  }

  depends_on = [aws_eks_addon.before_nodes, aws_iam_role_policy_attachment.node]
}
