"""Notices over sockets, as a cell takes them: real HTTP listener, NATS and Redis; only agents are missing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from nats_server import NatsProcess
from test_event_stream import stored, until

from campaign_express.bidding.model import Exchange
from campaign_express.bootstrap_notices import NoticeService, build_notice_service
from campaign_express.config import Secret, Settings
from campaign_express.errors import ConfigError
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.http import ExchangeApp
from campaign_express.gateway.listeners import HttpListener
from campaign_express.gateway.meters import Meters
from campaign_express.openrtb.notices import NoticeSigner, NoticeUrls, parse_keys
from campaign_express.openrtb.postbacks import make_token

KEY = "k1:" + "ab" * 32
SIGNER = NoticeSigner(parse_keys(KEY), "http://bid.example")
EXCHANGE = Exchange(name="generic")
LANDING = SIGNER.sign_landing("https://shop.example/?c={CLICK_ID}", "acme", "cr")


def urls(number: int) -> NoticeUrls:
    now = time.time_ns() // 1_000_000
    return SIGNER.urls(
        EXCHANGE, "acme", "campaign", "cr", f"auction-{number}", "1", "b", 2_000_000, now, "", False, 1, "person"
    )


def priced(url: str | None) -> str:
    assert url is not None
    return url.replace("${AUCTION_PRICE}", "1.5")


@dataclass
class Taken:
    service: NoticeService
    meters: Meters
    port: int

    async def get(
        self, url: str, connection: Connection | None = None, method: str = "GET"
    ) -> tuple[int, dict[str, str]]:
        """Status and headers of one request, on a connection of its own unless one is given."""
        if connection is not None:
            return await connection.ask(url, method)
        fresh = await Connection.open(self.port)
        try:
            return await fresh.ask(url, method)
        finally:
            fresh.writer.close()


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, url: str, method: str = "GET") -> tuple[int, dict[str, str]]:
        parts = urlsplit(url)
        self.writer.write(f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        if method != "HEAD":
            await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers


@pytest.fixture
def settings(tmp_path: Path, valkey: str, nats_process: NatsProcess) -> Settings:
    exchanges = tmp_path / "exchanges.yaml"
    exchanges.write_text("default: generic\nexchanges:\n  - name: generic\n    sync_url: https://x.example/?u={UID}\n")
    return Settings(
        data_dir=str(tmp_path),
        exchanges_file=str(exchanges),
        redis_url=valkey,
        nats_url=nats_process.url,
        notice_keys=Secret(KEY),
        gdpr_when_absent="unknown=does-not-apply,other=does-not-apply",
    )


def serve(settings: Settings, test: Callable[[Taken], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        meters = Meters("cell")
        service = build_notice_service(settings, meters, "cell")
        await service.start()
        pool = AgentPool(meters, max_batch=1, batches_in_flight=1, max_queue=1, timeout_ms=100)
        app = ExchangeApp(pool, meters, max_body_bytes=1000)
        app.notices = service.desk
        listener = HttpListener(app, "127.0.0.1", 0, keep_alive_s=30)
        await listener.start()
        try:
            await test(Taken(service, meters, listener.port))
        finally:
            app.draining = True
            await listener.drain(0.5)
            await listener.stop()
            await service.close()
            pool.close()

    uvloop.run(asyncio.wait_for(main(), 120))


def test_each_notice_is_in_the_stream_when_it_is_answered(settings: Settings) -> None:
    async def test(taken: Taken) -> None:
        made = urls(1)
        for url in (priced(made.nurl), priced(made.burl), priced(made.lurl), made.impression):
            assert (await taken.get(url))[0] == 200
        status, headers = await taken.get(made.click + LANDING)
        assert status == 302
        events = [event for _, event in await stored(settings.nats_url)]
        assert [event.kind for event in events] == ["win", "billing", "loss", "impression", "click"]
        assert [event.clear_micros for event in events] == [1500, 1500, -1, -1, -1]
        assert [event.sets_price for event in events] == [False, True, False, False, False]
        click_id = headers["location"].rpartition("=")[2]
        assert click_id == events[0].bid_key
        await until(lambda: taken.service.touches._writer is None)
        token = make_token(parse_keys(KEY), "acme")
        status, _ = await taken.get(f"/v1/conversion?advertiser=acme&token={token}&click_id={click_id}&value=9.5")
        assert status == 200
        last = (await stored(settings.nats_url))[-1]
        assert last[0] == "money.acme.conversion"
        assert (last[1].campaign, last[1].value_micros) == ("campaign", 9_500_000)
        status, headers = await taken.get("/v1/sync?exchange=generic&uid=theirs")
        assert status == 302
        own = headers["location"].rpartition("=")[2]
        identities = taken.service.identities
        same = {
            await identities.find(one) for one in (f"cookie:{own}", f"buyeruid@generic:{own}", "user@generic:theirs")
        }
        assert len(same) == 1
        assert await identities.find("user@generic:another") not in same
        assert (await taken.get(made.impression, method="HEAD"))[0] == 405
        assert (await taken.get("/v1/imp"))[0] == 400

    serve(settings, test)


def test_ten_thousand_duplicates_and_ten_thousand_forgeries_add_nothing(settings: Settings) -> None:
    async def test(taken: Taken) -> None:
        made = [urls(number) for number in range(20)]
        honest = [priced(one.nurl) for one in made] + [priced(one.burl) for one in made]
        statuses: Counter[int] = Counter()

        async def send(all_urls: list[str]) -> None:
            connection = await Connection.open(taken.port)
            for url in all_urls:
                statuses[(await connection.ask(url))[0]] += 1
            connection.writer.close()

        duplicates = [honest[n % 40] for n in range(10_040)]
        forged = [honest[n % 40].replace("&p=2000000", f"&p={n}") for n in range(10_000)]
        await asyncio.gather(*[send([*duplicates[n::20], *forged[n::20]]) for n in range(20)])
        assert statuses == {200: 10_040, 400: 10_000}
        events = [event for _, event in await stored(settings.nats_url)]
        assert len(events) == len({event.id for event in events}) == 40
        counted = taken.meters.counters.notices
        assert sum(counted.get(f"{kind} tampered", 0) for kind in ("win", "billing")) == 10_000
        fresh = sum(counted.get(f"{kind} published", 0) for kind in ("win", "billing"))
        again = sum(counted.get(f"{kind} duplicate", 0) for kind in ("win", "billing"))
        spooled = sum(counted.get(f"{kind} spooled", 0) for kind in ("win", "billing"))
        assert fresh <= 40
        assert fresh + again + spooled == 10_040

    serve(settings, test)


def test_a_click_redirects_in_time_while_the_broker_hangs(settings: Settings, nats_process: NatsProcess) -> None:
    async def test(taken: Taken) -> None:
        made = [urls(number) for number in range(30)]
        connection = await Connection.open(taken.port)
        await connection.ask(priced(made[0].nurl))
        nats_process.freeze()
        times = []
        for one in made:
            started = time.monotonic()
            status, _ = await connection.ask(one.click + LANDING)
            times.append(time.monotonic() - started)
            assert status == 302
        assert sorted(times)[len(times) // 2] < 0.1  # of half of them, since a busy machine holds up single ones
        taken.service.refresh()
        assert not taken.meters.gauges.broker_up
        assert taken.meters.gauges.spool_bytes > 0
        nats_process.thaw()
        await until(lambda: taken.service.sink.up and taken.service.sink.spool.empty)
        clicks = {event.id for _, event in await stored(settings.nats_url) if event.kind == "click"}
        assert len(clicks) == 30
        connection.writer.close()

    serve(settings, test)


def test_no_notice_is_lost_when_the_broker_is_killed_under_load(settings: Settings, nats_process: NatsProcess) -> None:
    async def test(taken: Taken) -> None:
        numbers = iter(range(2000))
        answered: set[int] = set()

        async def send() -> None:
            connection = await Connection.open(taken.port)
            for number in numbers:
                if (await connection.ask(priced(urls(number).burl)))[0] == 200:
                    answered.add(number)
                await asyncio.sleep(0.005)
            connection.writer.close()

        async def disturb() -> None:
            await asyncio.sleep(0.3)
            await asyncio.to_thread(nats_process.kill)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(nats_process.start)

        await asyncio.gather(disturb(), *[send() for _ in range(20)])
        assert len(answered) == 2000
        await until(lambda: taken.service.sink.up and taken.service.sink.spool.empty)
        events = [event for _, event in await stored(settings.nats_url)]
        assert {event.auction for event in events} == {f"auction-{number}" for number in range(2000)}
        assert len({event.id for event in events}) == len(events) == 2000

    serve(settings, test)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"price_keys": Secret("nobody=aa:bb")}, "price_keys: no exchange is called nobody"),
        ({"notice_url_life_s": 4000}, "notice_url_life_s: 4000 is less than the longest exp"),
    ],
)
def test_settings_that_contradict_the_exchanges(settings: Settings, change: dict[str, Any], problem: str) -> None:
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    with pytest.raises(ConfigError, match=problem):
        build_notice_service(Settings(**{**values, **change}), Meters("cell"), "cell")
