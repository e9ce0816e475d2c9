"""serveConfigV2 is made of serve_config.yaml, and is what Serve and the application accept."""

from __future__ import annotations

import importlib

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from campaign_express import config
from campaign_express.serve_file import IMPORT_PATH
from tests.support.rendered import KUBERAY, RENDERS, objects, ray_service, serve_config
from tools import kuberay

SERVICES = [name for name in RENDERS if "model" not in name]


def test_manifests_have_what_serve_config_yaml_says() -> None:
    stale = [str(path) for path, text in kuberay.wanted().items() if path.read_text() != text]
    assert stale == [], "run make manifests"


def test_a_change_of_the_source_is_found(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = kuberay.SOURCE.read_text().replace("/v1", "/v2").replace("8080", "8088")
    source = KUBERAY.parent / "serve_config.yaml"
    assert changed != source.read_text()
    monkeypatch.setattr(kuberay, "serve_config", lambda *_: yaml.safe_load(changed))
    assert [path for path, text in kuberay.wanted().items() if path.read_text() != text]
    assert kuberay.main(["--check"]) == 1


@pytest.mark.parametrize("name", SERVICES)
def test_serve_and_the_application_accept_it(name: str) -> None:
    (service,) = [item for item in objects(name) if item["kind"] == "RayService"]
    found = serve_config(service)
    schema = ServeDeploySchema.model_validate(found)
    (application,) = schema.applications
    assert application.import_path == IMPORT_PATH
    module, _, attribute = application.import_path.partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))
    config.refuse_secrets(application.args)
    config.load(application.args, {})
    # Serve ignores what it does not know, so names are compared.
    assert set(found) <= set(ServeDeploySchema.model_fields)
    assert set(found["applications"][0]) <= set(type(application).model_fields)
    known = set(type(application.deployments[0]).model_fields)
    assert all(set(deployment) <= known for deployment in found["applications"][0]["deployments"])


def test_unknown_arguments_are_refused() -> None:
    args = {**serve_config(ray_service("base"))["applications"][0]["args"], "agents": 3}
    with pytest.raises(config.ConfigError, match=r"args.agents: no such setting"):
        config.load(args, {})


def test_the_policy_is_ours() -> None:
    scaling = serve_config(ray_service("base"))["applications"][0]["deployments"][0]["autoscaling_config"]
    module, _, function = scaling["policy"]["policy_function"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    ("base", "changes", "result"),
    [
        ({"a": 1, "b": 2}, {"b": None, "c": 3}, {"a": 1, "c": 3}),
        ({"a": {"b": 1}}, {"a": {"c": {"d": None, "e": 2}}}, {"a": {"b": 1, "c": {"e": 2}}}),
        ([{"name": "x", "n": 1}, {"name": "y"}], [{"name": "x", "n": 2}], [{"name": "x", "n": 2}, {"name": "y"}]),
        ([1, 2], [3], [3]),
    ],
)
def test_changes_are_laid_over(base: object, changes: object, result: object) -> None:
    assert kuberay.merged(base, changes) == result


def test_a_manifest_without_its_block_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 blocks"):
        kuberay.with_serve_config("kind: RayService\n", {})
