"""Real requests to a bidder as it starts out of the box: all are answered, most with a bid, each fit to be shown."""

from __future__ import annotations

import json
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from campaign_express.bidder import Bidder
from campaign_express.bootstrap import build_bidder
from campaign_express.config import Secret, Settings
from campaign_express.frames import PROTOBUF, Answer, Ask
from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.nobid import BY_INDEX
from campaign_express.openrtb.proto import openrtb_pb2
from campaign_express.openrtb.protobuf import encode_request_pb
from tests.support.native import check_native, impression_of
from tests.support.vast import check_vast

WALL_MS = 1_795_000_000_000  # November 2026: the example campaigns run
BASE = "https://bid.example.com"
BANNER, VIDEO, AUDIO, NATIVE = 1, 2, 3, 4  # bid.mtype
# Names that exchanges use for one format.
SAME = {"audio/mp3": "audio/mpeg", "audio/m4a": "audio/mp4", "audio/x-m4a": "audio/mp4"}
_link = re.compile(r"""(?:href|src)=["'](https?://[^"']+)["']""")


@lru_cache
def fresh() -> Bidder:
    return build_bidder(Settings(notice_keys=Secret("k1:" + "5a" * 32), notice_base_url=BASE))


@lru_cache
def answered(path: Path) -> list[tuple[dict[str, Any], Answer]]:
    bodies = path.read_bytes().splitlines()
    found: list[Answer] = []
    for start in range(0, len(bodies), 16):
        now = time.monotonic_ns()
        asks = [Ask("", now, body) for body in bodies[start : start + 16]]
        found += fresh().answer(asks, now, WALL_MS).answers
    return list(zip(map(json.loads, bodies), found, strict=True))


@pytest.fixture
def real(shared: Path) -> list[tuple[dict[str, Any], Answer]]:
    return answered(shared / "openrtb" / "requests.jsonl")


def bids_of(answers: list[tuple[dict[str, Any], Answer]]) -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    """(impression, bid, currency) of every bid."""
    found = []
    for request, answer in answers:
        if answer.body:
            response = json.loads(answer.body)
            assert response["id"] == request["id"]
            by_id = {imp["id"]: imp for imp in request["imp"]}
            bids = [bid for seat in response["seatbid"] for bid in seat["bid"]]
            assert len({bid["impid"] for bid in bids}) == len(bids), "two bids for one impression"
            found += [(by_id[bid["impid"]], bid, response["cur"]) for bid in bids]
    return found


def test_all_are_answered_and_most_with_a_bid(real: list[tuple[dict[str, Any], Answer]]) -> None:
    assert len(real) == 400
    assert {answer.status for _, answer in real} <= {200, 204}
    assert all((answer.status == 200) == bool(answer.body) == (answer.reason < 0) for _, answer in real)
    reasons = {BY_INDEX[answer.reason].value for _, answer in real if answer.reason >= 0}
    assert "technical-error" not in reasons
    assert sum(answer.status == 200 for _, answer in real) >= 0.6 * len(real)


def test_every_kind_of_media_is_bid_on(real: list[tuple[dict[str, Any], Answer]]) -> None:
    assert {bid["mtype"] for _, bid, _ in bids_of(real)} == {BANNER, VIDEO, AUDIO, NATIVE}


def test_every_markup_is_what_its_slot_can_show(real: list[tuple[dict[str, Any], Answer]]) -> None:
    for imp, bid, _ in bids_of(real):
        media = bid["mtype"]
        if media == BANNER:
            assert "banner" in imp
            links = [link.replace("&amp;", "&") for link in _link.findall(bid["adm"])]
            assert any(link.startswith(f"{BASE}/v1/click?") for link in links), bid["adm"]
            assert any(link.startswith(f"{BASE}/v1/imp?") for link in links), bid["adm"]
        elif media == NATIVE:
            native = check_native(bid["adm"], imp["native"]["request"])
            assert native["link"]["url"].startswith(f"{BASE}/v1/click?")
            assert impression_of(native).startswith(f"{BASE}/v1/imp?")
        else:
            vast = check_vast(bid["adm"])
            offered = imp["audio" if media == AUDIO else "video"]
            assert vast.media["type"].startswith("audio/" if media == AUDIO else "video/")
            assert vast.click.startswith(f"{BASE}/v1/click?")
            assert all(url.startswith(f"{BASE}/v1/imp?") for url in vast.impressions)
            accepted = {SAME.get(mime, mime) for mime in offered.get("mimes") or ()}
            assert not accepted or SAME.get(vast.media["type"], vast.media["type"]) in accepted
            assert offered.get("minduration", 0) <= vast.duration <= offered.get("maxduration", 10**6)
            assert (
                not offered.get("protocols") or {"4.0": 7, "4.1": 11, "4.2": 13}[vast.version] in offered["protocols"]
            )


def test_every_notice_is_ours_and_verifies(real: list[tuple[dict[str, Any], Answer]]) -> None:
    for imp, bid, _ in bids_of(real):
        for key, kind in (("nurl", "win"), ("burl", "billing"), ("lurl", "loss")):
            if key in bid:
                path, _, query = bid[key].removeprefix(BASE).partition("?")
                notice = fresh().signer.verify(path, query)
                assert (notice.kind, notice.campaign, notice.creative) == (kind, bid["cid"], bid["crid"])
                assert notice.imp == imp["id"]


def test_no_bid_is_below_its_floor(real: list[tuple[dict[str, Any], Answer]]) -> None:
    rates = fresh().rates
    compared = 0
    for imp, bid, currency in bids_of(real):
        terms = imp
        if "dealid" in bid:
            terms = next(deal for deal in imp["pmp"]["deals"] if deal["id"] == bid["dealid"])
        floor, floor_currency = terms.get("bidfloor") or 0, terms.get("bidfloorcur") or "USD"
        assert bid["price"] > 0
        if floor_currency == currency:
            assert bid["price"] >= floor
        else:
            ours, theirs = rates.usd_per(currency), rates.usd_per(floor_currency)
            assert ours is not None
            assert theirs is not None
            # Six decimal places of the price are all that is lost between two currencies.
            assert (bid["price"] + 1e-6) * ours >= floor * theirs
        compared += floor > 0
    assert compared >= 30


def test_the_protobuf_form_gets_the_same_answers(real: list[tuple[dict[str, Any], Answer]]) -> None:
    for request, answer in real:
        now = time.monotonic_ns()
        body = encode_request_pb(decode_request(json.dumps(request).encode()))
        [packed] = fresh().answer([Ask("", now, body, PROTOBUF)], now, WALL_MS).answers
        assert (packed.reason, packed.prices) == (answer.reason, answer.prices)
        message = openrtb_pb2.BidResponse.FromString(packed.body)
        assert message.id == request["id"]
        if not answer.body:
            assert (message.nbr, len(message.seatbid)) == (BY_INDEX[packed.reason].nbr, 0)
        else:
            seats = json.loads(answer.body)["seatbid"]
            assert [(b.impid, b.crid, b.price) for s in message.seatbid for b in s.bid] == [
                (bid["impid"], bid["crid"], bid["price"]) for seat in seats for bid in seat["bid"]
            ]


def test_invalid_requests_are_refused_or_answered_and_break_nothing(shared: Path) -> None:
    lines = [json.loads(line) for line in (shared / "openrtb" / "invalid.jsonl").read_text().splitlines()]
    assert len(lines) == 142
    good = json.dumps({"id": "good", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}]}).encode()
    for line in lines:
        now = time.monotonic_ns()
        asks = [Ask("", now, body) for body in (json.dumps(line["request"]).encode(), good)]
        bad, beside = fresh().answer(asks, now, WALL_MS).answers
        assert bad.status in (200, 204, 400), line["why"]
        assert bad.reason < 0 or BY_INDEX[bad.reason].value != "technical-error", line["why"]
        assert bad.status != 400 or json.loads(bad.body)["error"]["message"], line["why"]
        assert beside.status == 200, line["why"]
