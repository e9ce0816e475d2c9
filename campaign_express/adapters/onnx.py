"""Scoring with ONNX Runtime: one run for all candidates of all impressions of a batch.

A model is two files. NAME.onnx, the serving graph, runs for every batch; NAME.creative.onnx, the creative tower, turns
the features of creatives into vectors once a catalogue, so that a batch does not do it again for each candidate.

A model is refused at load (ModelError) unless the metadata of both files carry this release's feature schema and the
same pair, and their inputs and outputs are those of `ports.Scorer`; a trial run then proves that both run, give numbers
and probabilities, and have tables as high as the schema needs. The graphs and the recipe of the shipped model:
docs/model.md.

`accelerator` names the execution provider of the serving graph; the tower always runs on the CPU. Where the provider is
absent, fails, or takes no node of the graph, the CPU serves (`fallback` is True, one warning is logged), or the load is
refused under `require_accelerator`.

An NPU compiles static shapes, so there a batch is padded up to the next of a few (impressions, candidates) shapes, each
with a session of its own, and a larger batch is cut. The CPU takes any shape.

Threads: an agent's session runs on the calling thread alone (`threads` = 1 starts no pool, and nothing spins), because
20 agents share a node's cores and each has one batch at a time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from campaign_express.bidding.features import (
    CREATIVE_CATEGORICAL,
    CREATIVE_ROWS,
    REQUEST_CATEGORICAL,
    REQUEST_NUMERIC,
    REQUEST_ROWS,
    SCHEMA_VERSION,
)
from campaign_express.errors import ModelError

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
ANY = "D"  # a dimension that is the model's choice: the width of a creative's vector
Signature = Mapping[str, tuple[str, Sequence[int | str]]]  # name -> (type, shape)
SERVING_INPUTS: Signature = {  # as ports.Scorer.score
    "request_cat": ("tensor(int64)", ["R", len(REQUEST_CATEGORICAL)]),
    "request_num": ("tensor(float)", ["R", len(REQUEST_NUMERIC)]),
    "creative": ("tensor(float)", ["N", ANY]),
    "row": ("tensor(int64)", ["N"]),
}
SERVING_OUTPUTS: Signature = {"probabilities": ("tensor(float)", [2, "N"])}  # pctr, pcvr
TOWER_INPUTS: Signature = {"creative_cat": ("tensor(int64)", ["L", len(CREATIVE_CATEGORICAL)])}  # as .embed
TOWER_OUTPUTS: Signature = {"creative": ("tensor(float)", ["L", ANY])}
TOWER_ROWS = 1024  # creatives in a run of the tower: bounds its buffers; runs of 4096 leave 10 MB more of heap behind
_OUTPUTS = tuple(SERVING_OUTPUTS)
Int64s = NDArray[np.int64]
Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An execution provider and the (impressions, candidates) shapes it is compiled for, ascending.

    No shapes: nothing beside the CPU's own session, which takes any.
    """

    provider: str
    shapes: tuple[tuple[int, int], ...] = ()


ACCELERATORS: Mapping[str, Accelerator] = {
    "cpu": Accelerator(CPU),
    "amd_xdna": Accelerator("VitisAIExecutionProvider", ((1, 32), (4, 128), (16, 512), (64, 2048))),
}


def default_model() -> Path:
    """The model that ships with the package."""
    return Path(str(resources.files("campaign_express") / "data" / "models" / "seed.onnx"))


def tower_file(model_file: Path) -> Path:
    """The creative tower that belongs to a serving graph: the same name with `.creative.onnx` for `.onnx`."""
    return model_file.with_suffix(".creative.onnx")


def parse_options(text: str) -> dict[str, str]:
    """Provider options from `key=value,key=value` (the setting `npu_options`). Raises ModelError."""
    options = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ModelError(f"npu_options: expected key=value, got {item!r}")
        options[key.strip()] = value.strip()
    return options


def with_cache_key(options: Mapping[str, str], digest: str, shape: tuple[int, int]) -> dict[str, str]:
    """Where a cache of compiled models is given, a key of its own for each model file and shape.

    So a changed model is compiled anew, and the agents of a node share what one of them compiled.
    """
    options = dict(options)
    if "cache_dir" in options:
        options["cache_key"] = f"{options.get('cache_key') or digest[:16]}-{shape[0]}x{shape[1]}"
    return options


class _File(NamedTuple):
    path: Path
    model: bytes


class OnnxScorer:
    """Implements `ports.Scorer`. `score` is not for several threads at once: an agent has one; `embed` may run beside.

    version   of the model: its own name for itself and the start of the SHA-256 of its two files
    width     D, of a creative's vector
    provider  that runs the graph
    fallback  True when that is not the provider of the accelerator asked for; `fallback_reason` says why
    warm_us   microseconds that 16 impressions with 30 candidates each take on it once warm; `cpu_us` on the CPU
    invalid   scores that were no numbers and became 0 since load
    invalid_creatives  whose vectors were no numbers, since load
    """

    def __init__(
        self,
        model_file: str | Path = "",
        accelerator: str = "cpu",
        require_accelerator: bool = False,
        threads: int = 1,
        provider_options: Mapping[str, str] | None = None,
        accelerators: Mapping[str, Accelerator] = ACCELERATORS,
    ) -> None:
        """Load, check and warm up. An empty `model_file` means the shipped one. Raises ModelError.

        `provider_options` go to the accelerator's provider as they are (not to the CPU's).
        """
        path = Path(model_file) if model_file else default_model()
        file = _read(path, f"model file {path}")
        tower = _read(tower_file(path), f"creative tower {tower_file(path)} of model file {path}")
        self._source = str(path)
        self._digest = hashlib.sha256(file.model + tower.model).hexdigest()
        self._threads = threads
        self.provider = CPU
        self.fallback = False
        self.fallback_reason = ""
        self.invalid = self.invalid_creatives = 0

        # The CPU's session comes first, whatever the accelerator: what it says of the file is the truth about the file,
        # not a provider's fault, and its time is what an accelerator is compared with.
        cpu = self._open(file, CPU, {}, None)
        self._tower = self._open(tower, CPU, {}, None)
        self.version, self.width = self._check(file, cpu, tower, self._tower)
        self._last_creative = self._try_tower(tower)
        self._sessions: list[tuple[int, int, ort.InferenceSession]] = []
        self._run = cpu.run
        self._run_one = self._run_any
        self.cpu_us = self.warm_us = self._warm_up()
        wanted = accelerators.get(accelerator)
        if wanted is None:
            raise ModelError(f"accelerator {accelerator!r} is none of {', '.join(accelerators)}")
        if wanted.shapes:
            try:
                self._accelerate(wanted, file, provider_options or {})
            except ModelError as error:
                if require_accelerator:
                    raise
                self.provider, self._sessions, self._run_one = CPU, [], self._run_any
                self.fallback, self.fallback_reason = True, str(error)
                log.warning("accelerator %s is not used, the CPU serves: %s", accelerator, error)
        log.info("model %s on %s: %.0f µs (CPU: %.0f µs)", self.version, self.provider, self.warm_us, self.cpu_us)

    def embed(self, creative_cat: Int64s) -> Float32s:
        """See `ports.Scorer.embed`.

        A vector that is not all finite numbers becomes NaN throughout, is counted and logged: `score` then gives 0 for
        that creative, and the rest of the catalogue is served. (A vector of zeros would be scored like any other.)
        """
        vectors = np.empty((len(creative_cat), self.width), np.float32)
        for start in range(0, len(creative_cat), TOWER_ROWS):
            part = slice(start, start + TOWER_ROWS)
            vectors[part] = self._tower.run(tuple(TOWER_OUTPUTS), {"creative_cat": creative_cat[part]})[0]
        unusable = ~np.isfinite(vectors).all(axis=1)
        if unusable.any():
            vectors[unusable] = np.nan
            self.invalid_creatives += int(unusable.sum())
            log.warning("model %s: %d creatives get no score", self.version, unusable.sum())
        return vectors

    def score(
        self, request_cat: Int64s, request_num: Float32s, creative: Float32s, row: Int64s
    ) -> tuple[Float32s, Float32s]:
        """See `ports.Scorer.score`. A score that is not a number becomes 0, which bids nothing, and is counted."""
        if not len(row):
            return np.empty(0, np.float32), np.empty(0, np.float32)
        scores = self._run_one(request_cat, request_num, creative, row)
        if self.invalid_creatives:  # not left to the graph: a provider's ReLU may turn NaN into 0
            scores = np.where(np.isnan(creative[:, 0]), np.float32(np.nan), scores)
        # Outputs of a sigmoid are in [0, 1] or NaN, and one NaN makes the whole product NaN: the cheapest test.
        flat = scores.ravel()
        total = flat.dot(flat)
        if total != total:
            bad = np.isnan(scores)
            self.invalid += int(bad.sum())
            scores = np.where(bad, np.float32(0), scores)
        return scores[0], scores[1]

    def _run_any(self, request_cat: Int64s, request_num: Float32s, creative: Float32s, row: Int64s) -> Float32s:
        """[2, N] in one run."""
        feed = {"request_cat": request_cat, "request_num": request_num, "creative": creative, "row": row}
        scores: Float32s = self._run(_OUTPUTS, feed)[0]
        return scores

    def _run_padded(self, request_cat: Int64s, request_num: Float32s, creative: Float32s, row: Int64s) -> Float32s:
        """[2, N] in as few runs of compiled shapes as it takes, impressions block by block."""
        most_requests, most_candidates, _ = self._sessions[-1]
        if len(request_cat) <= most_requests and len(row) <= most_candidates:
            return self._run_shape(request_cat, request_num, creative, row)
        scores = np.empty((2, len(row)), np.float32)
        for first in range(0, len(request_cat), most_requests):
            block = slice(first, first + most_requests)
            (inside,) = np.nonzero((row >= first) & (row < first + most_requests))
            for start in range(0, len(inside), most_candidates):
                part = inside[start : start + most_candidates]
                scores[:, part] = self._run_shape(
                    request_cat[block], request_num[block], creative[part], row[part] - first
                )
        return scores

    def _run_shape(self, request_cat: Int64s, request_num: Float32s, creative: Float32s, row: Int64s) -> Float32s:
        r, n = len(request_cat), len(row)
        for requests, candidates, session in self._sessions:  # noqa: B007 - the one that fits is used below
            if r <= requests and n <= candidates:
                break
        feed = {
            "request_cat": _padded(request_cat, requests),
            "request_num": _padded(request_num, requests),
            "creative": _padded(creative, candidates),
            "row": _padded(row, candidates),
        }
        scores: Float32s = session.run(_OUTPUTS, feed)[0]
        return np.ascontiguousarray(scores[:, :n])

    def _accelerate(self, wanted: Accelerator, file: _File, options: Mapping[str, str]) -> None:
        self._sessions = [(*shape, self._open_on(wanted.provider, file, options, shape)) for shape in wanted.shapes]
        self.provider = wanted.provider
        self._run_one = self._run_padded
        self.warm_us = self._warm_up()

    def _open_on(
        self, provider: str, file: _File, options: Mapping[str, str], shape: tuple[int, int]
    ) -> ort.InferenceSession:
        """A session that really runs on `provider`. Raises ModelError where it is absent, fails or takes no node."""
        available = ort.get_available_providers()
        if provider not in available:
            raise ModelError(f"{provider} is not part of this ONNX Runtime (it has {', '.join(available)})")
        options = with_cache_key(options, self._digest, shape)
        session = self._open(file, provider, options, shape)
        if provider not in session.get_providers():
            raise ModelError(f"{provider} failed to start; ONNX Runtime chose {', '.join(session.get_providers())}")
        if not _takes_nodes(session, provider):
            raise ModelError(f"{provider} runs no part of {self._source}")
        return session

    def _open(
        self, file: _File, provider: str, options: Mapping[str, str], shape: tuple[int, int] | None
    ) -> ort.InferenceSession:
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.enable_cpu_mem_arena = False  # measured: no slower, and a large batch leaves nothing behind
        settings.intra_op_num_threads = self._threads
        settings.inter_op_num_threads = 1
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if shape is not None:
            settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")  # for _takes_nodes
            settings.add_free_dimension_override_by_name("R", shape[0])
            settings.add_free_dimension_override_by_name("N", shape[1])
        providers: Sequence[Any] = [CPU] if provider == CPU else [(provider, dict(options)), CPU]
        try:
            return ort.InferenceSession(file.model, settings, providers=providers)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
            raise ModelError(f"model file {file.path} cannot be loaded on {provider}: {error}") from error

    def _check(
        self, file: _File, serving: ort.InferenceSession, file_of_tower: _File, tower: ort.InferenceSession
    ) -> tuple[str, int]:
        """Schema, inputs and outputs of both files, and that they belong together. Returns (version, D)."""
        width = _check_graph(file.path, serving, SERVING_INPUTS, SERVING_OUTPUTS)
        tower_width = _check_graph(file_of_tower.path, tower, TOWER_INPUTS, TOWER_OUTPUTS)
        metadata, of_tower = (session.get_modelmeta().custom_metadata_map for session in (serving, tower))
        both = f"model file {file.path} and creative tower {file_of_tower.path} do not belong together"
        if not metadata.get("pair") or metadata["pair"] != of_tower.get("pair"):
            raise ModelError(
                f"{both}: pair {metadata.get('pair') or '(none given)'} and {of_tower.get('pair') or '(none given)'}"
            )
        if width != tower_width:
            raise ModelError(f"{both}: a creative has {width} numbers in the one and {tower_width} in the other")
        return f"{metadata.get('version') or 'unnamed'}+{self._digest[:8]}", width

    def _try_tower(self, file: _File) -> Float32s:
        """[1, D], the vector of the creative whose features are all the table's last row. Raises ModelError."""
        try:
            vector = self.embed(np.full((1, len(CREATIVE_CATEGORICAL)), CREATIVE_ROWS - 1))
        except Exception as error:  # as above
            raise ModelError(f"creative tower {file.path} does not run: {error}") from error
        if self.invalid_creatives:
            raise ModelError(f"creative tower {file.path} gives something else than finite numbers")
        return vector

    def _warm_up(self) -> float:
        """Runs every shape, with the highest index of each side, and times the usual one. Raises ModelError."""
        sizes = [(1, 30), (16, 480), *((r, n) for r, n, _ in self._sessions)]
        taken = 0.0
        for r, n in sizes:
            rows = (
                np.full((r, len(REQUEST_CATEGORICAL)), REQUEST_ROWS - 1),
                np.zeros((r, len(REQUEST_NUMERIC)), np.float32),
                self._last_creative.repeat(n, axis=0),
                np.arange(n) % r,
            )
            try:
                for _ in range(10):  # the first ones allocate
                    scores = self._run_one(*rows)
                start = perf_counter_ns()
                scores = self._run_one(*rows)
            except Exception as error:  # as above
                raise ModelError(f"model file {self._source} does not run on {self.provider}: {error}") from error
            if (r, n) == (16, 480):
                taken = (perf_counter_ns() - start) / 1000
            if scores.shape != (2, n) or not ((scores >= 0) & (scores <= 1)).all():
                raise ModelError(f"model file {self._source} gives something else than probabilities")
        return taken


def _read(path: Path, name: str) -> _File:
    try:
        return _File(path, path.read_bytes())
    except OSError as error:
        raise ModelError(f"{name}: {error.strerror or error}") from error


def _check_graph(path: Path, session: ort.InferenceSession, inputs: Signature, outputs: Signature) -> int:
    """Returns D, the graph's own choice of it. Raises ModelError."""
    schema = session.get_modelmeta().custom_metadata_map.get("schema_version")
    if schema != SCHEMA_VERSION:
        raise ModelError(
            f"model file {path} was made for feature schema {schema or '(none given)'}, "
            f"this release has {SCHEMA_VERSION}: train or build it again (docs/model.md)"
        )
    width = 0
    for kind, values, expected in (
        ("inputs", session.get_inputs(), inputs),
        ("outputs", session.get_outputs(), outputs),
    ):
        found = {v.name: (v.type, list(v.shape)) for v in values}
        _, shape = found.get("creative", ("", []))
        if len(shape) == 2 and isinstance(shape[1], int):
            width, shape[1] = shape[1], ANY
        if found != expected:
            raise ModelError(f"model file {path} has {kind} {found}, expected {dict(expected)}")
    return width


def _padded(rows: NDArray[Any], height: int) -> NDArray[Any]:
    """`rows` with zeros below; index 0 is in every table."""
    if len(rows) == height:
        return rows
    out = np.zeros((height, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out


def _takes_nodes(session: ort.InferenceSession, provider: str) -> bool:
    """Whether any node of the graph was given to `provider`; True where this ONNX Runtime cannot tell (before 1.24)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return True
    return any(part.ep_name == provider for part in session.get_provider_graph_assignment_info())
