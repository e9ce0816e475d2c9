"""Explanations agree with decisions."""

from __future__ import annotations

from typing import Any

import msgspec

from campaign_express.bidding.model import Match, Targeting
from campaign_express.ports import DeviceFacts
from tests.support.bidders import WALL_MS, FixedFacts, banner, bidder, campaign, imp, request, video


def explained(made: Any, **fields: Any) -> dict[str, Any]:
    story: dict[str, Any] = made.explain(msgspec.json.encode(request(**fields)), "", WALL_MS)
    msgspec.json.encode(story)  # it is an HTTP answer
    return story


def stopped(story: dict[str, Any], impression: int = 0) -> dict[str, str | None]:
    return {
        creative["creative"]: creative.get("stopped_by")
        for of in story["impressions"][impression]["campaigns"]
        for creative in of["creatives"]
    }


def test_every_creative_has_its_reason() -> None:
    made = bidder(
        campaign("winner", banner(), cpm=3.0),
        campaign("second", banner(), cpm=2.0),
        campaign("poor", banner(), cpm=0.5),
        campaign("abroad", banner(), targeting=Targeting(country=Match(include=("FRA",)))),
        campaign("film", video(), cpm=9.0),
        campaign("deal", banner(), targeting=Targeting(deal=Match(include=("d",)))),
    )
    story = explained(made, imp=[imp(bidfloor=1.0)])
    assert stopped(story) == {
        "winner-k": None,
        "second-k": "lost-internal-auction",
        "poor-k": "below-floor",
        "abroad-k": "country",
        "film-k": "media-kind",
        "deal-k": "deal",
    }
    assert story["outcome"] == "bid"
    assert story["impressions"][0]["winner"] == {
        "campaign": "winner",
        "creative": "winner-k",
        "price": 3.0,
        "dealid": None,
    }
    by_campaign = {c["campaign"]: c["creatives"][0] for c in story["impressions"][0]["campaigns"]}
    offer = by_campaign["second"]["offers"][0]
    assert (offer["price"], offer["rank"], offer["floor"]) == (2.0, 2, 1.0)
    assert by_campaign["second"]["features"]


def test_the_first_filter_in_order_is_named() -> None:
    both = Targeting(country=Match(include=("FRA",)), size=Match(include=("1x1",)))
    assert stopped(explained(bidder(campaign(targeting=both)))) == {"c-k": "country"}


def test_every_impression_has_its_own_story() -> None:
    story = explained(bidder(), imp=[imp("1"), imp("2", banner={"w": 9, "h": 9}), imp("3", qty={"multiplier": 3})])
    assert [s["impid"] for s in story["impressions"]] == ["1", "2", "3"]
    assert [s["refused"] for s in story["impressions"]] == [None, None, "dooh-quantity"]
    assert [bool(s["winner"]) for s in story["impressions"]] == [True, False, False]
    assert stopped(story, 1) == {"c-k": "size"}


def test_a_request_that_is_not_decided_says_why() -> None:
    made = bidder(facts=FixedFacts(DeviceFacts(crawler=True)))
    story = explained(made, device={"ua": "a bot"})
    assert (story["outcome"], story["reason"], story["impressions"]) == ("no-bid", "crawler", [])


def test_no_user_id_is_shown() -> None:
    story = explained(bidder(), user={"id": "person-1"}, device={"ifa": "person-2"})
    assert "person" not in msgspec.json.encode(story).decode()
    assert story["facts"]["user_known"] is True
