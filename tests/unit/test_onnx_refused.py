"""Model files that are refused when they are loaded, each with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from campaign_express.adapters.onnx import (
    OnnxScorer,
    tower_file,
)
from campaign_express.bidding import features
from campaign_express.errors import ModelError
from campaign_express.learning import seed_model
from tests.support.onnx_files import save, set_metadata, weights, with_weight

# --- Refused at load ------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: No such file"):
        OnnxScorer(tmp_path / "absent.onnx")


def test_missing_tower_names_both_files(tmp_path: Path) -> None:
    path = save(tmp_path)
    tower_file(path).unlink()
    with pytest.raises(ModelError, match=r"changed\.creative\.onnx of model file \S*changed\.onnx: No such file"):
        OnnxScorer(path)


@pytest.mark.parametrize("keep", [0, 100, 400_000])
@pytest.mark.parametrize("name", ["changed.onnx", "changed.creative.onnx"])
def test_corrupt_file(tmp_path: Path, name: str, keep: int) -> None:
    path = save(tmp_path)
    broken = tmp_path / name
    broken.write_bytes(broken.read_bytes()[:keep])
    with pytest.raises(ModelError, match=f"file \\S*{name} cannot be loaded"):
        OnnxScorer(path)


def test_the_tower_is_not_a_model_of_its_own(tmp_path: Path) -> None:
    tower = tower_file(save(tmp_path))
    tower_file(tower).write_bytes(tower.read_bytes())
    with pytest.raises(ModelError, match=r"changed\.creative\.onnx has inputs .*creative_cat"):
        OnnxScorer(tower)


@pytest.mark.parametrize(("side", "name"), [("serving", "changed.onnx"), ("tower", "changed.creative.onnx")])
def test_other_schema_names_both(tmp_path: Path, side: str, name: str) -> None:
    path = save(tmp_path, **{side: set_metadata("schema_version", "ce0-000000000000")})
    with pytest.raises(ModelError, match=f"{name} .*ce0-000000000000.*{features.SCHEMA_VERSION}"):
        OnnxScorer(path)


def test_no_schema(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none given"):
        OnnxScorer(save(tmp_path, lambda model: model.ClearField("metadata_props")))


def test_files_of_two_models(tmp_path: Path) -> None:
    """As after copying one of a new model's two files."""
    path = save(tmp_path)
    tower_file(path).write_bytes(seed_model.build(seed=2).tower.SerializeToString())
    with pytest.raises(ModelError, match=r"changed\.onnx and .*changed\.creative\.onnx do not belong together: pair"):
        OnnxScorer(path)


def test_files_without_a_pair(tmp_path: Path) -> None:
    path = save(tmp_path, set_metadata("pair", ""), set_metadata("pair", ""))
    with pytest.raises(ModelError, match="do not belong together"):
        OnnxScorer(path)


def test_another_width_of_creatives(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        with_weight(model, "creative_projection", weights(model, "creative_projection")[:, :12])
        with_weight(model, "creative_bias", weights(model, "creative_bias")[:12])
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 12

    with pytest.raises(ModelError, match=r"do not belong together: .* 16 numbers in the one and 12 in the other"):
        OnnxScorer(save(tmp_path, tower=change))


def test_other_inputs(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[3].name = "rows"
        for node in model.graph.node:
            node.input[:] = ["rows" if name == "row" else name for name in node.input]

    with pytest.raises(ModelError, match=r"has inputs .*'rows'"):
        OnnxScorer(save(tmp_path, change))


def test_creatives_of_no_fixed_width(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[2].type.tensor_type.shape.dim[1].dim_param = "W"

    with pytest.raises(ModelError, match=r"has inputs .*'W'"):
        OnnxScorer(save(tmp_path, change))


@pytest.mark.parametrize("side", ["serving", "tower"])
def test_other_output(tmp_path: Path, side: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = model.graph.output[0].name = "scores"

    with pytest.raises(ModelError, match=r"outputs .*scores"):
        OnnxScorer(save(tmp_path, **{side: change}))


@pytest.mark.parametrize(("side", "table"), [("serving", "request_table"), ("tower", "creative_table")])
def test_table_too_short(tmp_path: Path, side: str, table: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        with_weight(model, table, weights(model, table)[:-1])

    with pytest.raises(ModelError, match="does not run"):
        OnnxScorer(save(tmp_path, **{side: change}))


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    bias = np.full((2, 1), np.nan, np.float32)
    with pytest.raises(ModelError, match="probabilities"):
        OnnxScorer(save(tmp_path, lambda model: with_weight(model, "output_bias", bias)))


def test_a_tower_that_gives_no_numbers(tmp_path: Path) -> None:
    bias = np.full(seed_model.WIDTH, np.inf, np.float32)
    with pytest.raises(ModelError, match=r"changed\.creative\.onnx gives something else than finite numbers"):
        OnnxScorer(save(tmp_path, tower=lambda model: with_weight(model, "creative_bias", bias)))
