"""The notices desk without a network: what becomes an event, what is answered, and what changes nothing."""

from __future__ import annotations

import asyncio
import json
import time
from urllib.parse import quote

import pytest

from campaign_express.events import MoneyEvent, bid_key, event_id
from campaign_express.gateway.http import ExchangeApp
from campaign_express.gateway.meters import REFUSALS, Meters
from campaign_express.gateway.notices import CLICK_S, header_url
from campaign_express.gateway.replies import PIXEL
from tests.support.notice_desk import BID_MS, EURO, PAGE, SIGNER, Desk, click_url, urls, with_price

KEY = bid_key("generic", "auction", "1", "auction.1")
DAY_MS = 86_400_000


def test_a_win_becomes_one_whole_event() -> None:
    desk = Desk()
    answer = desk.call(with_price(urls().nurl, "1.9"))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert desk.sink.events == [
        MoneyEvent(
            id=event_id("win", KEY),
            bid_key=KEY,
            kind="win",
            exchange="generic",
            auction="auction",
            imp="1",
            bid="auction.1",
            advertiser="acme",
            campaign="acme-shoes:us",
            creative="shoes-300x250",
            authorised_micros=2351,  # 2.350001 USD CPM is 2350.001 micros an impression, and never less is authorised
            lease=1_764_020_040,
            clear_micros=1900,
            sets_price=False,  # this exchange's price notice is the burl
            user="person",
            bid_ms=BID_MS,
            received_ms=BID_MS + 1000,
            macros={"price": "1.9", "currency": "USD"},
        )
    ]
    assert desk.outcomes == {"win published": 1}
    assert sum(desk.meters.counters.publish_time.counts) == 1


def test_each_kind_is_answered_in_its_way() -> None:
    desk = Desk()
    made = urls()
    assert desk.call(with_price(made.burl, "2")).status == 200
    assert desk.call(with_price(made.lurl, "3").replace("loss=", "loss=102")).status == 200
    shown = desk.call(made.impression)
    assert (shown.status, shown.body, shown.headers["content-type"]) == (200, PIXEL, "image/gif")
    assert shown.headers["cache-control"] == "no-store"
    clicked = desk.call(click_url())
    assert clicked.status == 302
    assert clicked.headers["location"] == f"https://shop.example/a?b=c&d=%C3%A9&click={KEY}"
    billing, loss, impression, click = desk.sink.events
    assert [e.kind for e in desk.sink.events] == ["billing", "loss", "impression", "click"]
    assert len({e.id for e in desk.sink.events}) == 4
    assert {e.bid_key for e in desk.sink.events} == {KEY}
    assert (billing.sets_price, billing.clear_micros) == (True, 2000)
    assert (loss.sets_price, loss.clear_micros) == (False, -1)  # what others paid is no cost of ours
    assert loss.macros["loss"] == "102"
    assert (impression.clear_micros, click.clear_micros) == (-1, -1)


def test_the_pixel_is_one_transparent_dot() -> None:
    assert PIXEL[:6] == b"GIF89a"
    assert PIXEL[6:10] == b"\x01\0\x01\0"  # 1 x 1
    assert PIXEL[19:22] == b"\x21\xf9\x04"  # a graphic control extension
    assert PIXEL[22] & 1  # with transparency
    assert PIXEL.endswith(b";")


@pytest.mark.parametrize("path", ["/v1/win", "/v1/loss", "/v1/billing", "/v1/imp", "/v1/click", "/v1/sync"])
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(path: str, method: str) -> None:
    desk = Desk()
    answer = desk.call(path, method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert "error" in json.loads(answer.body)
    assert not desk.sink.events
    assert desk.meters.counters.refusals[REFUSALS.index(405)] == 1


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/wins", "/v1/win/", "/v1/WIN", "/v1/impression", "/v1/bid"])
def test_other_paths_are_not_ours(path: str) -> None:
    assert asyncio.run(Desk().acall(path)) is None


def test_ten_thousand_forged_notices_make_no_event() -> None:
    desk = Desk()
    made = urls()
    honest = [with_price(made.nurl, "1"), with_price(made.burl, "1"), with_price(made.lurl, "1"), made.impression]
    honest.append(click_url())

    async def forge() -> None:
        for number in range(10_000):
            url = honest[number % 5]
            tag = url.index("&s=") + 3
            match number % 4:
                case 0:  # another tag
                    url = url[:tag] + f"{number:032x}" + url[tag + 32 :]
                case 1:  # another price, another campaign
                    url = url.replace("&p=2350001", f"&p={number}")
                case 2:  # a key of the forger's own
                    url = url.replace("k=k1", f"k=f{number}")
                case _:  # another bid
                    url = url.replace("b=auction.1", f"b=auction.{number}")
            answer = await desk.acall(url)
            assert answer is not None
            assert answer.status == 400
            assert json.loads(answer.body)["error"]["rule"] == "notice-signature"
            assert "location" not in answer.headers

    asyncio.run(forge())
    assert desk.sink.events == []
    assert desk.touches.recorded == []
    assert sum(desk.outcomes.values()) == 10_000
    assert all(outcome.endswith(" tampered") for outcome in desk.outcomes)


def test_ten_thousand_duplicates_are_one_event() -> None:
    desk = Desk()
    made = urls(EURO)

    async def repeat() -> None:
        for number in range(10_000):  # the macro is not signed: a repetition may say another price
            answer = await desk.acall(with_price(made.nurl, f"{1 + number / 10_000}", "EUR"))
            assert answer is not None
            assert answer.status == 200

    asyncio.run(repeat())
    assert len({event.id for event in desk.sink.events}) == 1
    assert desk.outcomes == {"win published": 1, "win duplicate": 9_999}


def test_a_replayed_click_is_remembered_once() -> None:
    desk = Desk()
    for _ in range(3):
        assert desk.call(click_url()).status == 302
    assert len(desk.touches.recorded) == 1


def test_an_expired_notice_changes_nothing() -> None:
    desk = Desk()
    desk.later(2 * DAY_MS)
    assert desk.call(with_price(urls().nurl, "1")).status == 200  # at its last moment it counts
    desk.later(2 * DAY_MS + 1)
    made = urls()
    for url in (with_price(made.nurl, "1"), with_price(made.burl, "1"), with_price(made.lurl, "1"), made.impression):
        answer = desk.call(url)
        assert answer.status == 410
        assert json.loads(answer.body)["error"]["rule"] == "notice-expired"
    assert [event.kind for event in desk.sink.events] == ["win"]
    assert desk.outcomes == {
        "win published": 1,
        "win expired": 1,
        "billing expired": 1,
        "loss expired": 1,
        "impression expired": 1,
    }


def test_an_old_ad_still_leads_somewhere() -> None:
    desk = Desk()
    desk.later(3 * DAY_MS)
    answer = desk.call(click_url())
    assert answer.status == 302
    assert answer.headers["location"].startswith("https://shop.example/a?")
    assert (desk.sink.events, desk.touches.recorded) == ([], [])
    assert desk.outcomes == {"click expired": 1}


@pytest.mark.parametrize(
    "attack",
    [
        "&to=https%3A%2F%2Fevil.example&ts=" + "0" * 32,
        "&to=https%3A%2F%2Fevil.example&ts=",
        "&to=%2F%2Fevil.example&ts=" + "f" * 32,
        "&to=javascript%3Aalert(1)&ts=" + "a" * 32,
        "&url=https%3A%2F%2Fevil.example",
        "",
        # a landing of another creative, and of another advertiser
        SIGNER.sign_landing("https://evil.example", "acme", "other"),
        SIGNER.sign_landing("https://evil.example", "other", "shoes-300x250"),
        # the good landing beside another
        SIGNER.sign_landing("https://shop.example", "acme", "shoes-300x250") + "&to=https%3A%2F%2Fevil.example",
        "&to=https%3A%2F%2Fevil.example"
        + SIGNER.sign_landing("https://shop.example", "acme", "shoes-300x250").replace("&to=", "&to2="),
    ],
)
def test_a_click_is_no_open_redirect(attack: str) -> None:
    desk = Desk()
    answer = desk.call(urls().click + attack)
    assert answer.status == 400
    assert "location" not in answer.headers
    assert desk.outcomes == {"click tampered": 1}


def test_nothing_given_to_a_click_gets_into_its_location() -> None:
    answer = Desk().call(click_url() + "&x=%0d%0aSet-Cookie:a=b&click_id=evil")
    assert answer.headers["location"] == f"https://shop.example/a?b=c&d=%C3%A9&click={KEY}"


def test_a_location_cannot_end_its_line() -> None:
    assert header_url("https://a/b\r\nX: y") == "https://a/b%0D%0AX:%20y"
    assert header_url("https://a/b%20c?d=%7B#e") == "https://a/b%20c?d=%7B#e"


def test_a_click_does_not_wait_for_our_bookkeeping() -> None:
    desk = Desk()
    desk.sink.hangs = True

    async def click() -> tuple[int, float]:
        started = time.monotonic()
        answer = await desk.acall(click_url())
        assert answer is not None
        return answer.status, time.monotonic() - started

    status, seconds = asyncio.run(click())
    assert status == 302
    assert seconds >= CLICK_S  # it did give the event its time


def test_a_click_that_cannot_be_kept_still_leads_where_it_should() -> None:
    desk = Desk()
    desk.sink.away = True
    assert desk.call(click_url()).status == 302
    assert desk.outcomes == {"click unavailable": 1}
    assert desk.touches.recorded == []


def test_what_cannot_be_made_durable_is_not_answered_with_200() -> None:
    desk = Desk()
    desk.sink.away = True
    made = urls()
    for url in (with_price(made.nurl, "1"), made.impression):
        answer = desk.call(url)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert json.loads(answer.body)["error"]["message"] == "the spool is full"
    assert desk.outcomes == {"win unavailable": 1, "impression unavailable": 1}


def test_a_test_bid_is_told_as_one() -> None:
    desk = Desk()
    desk.call(with_price(urls(test=True).burl, "1"))
    assert desk.sink.events[0].test


def test_long_macros_are_cut_and_ids_not_repeated() -> None:
    desk = Desk()
    url = with_price(urls().nurl, "1").replace("mbr=", "mbr=" + "9" * 5000)
    desk.call(url.replace("auction_id=", "auction_id=auction"))
    macros = desk.sink.events[0].macros
    assert macros["mbr"] == "9" * 256
    assert "auction_id" not in macros


def test_views_are_remembered_only_of_somebody() -> None:
    desk = Desk()
    desk.call(urls().impression)
    desk.call(urls(user="", bid_id="auction.2").impression)
    desk.call(urls(user="", bid_id="auction.3").click + SIGNER.sign_landing("https://a.b", "acme", "shoes-300x250"))
    desk.call(with_price(urls().nurl, "1"))
    assert [(t.kind, t.bid, t.user) for t in desk.touches.recorded] == [
        ("impression", "auction.1", "person"),
        ("click", "auction.3", ""),
    ]


def test_a_price_in_the_page_sets_the_price_where_no_other_notice_does() -> None:
    desk = Desk()
    desk.call(with_price(urls(PAGE).impression, "2.0"))
    assert (desk.sink.events[0].sets_price, desk.sink.events[0].clear_micros) == (True, 2000)


def test_ids_come_back_as_the_bid_had_them() -> None:
    desk = Desk()
    desk.call(with_price(urls(request_id="a/b é", imp_id="1&2", bid_id="a/b é.1").nurl, "1"))
    event = desk.sink.events[0]
    assert (event.auction, event.imp, event.bid) == ("a/b é", "1&2", "a/b é.1")
    assert event.bid_key == bid_key("generic", "a/b é", "1&2", "a/b é.1")


def test_the_app_asks_the_desk_for_what_is_no_bid() -> None:
    desk = Desk()
    app = ExchangeApp(None, Meters("app"), max_body_bytes=100)  # type: ignore[arg-type]

    def ask(path: str, query: str = "", draining: bool = False) -> tuple[int, dict[bytes, bytes]]:
        sent: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        app.draining = draining
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
        asyncio.run(app(scope, None, send))  # type: ignore[arg-type]
        return sent[0]["status"], dict(sent[0]["headers"])  # type: ignore[return-value, call-overload]

    path, _, query = urls().impression.removeprefix("https://bid.example").partition("?")
    assert ask(path, query)[0] == 404  # no desk
    app.notices = desk.desk
    assert ask(path, query)[0] == 200
    assert ask("/nothing")[0] == 404
    status, headers = ask(path, query, draining=True)
    assert (status, headers[b"connection"]) == (200, b"close")


def test_a_query_that_is_no_text_is_refused() -> None:
    answer = Desk().call("/v1/win?" + quote("\udc80", errors="surrogatepass") + "é")
    assert answer.status == 400


def test_events_name_a_person_by_pseudonym_and_touches_by_token() -> None:
    token = "A" * 20
    desk = Desk(pseudonym=lambda token, wall_ms: f"<{token}>")
    made = urls(user=token)
    for url in (made.impression, click_url(user=token)):
        assert desk.call(url).status in (200, 302)
    assert [event.user for event in desk.sink.events] == [f"<{token}>"] * 2
    assert [touch.user for touch in desk.touches.recorded] == [token] * 2
    desk = Desk()  # without a key: the count must not be lost
    desk.call(made.impression)
    assert [event.user for event in desk.sink.events] == [token]
