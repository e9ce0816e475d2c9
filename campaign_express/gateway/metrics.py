"""What `:9091/metrics` shows: names, help and buckets of every metric, made from counters when Prometheus asks.

docs/metrics.md describes the same names; a test compares the two. Counters and histograms are those of the whole node
(all cells that share its ports); gauges carry the cell they describe, since they mean nothing added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from campaign_express.families import Family
from campaign_express.gateway.meters import BID, REFUSALS, Counters, Gauges, Histogram, Snapshot
from campaign_express.openrtb.nobid import BY_INDEX, NoBidReason

PREFIX = "campaign_express_"
NANO, MICRO = 1e9, 1e6

_ERRORS = (NoBidReason.TECHNICAL_ERROR, NoBidReason.NO_AGENT)


class _Counter(NamedTuple):
    name: str
    help: str
    field: str
    scale: float = 1.0


COUNTERS = (
    _Counter("batches", "Batches sent to agents.", "batches"),
    _Counter("retried_requests", "Requests sent again because their agent died.", "retried"),
    _Counter("late_requests", "Requests whose time had passed before they were decided.", "late"),
    _Counter("shed_requests", "Requests refused because the queue was full.", "shed"),
    _Counter("agent_restarts", "Agents that came back after their link was lost.", "agent_restarts"),
    _Counter("bids", "Bids made; a response may hold several.", "bids"),
    _Counter("spooled_events", "Events that went to the local spool.", "spooled"),
    _Counter("drained_events", "Events that went from the spool to JetStream.", "drained"),
    _Counter("refused_events", "Events that JetStream refused to store; they go to the spool.", "refused_events"),
    _Counter("damaged_spools", "Spool segments that end in a record which cannot be read.", "spool_damaged"),
    _Counter("dropped_touches", "Clicks and views that Redis did not take in time.", "touches_dropped"),
    _Counter("published_decisions", "Decisions and requests that JetStream has acknowledged.", "decisions_published"),
    _Counter("dropped_decisions", "Decisions and requests that JetStream did not take in time.", "decisions_dropped"),
    _Counter("dropped_decision_frames", "Messages of decisions that were dropped.", "decision_frames_dropped"),
    _Counter("persons", "Persons whose state was asked for.", "persons"),
    _Counter("unknown_persons", "Persons whose state did not come in time; what is capped did not bid.", "unknown"),
    _Counter("state_timeouts", "Round trips to the store of people that were not answered whole in time.", "timeouts"),
    _Counter(
        "state_round_trips", "Round trips to the store of people, those that nobody waited for too.", "round_trips"
    ),
    _Counter("profile_cache_hits", "Profiles that an agent remembered.", "profile_hits"),
    _Counter("profile_cache_misses", "Profiles that were read from Redis.", "profile_misses"),
    _Counter("leased_usd", "Money that agents were granted by the ledger, given back or not.", "granted_micros", MICRO),
    _Counter("lease_failures", "Calls of agents that the ledger did not answer.", "lease_failures"),
    _Counter("agent_busy_seconds", "Time that agents spent deciding.", "busy_ns", NANO),
)


class _Histogram(NamedTuple):
    name: str
    help: str
    field: str
    scale: float


HISTOGRAMS = (
    _Histogram("bid_latency_seconds", "From a request's arrival in the gateway to its answer.", "latency", NANO),
    _Histogram("queue_time_seconds", "From a request's arrival to its batch's departure.", "queue_time", NANO),
    _Histogram("batch_size_requests", "Requests in a batch.", "batch_size", 1.0),
    _Histogram("decision_time_seconds", "An agent's time for a batch.", "decision_time", NANO),
    _Histogram("inference_time_seconds", "The model's time within a batch.", "inference_time", NANO),
    _Histogram("event_publish_seconds", "From an event's making to its being durable.", "publish_time", NANO),
    _Histogram("state_time_seconds", "A batch's wait for the store of people.", "state_time", NANO),
    _Histogram("bid_price_usd_cpm", "Prices of bids, USD CPM.", "price", MICRO),
)


class _Gauge(NamedTuple):
    name: str
    help: str
    field: str


GAUGES = (
    _Gauge("catalog_version", "Version of the catalogue that every agent of the cell bids with.", "catalog_version"),
    _Gauge("live_agents", "Agents that are linked to their gateway.", "live_agents"),
    _Gauge("agents", "Agents that the cell should have.", "agents"),
    _Gauge("connections", "Open connections of exchanges.", "connections"),
    _Gauge("in_flight_requests", "Requests in agents' hands.", "in_flight"),
    _Gauge("queued_requests", "Requests waiting for an agent.", "queued"),
    _Gauge("draining", "1 while the cell is leaving.", "draining"),
    _Gauge("compiled", "1 where the hot path runs as machine code.", "compiled"),
    _Gauge("broker_up", "1 while JetStream acknowledges events.", "broker_up"),
    _Gauge("spool_bytes", "Bytes that wait in the cell's spool.", "spool_bytes"),
    _Gauge("decision_bytes", "Bytes of decisions that JetStream has not acknowledged.", "decision_bytes"),
    _Gauge("open_breakers", "Agents that have stopped asking the store of people, or try it again.", "open_breakers"),
    _Gauge("resident_memory_bytes", "Memory of the gateway and its agents.", "resident_bytes"),
)


def outcome(reason: NoBidReason | None) -> str:
    """The coarse outcome of a request: `bid`, `no-bid`, `invalid` (the exchange's fault) or `error` (ours)."""
    if reason is None:
        return "bid"
    if reason is NoBidReason.INVALID_REQUEST:
        return "invalid"
    return "error" if reason in _ERRORS else "no-bid"


class NodeCollector(Collector):
    """Prometheus families from snapshots: `total` of the node's counters, `gauges` by cell, `others` as they are."""

    def __init__(
        self,
        total: Counters,
        gauges: Sequence[tuple[str, Gauges]],
        model_load_failures: int,
        others: Sequence[Family] = (),
    ) -> None:
        self._total = total
        self._others = others
        self._gauges = gauges
        self._model_load_failures = model_load_failures

    def collect(self) -> Iterator[Metric]:
        total = self._total
        requests = CounterMetricFamily(PREFIX + "requests", "Bid requests by protocol.", labels=["protocol"])
        requests.add_metric(["http"], total.http_requests)
        requests.add_metric(["grpc"], total.grpc_requests)
        yield requests
        outcomes = CounterMetricFamily(
            PREFIX + "outcomes", "Bid requests by what came of them.", labels=["outcome", "reason"]
        )
        outcomes.add_metric([outcome(None), ""], total.outcomes[BID])
        for reason in BY_INDEX:
            outcomes.add_metric([outcome(reason), reason.value], total.outcomes[reason.index])
        yield outcomes
        invalid = CounterMetricFamily(
            PREFIX + "invalid_requests", "Invalid bid requests by the rule they break.", labels=["rule"]
        )
        for rule, count in sorted(total.rules.items()):
            invalid.add_metric([rule], count)
        yield invalid
        refusals = CounterMetricFamily(
            PREFIX + "refusals", "HTTP requests that the gateway itself refused.", labels=["status"]
        )
        for status, count in zip(REFUSALS, total.refusals, strict=True):
            refusals.add_metric([str(status)], count)
        yield refusals
        notices = CounterMetricFamily(
            PREFIX + "notices", "Notices, postbacks and syncs by what came of them.", labels=["kind", "outcome"]
        )
        for key, count in sorted(total.notices.items()):
            notices.add_metric(key.split(" "), count)
        yield notices
        prices = CounterMetricFamily(
            PREFIX + "notice_prices", "Prices of notices that are not plainly believed.", labels=["remark"]
        )
        for remark, count in sorted(total.notice_prices.items()):
            prices.add_metric([remark], count)
        yield prices
        failures = CounterMetricFamily(PREFIX + "model_load_failures", "Models that an agent could not load.")
        failures.add_metric([], self._model_load_failures)
        yield failures
        for counter in COUNTERS:
            family = CounterMetricFamily(PREFIX + counter.name, counter.help)
            family.add_metric([], getattr(total, counter.field) / counter.scale)
            yield family
        for histogram in HISTOGRAMS:
            yield _family(histogram, getattr(total, histogram.field))
        for gauge in GAUGES:
            shown = GaugeMetricFamily(PREFIX + gauge.name, gauge.help, labels=["cell"])
            for cell, values in self._gauges:
                shown.add_metric([cell], float(getattr(values, gauge.field)))
            yield shown
        for other in self._others:
            kind = CounterMetricFamily if other.kind == "counter" else GaugeMetricFamily
            metric = kind(PREFIX + other.name, other.help, labels=[other.label] if other.label else [])
            for value, sample in sorted(other.samples.items()):
                metric.add_metric([value] if other.label else [], sample)
            yield metric


def _family(histogram: _Histogram, values: Histogram) -> HistogramMetricFamily:
    buckets, seen = [], 0
    for bound, count in zip((*values.bounds, None), values.counts, strict=True):
        seen += count
        buckets.append(("+Inf" if bound is None else repr(bound / histogram.scale), seen))
    family = HistogramMetricFamily(PREFIX + histogram.name, histogram.help)
    family.add_metric([], buckets, sum_value=values.total / histogram.scale)
    return family


def merge(snapshots: Iterable[Snapshot], retired: Counters | None) -> tuple[Counters, list[tuple[str, Gauges]]]:
    """Counters of all cells of the node, those that have ended included, and the gauges of those that live."""
    total, gauges = Counters(), []
    if retired is not None:
        total.add(retired)
    for snapshot in snapshots:
        total.add(snapshot.counters)
        gauges.append((snapshot.cell, snapshot.gauges))
    return total, gauges


def expose(collector: NodeCollector, accept: str) -> tuple[bytes, str]:
    """(body, content type) in the format that the scraper's Accept header asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type
