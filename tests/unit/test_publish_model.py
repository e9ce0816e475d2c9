"""A model is published whole, once, and only if an agent would load it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from campaign_express.adapters.onnx import OnnxScorer, default_model, tower_file
from campaign_express.errors import ConfigError, ModelError
from campaign_express.learning.publish import main, publish


def test_the_packaged_model_is_published_and_loads(tmp_path: Path) -> None:
    version = publish(tmp_path, "seed")
    assert OnnxScorer(tmp_path / "seed" / "model.onnx").version == version == OnnxScorer(default_model()).version
    assert [path.name for path in tmp_path.iterdir()] == ["seed"]


def test_publishing_the_same_again_changes_nothing(tmp_path: Path) -> None:
    publish(tmp_path, "seed")
    before = (tmp_path / "seed" / "model.onnx").stat().st_ino
    publish(tmp_path, "seed")
    assert (tmp_path / "seed" / "model.onnx").stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["seed"]


def test_a_version_is_never_replaced(tmp_path: Path) -> None:
    publish(tmp_path, "seed")
    (tmp_path / "seed" / "model.creative.onnx").write_bytes(b"other")
    with pytest.raises(ConfigError, match="holds another model already"):
        publish(tmp_path, "seed")
    assert (tmp_path / "seed" / "model.creative.onnx").read_bytes() == b"other"


def test_a_model_that_no_agent_would_load_does_not_appear(tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    shutil.copyfile(default_model(), source)
    tower_file(source).write_bytes(b"no model")
    with pytest.raises(ModelError):
        publish(tmp_path / "models", "v2", source)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("version", ["", "../up", "A", "a/b", "-a", "x" * 64])
def test_versions_are_names(tmp_path: Path, version: str) -> None:
    with pytest.raises(ConfigError, match="small letters"):
        publish(tmp_path, version)


def test_the_program_says_where_it_is_and_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "seed"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/seed/model.onnx: ")
    assert main([str(tmp_path), "NO"]) == 1
    assert main([]) == 2
