# Roles: of the cluster, of its nodes, and of service accounts (IRSA). What pods may do, their nodes may not.

data "aws_iam_policy_document" "assume" {
  for_each = { cluster = "eks.amazonaws.com", node = "ec2.amazonaws.com", flow = "vpc-flow-logs.amazonaws.com" }

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [each.value]
    }
  }
}

resource "aws_iam_role" "cluster" {
  name               = "${local.name}-cluster"
  assume_role_policy = data.aws_iam_policy_document.assume["cluster"].json
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_iam_role" "node" {
  name               = "${local.name}-node"
  assume_role_policy = data.aws_iam_policy_document.assume["node"].json
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.node.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value}"
}

resource "aws_iam_role" "flow" {
  name               = "${local.name}-flow"
  assume_role_policy = data.aws_iam_policy_document.assume["flow"].json
}

data "aws_iam_policy_document" "flow" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.flow.arn}:*"]
  }
}

resource "aws_iam_role_policy" "flow" {
  name   = "logs"
  role   = aws_iam_role.flow.name
  policy = data.aws_iam_policy_document.flow.json
}

resource "aws_iam_openid_connect_provider" "cluster" {
  url            = aws_eks_cluster.main.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]
}

locals {
  issuer = replace(aws_eks_cluster.main.identity[0].oidc[0].issuer, "https://", "")

  # Service accounts that are somebody to AWS.
  pods = {
    secrets      = "campaign-express:campaign-express-secrets"
    certificates = "cert-manager:cert-manager"
    autoscaler   = "kube-system:cluster-autoscaler"
    ebs          = "kube-system:ebs-csi-controller-sa"
    efs          = "kube-system:efs-csi-controller-sa"
  }

  zone_id = one(concat(aws_route53_zone.bidder[*].zone_id, compact([var.hosted_zone_id])))
}

data "aws_iam_policy_document" "pod" {
  for_each = local.pods

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.cluster.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["system:serviceaccount:${each.value}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "pod" {
  for_each = local.pods

  name               = "${local.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.pod[each.key].json
}

resource "aws_iam_role_policy_attachment" "driver" {
  for_each = { ebs = "AmazonEBSCSIDriverPolicy", efs = "AmazonEFSCSIDriverPolicy" }

  role       = aws_iam_role.pod[each.key].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/${each.value}"
}

data "aws_iam_policy_document" "secrets" {
  statement {
    actions   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    resources = [for secret in aws_secretsmanager_secret.main : secret.arn]
  }

  statement {
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.main.arn]
  }
}

resource "aws_iam_role_policy" "secrets" {
  name   = "read"
  role   = aws_iam_role.pod["secrets"].name
  policy = data.aws_iam_policy_document.secrets.json
}

data "aws_iam_policy_document" "certificates" {
  count = var.dns_zone_name == "" && var.hosted_zone_id == "" ? 0 : 1

  statement {
    actions   = ["route53:GetChange"]
    resources = ["arn:${local.partition}:route53:::change/*"]
  }

  statement {
    actions   = ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"]
    resources = ["arn:${local.partition}:route53:::hostedzone/${local.zone_id}"]
  }
}

resource "aws_iam_role_policy" "certificates" {
  count = length(data.aws_iam_policy_document.certificates)

  name   = "zone"
  role   = aws_iam_role.pod["certificates"].name
  policy = data.aws_iam_policy_document.certificates[count.index].json
}

data "aws_iam_policy_document" "autoscaler" {
  #checkov:skip=CKV_AWS_356: what only describes knows no resources; what changes a group asks for the cluster's tag
  statement {
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities",
      "autoscaling:DescribeTags",
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTypes",
      "ec2:DescribeLaunchTemplateVersions",
      "ec2:GetInstanceTypesFromInstanceRequirements",
      "eks:DescribeNodegroup",
    ]
    resources = ["*"]
  }

  statement {
    actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = ["arn:${local.partition}:autoscaling:${var.region}:${local.account}:autoScalingGroup:*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${local.name}"
      values   = ["owned"]
    }
  }
}

resource "aws_iam_role_policy" "autoscaler" {
  name   = "scale"
  role   = aws_iam_role.pod["autoscaler"].name
  policy = data.aws_iam_policy_document.autoscaler.json
}

# ClickHouse writes backups as this user. Its key is made by hand and goes straight into the secrets, so that no state holds it.
#trivy:ignore:AWS-0143 one user with one task; a group of one would say nothing more
resource "aws_iam_user" "backups" {
  #checkov:skip=CKV_AWS_273: a program's, not a person's: ClickHouse's named collection wants a key
  name = "${local.name}-clickhouse-backup"
}

data "aws_iam_policy_document" "backups" {
  statement {
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.backups.arn]
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.backups.arn}/*"]
  }

  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.main.arn]
  }
}

resource "aws_iam_user_policy" "backups" {
  name   = "bucket"
  user   = aws_iam_user.backups.name
  policy = data.aws_iam_policy_document.backups.json
}
