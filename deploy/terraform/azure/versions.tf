terraform {
  # Validation that compares variables with each other came with 1.9.
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.10"
    }
  }

  # State holds keys of Redis and of the storage account: keep it where it is encrypted and locked, and name that place
  # with `terraform init -backend-config=FILE`. docs/terraform.md shows such a file.
  backend "azurerm" {}
}

provider "azurerm" {
  features {
    key_vault {
      # A vault that was deleted by mistake comes back as it was, with its secrets.
      purge_soft_delete_on_destroy    = false
      recover_soft_deleted_key_vaults = true
    }
  }

  # The account's keys are off for people: blobs and shares are reached as who one is.
  storage_use_azuread = true
}

data "azurerm_client_config" "current" {}
