"""Metrics of processes that are no cell, as they travel to the cell that is scraped: see `gateway/node.py`."""

from __future__ import annotations

from collections.abc import Iterable

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
