"""The scorer and the shipped model: what is refused at load, what is scored, and what an absent accelerator does."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from campaign_express.adapters.onnx import (
    ACCELERATORS,
    CPU,
    TOWER_ROWS,
    Accelerator,
    OnnxScorer,
    default_model,
    parse_options,
    tower_file,
    with_cache_key,
)
from campaign_express.bidding import features
from campaign_express.errors import ModelError
from campaign_express.learning import seed_model
from tests.support.onnx_files import IDLE, STATIC, rows, save, score, set_metadata, weights, with_weight


@pytest.fixture(scope="module")
def scorer() -> OnnxScorer:
    return OnnxScorer()


def test_shipped_model_is_what_the_recipe_builds(tmp_path: Path) -> None:
    path = tmp_path / "seed.onnx"
    assert seed_model.main([str(path)]) == 0
    for built, shipped in ((path, default_model()), (tmp_path / "seed.creative.onnx", tower_file(default_model()))):
        assert built.read_bytes() == shipped.read_bytes()
        assert built.stat().st_size < 1_000_000


def test_metadata(scorer: OnnxScorer) -> None:
    serving, tower = (
        {p.key: p.value for p in onnx.load(path).metadata_props}
        for path in (default_model(), tower_file(default_model()))
    )
    assert serving["schema_version"] == features.SCHEMA_VERSION
    assert serving.keys() == {"schema_version", "pair", "version", "created", "recipe"}
    assert tower == serving
    assert scorer.version.startswith(serving["version"] + "+")


def test_another_weight_in_either_graph_is_another_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    def pair() -> str:
        return next(p.value for p in seed_model.build().tower.metadata_props if p.key == "pair")

    pairs = {pair()}
    monkeypatch.setattr(seed_model, "BASE", (-5.0, -4.0))  # of the serving graph alone
    pairs.add(pair())
    monkeypatch.setitem(seed_model.NOISE, "creative", (0.1, 0.1))  # of the tower alone
    pairs.add(pair())
    assert len(pairs) == 3


def test_version_changes_with_either_file(tmp_path: Path) -> None:
    versions = {OnnxScorer().version}
    for sides in ({"serving": set_metadata("created", "x")}, {"tower": set_metadata("created", "x")}):
        versions.add(OnnxScorer(save(tmp_path, **sides)).version)
    assert len(versions) == 3


def test_score_as_the_formula_says(scorer: OnnxScorer) -> None:
    """The graphs, once more in numpy, from the weights in the files."""
    w = {
        t.name: numpy_helper.to_array(t).astype(np.float64)
        for path in (default_model(), tower_file(default_model()))
        for t in onnx.load(path).graph.initializer
    }
    request_cat, request_num, creative_cat, row = rows(5, 60)
    u = w["request_table"][request_cat].reshape(5, -1) @ w["request_projection"] + w["request_bias"]
    u += request_num @ w["numeric_projection"]
    v = w["creative_table"][creative_cat].reshape(60, -1) @ w["creative_projection"] + w["creative_bias"]
    hidden = np.maximum((u[row] * v) @ w["dense"] + w["dense_bias"], 0)
    expected = 1 / (1 + np.exp(-(w["output"] @ hidden.T + w["output_bias"])))
    creative = scorer.embed(creative_cat)
    assert creative.dtype == np.float32
    assert creative.shape == (60, scorer.width)
    np.testing.assert_allclose(creative, v, rtol=1e-4, atol=1e-6)
    pctr, pcvr = scorer.score(request_cat, request_num, creative, row)
    assert pctr.dtype == pcvr.dtype == np.float32
    assert pctr.shape == pcvr.shape == (60,)
    np.testing.assert_allclose(pctr, expected[0], rtol=1e-4)
    np.testing.assert_allclose(pcvr, expected[1], rtol=1e-4)


@pytest.mark.parametrize("creatives", [0, 1, TOWER_ROWS - 1, TOWER_ROWS, TOWER_ROWS + 1, 2 * TOWER_ROWS + 7])
def test_a_catalogue_of_any_length_is_embedded(scorer: OnnxScorer, creatives: int) -> None:
    creative_cat = rows(1, creatives)[2]
    whole = scorer.embed(creative_cat)
    assert whole.shape == (creatives, scorer.width)
    for line in {0, creatives // 2, creatives - 1} if creatives else ():
        np.testing.assert_allclose(scorer.embed(creative_cat[line : line + 1])[0], whole[line], rtol=1e-5, atol=1e-7)


def test_rates_are_plausible(scorer: OnnxScorer) -> None:
    pctr, pcvr = score(scorer, rows(64, 4000))
    assert pctr.min() >= 0.0005 - 1e-6
    assert pctr.max() <= 0.03 + 1e-6
    assert pcvr.min() >= 0.005 - 1e-6
    assert pcvr.max() <= 0.08 + 1e-6
    assert 0.001 < np.median(pctr) < 0.008
    assert 0.01 < np.median(pcvr) < 0.03
    assert len(np.unique(pctr)) > 3000


def test_a_candidate_is_scored_alike_in_every_batch(scorer: OnnxScorer) -> None:
    request_cat, request_num, creative_cat, row = given = rows(6, 90)
    whole = score(scorer, given)
    for r in range(6):
        mine = row == r
        alone = score(
            scorer, (request_cat[r : r + 1], request_num[r : r + 1], creative_cat[mine], np.zeros(mine.sum(), np.int64))
        )
        for a, b in zip(alone, whole, strict=True):
            np.testing.assert_allclose(a, b[mine], rtol=1e-5)


def test_arrays_made_of_parts_are_taken(scorer: OnnxScorer) -> None:
    request_cat, request_num, creative_cat, row = given = rows(3, 30)
    parts = [(tuple(c), tuple(n)) for c, n in zip(request_cat.tolist(), request_num.tolist(), strict=True)]
    for a, b in zip(score(scorer, (*features.stack(parts), creative_cat, row)), score(scorer, given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_candidates(scorer: OnnxScorer) -> None:
    pctr, pcvr = score(scorer, rows(1, 0))
    assert (len(pctr), len(pcvr)) == (0, 0)


def test_what_is_no_number_becomes_0_and_is_counted() -> None:
    scorer = OnnxScorer()
    request_cat, request_num, creative_cat, row = rows(2, 20)
    request_num[1] = np.nan
    pctr, pcvr = score(scorer, (request_cat, request_num, creative_cat, row))
    assert (pctr[row == 1] == 0).all()
    assert (pcvr[row == 1] == 0).all()
    assert (pctr[row == 0] > 0).all()
    assert scorer.invalid == 2 * (row == 1).sum()


@pytest.mark.parametrize("accelerator", ["cpu", "static"])
@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_creative_that_is_no_number_bids_nothing_and_spares_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, weight: float, accelerator: str
) -> None:
    given = rows(2, 20)
    creative_cat, row = given[2], given[3]

    def change(model: onnx.ModelProto) -> None:
        table = weights(model, "creative_table").copy()
        table[creative_cat[3, 2], 1] = weight  # one number of one creative
        with_weight(model, "creative_table", table)

    scorer = OnnxScorer(save(tmp_path, tower=change), accelerator, accelerators=STATIC | {"cpu": Accelerator(CPU)})
    mine = (creative_cat == creative_cat[3]).all(axis=1)
    with caplog.at_level(logging.WARNING):
        creative = scorer.embed(creative_cat)
    assert np.isnan(creative[mine]).all()
    assert scorer.invalid_creatives == mine.sum()
    assert len(caplog.records) == 1
    pctr, pcvr = scorer.score(given[0], given[1], creative, row)
    assert (pctr[mine] == 0).all()
    assert (pcvr[mine] == 0).all()
    assert scorer.invalid == 2 * mine.sum()
    for got, expected in zip((pctr, pcvr), score(OnnxScorer(), given), strict=True):
        np.testing.assert_allclose(got[~mine], expected[~mine], rtol=1e-5)


def test_a_provider_that_hides_what_is_no_number_is_not_trusted(tmp_path: Path) -> None:
    """An NPU's ReLU may give 0 for NaN, and this graph the click bound then, the highest bid of all."""

    def swallow(model: onnx.ModelProto) -> None:
        product = next(node for node in model.graph.node if node.op_type == "Mul")
        product.input[1] = "creative_or_0"
        nodes = [
            onnx.helper.make_node("IsNaN", ["creative"], ["bad"]),
            onnx.helper.make_node("Where", ["bad", "zero", "creative"], ["creative_or_0"]),
        ]
        model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
        for node in reversed(nodes):
            model.graph.node.insert(0, node)

    request_cat, request_num, creative_cat, row = rows(2, 20)

    def change(model: onnx.ModelProto) -> None:
        table = weights(model, "creative_table").copy()
        table[creative_cat[3, 2]] = np.nan
        with_weight(model, "creative_table", table)

    scorer = OnnxScorer(save(tmp_path, swallow, change))
    pctr, pcvr = scorer.score(request_cat, request_num, scorer.embed(creative_cat), row)
    assert (pctr[3], pcvr[3]) == (0, 0)
    assert (np.delete(pctr, 3) > 0).all()
    assert scorer.invalid == 2


def test_no_thread_is_started() -> None:
    ort.get_available_providers()
    before = set(os.listdir("/proc/self/task"))
    scorer = OnnxScorer()
    score(scorer, rows(16, 480))
    assert set(os.listdir("/proc/self/task")) <= before


# --- Accelerators ---------------------------------------------------------------------------------------------------


def test_padded_static_shapes_score_alike(scorer: OnnxScorer) -> None:
    static = OnnxScorer(accelerator="static", accelerators=STATIC, require_accelerator=True)
    assert not static.fallback
    # Fits the first shape, the second, needs exactly it, too many candidates, too many impressions, both.
    for r, n in ((1, 1), (1, 9), (4, 32), (2, 70), (9, 20), (13, 200)):
        given = rows(r, n, seed=n)
        for a, b in zip(score(static, given), score(scorer, given), strict=True):
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
    assert score(scorer, rows(2, 5))[0].shape == (5,)


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
