"""Traces of real bids and notices, received by a small collector over OTLP/HTTP on loopback."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_express import config
from campaign_express.bootstrap import build_bidder
from campaign_express.bootstrap_notices import build_spans
from campaign_express.frames import Ask, Reply
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.meters import Meters
from campaign_express.serving.agent_socket import AgentSocket
from campaign_express.serving.logs import JsonFormatter
from campaign_express.tracing import NoticeTrace, is_traced, trace_id, trace_of
from tests.support.collector import Collector, attributes

KEYS = "test:" + "07" * 32


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.shutdown()
    made.server_close()


def settings_of(url: str, share: float) -> config.Settings:
    return config.load({"notice_keys": KEYS, "otlp_endpoint": url, "trace_sample": share}, {})


def body(auction: str) -> bytes:
    slots = [{"w": 300, "h": 250}, {"w": 728, "h": 90}]
    return json.dumps({"id": auction, "tmax": 5000, "imp": [{"id": "1", "banner": {"format": slots}}]}).encode()


async def bid(settings: config.Settings, auctions: list[str]) -> None:
    """Each of them once, through a gateway's queue and an agent's socket; then their spans have been sent."""
    spans = build_spans(settings, "cell-1")
    bidder = build_bidder(settings)
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as folder:
        agent = AgentSocket(bidder, str(Path(folder, "a.sock")))
        pool = AgentPool(Meters("t"), max_batch=16, batches_in_flight=2, max_queue=1024, timeout_ms=5000)
        if spans is not None:
            pool.trace(spans.bid)
        pool.connect(agent.path)
        await pool.wait_live(1)
        await asyncio.gather(*(pool.submit(Ask("", time.monotonic_ns(), body(one))) for one in auctions))
        pool.close()
        agent.close()
    if spans is not None:
        await asyncio.to_thread(spans.close)


def test_a_bid_is_followed_from_the_gateway_through_the_agent(collector: Collector) -> None:
    before = time.time_ns()
    asyncio.run(bid(settings_of(collector.url, 1.0), ["auction-1"]))
    assert collector.services == {"campaign-express"}
    spans = {span.name: span for span in collector.spans}
    assert spans.keys() == {"bid", "queue", "agent"}
    root = spans["bid"]
    assert root.trace_id.hex() == trace_id("auction-1")
    assert not root.parent_span_id
    for name in ("queue", "agent"):
        child = spans[name]
        assert child.trace_id == root.trace_id
        assert child.parent_span_id == root.span_id
        assert root.start_time_unix_nano <= child.start_time_unix_nano + 1_000_000
        assert child.end_time_unix_nano <= root.end_time_unix_nano + 1_000_000
    assert before <= root.start_time_unix_nano < root.end_time_unix_nano <= time.time_ns()
    assert spans["agent"].end_time_unix_nano > spans["agent"].start_time_unix_nano
    assert attributes(root)["auction"] == "auction-1"
    assert attributes(root)["outcome"] in ("bid", "no-bid")
    assert attributes(spans["agent"])["inference.ms"] >= 0


def test_only_the_share_is_traced(collector: Collector) -> None:
    auctions = [f"auction-{n}" for n in range(200)]
    asyncio.run(bid(settings_of(collector.url, 0.1), auctions))
    roots = {attributes(span)["auction"] for span in collector.spans if span.name == "bid"}
    assert roots == {one for one in auctions if is_traced(one, 0.1)}
    assert 5 < len(roots) < 40


def test_a_notice_joins_the_trace_of_its_bid(collector: Collector) -> None:
    spans = build_spans(settings_of(collector.url, 0.5), "cell-2")
    assert spans is not None
    now = time.monotonic_ns()
    auctions = [f"auction-{n}" for n in range(20)]
    for auction in auctions:
        spans.notice(
            NoticeTrace(auction, "win", "generic", "c1", f"event-{auction}", now, now + 2_000_000, "published")
        )
    spans.close()
    told = {attributes(span)["event.id"]: span for span in collector.spans}
    assert told.keys() == {f"event-{one}" for one in auctions if is_traced(one, 0.5)}
    for auction in auctions:
        if is_traced(auction, 0.5):
            span = told[f"event-{auction}"]
            trace, root = trace_of(auction)
            assert (span.name, span.trace_id.hex()) == ("win", f"{trace:032x}")
            assert span.parent_span_id.hex() == f"{root:016x}"
            assert span.end_time_unix_nano - span.start_time_unix_nano == 2_000_000


def test_a_collector_that_refuses_costs_no_bid(collector: Collector) -> None:
    collector.status = 400
    asyncio.run(bid(settings_of(collector.url, 1.0), [f"auction-{n}" for n in range(50)]))
    assert len([span for span in collector.spans if span.name == "bid"]) == 50


def test_a_log_of_a_fault_names_the_trace() -> None:
    bidder = build_bidder(settings_of("http://127.0.0.1:9", 1.0))
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter(component="agent"))
    logger = logging.getLogger("campaign_express")
    logger.addHandler(handler)
    try:
        bidder.refuse = None  # type: ignore[method-assign, assignment]  # a fault while reading a request
        reply = bidder.answer([Ask("", time.monotonic_ns(), body("auction-7"))], time.monotonic_ns(), 0)
        assert isinstance(reply, Reply)
    finally:
        logger.removeHandler(handler)
    assert json.loads(written.getvalue())["trace_id"] == trace_id("auction-7")
