"""Model files that are changed for a test, and rows to score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from campaign_express.adapters.onnx import (
    CPU,
    Accelerator,
    OnnxScorer,
    tower_file,
)
from campaign_express.bidding import features
from campaign_express.learning import seed_model

Rows = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


Scores = tuple[NDArray[np.float32], NDArray[np.float32]]


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


def score(scorer: OnnxScorer, given: Rows) -> Scores:
    request_cat, request_num, creative_cat, row = given
    return scorer.score(request_cat, request_num, scorer.embed(creative_cat), row)


def unchanged(_: onnx.ModelProto) -> None: ...


def save(
    tmp_path: Path,
    serving: Callable[[onnx.ModelProto], object] = unchanged,
    tower: Callable[[onnx.ModelProto], object] = unchanged,
) -> Path:
    """The shipped model's two files, changed."""
    model = seed_model.build()
    serving(model.serving)
    tower(model.tower)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.serving.SerializeToString())
    tower_file(path).write_bytes(model.tower.SerializeToString())
    return path


def set_metadata(key: str, value: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        next(p for p in model.metadata_props if p.key == key).value = value

    return change


def weights(model: onnx.ModelProto, name: str) -> NDArray[np.float32]:
    array: NDArray[np.float32] = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))
    return array


def with_weight(model: onnx.ModelProto, name: str, array: NDArray[np.float32]) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(array, name))
