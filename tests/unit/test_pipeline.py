"""Who wins and at what price: goals, floors, currencies, deals, several impressions, ties."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from campaign_express.bidding.model import (
    Advertiser,
    Exchange,
    Goal,
    GoalType,
    IntMatch,
    Match,
    Targeting,
)
from tests.support.bidders import (
    BRAND,
    USD,
    ConstantScorer,
    audio,
    banner,
    bidder,
    bids,
    campaign,
    imp,
    reason,
    request,
    targeted,
    video,
)


def price(**goal: float) -> float:
    """The bid of one campaign at pCTR 1 % and pCVR 10 %."""
    ((kind, amount),) = goal.items()
    of = campaign(goal=Goal(type=GoalType(kind), bid=round(amount * USD)), max_bid=40 * USD)
    return float(bids(bidder(of), request())[0]["price"])


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ({"cpm": 2.5}, 2.5),
        ({"cpc": 0.40}, 4.0),  # 1000 x 1 % x 0.40
        ({"cpa": 8.0}, 8.0),  # 1000 x 1 % x 10 % x 8
        ({"cpc": 9.0}, 40.0),  # worth 90, capped at the max bid
    ],
)
def test_expected_value_by_goal(goal: dict[str, float], expected: float) -> None:
    assert price(**goal) == pytest.approx(expected, abs=2e-6)


def test_margin_is_kept_back() -> None:
    assert bids(bidder(campaign(cpm=2.0, margin=0.85)), request())[0]["price"] == 1.7


def test_micros_round_down_once() -> None:
    scorer = ConstantScorer(pctr=0.0123456)
    of = campaign(goal=Goal(type=GoalType.CPC, bid=330_000))
    # The nearest float32 is 0.01234559994; 1000 x that x 0.33 USD = 4.07404798: never a micro more than it is worth.
    assert bids(bidder(of, scorer=scorer), request())[0]["price"] == 4.074047


def test_the_highest_price_wins_whatever_the_order() -> None:
    low, high = campaign("low", cpm=1.0), campaign("high", cpm=3.0)
    for order in ((low, high), (high, low)):
        assert [b["cid"] for b in bids(bidder(*order), request())] == ["high"]


def test_a_floor_is_met_exactly_and_not_undercut() -> None:
    made = bidder(campaign(cpm=2.0))
    assert bids(made, request(imp=[imp(bidfloor=2.0)]))[0]["price"] == 2.0
    assert reason(made, request(imp=[imp(bidfloor=2.000001)])) == "below-floor"


def test_a_bid_worth_nothing_is_no_bid() -> None:
    made = bidder(campaign(goal=Goal(type=GoalType.CPC, bid=USD)), scorer=ConstantScorer(pctr=0.0))
    assert reason(made, request()) == "below-floor"


def test_floors_and_prices_in_other_currencies() -> None:
    made = bidder(campaign(cpm=2.0))
    euro = made.rates.usd_per("EUR")
    assert euro is not None
    in_euro = request(cur=["EUR"], imp=[imp(bidfloor=1.5, bidfloorcur="EUR")])
    assert bids(made, in_euro)[0]["price"] == pytest.approx(2.0 / euro, abs=1e-6)
    assert reason(made, request(imp=[imp(bidfloor=round(2.01 / euro, 6), bidfloorcur="EUR")])) == "below-floor"
    assert reason(made, request(imp=[imp(bidfloor=1, bidfloorcur="XXX")])) == "currency"
    assert reason(made, request(cur=["XXX"])) == "currency"
    assert bids(made, request(cur=["XXX", "GBP", "USD"]))[0]["price"] == 2.0, "USD before what must be converted"


def test_a_converted_price_is_not_rounded_below_the_floor() -> None:
    made = bidder(campaign(cpm=2.0))
    floor = 301.234567  # yen
    rate = made.rates.usd_per("JPY")
    assert rate is not None
    made = bidder(campaign(cpm=1.0, goal=Goal(type=GoalType.CPM, bid=int(floor * rate * USD) + 1)))
    assert bids(made, request(cur=["JPY"], imp=[imp(bidfloor=floor, bidfloorcur="JPY")]))[0]["price"] >= floor


def test_the_currency_of_an_exchange_is_its_default() -> None:
    made = bidder(exchanges=(Exchange(name="x", currency="EUR"),))
    assert reason(made, request()) is None
    body = msgspec.json.encode(request())
    from tests.support.bidders import answer

    assert msgspec.json.decode(answer(made, body).body)["cur"] == "EUR"


def test_each_impression_gets_its_own_bid_and_at_most_one() -> None:
    made = bidder(campaign("a", banner("small"), cpm=1.0), campaign("b", video("film"), cpm=5.0))
    found = bids(
        made,
        request(
            imp=[
                imp("1"),
                imp("2", video={"mimes": ["video/mp4"]}),
                imp("3", banner={"w": 1, "h": 1}),
                imp("4", banner={"w": 300, "h": 250}, video={"mimes": ["video/mp4"]}),
            ]
        ),
    )
    assert [(b["impid"], b["cid"], b["mtype"]) for b in found] == [("1", "a", 1), ("2", "b", 2), ("4", "b", 2)]


def test_advertisers_have_seats_of_their_own() -> None:
    advertisers = (BRAND, Advertiser(id="other", name="Other", domain="other.example", seat="s-2"))
    made = bidder(
        campaign("a", banner(), cpm=1.0),
        campaign("b", video(), advertiser="other", cpm=1.0),
        advertisers=advertisers,
    )
    from tests.support.bidders import answer

    body = request(imp=[imp("1"), imp("2", video={"mimes": ["video/mp4"]}), imp("3")])
    response = msgspec.json.decode(answer(made, body).body)
    assert [(seat["seat"], [b["impid"] for b in seat["bid"]]) for seat in response["seatbid"]] == [
        ("brand", ["1", "3"]),
        ("s-2", ["2"]),
    ]


def test_ties_go_to_the_higher_max_bid_then_to_the_smaller_id() -> None:
    def winner(*campaigns: object) -> str:
        return str(bids(bidder(*campaigns), request())[0]["cid"])  # type: ignore[arg-type]

    a, b = campaign("a", cpm=2.0, max_bid=9 * USD), campaign("b", cpm=2.0, max_bid=9 * USD)
    assert winner(b, a) == winner(a, b) == "a"
    assert winner(a, campaign("b", cpm=2.0, max_bid=10 * USD)) == "b"


def test_creatives_of_the_winner_rotate_by_weight_and_the_same_auction_always_sees_the_same() -> None:
    made = bidder(campaign("a", banner("one", weight=3), banner("two", weight=1)))
    shown = Counter(bids(made, request(id=f"auction-{i}"))[0]["crid"] for i in range(800))
    assert shown["a-one"] + shown["a-two"] == 800
    assert 0.68 < shown["a-one"] / 800 < 0.82  # three in four; 3.5 standard deviations either side
    again = [bids(made, request(id="auction-5"))[0]["crid"] for _ in range(3)]
    assert len(set(again)) == 1


def test_only_the_best_candidates_are_scored_when_there_are_many() -> None:
    campaigns = [campaign(f"c{i:03}", cpm=1 + i / 100, max_bid=(i + 2) * USD) for i in range(40)]
    assert bids(bidder(*campaigns, max_candidates=5), request())[0]["cid"] == "c039"
    batch = [request(id=str(i)) for i in range(3)]
    made = bidder(*campaigns, max_candidates=1)
    assert {bids(made, body)[0]["cid"] for body in batch} == {"c039"}


class TestDeals:
    deal = targeted(Targeting(deal=Match(include=("d1", "d2"))), cpm=4.0)
    open_auction = campaign("open", cpm=3.0)

    @staticmethod
    def pmp(*deals: dict[str, object], private: int = 0) -> dict[str, object]:
        return request(imp=[imp(bidfloor=1.0, pmp={"private_auction": private, "deals": list(deals)})])

    def test_a_deal_campaign_bids_only_under_its_deal(self) -> None:
        made = bidder(self.deal)
        assert reason(made, request()) == "deal"
        assert reason(made, self.pmp({"id": "d9"})) == "deal"
        (found,) = bids(made, self.pmp({"id": "d9"}, {"id": "d2", "bidfloor": 3.5}))
        assert (found["dealid"], found["price"]) == ("d2", 4.0)

    def test_the_deal_s_floor_holds_instead_of_the_impression_s(self) -> None:
        made = bidder(self.deal)
        assert reason(made, self.pmp({"id": "d1", "bidfloor": 4.5})) == "below-floor"
        assert bids(made, self.pmp({"id": "d1", "bidfloor": 0.5}))[0]["price"] == 4.0

    def test_a_fixed_price_is_the_price(self) -> None:
        assert bids(bidder(self.deal), self.pmp({"id": "d1", "bidfloor": 3.25, "at": 3}))[0]["price"] == 3.25

    def test_the_better_of_deal_and_open_auction(self) -> None:
        made = bidder(self.deal, self.open_auction)
        assert bids(made, self.pmp({"id": "d1"}))[0]["cid"] == "c"
        assert bids(made, self.pmp({"id": "d1", "bidfloor": 5.0}))[0]["cid"] == "open"
        assert "dealid" not in bids(made, request())[0]

    def test_a_private_auction_is_for_deals_only(self) -> None:
        made = bidder(self.deal, self.open_auction)
        assert reason(made, self.pmp({"id": "d9"}, private=1)) == "private-auction"
        assert bids(made, self.pmp({"id": "d1"}, private=1))[0]["cid"] == "c"

    def test_seats_and_domains_of_a_deal(self) -> None:
        made = bidder(self.deal)
        assert bids(made, self.pmp({"id": "d1", "wseat": ["brand"], "wadomain": ["brand.example"]}))
        assert reason(made, self.pmp({"id": "d1", "wseat": ["other"]})) == "deal"
        assert reason(made, self.pmp({"id": "d1", "wadomain": ["other.example"]})) == "deal"

    def test_a_deal_floor_in_an_unknown_currency_is_not_met(self) -> None:
        assert reason(bidder(self.deal), self.pmp({"id": "d1", "bidfloor": 1, "bidfloorcur": "XXX"})) == "deal"


class TestNeverHalfDone:
    def test_dynamic_ad_pods_are_refused_and_structured_ones_are_not(self) -> None:
        made = bidder(campaign("c", video()), campaign("d", audio()))
        pod = {"mimes": ["video/mp4"], "podid": "p1"}
        assert reason(made, request(imp=[imp(video={**pod, "poddur": 60, "maxseq": 3})])) == "ad-pod"
        assert reason(made, request(imp=[imp(audio={"mimes": ["audio/mpeg"], "maxseq": 2})])) == "ad-pod"
        assert reason(made, request(imp=[imp(video={**pod, "rqddurs": [15]})])) is None

    def test_dooh_multipliers_are_refused(self) -> None:
        made = bidder()
        assert reason(made, request(dooh={}, imp=[imp(qty={"multiplier": 14.2})])) == "dooh-quantity"
        assert reason(made, request(dooh={}, imp=[imp(qty={"multiplier": 1})])) is None

    def test_a_broken_native_request_spoils_only_its_own_impression(self) -> None:
        made = bidder()
        bad = imp("1", native={"request": "{"})
        assert reason(made, request(imp=[bad])) == "native-request"
        assert [b["impid"] for b in bids(made, request(imp=[bad, imp("2")]))] == ["2"]

    def test_the_reason_is_that_of_the_impression_that_came_furthest(self) -> None:
        made = bidder(targeted(Targeting(position=IntMatch(include=(1,)))))
        far, near = imp("1"), imp("2", banner={"w": 1, "h": 1})
        assert reason(made, request(imp=[near, far])) == reason(made, request(imp=[far, near])) == "position"
