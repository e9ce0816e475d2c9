"""What the treasury shows to Prometheus: names and meanings, docs/metrics.md has the same."""

from __future__ import annotations

from collections.abc import Mapping

from campaign_express.families import Family, Metric, families_of

METRICS = (
    Metric("treasury_leader", "gauge", "1 where a treasury leads."),
    Metric("treasury_terms", "counter", "Times that a treasury began to lead."),
    Metric("treasury_events", "counter", "Events applied to the ledger, by what they did there.", "outcome"),
    Metric("treasury_committed_usd", "counter", "Money committed; what a price notice took back is subtracted."),
    Metric("treasury_dead_events", "counter", "Messages that could not be read, moved to the stream DEAD."),
    Metric("treasury_stuck_events", "gauge", "Events that cannot be applied for a fault of ours."),
    Metric("treasury_lag_events", "gauge", "Events in the stream that are not applied yet."),
    Metric("treasury_lag_seconds", "gauge", "Age of the oldest event that is not applied yet."),
    Metric("treasury_swept_leases", "counter", "Leases released because no notice can settle them any more."),
    Metric("treasury_swept_usd", "counter", "Money that was reserved by them."),
    Metric("treasury_reconciled_ledgers", "counter", "Ledgers compared with the event log after their node changed."),
    Metric("treasury_restored_events", "counter", "Events that those had lost."),
    Metric("treasury_lost_ledgers", "gauge", "Ledgers that know of no grant though the event log does: rebuild them."),
    Metric("treasury_audits", "counter", "Books of advertisers that were looked at."),
    Metric("treasury_audit_comparisons", "counter", "Books that were compared with the event log."),
    Metric("treasury_audit_findings", "gauge", "Advertisers whose books are wrong, by what is wrong.", "kind"),
    Metric("treasury_breaker_trips", "counter", "Campaigns and accounts that the velocity breaker stopped."),
    Metric("treasury_paced_campaigns", "gauge", "Campaigns that are paced evenly, by where they are.", "place"),
    Metric("treasury_notifications", "counter", "Letters of notifications, by channel and outcome.", "outcome"),
    Metric("treasury_failures", "counter", "Steps that failed, by part of the treasury.", "part"),
)


def families(values: Mapping[str, float | Mapping[str, float]]) -> list[Family]:
    """All of METRICS with these values; KeyError where one is missing."""
    return families_of(METRICS, values)
