"""The streams of JetStream that events are kept in: their subjects and terms, in one place for whoever makes them
first.

Every part that publishes or reads makes the stream if it is absent and gives it the terms of the settings.
docs/pipeline.md has the table, and how long an outage each setting outlasts.
"""

from __future__ import annotations

from campaign_express.adapters.nats import StreamTerms
from campaign_express.config import Settings
from campaign_express.events import CHANGE_SUBJECTS, CHANGES, DECISION_SUBJECTS, DECISIONS, STREAM, SUBJECTS

SUBJECTS_OF = {STREAM: SUBJECTS, DECISIONS: DECISION_SUBJECTS, CHANGES: CHANGE_SUBJECTS}


def stream_terms(settings: Settings) -> dict[str, StreamTerms]:
    """Of every stream of SUBJECTS_OF."""
    replicas, window_s = settings.stream_replicas, settings.stream_duplicate_window_s
    return {
        STREAM: StreamTerms(replicas, settings.stream_max_age_s, settings.stream_max_bytes, window_s),
        DECISIONS: StreamTerms(
            replicas,
            settings.decision_max_age_s,
            settings.decision_max_bytes,
            window_s,
            forgets=True,
            compressed=True,
        ),
        CHANGES: StreamTerms(replicas, duplicate_window_s=window_s),
    }
