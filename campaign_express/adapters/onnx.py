"""Scoring with ONNX Runtime: one run for all candidates of all impressions of a batch.

A model file is refused at load (ModelError) unless its metadata carries this release's feature schema and its inputs
and output are those of `ports.Scorer`; a trial run then proves that it runs, gives probabilities, and has tables as
high as the schema needs. The graph and the recipe of the shipped model: docs/model.md.

`accelerator` names the execution provider. Where the provider is absent, fails, or takes no node of the graph, the CPU
serves (`fallback` is True, one warning is logged), or the load is refused under `require_accelerator`.

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
from typing import Any

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
INPUTS = {  # name -> (type, shape), as ports.Scorer
    "request_cat": ("tensor(int64)", ["R", len(REQUEST_CATEGORICAL)]),
    "request_num": ("tensor(float)", ["R", len(REQUEST_NUMERIC)]),
    "creative_cat": ("tensor(int64)", ["N", len(CREATIVE_CATEGORICAL)]),
    "row": ("tensor(int64)", ["N"]),
}
OUTPUT = "probabilities"  # float [2, N]: pctr, pcvr
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


class OnnxScorer:
    """Implements `ports.Scorer`. Not for several threads at once: an agent has one.

    version   of the model: its own name for itself and the start of the file's SHA-256
    provider  that runs the graph
    fallback  True when that is not the provider of the accelerator asked for; `fallback_reason` says why
    warm_us   microseconds that 16 impressions with 30 candidates each take on it once warm; `cpu_us` on the CPU
    invalid   scores that were no numbers and became 0 since load
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
        try:
            model = path.read_bytes()
        except OSError as error:
            raise ModelError(f"model file {path}: {error.strerror or error}") from error
        self._source = str(path)
        self._digest = hashlib.sha256(model).hexdigest()
        self._threads = threads
        self.provider = CPU
        self.fallback = False
        self.fallback_reason = ""
        self.invalid = 0

        # The CPU's session comes first, whatever the accelerator: what it says of the file is the truth about the file,
        # not a provider's fault, and its time is what an accelerator is compared with.
        cpu = self._open(model, CPU, {}, None)
        self.version = self._check(cpu)
        self._sessions: list[tuple[int, int, ort.InferenceSession]] = []
        self._run = cpu.run
        self._run_one = self._run_any
        self.cpu_us = self.warm_us = self._warm_up()
        wanted = accelerators.get(accelerator)
        if wanted is None:
            raise ModelError(f"accelerator {accelerator!r} is none of {', '.join(accelerators)}")
        if wanted.shapes:
            try:
                self._accelerate(wanted, model, provider_options or {})
            except ModelError as error:
                if require_accelerator:
                    raise
                self.provider, self._sessions, self._run_one = CPU, [], self._run_any
                self.fallback, self.fallback_reason = True, str(error)
                log.warning("accelerator %s is not used, the CPU serves: %s", accelerator, error)
        log.info("model %s on %s: %.0f µs (CPU: %.0f µs)", self.version, self.provider, self.warm_us, self.cpu_us)

    def score(
        self, request_cat: Int64s, request_num: Float32s, creative_cat: Int64s, row: Int64s
    ) -> tuple[Float32s, Float32s]:
        """See `ports.Scorer.score`. A score that is not a number becomes 0, which bids nothing, and is counted."""
        if not len(row):
            return np.empty(0, np.float32), np.empty(0, np.float32)
        scores = self._run_one(request_cat, request_num, creative_cat, row)
        # Outputs of a sigmoid are in [0, 1] or NaN, and one NaN makes the whole product NaN: the cheapest test.
        flat = scores.ravel()
        total = flat.dot(flat)
        if total != total:
            bad = np.isnan(scores)
            self.invalid += int(bad.sum())
            scores = np.where(bad, np.float32(0), scores)
        return scores[0], scores[1]

    def _run_any(self, request_cat: Int64s, request_num: Float32s, creative_cat: Int64s, row: Int64s) -> Float32s:
        """[2, N] in one run."""
        feed = {"request_cat": request_cat, "request_num": request_num, "creative_cat": creative_cat, "row": row}
        scores: Float32s = self._run((OUTPUT,), feed)[0]
        return scores

    def _run_padded(self, request_cat: Int64s, request_num: Float32s, creative_cat: Int64s, row: Int64s) -> Float32s:
        """[2, N] in as few runs of compiled shapes as it takes, impressions block by block."""
        most_requests, most_candidates, _ = self._sessions[-1]
        if len(request_cat) <= most_requests and len(row) <= most_candidates:
            return self._run_shape(request_cat, request_num, creative_cat, row)
        scores = np.empty((2, len(row)), np.float32)
        for first in range(0, len(request_cat), most_requests):
            block = slice(first, first + most_requests)
            (inside,) = np.nonzero((row >= first) & (row < first + most_requests))
            for start in range(0, len(inside), most_candidates):
                part = inside[start : start + most_candidates]
                scores[:, part] = self._run_shape(
                    request_cat[block], request_num[block], creative_cat[part], row[part] - first
                )
        return scores

    def _run_shape(self, request_cat: Int64s, request_num: Float32s, creative_cat: Int64s, row: Int64s) -> Float32s:
        r, n = len(request_cat), len(row)
        for requests, candidates, session in self._sessions:  # noqa: B007 - the one that fits is used below
            if r <= requests and n <= candidates:
                break
        feed = {
            "request_cat": _padded(request_cat, requests),
            "request_num": _padded(request_num, requests),
            "creative_cat": _padded(creative_cat, candidates),
            "row": _padded(row, candidates),
        }
        scores: Float32s = session.run((OUTPUT,), feed)[0]
        return np.ascontiguousarray(scores[:, :n])

    def _accelerate(self, wanted: Accelerator, model: bytes, options: Mapping[str, str]) -> None:
        self._sessions = [(*shape, self._open_on(wanted.provider, model, options, shape)) for shape in wanted.shapes]
        self.provider = wanted.provider
        self._run_one = self._run_padded
        self.warm_us = self._warm_up()

    def _open_on(
        self, provider: str, model: bytes, options: Mapping[str, str], shape: tuple[int, int]
    ) -> ort.InferenceSession:
        """A session that really runs on `provider`. Raises ModelError where it is absent, fails or takes no node."""
        available = ort.get_available_providers()
        if provider not in available:
            raise ModelError(f"{provider} is not part of this ONNX Runtime (it has {', '.join(available)})")
        options = with_cache_key(options, self._digest, shape)
        session = self._open(model, provider, options, shape)
        if provider not in session.get_providers():
            raise ModelError(f"{provider} failed to start; ONNX Runtime chose {', '.join(session.get_providers())}")
        if not _takes_nodes(session, provider):
            raise ModelError(f"{provider} runs no part of {self._source}")
        return session

    def _open(
        self, model: bytes, provider: str, options: Mapping[str, str], shape: tuple[int, int] | None
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
            return ort.InferenceSession(model, settings, providers=providers)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
            raise ModelError(f"model file {self._source} cannot be loaded on {provider}: {error}") from error

    def _check(self, session: ort.InferenceSession) -> str:
        """Schema, inputs and output. Returns the model's version."""
        metadata = session.get_modelmeta().custom_metadata_map
        schema = metadata.get("schema_version")
        if schema != SCHEMA_VERSION:
            raise ModelError(
                f"model file {self._source} was made for feature schema {schema or '(none given)'}, "
                f"this release has {SCHEMA_VERSION}: train or build it again (docs/model.md)"
            )
        found = {i.name: (i.type, list(i.shape)) for i in session.get_inputs()}
        if found != INPUTS:
            raise ModelError(f"model file {self._source} has inputs {found}, expected {INPUTS}")
        outputs = {o.name: (o.type, list(o.shape)) for o in session.get_outputs()}
        if outputs.get(OUTPUT) != ("tensor(float)", [2, "N"]):
            raise ModelError(f"model file {self._source} has outputs {outputs}, expected {OUTPUT}: float [2, N]")
        return f"{metadata.get('version') or 'unnamed'}+{self._digest[:8]}"

    def _warm_up(self) -> float:
        """Runs every shape, with the highest index of each side, and times the usual one. Raises ModelError."""
        sizes = [(1, 30), (16, 480), *((r, n) for r, n, _ in self._sessions)]
        taken = 0.0
        for r, n in sizes:
            rows = (
                np.full((r, len(REQUEST_CATEGORICAL)), REQUEST_ROWS - 1),
                np.zeros((r, len(REQUEST_NUMERIC)), np.float32),
                np.full((n, len(CREATIVE_CATEGORICAL)), CREATIVE_ROWS - 1),
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
