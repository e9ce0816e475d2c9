"""What the event pipeline shows to Prometheus: names and meanings, docs/metrics.md has the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from campaign_express.families import Family, Metric, families_of
from campaign_express.pipeline.worker import Tally

METRICS = (
    Metric("pipeline_owned", "gauge", "1 where a replica works on the partition.", "partition"),
    Metric("pipeline_events", "counter", "Events that were stored, by partition.", "partition"),
    Metric("pipeline_messages", "counter", "Messages that they came in.", "partition"),
    Metric("pipeline_ranges", "counter", "Batches that they were stored in.", "partition"),
    Metric("pipeline_duplicates", "counter", "Conversions of an order that was stored before.", "partition"),
    Metric(
        "pipeline_dead_messages", "counter", "Messages that could not be read, moved to the stream DEAD.", "partition"
    ),
    Metric("pipeline_failures", "counter", "Inserts that did not succeed; they are tried again.", "partition"),
    Metric("pipeline_insert_seconds", "counter", "Time spent storing.", "partition"),
    Metric("pipeline_lag_messages", "gauge", "Messages in the stream that are not stored yet.", "partition"),
    Metric("pipeline_lag_seconds", "gauge", "Age of the oldest of them.", "partition"),
    Metric("pipeline_summed_minutes", "counter", "Minutes whose sums were made anew."),
    Metric("pipeline_sum_failures", "counter", "Times that sums could not be made."),
)


def families(tallies: Mapping[str, Tally], minutes: int, sum_failures: int) -> list[Family]:
    """`tallies`: by partition."""
    by: dict[str, Callable[[Tally], float]] = {
        "pipeline_owned": lambda t: t.owned,
        "pipeline_events": lambda t: t.events,
        "pipeline_messages": lambda t: t.messages,
        "pipeline_ranges": lambda t: t.ranges,
        "pipeline_duplicates": lambda t: t.duplicates,
        "pipeline_dead_messages": lambda t: t.buried,
        "pipeline_failures": lambda t: t.failures,
        "pipeline_insert_seconds": lambda t: t.insert_ns / 1e9,
        "pipeline_lag_messages": lambda t: t.lag_messages,
        "pipeline_lag_seconds": lambda t: t.lag_s,
    }
    values: dict[str, float | Mapping[str, float]] = {
        name: {partition: float(value(tally)) for partition, tally in tallies.items()} for name, value in by.items()
    }
    return families_of(METRICS, {**values, "pipeline_summed_minutes": minutes, "pipeline_sum_failures": sum_failures})
