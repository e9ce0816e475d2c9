# What comes next needs these: docs/terraform.md says which goes where.

output "region" {
  description = "region of overlays/eks."
  value       = var.region
}

output "cluster_name" {
  description = "For `aws eks update-kubeconfig`."
  value       = aws_eks_cluster.main.name
}

output "dns_service_ip" {
  description = "Address of the cluster's DNS: where HAProxy asks for bidders."
  value       = cidrhost(local.service_cidr, 10)
}

output "private_subnets" {
  description = "Subnets of nodes, with blanks between."
  value       = join(" ", module.vpc.private_subnets)
}

output "ecr_repository_url" {
  description = "Repository to push the image to."
  value       = aws_ecr_repository.bidder.repository_url
}

output "secrets_role_arn" {
  description = "secrets-role-arn of overlays/eks: who reads Secrets Manager."
  value       = aws_iam_role.pod["secrets"].arn
}

output "certificates_role_arn" {
  description = "Role of cert-manager's service account: it writes the zone."
  value       = aws_iam_role.pod["certificates"].arn
}

output "autoscaler_role_arn" {
  description = "Role of the cluster autoscaler's service account."
  value       = aws_iam_role.pod["autoscaler"].arn
}

output "hosted_zone_id" {
  description = "hosted-zone-id of overlays/eks. Null without a zone."
  value       = local.zone_id
}

output "dns_name_servers" {
  description = "Where the parent zone must delegate dns_zone_name to; none without one."
  value       = flatten(aws_route53_zone.bidder[*].name_servers)
}

output "models_read" {
  description = "models-read of overlays/eks."
  value       = "${aws_efs_file_system.models.id}::${aws_efs_access_point.models["read"].id}"
}

output "models_write" {
  description = "models-write of overlays/eks."
  value       = "${aws_efs_file_system.models.id}::${aws_efs_access_point.models["write"].id}"
}

output "redis_address" {
  description = "HOST:PORT of ElastiCache for the secret redis-url: rediss+cluster://:TOKEN@HOST:PORT. Null where Redis runs in the cluster."
  value       = one([for redis in aws_elasticache_replication_group.redis : "${redis.configuration_endpoint_address}:${redis.port}"])
}

output "clickhouse_backup_url" {
  description = "The secret clickhouse-backup-url."
  value       = "https://${aws_s3_bucket.backups.bucket_regional_domain_name}"
}

output "clickhouse_backup_user" {
  description = "User whose access key goes into clickhouse-backup-key-id and clickhouse-backup-key."
  value       = aws_iam_user.backups.name
}
