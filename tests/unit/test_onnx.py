"""The scorer and the shipped model: what is refused at load, what is scored, and what an absent accelerator does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from campaign_express.adapters.onnx import (
    ACCELERATORS,
    CPU,
    Accelerator,
    OnnxScorer,
    default_model,
    parse_options,
    with_cache_key,
)
from campaign_express.bidding import features
from campaign_express.errors import ModelError
from campaign_express.learning import seed_model

Rows = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]
# Stand-ins for an NPU, of real providers: one that runs padded static shapes, one that takes no node of the graph.
STATIC = {"static": Accelerator(CPU, ((1, 8), (4, 32)))}
IDLE = {"idle": Accelerator("AzureExecutionProvider", ((1, 8),))}


def rows(requests: int, candidates: int, seed: int = 0) -> Rows:
    """Random features, each within its rows of the table."""
    random = np.random.default_rng(seed)

    def side(schema: tuple[features.Categorical, ...], count: int) -> NDArray[np.int64]:
        base = np.array(list(features.bases(schema).values()))
        return base + random.integers(0, [f.buckets for f in schema], (count, len(schema)))

    return (
        side(features.REQUEST_SCHEMA, requests),
        random.random((requests, len(features.REQUEST_NUMERIC)), np.float32),
        side(features.CREATIVE_SCHEMA, candidates),
        random.integers(0, requests, candidates),
    )


@pytest.fixture(scope="module")
def scorer() -> OnnxScorer:
    return OnnxScorer()


def save(tmp_path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = seed_model.build()
    change(model)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_shipped_model_is_what_the_recipe_builds(tmp_path: Path) -> None:
    path = tmp_path / "seed.onnx"
    assert seed_model.main([str(path)]) == 0
    assert path.read_bytes() == default_model().read_bytes()
    assert path.stat().st_size < 1_500_000


def test_metadata(scorer: OnnxScorer) -> None:
    metadata = {p.key: p.value for p in onnx.load(default_model()).metadata_props}
    assert metadata["schema_version"] == features.SCHEMA_VERSION
    assert {"version", "created", "recipe"} <= metadata.keys()
    assert scorer.version.startswith(metadata["version"] + "+")


def test_score_as_the_formula_says(scorer: OnnxScorer) -> None:
    """The graph, once more in numpy, from the weights in the file."""
    w = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in onnx.load(default_model()).graph.initializer}
    request_cat, request_num, creative_cat, row = given = rows(5, 60)
    u = w["request_table"][request_cat].reshape(5, -1) @ w["request_projection"] + w["request_bias"]
    u += request_num @ w["numeric_projection"]
    v = w["creative_table"][creative_cat].reshape(60, -1) @ w["creative_projection"] + w["creative_bias"]
    hidden = np.maximum((u[row] * v) @ w["dense"] + w["dense_bias"], 0)
    expected = 1 / (1 + np.exp(-(w["output"] @ hidden.T + w["output_bias"])))
    pctr, pcvr = scorer.score(*given)
    assert pctr.dtype == pcvr.dtype == np.float32
    assert pctr.shape == pcvr.shape == (60,)
    np.testing.assert_allclose(pctr, expected[0], rtol=1e-4)
    np.testing.assert_allclose(pcvr, expected[1], rtol=1e-4)


def test_rates_are_plausible(scorer: OnnxScorer) -> None:
    pctr, pcvr = scorer.score(*rows(64, 4000))
    assert pctr.min() >= 0.0005 - 1e-6
    assert pctr.max() <= 0.03 + 1e-6
    assert pcvr.min() >= 0.005 - 1e-6
    assert pcvr.max() <= 0.08 + 1e-6
    assert 0.001 < np.median(pctr) < 0.008
    assert 0.01 < np.median(pcvr) < 0.03
    assert len(np.unique(pctr)) > 3000


def test_a_candidate_is_scored_alike_in_every_batch(scorer: OnnxScorer) -> None:
    request_cat, request_num, creative_cat, row = given = rows(6, 90)
    whole = scorer.score(*given)
    for r in range(6):
        mine = row == r
        alone = scorer.score(
            request_cat[r : r + 1], request_num[r : r + 1], creative_cat[mine], np.zeros(mine.sum(), np.int64)
        )
        for a, b in zip(alone, whole, strict=True):
            np.testing.assert_allclose(a, b[mine], rtol=1e-5)


def test_arrays_made_of_parts_are_taken(scorer: OnnxScorer) -> None:
    request_cat, request_num, creative_cat, row = given = rows(3, 30)
    parts = [(tuple(c), tuple(n)) for c, n in zip(request_cat.tolist(), request_num.tolist(), strict=True)]
    for a, b in zip(scorer.score(*features.stack(parts), creative_cat, row), scorer.score(*given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_candidates(scorer: OnnxScorer) -> None:
    pctr, pcvr = scorer.score(*rows(1, 0))
    assert (len(pctr), len(pcvr)) == (0, 0)


def test_what_is_no_number_becomes_0_and_is_counted() -> None:
    scorer = OnnxScorer()
    request_cat, request_num, creative_cat, row = rows(2, 20)
    request_num[1] = np.nan
    pctr, pcvr = scorer.score(request_cat, request_num, creative_cat, row)
    assert (pctr[row == 1] == 0).all()
    assert (pcvr[row == 1] == 0).all()
    assert (pctr[row == 0] > 0).all()
    assert scorer.invalid == 2 * (row == 1).sum()


def test_no_thread_is_started() -> None:
    ort.get_available_providers()
    before = set(os.listdir("/proc/self/task"))
    scorer = OnnxScorer()
    scorer.score(*rows(16, 480))
    assert set(os.listdir("/proc/self/task")) <= before


# --- Refused at load ------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: No such file"):
        OnnxScorer(tmp_path / "absent.onnx")


@pytest.mark.parametrize("keep", [0, 100, 500_000])
def test_corrupt_file(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "corrupt.onnx"
    path.write_bytes(default_model().read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"corrupt\.onnx"):
        OnnxScorer(path)


def test_other_schema_names_both(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        next(p for p in model.metadata_props if p.key == "schema_version").value = "ce0-000000000000"

    with pytest.raises(ModelError, match=f"ce0-000000000000.*{features.SCHEMA_VERSION}"):
        OnnxScorer(save(tmp_path, change))


def test_no_schema(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none given"):
        OnnxScorer(save(tmp_path, lambda model: model.ClearField("metadata_props")))


def test_other_inputs(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[3].name = "rows"
        for node in model.graph.node:
            node.input[:] = ["rows" if name == "row" else name for name in node.input]

    with pytest.raises(ModelError, match=r"has inputs .*'rows'"):
        OnnxScorer(save(tmp_path, change))


def test_other_output(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = model.graph.output[0].name = "scores"

    with pytest.raises(ModelError, match=r"outputs .*scores"):
        OnnxScorer(save(tmp_path, change))


def with_weight(model: onnx.ModelProto, name: str, array: NDArray[np.float32]) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def test_table_too_short(tmp_path: Path) -> None:
    short = np.zeros((features.CREATIVE_ROWS - 1, seed_model.EMBEDDING), np.float32)
    with pytest.raises(ModelError, match="does not run"):
        OnnxScorer(save(tmp_path, lambda model: with_weight(model, "creative_table", short)))


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    bias = np.full((2, 1), np.nan, np.float32)
    with pytest.raises(ModelError, match="probabilities"):
        OnnxScorer(save(tmp_path, lambda model: with_weight(model, "output_bias", bias)))


# --- Accelerators ---------------------------------------------------------------------------------------------------


def test_padded_static_shapes_score_alike(scorer: OnnxScorer) -> None:
    static = OnnxScorer(accelerator="static", accelerators=STATIC, require_accelerator=True)
    assert not static.fallback
    # Fits the first shape, the second, needs exactly it, too many candidates, too many impressions, both.
    for r, n in ((1, 1), (1, 9), (4, 32), (2, 70), (9, 20), (13, 200)):
        given = rows(r, n, seed=n)
        for a, b in zip(static.score(*given), scorer.score(*given), strict=True):
            assert a.shape == (n,)
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_absent_accelerator_falls_back_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    if ACCELERATORS["amd_xdna"].provider in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has the provider")
    with caplog.at_level(logging.WARNING):
        scorer = OnnxScorer(accelerator="amd_xdna")
    assert scorer.fallback
    assert scorer.provider == CPU
    assert "VitisAIExecutionProvider" in scorer.fallback_reason
    assert scorer.warm_us > 0
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert scorer.score(*rows(2, 5))[0].shape == (5,)


def test_absent_accelerator_that_is_required_is_refused() -> None:
    if ACCELERATORS["amd_xdna"].provider in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has the provider")
    with pytest.raises(ModelError, match="VitisAIExecutionProvider is not part of this ONNX Runtime"):
        OnnxScorer(accelerator="amd_xdna", require_accelerator=True)


def test_a_provider_that_runs_nothing_is_not_taken_for_one_that_does() -> None:
    assert OnnxScorer(accelerator="idle", accelerators=IDLE).fallback
    with pytest.raises(ModelError, match="AzureExecutionProvider runs no part"):
        OnnxScorer(accelerator="idle", accelerators=IDLE, require_accelerator=True)


def test_cpu_needs_no_accelerator() -> None:
    scorer = OnnxScorer(accelerator="cpu", require_accelerator=True)
    assert (scorer.provider, scorer.fallback) == (CPU, False)


def test_unknown_accelerator() -> None:
    with pytest.raises(ModelError, match="'tpu' is none of cpu, amd_xdna"):
        OnnxScorer(accelerator="tpu")


def test_provider_options() -> None:
    text = "config_file=/etc/npu/vitisai.json, cache_dir=/var/cache/npu,target=X2,"
    assert parse_options(text) == {
        "config_file": "/etc/npu/vitisai.json",
        "cache_dir": "/var/cache/npu",
        "target": "X2",
    }
    assert parse_options("") == {}
    with pytest.raises(ModelError, match="'target'"):
        parse_options("target")


def test_compiled_models_are_cached_by_file_and_shape() -> None:
    assert with_cache_key({"target": "X2"}, "ab" * 32, (1, 32)) == {"target": "X2"}
    assert with_cache_key({"cache_dir": "/c"}, "ab" * 32, (1, 32))["cache_key"] == "abababababababab-1x32"
    assert with_cache_key({"cache_dir": "/c", "cache_key": "k"}, "ab" * 32, (4, 128))["cache_key"] == "k-4x128"
