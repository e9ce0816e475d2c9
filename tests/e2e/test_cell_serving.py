"""A cell with the product's own bidder, asked in every way there is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from conftest import BODY, Cells, eventually, http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from campaign_express import config, embedded
from campaign_express.adapters.catalog_store import CatalogStore
from campaign_express.bootstrap import read_catalog, read_exchanges
from campaign_express.gateway.grpc import SERVICE
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.openrtb.proto import openrtb_pb2

Deploy = Callable[..., Cells]

REQUEST: dict[str, Any] = {
    "id": "auction-1",
    "tmax": 2000,
    "imp": [{"id": "1", "banner": {"format": [{"w": 300, "h": 250}, {"w": 728, "h": 90}, {"w": 320, "h": 50}]}}],
    "site": {"domain": "news.example", "cat": ["IAB12"]},
    "device": {
        "ua": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0",
        "ip": "203.0.113.7",
        "geo": {"country": "USA"},
    },
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CatalogStore]:
    """A catalogue store in a real server of the test's own."""
    settings = embedded.ensure(config.load({"data_dir": str(tmp_path), "embedded_redis_port": 0}, {}), ["redis_url"])
    found = CatalogStore(settings.redis_url)
    found.url = settings.redis_url  # type: ignore[attr-defined]
    yield found
    found.close()
    embedded.release(settings)


def test_a_cell_answers_in_every_protocol_and_tells_of_itself(deploy: Deploy) -> None:
    cells = deploy(factory="", agents_per_cell=2)
    body = json.dumps(REQUEST).encode()

    status, headers, answer = cells.bid(body)
    assert status == 200, answer
    assert headers["x-openrtb-version"] == "2.6"
    response = json.loads(answer)
    assert response["id"] == "auction-1"
    price = response["seatbid"][0]["bid"][0]["price"]

    status, headers, packed = cells.bid(gzip.compress(body), Content_Encoding="gzip", Accept_Encoding="gzip")
    assert status == 200
    if headers.get("content-encoding") == "gzip":
        packed = gzip.decompress(packed)
    assert json.loads(packed)["seatbid"][0]["bid"][0]["price"] == price

    assert http(f"{cells.ingress}/v1/bid", body)[0] == 200  # the same app behind Serve's proxy
    assert cells.bid(b"{")[0] == 400
    assert json.loads(cells.bid(b'{"id":"x"}')[2])["error"]["path"]
    assert cells.bid(body, "nobody-we-know")[0] == 404
    assert cells.bid(b" " * (cells.settings.max_body_bytes + 1))[0] == 413
    assert cells.bid(body, Content_Encoding="br")[0] == 415
    assert http(f"{cells.url}/v1/bid")[0] == 405
    assert http(f"{cells.url}/v1/explain", body)[0] == 404  # the operator's routes are Serve's alone
    for probe in ("health", "live", "ready"):
        assert http(f"{cells.url}/{probe}")[0] == 200

    status, _, explained = http(f"{cells.ingress}/v1/explain", body)
    assert status == 200
    assert json.loads(explained)["catalog_version"] == cells.status()[0]["catalog_version"]
    assert http(f"{cells.ingress}/v1/explain", b"{")[0] == 400

    metrics = cells.metrics()
    assert metrics['requests_total{protocol="http"}'] == 6
    assert metrics['outcomes_total{outcome="bid",reason=""}'] == 3
    assert metrics['outcomes_total{outcome="invalid",reason="invalid-request"}'] == 3
    assert metrics['refusals_total{status="413"}'] == 1
    assert metrics["bid_latency_seconds_count"] == 6
    assert metrics["inference_time_seconds_count"] > 0
    assert metrics["bid_price_usd_cpm_sum"] == pytest.approx(
        3 * sum(bid["price"] for seat in response["seatbid"] for bid in seat["bid"]), rel=1e-3
    )


def test_grpc_gives_the_same_decision_and_its_own_health_and_reflection(deploy: Deploy) -> None:
    cells = deploy(factory="", agents_per_cell=1)
    wanted = json.loads(cells.bid(json.dumps(REQUEST).encode())[2])
    message = openrtb_pb2.BidRequest(id="auction-1", tmax=2000)
    imp = message.imp.add(id="1")
    for size in REQUEST["imp"][0]["banner"]["format"]:
        imp.banner.format.add(w=size["w"], h=size["h"])
    message.site.domain = "news.example"
    message.site.cat.append("IAB12")
    message.device.ua, message.device.ip = REQUEST["device"]["ua"], REQUEST["device"]["ip"]
    message.device.geo.country = "USA"

    with grpc.insecure_channel(f"127.0.0.1:{cells.settings.grpc_port}") as channel:
        bid = channel.unary_unary(
            f"/{SERVICE}/Bid",
            request_serializer=openrtb_pb2.BidRequest.SerializeToString,
            response_deserializer=openrtb_pb2.BidResponse.FromString,
        )
        answer = bid(message)
        assert answer.seatbid[0].bid[0].crid == wanted["seatbid"][0]["bid"][0]["crid"]
        assert answer.seatbid[0].bid[0].price == wanted["seatbid"][0]["bid"][0]["price"]
        with pytest.raises(grpc.RpcError) as refused:
            bid(openrtb_pb2.BidRequest(id="no-imp"))
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as unknown:
            bid(message, metadata=(("exchange", "nobody-we-know"),))
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND

        stream = channel.stream_stream(
            f"/{SERVICE}/BidStream",
            request_serializer=openrtb_pb2.BidRequest.SerializeToString,
            response_deserializer=openrtb_pb2.BidResponse.FromString,
        )
        answers = list(stream(iter([message, openrtb_pb2.BidRequest(id="no-imp"), message])))
        assert [bool(a.seatbid) for a in answers] == [True, False, True]
        assert answers[1].nbr == 2

        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            told = health.Check(health_pb2.HealthCheckRequest(service=name))
            assert told.status == health_pb2.HealthCheckResponse.SERVING
        listing = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter(
                [
                    reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
                ]
            )
        )
        names, definition = list(listing)
        assert SERVICE in {service.name for service in names.list_services_response.service}
        assert definition.file_descriptor_response.file_descriptor_proto
    assert cells.metrics()['requests_total{protocol="grpc"}'] == 6


def test_a_published_catalogue_is_live_in_every_agent_of_every_cell_within_two_seconds(
    deploy: Deploy, store: CatalogStore
) -> None:
    cells = deploy(cells=2, factory="", agents_per_cell=2, redis_url=store.url)  # type: ignore[attr-defined]
    version = store.publish(read_catalog(cells.settings, read_exchanges(cells.settings)))

    def everywhere() -> bool:
        agents = [agent for cell in cells.status(2) for agent in cell["agents"]]
        return len(agents) == 4 and all(agent["catalog_version"] == version for agent in agents)

    eventually(everywhere, 2.0, "the new version in four agents")
    # The gateways hear of it by their next batch or heartbeat.
    eventually(lambda: [v for k, v in cells.metrics().items() if k.startswith("catalog_version")] == [version] * 2, 3.0)


def test_what_an_agent_cannot_decide_is_a_no_bid_and_the_agent_lives_on(deploy: Deploy) -> None:
    cells = deploy(agents_per_cell=1)
    assert cells.bid(exchange="raise")[0] == 204
    assert cells.bid(exchange="none")[0] == 204
    assert cells.bid(exchange="echo") == (200, cells.bid(exchange="echo")[1], BODY)
    metrics = cells.metrics()
    assert metrics['outcomes_total{outcome="error",reason="technical-error"}'] == 1
    assert metrics["agent_restarts_total"] == 0


def test_beyond_its_queue_a_cell_sheds_at_once_and_never_answers_late(deploy: Deploy) -> None:
    cells = deploy(agents_per_cell=1, max_queue=8, max_batch=2, batches_in_flight=1, request_timeout_ms=600)
    with cells.load(200, 2, headers={}) as fast:
        pass
    assert fast.report.failed == 0
    slow = Cells(cells.settings, cells.ingress, cells.factory, cells.options)
    from campaign_express.loadgen import run_load

    report = run_load(f"{slow.url}/v1/bid/slow", 200, 2, [BODY])  # the agent manages 20 a second
    metrics = cells.metrics()
    assert report.failed == 0
    assert report.bids < report.answered
    assert metrics["shed_requests_total"] > 100
    assert report.latency.max < 1500  # ms: eight in the queue, two in hand, and the noise of the machine


def test_an_exchange_is_held_to_its_requests_a_second(deploy: Deploy) -> None:
    cells = deploy(agents_per_cell=1)
    statuses = [cells.bid(exchange="limited")[0] for _ in range(30)]
    assert statuses[:5] == [200] * 5
    assert 204 in statuses
    assert cells.metrics()['outcomes_total{outcome="no-bid",reason="qps-limit"}'] == statuses.count(204)
    assert cells.bid()[0] == 200
    spoken = [cells.bid(exchange="spoken") for _ in range(30)]
    refused = [json.loads(body) for status, _, body in spoken if b"nbr" in body and status == 200]
    assert {"id": "r", "nbr": NoBidReason.QPS_LIMIT.nbr} in refused


def test_cells_of_one_node_are_one_in_the_metrics(deploy: Deploy) -> None:
    cells = deploy(cells=2, agents_per_cell=2, options={"placement_group_strategy": "STRICT_PACK"}, npu_per_agent=1)
    for _ in range(40):
        assert cells.bid()[0] == 200  # a connection each: the kernel spreads them
    scrapes = [cells.metrics() for _ in range(6)]
    assert {scrape['requests_total{protocol="http"}'] for scrape in scrapes} == {40}
    assert all(len([k for k in scrape if k.startswith("live_agents{")]) == 2 for scrape in scrapes)


def test_settings_that_nobody_knows_stop_the_application_by_name() -> None:
    from campaign_express.errors import ConfigError
    from campaign_express.serving import builder

    with pytest.raises(ConfigError, match=r"args\.agents_per_sell: no such setting"):
        builder.app({"agents_per_sell": 3})
    with pytest.raises(ConfigError, match="CAMPAIGN_EXPRESS_OPERATOR_TOKEN"):
        builder.app({"operator_token": "x"})
    with pytest.raises(ConfigError, match="CAMPAIGN_EXPRESS_REDIS_URL"):
        builder.app({"redis_url": "redis://:secret@cache.example:6379"})
