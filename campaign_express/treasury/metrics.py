"""What the treasury shows to Prometheus: names and meanings, docs/metrics.md has the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from campaign_express.families import Family


class _Metric(NamedTuple):
    name: str
    kind: str
    help: str
    label: str = ""


METRICS = (
    _Metric("treasury_leader", "gauge", "1 where a treasury leads."),
    _Metric("treasury_terms", "counter", "Times that a treasury began to lead."),
    _Metric("treasury_events", "counter", "Events applied to the ledger, by what they did there.", "outcome"),
    _Metric("treasury_committed_usd", "counter", "Money committed; what a price notice took back is subtracted."),
    _Metric("treasury_dead_events", "counter", "Messages that could not be read, moved to the stream DEAD."),
    _Metric("treasury_stuck_events", "gauge", "Events that cannot be applied for a fault of ours."),
    _Metric("treasury_lag_events", "gauge", "Events in the stream that are not applied yet."),
    _Metric("treasury_lag_seconds", "gauge", "Age of the oldest event that is not applied yet."),
    _Metric("treasury_swept_leases", "counter", "Leases released because no notice can settle them any more."),
    _Metric("treasury_swept_usd", "counter", "Money that was reserved by them."),
    _Metric("treasury_reconciled_ledgers", "counter", "Ledgers compared with the event log after their node changed."),
    _Metric("treasury_restored_events", "counter", "Events that those had lost."),
    _Metric("treasury_lost_ledgers", "gauge", "Ledgers that know of no grant though the event log does: rebuild them."),
    _Metric("treasury_audits", "counter", "Books of advertisers that were looked at."),
    _Metric("treasury_audit_comparisons", "counter", "Books that were compared with the event log."),
    _Metric("treasury_audit_findings", "gauge", "Advertisers whose books are wrong, by what is wrong.", "kind"),
    _Metric("treasury_breaker_trips", "counter", "Campaigns and accounts that the velocity breaker stopped."),
    _Metric("treasury_paced_campaigns", "gauge", "Campaigns that are paced evenly, by where they are.", "place"),
    _Metric("treasury_notifications", "counter", "Letters of notifications, by channel and outcome.", "outcome"),
    _Metric("treasury_failures", "counter", "Steps that failed, by part of the treasury.", "part"),
)


def families(values: Mapping[str, float | Mapping[str, float]]) -> list[Family]:
    """All of METRICS with these values; KeyError where one is missing."""
    found = []
    for metric in METRICS:
        value = values[metric.name]
        samples = {key: float(one) for key, one in value.items()} if isinstance(value, Mapping) else {"": float(value)}
        found.append(Family(metric.name, metric.kind, metric.help, metric.label, samples))
    return found
