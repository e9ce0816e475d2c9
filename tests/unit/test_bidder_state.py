"""A bidder with money and memory: what it asks of them, what it gives back, what it does when they do not answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from campaign_express.bidder import Bidder, State
from campaign_express.bidding.model import Budget, CapPeriod, Exchange, FrequencyCap
from campaign_express.control import Pace, Paces, Stop, Switches
from campaign_express.events import bid_key, impression_cost
from campaign_express.ports import Hold, UserState, UserWant
from tests.support.bidders import USD, WALL_MS, answer, banner, bidder, bids, campaign, imp, reason, request

ONE_A_DAY = (FrequencyCap(limit=1, per=CapPeriod.DAY),)
PERSON: dict[str, Any] = {"device": {"ifa": "A1-B2", "geo": {"country": "USA"}}, "user": {"buyeruid": "u7"}}
LATENESS_MS = 600_000


class FakePurse:
    """Money by campaign; a campaign that is not named has no limit."""

    def __init__(self, **money: int) -> None:
        self.money = money
        self.version = 0
        self.taken: list[tuple[str, int]] = []

    def funded(self, campaign: str) -> bool:
        return self.money.get(campaign, 1) > 0

    def authorise(self, campaign: str, micros: int, wall_ms: int) -> int:
        assert wall_ms == WALL_MS
        if campaign not in self.money:
            return 0
        if self.money[campaign] < micros:
            return -1
        self.money[campaign] -= micros
        self.taken.append((campaign, micros))
        return 1_234_560


class FakeUsers:
    """Answers with what it is told to; remembers what it was asked and told."""

    def __init__(self, *states: UserState | None) -> None:
        self.states = states
        self.wants: list[UserWant | None] = []
        self.settled: list[tuple[str, tuple[Hold, ...]]] = []
        self.flushed = 0

    def fetch(self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float) -> list[UserState | None]:
        self.wants += wants
        found = list(self.states) or [UserState("p")] * len(wants)
        return [state if want is not None else None for want, state in zip(wants, found, strict=True)]

    def settle(self, state: UserState, holds: Sequence[Hold]) -> None:
        self.settled.append((state.key, tuple(holds)))

    def flush(self) -> None:
        self.flushed += 1


def with_state(
    *campaigns: Any, users: FakeUsers | None = None, purse: FakePurse | None = None, **fields: Any
) -> Bidder:
    return bidder(
        *campaigns,
        state=State(users or FakeUsers(), purse or FakePurse(), lambda catalog: None, LATENESS_MS, 0.01),
        **fields,
    )


def limited(id: str = "c", **fields: Any) -> Any:
    return campaign(id, budget=Budget(daily=USD), **fields)


def test_what_a_bid_may_cost_is_authorised_and_its_lease_stands_in_its_urls() -> None:
    purse = FakePurse(c=10_000)
    (bid,) = bids(with_state(limited(), purse=purse), request())
    assert purse.taken == [("c", impression_cost(2 * USD))]  # 2 USD CPM: 2,000 micros
    query = parse_qs(urlsplit(bid["nurl"]).query)
    assert query["l"] == ["1234560"]
    assert query["p"] == ["2000000"]


def test_a_campaign_without_money_does_not_bid() -> None:
    purse = FakePurse(c=0)
    of = with_state(limited(), purse=purse)
    assert reason(of, request()) == "budget"
    purse.money["c"] = 10_000
    purse.version += 1
    assert bids(of, request())


def test_where_the_money_does_not_suffice_the_next_best_campaign_bids() -> None:
    purse = FakePurse(rich=10_000, poor=100)  # "poor" has some money, but not for a bid of 5 USD CPM
    of = with_state(limited("poor", cpm=5.0), limited("rich", cpm=2.0), purse=purse)
    (bid,) = bids(of, request())
    assert (bid["cid"], bid["price"]) == ("rich", 2.0)


def test_all_creatives_of_a_campaign_without_enough_money_are_passed_over() -> None:
    purse = FakePurse(poor=100)
    poor = campaign("poor", banner("1"), banner("2"), cpm=5.0, budget=Budget(daily=USD))
    of = with_state(poor, purse=purse)
    assert reason(of, request()) == "budget"


def test_money_for_one_impression_of_two_makes_one_bid() -> None:
    purse = FakePurse(c=impression_cost(2 * USD))
    (bid,) = bids(with_state(limited(), purse=purse), request(imp=[imp("1"), imp("2")]))
    assert bid["impid"] == "1"
    assert purse.money["c"] == 0


def test_a_test_request_bids_and_takes_neither_money_nor_counts() -> None:
    purse, users = FakePurse(c=10_000), FakeUsers()
    of = with_state(limited(caps=ONE_A_DAY), purse=purse, users=users)
    assert bids(of, request(test=1, **PERSON))
    assert purse.taken == []
    assert users.wants[0] is not None
    assert users.wants[0].weight == 0
    assert users.settled == [("p", ())]


def test_a_test_request_is_no_supply() -> None:
    seen: list[str] = []
    state = State(
        FakeUsers(),
        FakePurse(),
        lambda catalog: None,
        LATENESS_MS,
        0.01,
        seen=lambda exchange, at: seen.append(exchange),
    )
    of = bidder(limited(), state=state)
    bids(of, request(test=1))
    assert seen == []
    bids(of, request())
    assert seen == ["x"]


def test_a_capped_bid_is_held_under_the_key_of_its_events_until_its_notices_may_have_come() -> None:
    users = FakeUsers()
    of = with_state(campaign(caps=ONE_A_DAY), users=users, exchanges=[Exchange(name="x", exp=120)])
    (bid,) = bids(of, request(**PERSON))
    assert users.wants == [UserWant(("ifa:a1-b2", "buyeruid@x:u7"), 1)]
    ((key, (hold,)),) = users.settled
    assert key == "p"
    assert hold == Hold(bid_key("x", "r1", "1", bid["id"]), ("c:c",), WALL_MS + 120_000 + LATENESS_MS)
    assert parse_qs(urlsplit(bid["nurl"]).query)["u"] == ["p"]


def test_a_bid_that_nothing_caps_says_nothing_of_the_person() -> None:
    users = FakeUsers()
    (bid,) = bids(with_state(campaign(), users=users), request(**PERSON))
    assert "u" not in parse_qs(urlsplit(bid["nurl"]).query)
    assert users.settled == [("p", ())]  # what was held back for the request is given back all the same


def test_a_person_at_the_cap_is_not_shown_more() -> None:
    users = FakeUsers(UserState("p", shown={"c:c": (WALL_MS - 1000,)}))
    of = with_state(campaign(caps=ONE_A_DAY), users=users)
    assert reason(of, request(**PERSON)) == "frequency-cap"


def test_two_impressions_of_one_request_stay_within_a_cap_together() -> None:
    users = FakeUsers()
    of = with_state(campaign("capped", cpm=5.0, caps=ONE_A_DAY), campaign("free", cpm=1.0), users=users)
    found = bids(of, request(imp=[imp("1"), imp("2")], **PERSON))
    assert sorted((bid["impid"], bid["cid"]) for bid in found) == [("1", "capped"), ("2", "free")]


def test_without_a_user_a_capped_campaign_bids_only_if_it_says_so() -> None:
    assert reason(with_state(campaign(caps=ONE_A_DAY)), request()) == "frequency-cap"
    users = FakeUsers()
    assert bids(with_state(campaign(caps=ONE_A_DAY, cap_without_user=True), users=users), request())
    assert users.wants == [None]  # nobody to ask about; what earlier bids have left to be written may travel


def test_without_consent_no_id_is_looked_up() -> None:
    users = FakeUsers()
    person = {"device": {"ifa": "A1", "lmt": 1}, "user": {"buyeruid": "u7"}}
    assert reason(with_state(campaign(caps=ONE_A_DAY), users=users), request(**person)) == "frequency-cap"
    assert users.wants == [None]


@pytest.mark.parametrize("cap_without_user", [False, True])
def test_where_the_store_does_not_answer_no_capped_campaign_bids_and_others_go_on(cap_without_user: bool) -> None:
    capped = campaign("capped", cpm=5.0, caps=ONE_A_DAY, cap_without_user=cap_without_user)
    assert reason(with_state(capped, users=FakeUsers(None)), request(**PERSON)) == "state-unknown"
    (bid,) = bids(with_state(capped, campaign("free"), users=FakeUsers(None)), request(**PERSON))
    assert bid["cid"] == "free"


def test_segments_of_the_profile_are_targeted() -> None:
    from campaign_express.bidding.model import Match, Targeting

    sporty = campaign(targeting=Targeting(segment=Match(include=("sport",))))
    known = FakeUsers(UserState("p", segments=("sport",)))
    assert bids(with_state(sporty, users=known), request(**PERSON))
    assert reason(with_state(sporty), request(**PERSON)) == "user-segment"


def test_switches_and_paces_hold_across_catalogues() -> None:
    of = with_state(campaign())
    of.tell_switches(Switches(campaigns={"c": Stop("complaint")}))
    assert reason(of, request()) == "stopped"
    of.replace_catalog(of_catalog := msgspec.structs.replace(_catalog(), version=2))
    assert of.catalog_version == of_catalog.version
    assert reason(of, request()) == "stopped"
    of.tell_switches(Switches())
    of.tell_paces(Paces(campaigns={"c": Pace(0.0, 1.0)}))
    assert reason(of, request()) == "pacing"
    of.tell_paces(Paces(campaigns={"c": Pace(1.0, 0.5)}))
    (bid,) = bids(of, request())
    assert bid["price"] == 1.0  # half of 2 USD


def _catalog() -> Any:
    from tests.support.bidders import catalog

    return catalog(campaign())


def test_what_is_queued_goes_out_when_nobody_waits() -> None:
    users = FakeUsers()
    of = with_state(campaign(caps=ONE_A_DAY), users=users)
    of.idle()
    assert users.flushed == 1


def test_a_response_that_cannot_be_built_gives_back_what_was_held() -> None:
    users = FakeUsers()
    of = with_state(campaign(caps=ONE_A_DAY), users=users)
    of.signer = None  # type: ignore[assignment]
    assert answer(of, request(**PERSON)).status == 204
    assert users.settled == [("p", ())]


def test_an_explanation_names_what_stands_in_the_way_and_takes_nothing() -> None:
    purse = FakePurse(c=10_000, broke=0)
    of = with_state(limited(), limited("broke"), limited("slow"), purse=purse)
    of.tell_paces(Paces(campaigns={"slow": Pace(0.0, 1.0)}))
    told = of.explain(msgspec.json.encode(request()), "", WALL_MS)
    stories = {story["campaign"]: story["creatives"][0] for story in told["impressions"][0]["campaigns"]}
    assert told["impressions"][0]["winner"]["campaign"] == "c"
    assert stories["broke"]["stopped_by"] == "budget"
    assert stories["slow"]["stopped_by"] == "pacing"
    assert purse.taken == []
