"""What one request can cost is bounded: work, and memory that outlives it."""

from __future__ import annotations

import msgspec

from campaign_express.bidding.bitmaps import Memo
from campaign_express.bidding.model import Inventory, Match, Targeting
from campaign_express.bidding.pipeline import MAX_OFFERS
from campaign_express.bidding.privacy import consent as consent_module
from campaign_express.openrtb.codec import decode_request
from tests.support.bidders import POLICY, FixedFacts, answer, bidder, bids, campaign, imp, native, reason, request


def test_impressions_beyond_the_limit_get_no_bid() -> None:
    found = bids(bidder(), request(imp=[imp(str(i)) for i in range(MAX_OFFERS + 50)]))
    assert [b["impid"] for b in found] == [str(i) for i in range(MAX_OFFERS)]


def test_deals_count_as_offers_too() -> None:
    made = bidder(campaign(targeting=Targeting(deal=Match(include=("d",)))))
    deals = {"deals": [{"id": "d", "bidfloor": 0.1}] * 3 * MAX_OFFERS}
    assert len(bids(made, request(imp=[imp("1", pmp=deals), imp("2", pmp=deals)]))) == 1


def test_a_batch_of_many_offers_decides_as_a_small_one() -> None:
    made = bidder(campaign("a", cpm=2.0), campaign("b", cpm=3.0))
    found = bids(made, request(imp=[imp(str(i), bidfloor=2.5 if i % 2 else 3.5) for i in range(200)]))
    assert [(b["impid"], b["cid"]) for b in found] == [(str(i), "b") for i in range(1, 200, 2)]


def test_a_memo_keeps_to_its_bytes() -> None:
    memo: Memo[int] = Memo(1000)
    for i in range(3000):
        memo.put(("x", i), i, 16_000)
    assert len(memo) * 16_000 <= Memo.BYTES
    memo.put("huge", 1, Memo.LARGEST + 1)
    assert "huge" not in memo


def test_huge_block_lists_and_formats_are_obeyed_and_not_remembered() -> None:
    made = bidder()
    domains = [f"advertiser-{i}.example" for i in range(2000)]
    assert reason(made, request(badv=domains)) is None
    assert reason(made, request(badv=[*domains, "brand.example"])) == "blocked-advertiser"
    sizes = [{"w": 1000 + i, "h": 10} for i in range(3000)]
    assert reason(made, request(imp=[imp(banner={"format": sizes})])) == "size"
    assert reason(made, request(imp=[imp(banner={"format": [*sizes, {"w": 300, "h": 250}]})])) is None
    assert len(made.pipeline.matcher._fits) == 1, "only the shape of a usual impression"


def test_a_huge_native_request_is_answered_and_not_kept() -> None:
    made = bidder(campaign("c", native()))
    text = '{"ver":"1.2","assets":[{"id":1,"title":{"len":90}}]' + " " * 30_000 + "}"
    assert reason(made, request(imp=[imp(native={"request": text})])) is None
    assert bids(made, request(imp=[imp(native={"request": text})]))


def test_endless_consent_strings_are_cut_before_they_are_remembered() -> None:
    consent_module._judge.cache_clear()
    body = request(
        user={"id": "u", "consent": "C" * 100_000},
        regs={"gdpr": 1, "gpp": "D" * 100_000, "us_privacy": "1" * 100_000, "gpp_sid": list(range(5000))},
    )
    decoded = decode_request(msgspec.json.encode(body))
    long = consent_module.assess(decoded, "DEU", POLICY)
    assert long.contextual
    assert len(long.query) < 4 * consent_module.MAX_STRING * 3
    same = request(
        user={"id": "u", "consent": "C" * 100_001},
        regs={"gdpr": 1, "gpp": "D" * 100_001, "us_privacy": "1" * 100_001, "gpp_sid": list(range(5001))},
    )
    assert consent_module.assess(decode_request(msgspec.json.encode(same)), "DEU", POLICY) == long
    assert consent_module._judge.cache_info().currsize == 1


def test_sellers_of_apps_are_looked_up_by_bundle() -> None:
    made = bidder(facts=FixedFacts(sellers={"com.game": False, "studio.example": True}))
    app = {"bundle": "com.game", "domain": "studio.example"}
    assert reason(made, request(app=app)) == "unauthorised-seller"
    assert reason(made, request(site={"domain": "studio.example"})) is None


def test_the_user_s_country_counts_where_the_device_s_is_not_given() -> None:
    made = bidder(campaign(targeting=Targeting(inventory=(Inventory.SITE,))))
    body = request(site={}, device={"geo": {"type": 2}}, user={"id": "person-1", "geo": {"country": "DEU"}})
    explained = made.explain(msgspec.json.encode(body), "", 0)
    assert explained["facts"]["country"] == "DEU"
    assert explained["facts"]["contextual"], "the GDPR applies and no consent is given"


def test_a_price_in_another_currency_is_not_below_a_floor_in_dollars() -> None:
    fixed = {"deals": [{"id": "d", "bidfloor": 1.0, "at": 3}]}
    made = bidder(campaign(targeting=Targeting(deal=Match(include=("d",))), cpm=4.0))
    for currency in ("EUR", "GBP", "JPY", "CHF", "SEK", "INR"):
        rate = made.rates.usd_per(currency)
        assert rate is not None
        (bid,) = bids(made, request(cur=[currency], imp=[imp(pmp=fixed)]))
        assert 1.0 <= bid["price"] * rate < 1.0 + 3e-6 * max(rate, 1.0), currency


def test_an_unpayable_currency_is_explained_as_such() -> None:
    story = bidder().explain(msgspec.json.encode(request(cur=["XXX"])), "", 1_780_000_000_000)
    (creative,) = story["impressions"][0]["campaigns"][0]["creatives"]
    assert (story["reason"], creative["stopped_by"]) == ("currency", "currency")
    assert answer(bidder(), request(cur=["XXX"])).status == 204
