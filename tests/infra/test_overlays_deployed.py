"""Every overlay of kuberay/ goes through `cluster deploy` into a cluster that has no more than its operators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import kube_world
from tests.support.kube_api import KubeApi
from tests.support.kube_cli import Operated
from tests.support.rendered import objects, text


@pytest.mark.parametrize("name", ["base", *(f"overlays/{one}" for one in ("production", "staging", "aks", "eks"))])
def test_an_overlay_into_an_empty_cluster(name: str, shared: Path, tmp_path: Path) -> None:
    rendered = text(name)
    with KubeApi.running(shared) as api:
        kube_world.operators(api)
        kube = Operated(api, api.kubeconfig(tmp_path / "kubeconfig"))
        said = kube.run("deploy", "-", given=rendered)
        assert said.exit_code == 0, said.output
        number = len(objects(name))
        assert said.stderr.count("created ") == number
        assert said.stderr.endswith(f"changed {number} of {number} objects\n")
        wanted = next(body for body in objects(name) if body["kind"] == "RayService")
        assert kube.service["spec"] == wanted["spec"]  # no cell runs: as it is written
