# What is kept: images, Redis, secrets, models, backups, and the key that all of it is encrypted with.

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109: the policy of a key is about that key, whatever it says of resources
  #checkov:skip=CKV_AWS_111: see above
  #checkov:skip=CKV_AWS_356: see above
  statement {
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${var.region}:${local.account}:log-group:*"]
    }
  }
}

resource "aws_kms_key" "main" {
  description             = "Secrets, logs, Redis, models and backups of ${local.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "main" {
  name          = "alias/${local.name}"
  target_key_id = aws_kms_key.main.key_id
}

resource "aws_ecr_repository" "bidder" {
  # One repository an account for all environments would be shared; each has its own.
  name                 = var.environment == "prod" ? "campaign-express" : local.name
  image_tag_mutability = "IMMUTABLE"

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.main.arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "bidder" {
  repository = aws_ecr_repository.bidder.name

  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Layers that a failed push has left"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "The last thirty releases are kept"
        selection    = { tagStatus = "tagged", tagPatternList = ["*"], countType = "imageCountMoreThan", countNumber = 30 }
        action       = { type = "expire" }
      },
    ]
  })
}

resource "aws_ecr_replication_configuration" "dr" {
  count = var.environment == "prod" ? 1 : 0

  replication_configuration {
    rule {
      destination {
        region      = var.dr_region
        registry_id = local.account
      }

      repository_filter {
        filter      = aws_ecr_repository.bidder.name
        filter_type = "PREFIX_MATCH"
      }
    }
  }
}

# Redis holds money: it must not forget. docs/decisions/0014-redis-evicts-nothing.md
resource "aws_elasticache_parameter_group" "redis" {
  count = local.redis ? 1 : 0

  name        = "${local.name}-${var.redis_engine}"
  family      = var.redis_engine == "valkey" ? "valkey8" : "redis7"
  description = "A cluster that evicts nothing"

  parameter {
    name  = "cluster-enabled"
    value = "yes"
  }

  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_subnet_group" "redis" {
  count = local.redis ? 1 : 0

  name       = local.name
  subnet_ids = module.vpc.database_subnets
}

resource "aws_security_group" "store" {
  for_each = { redis = "Redis", models = "the share of models" }

  name        = "${local.name}-${each.key}"
  description = "Nodes of the cluster reach ${each.value}"
  vpc_id      = module.vpc.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "store" {
  for_each = { redis = 6379, models = 2049 }

  security_group_id            = aws_security_group.store[each.key].id
  description                  = "From nodes"
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_eks_cluster.main.vpc_config[0].cluster_security_group_id
}

resource "aws_elasticache_replication_group" "redis" {
  #checkov:skip=CKV_AWS_31: it has a token, in auth_token_wo, which checkov does not know yet
  count = local.redis ? 1 : 0

  replication_group_id       = local.name
  description                = "Catalogue, ledger, persons and switches of ${local.name}"
  engine                     = var.redis_engine
  engine_version             = var.redis_engine == "valkey" ? "8.0" : "7.1"
  node_type                  = var.redis_node_type
  num_node_groups            = var.redis_shard_count
  replicas_per_node_group    = 1
  parameter_group_name       = aws_elasticache_parameter_group.redis[0].name
  subnet_group_name          = aws_elasticache_subnet_group.redis[0].name
  security_group_ids         = [aws_security_group.store["redis"].id]
  port                       = 6379
  automatic_failover_enabled = true
  multi_az_enabled           = true
  at_rest_encryption_enabled = true
  kms_key_id                 = aws_kms_key.main.arn
  transit_encryption_enabled = true
  transit_encryption_mode    = "required"
  auth_token_wo              = var.redis_auth_token
  auth_token_wo_version      = var.redis_auth_token_version
  snapshot_retention_limit   = 7
  snapshot_window            = "03:00-04:00"
  maintenance_window         = "sun:04:30-sun:05:30"
  auto_minor_version_upgrade = true
}

locals {
  # What the manifests' ExternalSecrets ask for, by name. Terraform makes the places, and never sees a value.
  secrets = toset([
    "clickhouse-app-password",
    "clickhouse-backup-key",
    "clickhouse-backup-key-id",
    "clickhouse-backup-password",
    "clickhouse-backup-url",
    "clickhouse-cluster-secret",
    "clickhouse-interserver-password",
    "clickhouse-reader-password",
    "clickhouse-url",
    "grafana-admin-password",
    "nats-app-password",
    "nats-operator-password",
    "nats-system-password",
    "nats-url",
    "notice-keys",
    "operator-token",
    "pagerduty-routing-key",
    "price-keys",
    "ray-gcs-redis-password",
    "redis-app-password",
    "redis-exporter-password",
    "redis-operator-password",
    "redis-replication-password",
    "redis-url",
    "sendgrid-api-key",
    "slack-url",
    "twilio-account-sid",
    "twilio-auth-token",
  ])
}

resource "aws_secretsmanager_secret" "main" {
  #checkov:skip=CKV2_AWS_57: each is known to a server too, and changed by a rolling restart of it, not by a function of AWS
  for_each = local.secrets

  name                    = each.value
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = 30
}

resource "aws_efs_file_system" "models" {
  creation_token  = "${local.name}-models"
  encrypted       = true
  kms_key_id      = aws_kms_key.main.arn
  throughput_mode = "elastic"
}

resource "aws_efs_backup_policy" "models" {
  file_system_id = aws_efs_file_system.models.id

  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_mount_target" "models" {
  count = 3

  file_system_id  = aws_efs_file_system.models.id
  subnet_id       = module.vpc.private_subnets[count.index]
  security_groups = [aws_security_group.store["models"].id]
}

# Two ways into one directory, owned by the bidder's user: a volume's handle is its own.
resource "aws_efs_access_point" "models" {
  for_each = toset(["read", "write"])

  file_system_id = aws_efs_file_system.models.id

  posix_user {
    uid = 10001
    gid = 10001
  }

  root_directory {
    path = "/models"

    creation_info {
      owner_uid   = 10001
      owner_gid   = 10001
      permissions = "0755"
    }
  }
}

#trivy:ignore:AWS-0089 reads of backups are seen in ClickHouse's own log
resource "aws_s3_bucket" "backups" {
  #checkov:skip=CKV_AWS_18: reads of backups are seen in ClickHouse's own log
  #checkov:skip=CKV_AWS_144: a copy in another region is a matter of what the data may leave; not by default
  #checkov:skip=CKV2_AWS_62: nobody waits for a backup's arrival; its job says when it failed
  bucket = "${local.name}-clickhouse-backups-${local.account}"
}

resource "aws_s3_bucket_public_access_block" "backups" {
  bucket                  = aws_s3_bucket.backups.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.main.arn
    }
  }
}

resource "aws_s3_bucket_versioning" "backups" {
  bucket = aws_s3_bucket.backups.id

  versioning_configuration {
    status = "Enabled"
  }
}

# A whole backup is needed by the six after it: five weeks keep four whole weeks.
resource "aws_s3_bucket_lifecycle_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    id     = "old-backups"
    status = "Enabled"

    filter {}

    expiration {
      days = 35
    }

    noncurrent_version_expiration {
      noncurrent_days = 14
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_route53_zone" "bidder" {
  #checkov:skip=CKV2_AWS_38: a delegated zone is signed once its parent has the key, which is done by hand
  #checkov:skip=CKV2_AWS_39: queries for one host's name tell nothing
  count = var.dns_zone_name == "" ? 0 : 1

  name = var.dns_zone_name
}
