"""Builds the model that ships with the project: plausible base rates, before any click was seen.

    python -m campaign_express.learning.seed_model OUT.onnx                          writes OUT.creative.onnx as well

The two graphs (drawn in docs/model.md) are a factorisation machine under a small dense layer. What there is to say of a
creative is computed once a catalogue, by the creative tower; what there is to say of an impression once, for all its
candidates, by the serving graph:

    tower     creative[L,16] = flatten(table_c[creative_cat]) Wc + bc
    serving   u[R,16] = flatten(table_r[request_cat]) Wr + request_num Wn + br
              h[N,16] = relu((u[row] * creative) W1 + b1)
              probabilities[2,N] = sigmoid(W2 h^T + b2)                                           0: pctr, 1: pcvr

The recipe: log-odds of a click and of a conversion are sums of effects, kept in two columns of each embedding. Known
effects (media kind, position, size, device, hour, goal) are written below; hashed features get a small pseudo-random
effect, so that campaigns and sites differ; the other six columns hold small vectors whose products are the interaction.
`u` and `creative` each hold ones where the other holds its effects, which makes the products plain sums; hidden units
clamp both log-odds to their bounds, and the rest of them start at weight zero for training to use.

Needs the `onnx` package (a development dependency). Same source, same bytes: the noise comes from RandomState's frozen
stream of uniforms and exact arithmetic, never from the clock.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from math import cos, exp, log, pi
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from campaign_express.adapters.onnx import tower_file
from campaign_express.bidding import features
from campaign_express.bidding.model import Media

VERSION = "seed-1"
CREATED = "2026-11-24"  # of the recipe: a date, not the time of a run, so that bytes repeat
EMBEDDING, WIDTH, HIDDEN = 8, 16, 16
CLICK, CONVERSION = 0, 1  # columns of an embedding, and rows of the output
INTERACTION = range(2, 8)  # the other columns
OPSET, IR_VERSION = 17, 9  # what AMD's NPU compiler recommends; any ONNX Runtime since 1.14 reads it

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[np.generic]]  # by the name of the initializer
Effects = Mapping[str, Mapping[int, tuple[float, float]]]  # feature -> bucket -> (click, conversion) log-odds


def _logit(p: float) -> float:
    return log(p / (1 - p))


# Bounds, and the rates of an unremarkable banner. Sources: none of ours yet; the usual order of magnitude of display
# campaigns, to be replaced by training.
CLICK_BOUNDS = (_logit(0.0005), _logit(0.03))
CONVERSION_BOUNDS = (_logit(0.005), _logit(0.08))
BASE = (_logit(0.0025), _logit(0.02))
NOISE = {  # standard deviation of the effect of a hashed value, (click, conversion)
    "exchange": (0.05, 0.03),
    "domain": (0.15, 0.08),
    "bundle": (0.15, 0.08),
    "publisher": (0.08, 0.04),
    "category": (0.10, 0.10),
    "country": (0.08, 0.08),
    "region": (0.04, 0.04),
    "city": (0.02, 0.02),
    "os": (0.05, 0.05),
    "browser": (0.05, 0.05),
    "language": (0.03, 0.03),
    "tag": (0.15, 0.05),
    "advertiser": (0.10, 0.15),
    "campaign": (0.12, 0.12),
    "creative": (0.15, 0.05),
    "ad_category": (0.08, 0.12),
}
INTERACTION_NOISE = 0.08


def _hour_effects() -> dict[int, tuple[float, float]]:
    """More clicks and conversions in the evening (peak 20:00), fewer at night, somewhat more at the weekend."""
    out = {}
    for hour in range(168):
        evening = cos((hour % 24 - 20) / 24 * 2 * pi)
        weekend = 0.05 if hour >= 120 else 0.0
        effect = (0.15 * evening + weekend, 0.10 * evening + weekend)
        out[1 + hour] = effect
        out[169 + hour] = (effect[0] / 3, effect[1] / 3)  # UTC says less about the user's evening
    return out


def _size_effects(sizes: Mapping[tuple[int, int], tuple[float, float]], feature: str) -> dict[int, tuple[float, float]]:
    return {features.bucket(feature, f"{w}x{h}"): effect for (w, h), effect in sizes.items()}


def _ad_format_effects() -> dict[int, tuple[float, float]]:
    per_media = {
        Media.BANNER: (0.0, 0.0),
        Media.VIDEO: (0.45, 0.15),
        Media.AUDIO: (-0.7, -0.2),
        Media.NATIVE: (0.7, 0.1),
    }
    return {
        features.ad_format(media, 5 * step): (click - 0.01 * step, conversion)  # longer spots are clicked a little less
        for media, (click, conversion) in per_media.items()
        for step in range(15)
    }


SIZES = {
    (300, 250): (0.10, 0.0),
    (336, 280): (0.12, 0.0),
    (728, 90): (-0.15, 0.0),
    (970, 250): (0.25, 0.05),
    (300, 600): (0.20, 0.05),
    (160, 600): (-0.20, 0.0),
    (320, 50): (0.05, -0.10),
    (320, 100): (0.10, -0.05),
    (320, 480): (0.45, -0.10),
    (480, 320): (0.45, -0.10),
}


def effects() -> Effects:
    """Known effects on the log-odds, by feature and bucket."""
    return {
        "inventory": {1: (0.0, 0.05), 2: (0.20, -0.10), 3: (-1.0, -0.5)},
        "device_type": {
            1: (0.15, -0.1),
            2: (-0.10, 0.25),
            3: (-0.8, -0.3),
            4: (0.20, -0.1),
            5: (0.15, 0.05),
            7: (-0.8, -0.3),
        },
        "connection": {1: (0.0, 0.05), 2: (0.05, 0.08), 4: (-0.05, -0.1)},
        "hour": _hour_effects(),
        "user": {1: (0.0, 0.0), 2: (0.05, 0.08), 3: (0.03, 0.05), 4: (0.10, 0.20)},
        "position": {
            1: (0.25, 0.0),
            3: (-0.35, 0.0),
            4: (0.10, 0.0),
            5: (-0.20, 0.0),
            6: (-0.10, 0.0),
            7: (0.60, -0.15),
        },
        "placement": {1: (0.15, 0.10), 2: (0.05, 0.0), 3: (0.40, -0.10), 4: (-0.25, 0.0)},
        "format": {1: (0.0, 0.0), 2: (0.60, -0.15), 3: (0.35, -0.20), 4: (0.70, -0.30)},
        "size": _size_effects({size: (c / 2, v / 2) for size, (c, v) in SIZES.items()}, "size"),
        "ad_size": _size_effects({size: (c / 2, v / 2) for size, (c, v) in SIZES.items()}, "ad_size"),
        "ad_format": _ad_format_effects(),
        "goal": {1: (-0.10, -0.30), 2: (0.10, 0.0), 3: (0.0, 0.25)},
    }


NUMERIC_EFFECTS = {"segments": (0.05, 0.10), "eids": (0.02, 0.05), "log_floor": (0.20, 0.10), "sizes": (0.0, 0.0)}


class _Noise:
    """Bell-shaped noise of unit variance that is bit for bit the same on every machine: sums of uniforms, no libm."""

    def __init__(self, seed: int) -> None:
        self._uniform = np.random.RandomState(seed).random_sample  # legacy stream, frozen by numpy's policy (NEP 19)

    def __call__(self, *shape: int) -> NDArray[np.float64]:
        total = self._uniform(shape)
        for _ in range(2):
            total = total + self._uniform(shape)
        return (total - 1.5) * 2.0  # three uniforms have variance 1/4


def _table(schema: tuple[features.Categorical, ...], noise: _Noise, known: Effects) -> Floats:
    """[rows, EMBEDDING]: every feature's embeddings below each other, in the order of the schema."""
    parts = []
    for feature in schema:
        block = np.zeros((feature.buckets, EMBEDDING))
        spread = NOISE.get(feature.name)
        if spread is not None:
            block[:, :2] = noise(feature.buckets, 2) * spread
            block[:, 2:] = noise(feature.buckets, len(INTERACTION)) * INTERACTION_NOISE
            block[0] = 0.0  # unknown has no effect
        for bucket, effect in known.get(feature.name, {}).items():
            block[bucket, :2] += effect
        parts.append(block)
    return np.concatenate(parts).astype(np.float32)


def _projection(features_of_side: int, click_to: int, conversion_to: int) -> Floats:
    """[features * EMBEDDING, WIDTH]: sums each column of the embeddings over the features into its place."""
    one = np.zeros((EMBEDDING, WIDTH), np.float32)
    one[CLICK, click_to] = one[CONVERSION, conversion_to] = 1.0
    for column in INTERACTION:
        one[column, 2 + column] = 1.0
    return np.tile(one, (features_of_side, 1))


def _weights(seed: int) -> Weights:
    """In u and creative: columns 0, 1 the request's effects, 2, 3 the creative's, 4..9 the interaction."""
    noise, known = _Noise(seed), effects()
    ones = np.zeros((2, WIDTH), np.float32)
    ones[0, 2:4] = 1.0  # u: where the creative holds its effects
    ones[1, 0:2] = 1.0  # creative: where u holds the request's
    numeric = np.zeros((len(features.REQUEST_NUMERIC), WIDTH), np.float32)
    for row, name in enumerate(features.REQUEST_NUMERIC):
        numeric[row, :2] = NUMERIC_EFFECTS[name]
    request_bias = ones[0].copy()
    request_bias[:2] = BASE
    # Hidden: relu(z - low) - relu(z - high) + low is z held within [low, high].
    dense, dense_bias = np.zeros((WIDTH, HIDDEN), np.float32), np.zeros(HIDDEN, np.float32)
    dense[:, 4:] = noise(WIDTH, HIDDEN - 4) * 0.1
    output, output_bias = np.zeros((2, HIDDEN), np.float32), np.zeros((2, 1), np.float32)
    for head, (low, high) in enumerate((CLICK_BOUNDS, CONVERSION_BOUNDS)):
        for unit, (bound, sign) in enumerate(((low, 1.0), (high, -1.0)), start=2 * head):
            dense[[head, 2 + head], unit] = 1.0
            dense[4 + 3 * head : 7 + 3 * head, unit] = 1.0
            dense_bias[unit] = -bound
            output[head, unit] = sign
        output_bias[head] = low
    n_request, n_creative = len(features.REQUEST_SCHEMA), len(features.CREATIVE_SCHEMA)
    return {
        "request_table": _table(features.REQUEST_SCHEMA, noise, known),
        "request_shape": np.array([-1, n_request * EMBEDDING], np.int64),
        "request_projection": _projection(n_request, 0, 1),
        "request_bias": request_bias,
        "numeric_projection": numeric,
        "creative_table": _table(features.CREATIVE_SCHEMA, noise, known),
        "creative_shape": np.array([-1, n_creative * EMBEDDING], np.int64),
        "creative_projection": _projection(n_creative, 2, 3),
        "creative_bias": ones[1],
        "dense": dense,
        "dense_bias": dense_bias,
        "output": output,
        "output_bias": output_bias,
    }


class Pair(NamedTuple):
    """The two files of a model, each with its metadata."""

    serving: onnx.ModelProto
    tower: onnx.ModelProto


def build(seed: int = 1) -> Pair:
    """The model; inputs and outputs as `adapters/onnx.py` expects them."""
    weights = _weights(seed)
    graphs = (_serving_graph(weights), _tower_graph(weights))
    pair = hashlib.sha256()
    for graph in graphs:
        pair.update(graph.SerializeToString(deterministic=True))
    metadata = {
        "schema_version": features.SCHEMA_VERSION,
        "pair": pair.hexdigest()[:16],
        "version": VERSION,
        "created": CREATED,
        "recipe": f"campaign_express.learning.seed_model, seed {seed}: effects by hand, not trained (docs/model.md)",
    }
    return Pair(*(_model(graph, metadata) for graph in graphs))


def _serving_graph(weights: Weights) -> onnx.GraphProto:
    node, value = helper.make_node, helper.make_tensor_value_info
    return _graph(
        "serving",
        [
            node("Gather", ["request_table", "request_cat"], ["request_embeddings"]),
            node("Reshape", ["request_embeddings", "request_shape"], ["request_flat"]),
            node("Gemm", ["request_flat", "request_projection", "request_bias"], ["request_sum"]),
            node("Gemm", ["request_num", "numeric_projection", "request_sum"], ["request_vector"]),
            node("Gather", ["request_vector", "row"], ["u"]),
            node("Mul", ["u", "creative"], ["product"]),
            node("Gemm", ["product", "dense", "dense_bias"], ["dense_out"]),
            node("Relu", ["dense_out"], ["hidden"]),
            node("Gemm", ["output", "hidden", "output_bias"], ["log_odds"], transB=1),
            node("Sigmoid", ["log_odds"], ["probabilities"]),
        ],
        [
            value("request_cat", TensorProto.INT64, ["R", len(features.REQUEST_CATEGORICAL)]),
            value("request_num", TensorProto.FLOAT, ["R", len(features.REQUEST_NUMERIC)]),
            value("creative", TensorProto.FLOAT, ["N", WIDTH]),
            value("row", TensorProto.INT64, ["N"]),
        ],
        value("probabilities", TensorProto.FLOAT, [2, "N"]),
        weights,
    )


def _tower_graph(weights: Weights) -> onnx.GraphProto:
    node, value = helper.make_node, helper.make_tensor_value_info
    return _graph(
        "creative_tower",
        [
            node("Gather", ["creative_table", "creative_cat"], ["creative_embeddings"]),
            node("Reshape", ["creative_embeddings", "creative_shape"], ["creative_flat"]),
            node("Gemm", ["creative_flat", "creative_projection", "creative_bias"], ["creative"]),
        ],
        [value("creative_cat", TensorProto.INT64, ["L", len(features.CREATIVE_CATEGORICAL)])],
        value("creative", TensorProto.FLOAT, ["L", WIDTH]),
        weights,
    )


def _graph(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    weights: Weights,
) -> onnx.GraphProto:
    """A graph with those of the weights that its nodes use."""
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(array, key) for key, array in weights.items() if key in used]
    return helper.make_graph(nodes, f"campaign_express_{name}", inputs, [output], initializers)


def _model(graph: onnx.GraphProto, metadata: dict[str, str]) -> onnx.ModelProto:
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="campaign_express"
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m campaign_express.learning.seed_model OUT.onnx", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    for file, model in zip((path, tower_file(path)), build(), strict=True):
        file.write_bytes(model.SerializeToString(deterministic=True))
        print(f"{file}: {file.stat().st_size} bytes, version {VERSION}, schema {features.SCHEMA_VERSION}")
    print(f"base rates: pctr {1 / (1 + exp(-BASE[CLICK])):.4f}, pcvr {1 / (1 + exp(-BASE[CONVERSION])):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
