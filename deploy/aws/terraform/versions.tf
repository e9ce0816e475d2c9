terraform {
  # Arguments that are written and never stored (the token of ElastiCache) came with 1.11.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.69"
    }
  }

  # Where the state is kept is yours: `terraform init -backend-config=FILE`. docs/terraform.md shows such a file.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394: the first three by name are taken, and a new zone's name comes after those that are there
  state = "available"

  # Local zones have neither EKS nor EFS.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}
