"""A whole run against a small bidder that bids a dollar on everything and writes down which notices it got."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from typing import cast
from urllib.parse import parse_qsl

import pytest

from campaign_express.bidding.model import (
    Advertiser,
    Budget,
    Campaign,
    CapPeriod,
    Catalog,
    Creative,
    Flight,
    FrequencyCap,
    Goal,
    GoalType,
    Media,
)
from campaign_express.clock import Clock
from campaign_express.exchange import shapes, venues
from campaign_express.exchange.chart import render
from campaign_express.exchange.faults import Faults
from campaign_express.exchange.plan import Behaviour, Plan
from campaign_express.exchange.report import Report, curves, make_report
from campaign_express.exchange.simulation import Results, Simulation
from campaign_express.exchange.traffic import DAY_MS, Traffic
from campaign_express.exchange.venues import SOLO
from campaign_express.openrtb.price_encryption import decrypt_price

START_MS = 1_795_564_800_000  # 2026-11-25T00:00Z
SPEED = 86_400.0  # a day in a second
CPM = 5.0


class Unhurried:
    """A clock that stands still while this process gets no turn: a busy machine makes a day longer, and sends nothing
    too late."""

    speed = SPEED

    def __init__(self) -> None:
        self._elapsed_s = 0.0
        self._read_s = time.monotonic()

    def now_ms(self) -> int:
        now_s = time.monotonic()
        self._elapsed_s += min(now_s - self._read_s, 0.004)
        self._read_s = now_s
        return START_MS + int(self._elapsed_s * 1000 * SPEED)


class SmallBidder:
    """Answers bids with a dollar CPM and knows which notices came; `ill` requests get other answers."""

    def __init__(self) -> None:
        self.notices: Counter[str] = Counter()
        self.prices: list[int] = []
        self.bids = 0
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while line := await reader.readline():
                method, target, _ = line.decode().split(" ")
                length = 0
                while (header := await reader.readline()) != b"\r\n":
                    name, _, value = header.decode().partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                body = await reader.readexactly(length)
                writer.write(self.answer(method, target, body))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, method: str, target: str, body: bytes) -> bytes:
        if method == "POST":
            return self.bid(target.rpartition("/")[2], json.loads(body))
        path, _, query = target.partition("?")
        given = dict(parse_qsl(query))
        self.notices[path.rpartition("/")[2]] += 1
        if path == "/v1/win" and given["x"] == "cipher":
            keys = {v.name: v.keys for v in venues.venues()}["cipher"]
            assert keys is not None
            self.prices.append(decrypt_price(given["price"], *keys))
        if path == "/v1/click":
            landing = "https://landing.example/?click=abcdefghij0123456789"
            return f"HTTP/1.1 302 Found\r\nLocation: {landing}\r\ncontent-length: 0\r\n\r\n".encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    def bid(self, exchange: str, request: dict[str, object]) -> bytes:
        imps = request["imp"]
        assert isinstance(imps, list)
        self.bids += len(imps)
        bids = [self.one(exchange, str(request["id"]), imp) for imp in imps]
        response = {"id": request["id"], "cur": "USD", "seatbid": [{"seat": "s", "bid": bids}]}
        text = json.dumps(response).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text)

    def one(self, exchange: str, auction: str, imp: dict[str, object]) -> dict[str, object]:
        macro = "%%WINNING_PRICE%%" if exchange == "cipher" else "${AUCTION_PRICE}"

        def url(kind: str) -> str:
            return f"https://bidder.example/v1/{kind}?x={exchange}&a={auction}&price={macro}"

        return {
            "id": "b",
            "impid": imp["id"],
            "price": CPM,
            "cid": "c",
            "crid": "c-1",
            "nurl": url("win") if exchange != SOLO else None,
            "burl": url("billing") if exchange in ("metro", "cipher") else None,
            "lurl": url("loss") if exchange != SOLO else None,
            "adm": f'<a href="{url("click")}"></a><img src="{url("imp")}" width="1" height="1">',
        }


CATALOG = Catalog(
    advertisers=(Advertiser(id="a", name="A", domain="a.example"),),
    campaigns=(
        Campaign(
            id="c",
            advertiser="a",
            flight=Flight(start="2026-01-01T00:00:00Z"),  # type: ignore[arg-type]
            goal=Goal(type=GoalType.CPM, bid=5_000_000),
            max_bid=5_000_000,
            budget=Budget(daily=1_000_000),
            caps=(FrequencyCap(limit=3, per=CapPeriod.DAY),),
            creatives=(Creative(id="c-1", media=Media.BANNER, w=300, h=250, landing="https://a.example/"),),
        ),
    ),
)


async def simulate(faults: Faults, requests: int = 600, **behaviour: float) -> tuple[SmallBidder, Plan, Results]:
    bidder = SmallBidder()
    server = await asyncio.start_server(bidder.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    plan = Plan(
        seed=5,
        host="127.0.0.1",
        port=port,
        requests=requests,
        start_ms=START_MS,
        end_ms=START_MS + DAY_MS,
        clock=cast(Clock, Unhurried()),
        traffic=Traffic(),
        venues=venues.venues(tmax_ms=5000),
        catalog=CATALOG,
        faults=faults,
        behaviour=Behaviour(**behaviour),  # type: ignore[arg-type]
        people=100,
        bid_connections=4,
        notice_connections=4,
        timeout_s=10.0,
        tokens=lambda advertiser: f"token-of-{advertiser}",
    )
    try:
        results = await asyncio.wait_for(Simulation(plan, shapes.generate(5, 50)).run(), 150)
    finally:
        server.close()
    return bidder, plan, results


def run(faults: Faults = Faults(), **behaviour: float) -> tuple[SmallBidder, Results, Report, str]:  # noqa: B008
    bidder, plan, results = asyncio.run(simulate(faults, **behaviour))
    report = make_report(plan, results)
    return bidder, results, report, render(report, curves(plan, results), report.facts())


def test_everything_adds_up_without_faults() -> None:
    bidder, _, report, page = run(rendered=1.0, clicked=0.2, converted=0.5)
    assert report.requests == report.answered == 600
    assert report.bids == bidder.bids > 600
    assert 0 < report.wins < report.bids
    assert report.impressions == report.wins
    by_exchange = report.exchanges
    assert sum(e["wins"] for e in by_exchange.values()) == report.wins
    solo = by_exchange[SOLO]["wins"]
    assert bidder.notices["win"] == report.wins - solo
    assert bidder.notices["loss"] == report.counts["loss notices"]
    assert bidder.notices["billing"] == by_exchange["metro"]["wins"] + by_exchange["cipher"]["wins"]
    assert bidder.notices["imp"] == report.impressions
    assert bidder.notices["click"] == report.clicks > 0
    assert bidder.notices["conversion"] == report.conversions > 0
    assert bidder.prices  # decrypted with the exchange's keys
    assert max(bidder.prices) <= CPM * 1_000_000
    # A first price is the bid itself.
    for name in ("metro", "vista", SOLO):
        assert by_exchange[name]["spend_micros"] == by_exchange[name]["wins"] * CPM * 1000
    for name in ("harbour", "cipher"):
        assert by_exchange[name]["spend_micros"] < by_exchange[name]["wins"] * CPM * 1000
    [row] = report.campaigns
    assert row.charged_micros == report.spend_micros
    assert 0 <= row.expected_committed_micros - row.charged_micros <= report.wins  # each rounded up
    assert row.guessed_micros == row.unheard_micros == row.unpaid_micros == 0
    assert re.search(r"<polyline class=\"ideal\"", page)


def test_what_the_bidder_does_wrong_is_found() -> None:
    """It keeps no budget and no cap: a dollar a day is soon passed, and so are three impressions a day."""
    _, _, report, _ = run()
    [row] = report.campaigns
    # All but what was bought in the moment after midnight.
    assert 0.95 * (row.charged_micros - 1_000_000) < report.overspend_micros_max <= row.charged_micros - 1_000_000 + 1
    assert row.caps_exceeded == report.caps_exceeded > 0
    assert row.delivery is not None
    assert row.delivery > 1


def test_lost_notices_are_charged_and_not_heard_of() -> None:
    bidder, _, report, _ = run(Faults(lost=0.5, duplicated=0.2, lateness_ms=600_000))
    [row] = report.campaigns
    assert report.counts["notices lost"] > 0
    assert row.unheard_micros > 0  # all notices of some impressions were lost
    assert row.guessed_micros > 0  # and of others only the one with the price
    sent = sum(report.counts[f"{kind} notices"] for kind in ("win", "loss", "billing", "impression"))
    arrived = sum(bidder.notices[kind] for kind in ("win", "loss", "billing", "imp"))
    twice = report.counts["notices sent twice"]
    clicks = bidder.notices["click"], report.counts["click notices"]
    assert arrived + clicks[0] == sent + clicks[1] - report.counts["notices lost"] + twice


def test_nobody_listens() -> None:
    async def attempt() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        plan = Plan(
            seed=1,
            host="127.0.0.1",
            port=port,
            requests=1,
            start_ms=0,
            end_ms=1000,
            clock=Clock(),
            traffic=Traffic(),
            venues=venues.venues(),
        )
        await Simulation(plan, shapes.generate(1, 5)).run()

    with pytest.raises(OSError, match="Connect"):
        asyncio.run(attempt())
