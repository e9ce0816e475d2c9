"""Traces to an OpenTelemetry collector over OTLP/HTTP (Tempo's 4318), in batches, from a thread of the SDK's own.

Imported only where `otlp_endpoint` is set, and by the gateway alone. Spans are made when all is known, with the times
that were measured anyway: nothing is opened or closed on the hot path. What the collector does not take is dropped;
the SDK keeps at most 2,048 spans.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from campaign_express.openrtb.nobid import BY_INDEX
from campaign_express.tracing import BidTrace, NoticeTrace, is_traced, trace_of

PATH = "/v1/traces"
TIMEOUT_S = 5.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("campaign_express")


class Spans:
    """Makes spans of what it is told and sends them. `endpoint`: http://HOST:4318; `share`: of auctions, 0 to 1."""

    def __init__(self, endpoint: str, share: float, cell: str, delay_ms: int = 5000) -> None:
        self._share = share
        self._resource = Resource({"service.name": "campaign-express", "service.instance.id": cell})
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH, timeout=TIMEOUT_S)
        self._processor = BatchSpanProcessor(exporter, schedule_delay_millis=delay_ms)

    def bid(self, bid: BidTrace) -> None:
        """A request that an agent has found to be sampled."""
        trace, root = trace_of(bid.auction)
        reason = "" if bid.reason < 0 else BY_INDEX[bid.reason].value
        outcome: dict[str, str | int | float] = {"auction": bid.auction, "exchange": bid.exchange}
        outcome |= {"outcome": "no-bid", "reason": reason} if reason else {"outcome": "bid"}
        self._end("bid", trace, root, 0, bid.arrival_ns, bid.answered_ns, outcome, SpanKind.SERVER)
        self._end("queue", trace, 0, root, bid.arrival_ns, bid.sent_ns, {"batch.size": bid.batch})
        work = {"state.ms": bid.state_ns / 1e6, "inference.ms": bid.inference_ns / 1e6, "batch.size": bid.batch}
        self._end("agent", trace, 0, root, bid.started_ns, bid.started_ns + bid.total_ns, work)

    def notice(self, notice: NoticeTrace) -> None:
        """A notice whose event is durable; it joins the trace of its bid, where that is sampled."""
        if not is_traced(notice.auction, self._share):
            return
        trace, root = trace_of(notice.auction)
        told = {"auction": notice.auction, "exchange": notice.exchange, "campaign": notice.campaign}
        told |= {"event.id": notice.event, "outcome": notice.kept}
        self._end(notice.kind, trace, 0, root, notice.started_ns, notice.kept_ns, told, SpanKind.SERVER)

    def close(self) -> None:
        """Send what is left. Blocks, for as long as the collector takes."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _end(
        self,
        name: str,
        trace: int,
        span: int,
        parent: int,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, str | int | float],
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        """`span` 0: any id; `parent` 0: none. Times are monotonic."""
        offset = time.time_ns() - time.monotonic_ns()
        own = SpanContext(trace, span or secrets.randbits(64) or 1, is_remote=False, trace_flags=_SAMPLED)
        above = SpanContext(trace, parent, is_remote=True, trace_flags=_SAMPLED) if parent else None
        self._processor.on_end(
            ReadableSpan(
                name,
                context=own,
                parent=above,
                resource=self._resource,
                attributes=attributes,
                kind=kind,
                start_time=start_ns + offset,
                end_time=end_ns + offset,
                instrumentation_scope=_SCOPE,
            )
        )
