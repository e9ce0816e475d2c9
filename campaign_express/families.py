"""Metrics of processes that are no cell, as they travel to the cell that is scraped: see `gateway/node.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

SUFFIX = ".families"  # of the Unix socket in the cells' directory that gives them: connect, read to the end


class Family(Struct, array_like=True):
    """One metric: a counter or gauge with at most one label. `samples`: by the label's value, "" without a label."""

    name: str  # without the common prefix, and of a counter without `_total`
    kind: str  # counter, gauge
    help: str
    label: str
    samples: dict[str, float]


class Metric(NamedTuple):
    """How a metric of such a process is described; docs/metrics.md has the same."""

    name: str
    kind: str
    help: str
    label: str = ""


def families_of(metrics: Sequence[Metric], values: Mapping[str, float | Mapping[str, float]]) -> list[Family]:
    """All of `metrics` with these values, by the label's value where there is a label. KeyError where one is
    missing."""
    found = []
    for metric in metrics:
        value = values[metric.name]
        samples = {key: float(one) for key, one in value.items()} if isinstance(value, Mapping) else {"": float(value)}
        found.append(Family(metric.name, metric.kind, metric.help, metric.label, samples))
    return found


def merge_families(several: Iterable[list[Family]]) -> list[Family]:
    """Those of several processes as one: counters added up; of gauges the highest, since one of them is at work."""
    merged: dict[str, Family] = {}
    for families in several:
        for family in families:
            known = merged.setdefault(family.name, Family(family.name, family.kind, family.help, family.label, {}))
            for value, sample in family.samples.items():
                before = known.samples.get(value, 0.0)
                known.samples[value] = before + sample if family.kind == "counter" else max(before, sample)
    return list(merged.values())


encode_families = msgspec.msgpack.Encoder().encode
decode_families = msgspec.msgpack.Decoder(list[Family]).decode
