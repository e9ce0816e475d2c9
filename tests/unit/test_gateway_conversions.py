"""Postbacks: who may report a conversion, to which click or view it is due, and what it is worth."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from campaign_express.events import bid_key, event_id
from campaign_express.gateway.conversions import Windows, last_touch
from campaign_express.gateway.replies import PIXEL
from campaign_express.openrtb.postbacks import PostbackTokens, make_token
from campaign_express.ports import Touch
from tests.support.notice_desk import BID_MS, KEYS, Desk, click_url, urls

TOKEN = make_token(KEYS, "acme")
CLICK_ID = bid_key("generic", "auction", "1", "auction.1")
HOUR, DAY = 3_600_000, 86_400_000
COOKIE = "abcdefghijklmnopqrstuv"


def url(**given: Any) -> str:
    return "/v1/conversion?" + urlencode({"advertiser": "acme", "token": TOKEN, **given})


def test_a_postback_with_the_click_id_of_the_landing() -> None:
    desk = Desk()
    landing = desk.call(click_url()).headers["location"]
    click_id = landing.rpartition("click=")[2]
    desk.later(2 * HOUR)
    answer = desk.call(url(click_id=click_id, order_id="o-1", value="49.90", currency="EUR"))
    assert answer.status == 200
    event = desk.sink.events[-1]
    assert json.loads(answer.body) == {"attributed": True, "event": event.id}
    assert event.id == event_id("conversion", "acme", "order:o-1")
    assert (event.kind, event.bid_key, event.campaign) == ("conversion", CLICK_ID, "acme-shoes:us")
    assert (event.creative, event.exchange, event.auction) == ("shoes-300x250", "generic", "auction")
    assert (event.bid_ms, event.received_ms) == (BID_MS, BID_MS + 2 * HOUR)
    assert event.value_micros == 62_375_000
    assert event.clear_micros == -1
    assert not event.sets_price
    assert event.macros == {"order_id": "o-1", "touch": "click", "touched_ms": str(BID_MS + 1000)}
    assert desk.outcomes["conversion published"] == 1


def test_a_postback_again_is_the_same_event_whatever_happened_since() -> None:
    desk = Desk()
    desk.call(click_url())
    desk.call(url(click_id=CLICK_ID, order_id="o-1"))
    desk.later(DAY)
    desk.call(url(order_id="o-1"))
    first, second = desk.sink.events[1:]
    assert first.id == second.id
    assert desk.outcomes["conversion duplicate"] == 1


def test_without_an_order_a_click_converts_once() -> None:
    desk = Desk()
    desk.call(click_url())
    for _ in range(2):
        desk.call(url(click_id=CLICK_ID))
    assert len({event.id for event in desk.sink.events[1:]}) == 1
    desk.call(url(click_id=CLICK_ID, order_id="o-2"))
    assert len({event.id for event in desk.sink.events[1:]}) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"token": ""},
        {"token": TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1")},
        {"token": TOKEN.partition(".")[2]},
        {"token": "other." + TOKEN.partition(".")[2]},
        {"token": make_token(KEYS, "other")},
        {"token": make_token([("k1", b"another key of 32 bytes.........")], "acme")},
        {"advertiser": "other"},
        {"advertiser": ""},
        {"advertiser": "acme\nother"},
    ],
)
def test_who_has_no_token_of_the_advertiser_reports_nothing(changes: dict[str, str]) -> None:
    desk = Desk()
    desk.call(click_url())
    answer = desk.call(url(click_id=CLICK_ID, **changes))
    assert answer.status == 403
    assert json.loads(answer.body)["error"]["rule"] == "postback-token"
    assert [event.kind for event in desk.sink.events] == ["click"]
    assert desk.outcomes["conversion tampered"] == 1


def test_an_advertiser_cannot_claim_the_clicks_of_another() -> None:
    desk = Desk()
    desk.call(click_url())
    desk.call(url(advertiser="other", token=make_token(KEYS, "other"), click_id=CLICK_ID))
    assert (desk.sink.events[-1].advertiser, desk.sink.events[-1].campaign) == ("other", "")


def test_the_token_may_come_as_a_bearers() -> None:
    desk = Desk()
    assert desk.call("/v1/conversion?advertiser=acme&order_id=1", authorization=f"Bearer {TOKEN}").status == 200
    assert desk.call("/v1/conversion?advertiser=acme&order_id=1", authorization=f"Basic {TOKEN}").status == 403


def test_a_token_lives_as_long_as_its_key() -> None:
    old, new = KEYS[0], ("k2", b"n" * 32)
    assert PostbackTokens([new, old]).fits(TOKEN, "acme")
    assert not PostbackTokens([new]).fits(TOKEN, "acme")
    assert make_token([new, old], "acme").startswith("k2.")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "$.query"),
        ({"click_id": "short"}, "$.query.click_id"),
        ({"click_id": CLICK_ID + "x"}, "$.query.click_id"),
        ({"order_id": "x" * 129}, "$.query.order_id"),
        ({"order_id": "a\nb"}, "$.query.order_id"),
        ({"order_id": "1", "value": "-1"}, "$.query.value"),
        ({"order_id": "1", "value": "1e3"}, "$.query.value"),
        ({"order_id": "1", "value": "nan"}, "$.query.value"),
        ({"order_id": "1", "value": "999999999999"}, "$.query.value"),
        ({"order_id": "1", "value": "1", "currency": "XXX"}, "$.query.currency"),
    ],
)
def test_what_is_wrong_with_a_postback_is_named(changes: dict[str, str], path: str) -> None:
    desk = Desk()
    answer = desk.call(url(**changes))
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["path"] == path
    assert desk.sink.events == []
    assert desk.outcomes == {"conversion invalid": 1}


def test_a_postback_may_be_a_form_or_json() -> None:
    desk = Desk()
    form = urlencode({"advertiser": "acme", "token": TOKEN, "order_id": "é 1", "value": "2"}).encode()
    said = {"advertiser": "acme", "token": TOKEN, "order_id": "é 1", "value": 2.5}
    assert desk.call("/v1/conversion", "POST", form, content_type="application/x-www-form-urlencoded").status == 200
    assert desk.call("/v1/conversion", "POST", json.dumps(said).encode(), content_type="application/json").status == 200
    assert [e.value_micros for e in desk.sink.events] == [2_000_000, 2_500_000]
    assert desk.sink.events[0].macros == {"order_id": "é 1"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"order_id": {}}', "application/json", 400),
        (b'{"order_id": null}', "application/json", 400),
        (b"order_id=1&order_id=2", "", 400),
        (b"advertiser=acme", "", 400),  # which the query gives, too
        (b"x" * 20_000, "", 413),
        (b"&".join(b"a%d=1" % n for n in range(100)), "", 400),
        (b"order_id=\xff", "", 400),
    ],
)
def test_bodies_that_cannot_be_read(body: bytes, kind: str, status: int) -> None:
    assert Desk().call(url(), "POST", body, content_type=kind).status == status


def test_a_postback_from_a_page_gets_a_pixel() -> None:
    assert Desk().call(url(order_id="1"), accept="image/avif,image/webp,*/*").body == PIXEL


def test_what_is_due_to_nobody_is_kept_without_a_campaign() -> None:
    desk = Desk()
    answer = desk.call(url(order_id="1", value="3"))
    assert json.loads(answer.body)["attributed"] is False
    event = desk.sink.events[0]
    assert (event.advertiser, event.campaign, event.bid_key, event.value_micros) == ("acme", "", "", 3_000_000)
    assert desk.outcomes == {"conversion published": 1, "conversion unattributed": 1}


def test_a_click_is_worth_something_for_its_window() -> None:
    desk = Desk(click_window_ms=DAY)
    desk.call(click_url())
    desk.later(DAY)
    desk.call(url(click_id=CLICK_ID, order_id="1"))
    desk.later(DAY + 1)
    desk.call(url(click_id=CLICK_ID, order_id="2"))
    assert [event.campaign for event in desk.sink.events[1:]] == ["acme-shoes:us", ""]


def test_a_view_is_found_by_our_cookie_where_consent_allows() -> None:
    desk = Desk()
    desk.identities.canonical[f"cookie:{COOKIE}"] = "person"
    desk.call(urls().impression)
    desk.call(url(order_id="1"), cookie=f"a=b; cx={COOKIE}")
    assert desk.sink.events[-1].macros["touch"] == "impression"
    desk.call(url(order_id="2"))
    desk.consents = False
    desk.call(url(order_id="3"), cookie=f"cx={COOKIE}")
    desk.consents = True
    desk.call(url(order_id="4"), cookie=f"cx={COOKIE}", sec_gpc="1")
    assert [event.campaign for event in desk.sink.events[2:]] == ["", "", ""]


def test_a_postback_waits_for_redis() -> None:
    desk = Desk()
    desk.touches.away = True
    answer = desk.call(url(click_id=CLICK_ID))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert desk.outcomes == {"conversion unavailable": 1}
    desk.touches.away = False
    desk.sink.away = True
    assert desk.call(url(click_id=CLICK_ID)).status == 503
    assert desk.outcomes == {"conversion unavailable": 2}


def test_a_test_conversion_is_told_as_one() -> None:
    desk = Desk()
    desk.call(click_url(test=True))
    desk.call(url(click_id=CLICK_ID))
    desk.call(url(order_id="1", test="1"))
    assert [event.test for event in desk.sink.events] == [True, True, True]


def touch(kind: str, bid_ms: int, touched_ms: int, campaign: str, advertiser: str = "acme") -> Touch:
    return Touch(kind, "k", "x", "a", "i", "b", advertiser, campaign, "cr", 1, 0, bid_ms, touched_ms, "person", False)


def test_the_last_touch_wins() -> None:
    windows = Windows(click_ms=100, view_ms=10)
    found = [
        touch("click", 0, 5, "first click"),
        touch("impression", 92, 93, "view"),
        touch("click", 91, 92, "last click"),
        touch("click", 95, 96, "another's", "other"),
        touch("impression", 80, 99, "old view"),
        touch("click", 101, 101, "to come"),
    ]
    assert getattr(last_touch(found, "acme", windows, 100), "campaign", None) == "view"
    assert getattr(last_touch(found, "acme", windows, 103), "campaign", None) == "to come"
    found[1] = touch("impression", 91, 92, "view")
    assert getattr(last_touch(found, "acme", windows, 100), "campaign", None) == "last click"
    assert last_touch(found[3:5], "acme", windows, 100) is None
