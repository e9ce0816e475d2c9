"""Counters become Prometheus's format, cells of a node become one, and the documentation names the same metrics."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from campaign_express.gateway.meters import Counters, Meters
from campaign_express.gateway.metrics import NodeCollector, expose, outcome
from campaign_express.gateway.node import NodeMetrics, count_model_load_failure, sweep
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.pipeline.metrics import families as pipeline_families
from campaign_express.pipeline.worker import Tally
from campaign_express.treasury.metrics import METRICS, families

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short one: Unix sockets have paths of 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as path:
        yield Path(path)


def samples(text: bytes) -> dict[str, float]:
    return {
        sample.name + "".join(f",{k}={v}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_the_documentation_names_exactly_what_is_exported() -> None:
    exported = set()
    treasury = families({metric.name: 0 for metric in METRICS})
    pipeline = pipeline_families({"p": Tally()}, 0, 0)
    for family in NodeCollector(Counters(), [], 0, [*treasury, *pipeline]).collect():
        exported.add(family.name + ("_total" if family.type == "counter" else ""))
        assert family.documentation
    documented = set(re.findall(r"^\| `(campaign_express_\w+)`", DOCS.read_text(), re.MULTILINE))
    assert documented == exported


def test_every_bucket_and_sum_is_in_the_documented_unit() -> None:
    meters = Meters("a")
    meters.counters.latency.observe(1_200_000)  # 1.2 ms
    meters.counters.latency.observe(5_000_000_000)
    meters.counters.price.observe(1_500_000)  # 1.5 USD
    meters.counters.outcomes[-1] += 1
    meters.counters.outcomes[NoBidReason.FLOOR.index] += 2
    text, content_type = expose(NodeCollector(meters.counters, [("a", meters.gauges)], 3), "")
    found = samples(text)
    assert content_type.startswith("text/plain")
    assert found["campaign_express_bid_latency_seconds_bucket,le=0.001"] == 0
    assert found["campaign_express_bid_latency_seconds_bucket,le=0.0015"] == 1
    assert found["campaign_express_bid_latency_seconds_bucket,le=1.0"] == 1
    assert found["campaign_express_bid_latency_seconds_bucket,le=+Inf"] == 2
    assert found["campaign_express_bid_latency_seconds_sum"] == pytest.approx(5.0012)
    assert found["campaign_express_bid_price_usd_cpm_bucket,le=1.5"] == 1
    assert found["campaign_express_outcomes_total,outcome=bid,reason="] == 1
    assert found["campaign_express_outcomes_total,outcome=no-bid,reason=below-floor"] == 2
    assert found["campaign_express_model_load_failures_total"] == 3
    assert "campaign_express_draining,cell=a" in found


def test_outcomes_tell_whose_fault_it_was() -> None:
    assert outcome(None) == "bid"
    assert outcome(NoBidReason.INVALID_REQUEST) == "invalid"
    assert outcome(NoBidReason.TECHNICAL_ERROR) == outcome(NoBidReason.NO_AGENT) == "error"
    assert outcome(NoBidReason.SHED) == outcome(NoBidReason.FLOOR) == "no-bid"


def sockets(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.is_socket()]


def cell(directory: Path, name: str, requests: int) -> NodeMetrics:
    meters = Meters(name)
    meters.counters.http_requests = requests
    meters.counters.rules["imp-id"] = requests
    meters.counters.batch_size.observe(requests)
    return NodeMetrics(meters, directory, lambda: None)


def test_cells_of_a_node_add_up_and_keep_the_counts_of_those_that_left(directory: Path) -> None:
    async def run() -> None:
        gone, one, two = cell(directory, "gone", 2), cell(directory, "one", 3), cell(directory, "two", 2)
        for each in (gone, one, two):
            await each.start()
        await gone.retire()
        for asked in (one, two):
            found = samples((await asked.render(""))[0])
            assert found["campaign_express_requests_total,protocol=http"] == 7
            assert found["campaign_express_invalid_requests_total,rule=imp-id"] == 7
            assert found["campaign_express_batch_size_requests_count"] == 3
            assert {key for key in found if "live_agents" in key} == {
                "campaign_express_live_agents,cell=one",
                "campaign_express_live_agents,cell=two",
            }
        await two.retire()
        found = samples((await one.render(""))[0])
        assert found["campaign_express_requests_total,protocol=http"] == 7
        assert "campaign_express_live_agents,cell=two" not in found
        await one.retire()
        assert not sockets(directory)

        three = cell(directory, "three", 1)  # the first of a new start
        await three.start()
        assert samples((await three.render(""))[0])["campaign_express_requests_total,protocol=http"] == 1
        await three.retire()

    asyncio.run(run())


def test_sockets_of_killed_cells_are_swept_and_hold_nothing_up(directory: Path) -> None:
    import socket

    for name in ("dead.metrics", "dead-0.sock", "dead-0.sock.999999999"):
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(directory / name))  # and closed without unlink, as kill -9 does
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(directory / "alive-0.sock"))
    listening.listen()

    async def run() -> None:
        one = cell(directory, "one", 2)
        await one.start()
        assert samples((await one.render(""))[0])["campaign_express_requests_total,protocol=http"] == 2
        await one.retire()

    asyncio.run(run())
    sweep(directory)
    assert sockets(directory) == ["alive-0.sock"]
    listening.close()


def test_a_model_that_could_not_be_loaded_is_remembered_beyond_its_process(directory: Path) -> None:
    count_model_load_failure(directory)
    count_model_load_failure(directory)
    text, _ = asyncio.run(cell(directory, "one", 0).render(""))
    assert samples(text)["campaign_express_model_load_failures_total"] == 2
