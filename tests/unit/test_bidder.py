"""An agent's job around the decision: errors, deadlines, encodings, one bad request in a batch."""

from __future__ import annotations

import gzip
from typing import Any

import msgspec
import pytest

from campaign_express import frames
from campaign_express.bidding.model import Exchange
from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.nobid import BY_INDEX, NoBidReason
from campaign_express.openrtb.proto import openrtb_pb2
from campaign_express.openrtb.protobuf import encode_request_pb
from campaign_express.ports import DeviceFacts
from tests.support.bidders import (
    WALL_MS,
    ConstantScorer,
    FixedFacts,
    answer,
    ask,
    bidder,
    bids,
    campaign,
    imp,
    reason,
    request,
    video,
)


def test_a_bid_is_a_whole_response() -> None:
    found = answer(bidder(), request(cur=["USD"]))
    assert (found.status, found.reason, found.prices) == (200, -1, (2_000_000,))
    response = msgspec.json.decode(found.body)
    assert (response["id"], response["cur"]) == ("r1", "USD")
    assert response["bidid"]
    (seat,) = response["seatbid"]
    (bid,) = seat["bid"]
    assert seat["seat"] == "brand"
    assert bid["adomain"] == ["brand.example"]
    assert (bid["cid"], bid["crid"], bid["cat"], bid["mtype"], bid["exp"]) == ("c", "c-k", ["IAB2-1"], 1, 3600)
    assert (bid["w"], bid["h"], bid["price"]) == (300, 250, 2.0)
    assert bid["nurl"].startswith("https://bid.example/v1/win?")
    assert "${AUCTION_PRICE}" in bid["burl"]
    assert "${AUCTION_LOSS}" in bid["lurl"]
    assert "https://bid.example/v1/imp?" in bid["adm"]


def test_notice_urls_verify_and_say_what_was_bid() -> None:
    made = bidder()
    bid = bids(made, request(test=1))[0]
    path, _, query = bid["nurl"].removeprefix("https://bid.example").partition("?")
    notice = made.signer.verify(path, query)
    assert (notice.kind, notice.campaign, notice.creative, notice.imp) == ("win", "c", "c-k", "1")
    assert (notice.price_micros, notice.event_ms, notice.test) == (2_000_000, WALL_MS, True)


def test_what_the_exchange_wants_of_notices_and_expiry() -> None:
    made = bidder(exchanges=(Exchange(name="x", notices=("burl",), exp=600),))
    bid = bids(made, request(imp=[imp(exp=120)]))[0]
    assert {"nurl", "lurl"} & bid.keys() == set()
    assert bid["exp"] == 120
    assert bids(made, request(imp=[imp(exp=9000)]))[0]["exp"] == 600


def test_a_skippable_video_says_so() -> None:
    bid = bids(
        bidder(campaign("c", video(skippable=True))),
        request(imp=[imp(video={"mimes": ["video/mp4"], "protocols": [11]})]),
    )[0]
    assert bid["attr"] == [16]
    assert (bid["protocol"], bid["dur"], bid["w"]) == (11, 15, 640)
    assert 'version="4.1"' in bid["adm"]


def test_a_no_bid_has_no_body_unless_the_exchange_wants_one() -> None:
    made = bidder(exchanges=(Exchange(name="x"), Exchange(name="y", no_bid_status=200)))
    small = request(imp=[imp(banner={"w": 1, "h": 1})])
    quiet, spoken = answer(made, small), answer(made, small, "y")
    assert (quiet.status, quiet.body, quiet.reason) == (204, b"", NoBidReason.SIZE.index)
    assert (spoken.status, spoken.reason) == (200, NoBidReason.SIZE.index)
    assert msgspec.json.decode(spoken.body) == {"id": "r1", "nbr": NoBidReason.SIZE.nbr}


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (b"", 400, "$"),
        (b"[]", 400, "$"),
        (b'{"id":"1"}', 400, "$.imp"),
        (b'{"id":"1","imp":[{"id":"1","banner":{"w":"300"}}]}', 400, "$.imp[0].banner.w"),
        (b'{"id":"1","imp":[{"id":"1"}]}', 400, "$.imp[0]"),
    ],
)
def test_refusals_name_the_place(body: bytes, status: int, path: str) -> None:
    found = answer(bidder(), body)
    assert (found.status, BY_INDEX[found.reason]) == (status, NoBidReason.INVALID_REQUEST)
    assert msgspec.json.decode(found.body)["error"]["path"] == path


def test_an_unknown_exchange_is_not_found() -> None:
    assert answer(bidder(), request(), "nobody").status == 404


def test_a_request_that_waited_too_long_is_a_no_bid() -> None:
    made = bidder(tmax_reserve_ms=10)

    def after(ms: float, **fields: Any) -> str | None:
        found = made.answer([ask(request(**fields), now_ns=0)], round(ms * 1_000_000), WALL_MS).answers[0]
        return None if found.reason < 0 else BY_INDEX[found.reason].value

    assert after(40, tmax=50) is None
    assert after(40.1, tmax=50) == "deadline-passed"
    assert after(90) is None, "without tmax the exchange's 100 ms hold"
    assert after(90.1) == "deadline-passed"
    assert after(0.1, tmax=5) == "deadline-passed", "a tmax below the reserve can never be met"


def test_invalid_traffic_and_unauthorised_sellers() -> None:
    device = {"device": {"ua": "some agent", "ip": "198.51.100.7"}, "site": {"domain": "pages.example"}}
    assert reason(bidder(facts=FixedFacts(DeviceFacts(crawler=True))), request(**device)) == "crawler"
    assert reason(bidder(facts=FixedFacts(data_centers=["198.51.100.7"])), request(**device)) == "data-center-ip"
    of_both = bidder(facts=FixedFacts(data_centers=["2001:db8::7"]))
    assert reason(of_both, request(device={"ip": "198.51.100.7", "ipv6": "2001:db8::7"})) == "data-center-ip"
    assert reason(of_both, request(device={"ip": "198.51.100.7", "ipv6": "2001:db8::8"})) is None
    assert (
        reason(bidder(facts=FixedFacts(sellers={"pages.example": False})), request(**device)) == "unauthorised-seller"
    )
    assert reason(bidder(facts=FixedFacts(sellers={"pages.example": True})), request(**device)) is None


def test_gzip_both_ways() -> None:
    made = bidder()
    packed = gzip.compress(msgspec.json.encode(request()))
    found = answer(made, packed, flags=frames.BODY_GZIP | frames.ACCEPT_GZIP)
    assert found.gzip
    assert gzip.decompress(found.body) == answer(made, request()).body
    assert answer(made, packed).status == 400
    assert answer(made, b"junk", flags=frames.BODY_GZIP).status == 400
    bomb = gzip.compress(b" " * 2_000_000)
    assert answer(made, bomb, flags=frames.BODY_GZIP).status == 413


def test_protobuf_gets_the_decision_of_json() -> None:
    made = bidder()
    body = request(site={"domain": "a.example"}, user={"id": "u"})
    raw = encode_request_pb(decode_request(msgspec.json.encode(body)))
    found = openrtb_pb2.BidResponse.FromString(answer(made, raw, encoding=frames.PROTOBUF).body)
    same = msgspec.json.decode(answer(made, body).body)
    assert (found.id, found.seatbid[0].seat) == (same["id"], same["seatbid"][0]["seat"])
    mine, theirs = found.seatbid[0].bid[0], same["seatbid"][0]["bid"][0]
    assert (mine.price, mine.crid, mine.adm, mine.nurl) == (
        theirs["price"],
        theirs["crid"],
        theirs["adm"],
        theirs["nurl"],
    )


def test_a_no_bid_in_protobuf_says_why() -> None:
    raw = encode_request_pb(decode_request(msgspec.json.encode(request(imp=[imp(banner={"w": 1, "h": 1})]))))
    found = answer(bidder(), raw, encoding=frames.PROTOBUF)
    response = openrtb_pb2.BidResponse.FromString(found.body)
    assert (response.id, response.nbr, found.reason) == ("r1", NoBidReason.SIZE.nbr, NoBidReason.SIZE.index)


def test_one_bad_request_spoils_no_other_of_its_batch() -> None:
    made = bidder()
    batch = [request(id="good-1"), b"{", request(id="small", imp=[imp(banner={"w": 1, "h": 1})]), request(id="good-2")]
    answers = made.answer([ask(body) for body in batch], 0, WALL_MS).answers
    assert [a.status for a in answers] == [200, 400, 204, 200]
    assert [msgspec.json.decode(answers[i].body)["id"] for i in (0, 3)] == ["good-1", "good-2"]


class Fragile(ConstantScorer):
    """Fails for the second of several requests and whenever it meets that one."""

    def score(self, request_cat: Any, request_num: Any, creative: Any, row: Any) -> tuple[Any, Any]:
        if request_num[:, 2].max() > 0.5:  # the feature log_floor
            raise ValueError("cannot score this")
        return super().score(request_cat, request_num, creative, row)


def test_a_fault_in_the_decision_loses_only_the_request_that_causes_it() -> None:
    made = bidder(campaign(cpm=40.0), scorer=Fragile())
    batch = [request(id="a"), request(id="b", imp=[imp(bidfloor=30.0)]), request(id="c")]
    answers = made.answer([ask(body) for body in batch], 0, WALL_MS).answers
    assert [a.status for a in answers] == [200, 204, 200]
    assert BY_INDEX[answers[1].reason] is NoBidReason.TECHNICAL_ERROR


@pytest.mark.parametrize("stage", ["decode", "build_context", "build_response"])
def test_a_fault_of_ours_is_a_no_bid_in_the_way_the_exchange_wants(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    made = bidder(exchanges=(Exchange(name="x"), Exchange(name="y", no_bid_status=200)))

    def fault(*arguments: Any) -> None:
        raise RuntimeError("ours")

    for name in ("decode_request", "decode_request_pb") if stage == "decode" else (stage,):
        monkeypatch.setattr(f"campaign_express.bidder.{name}", fault)
    reason = NoBidReason.TECHNICAL_ERROR
    assert answer(made, request(), "x") == frames.Answer(204, b"", reason.index)
    spoken = answer(made, request(), "y")
    assert (spoken.status, spoken.reason) == (200, reason.index)
    assert msgspec.json.decode(spoken.body) == {"id": "r1", "nbr": reason.nbr}
    packed = gzip.compress(msgspec.json.encode(request()))
    assert answer(made, packed, "y", flags=frames.BODY_GZIP) == spoken
    raw = encode_request_pb(decode_request(msgspec.json.encode(request())))
    response = openrtb_pb2.BidResponse.FromString(answer(made, raw, "x", encoding=frames.PROTOBUF).body)
    assert (response.id, response.nbr) == ("r1", reason.nbr)


def test_a_new_catalogue_is_swapped_whole() -> None:
    made = bidder(campaign("old"))
    assert bids(made, request())[0]["cid"] == "old"
    from tests.support.bidders import catalog

    made.replace_catalog(msgspec.structs.replace(catalog(campaign("new")), version=7))
    assert bids(made, request())[0]["cid"] == "new"
    assert made.answer([ask(request())], 0, WALL_MS).catalog_version == 7


def test_quirks_of_an_exchange_apply_to_it_alone() -> None:
    made = bidder(exchanges=(Exchange(name="x"), Exchange(name="old", quirks=("openrtb-2.5",))))
    assert "mtype" in bids(made, request(), "x")[0]
    assert "mtype" not in bids(made, request(), "old")[0]


def test_contextual_requests_carry_no_user_into_the_urls() -> None:
    person = {"id": "person-1", "buyeruid": "person-2", "eids": [{"source": "s", "uids": [{"id": "person-3"}]}]}
    body = request(user=person, device={"ifa": "person-4", "ip": "203.0.113.77"}, regs={"gdpr": 1})
    text = answer(bidder(), body).body
    assert b"person" not in text
    assert b"203.0.113" not in text
    assert b"gdpr=1" in text


def test_hostile_ids_do_not_swell_the_response() -> None:
    found = answer(bidder(), request(id="x" * 100_000))
    assert found.status == 200
    assert len(found.body) < 110_000, "the id is echoed once, as the specification wants"


def test_explain_raises_for_what_is_not_a_request() -> None:
    with pytest.raises(InvalidRequest):
        bidder().explain(b"{}", "", WALL_MS)
