"""deploy/*: what other operators read (cert-manager, external-secrets) is held against their own schemas."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kube_schemas import schemas
from tests.support.manifests import DEPLOY, resources

FOLDERS = ("nats", "redis", "clickhouse")


@pytest.mark.parametrize("folder", FOLDERS)
def test_their_operators_read_them(shared: Path, folder: str) -> None:
    theirs = [one for one in resources(DEPLOY / folder) if one["apiVersion"].split("/")[0].endswith(".io")]
    custom = [one for one in theirs if not one["apiVersion"].split("/")[0].endswith(".k8s.io")]
    assert custom
    assert [cause for manifest in custom for cause in schemas(shared).causes(manifest)] == []
