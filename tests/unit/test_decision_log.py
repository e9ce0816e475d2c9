"""What an agent tells of its decisions: which, with what weight, in which frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from campaign_express.adapters.users_keys import token_of
from campaign_express.bidder import Bidder, State
from campaign_express.bidding.model import Exchange
from campaign_express.bidding.pipeline import Decision
from campaign_express.bidding.respond import key_of
from campaign_express.decision_log import FRAME_EVENTS, FRAME_NS, MAX_BODY, MAX_FRAME, DecisionLog, Shares
from campaign_express.events import DecisionEvent, DecisionFrame, RequestEvent, bid_key, decode_frame, request_key
from campaign_express.frames import Reply
from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.ports import Hold, UserState, UserWant
from tests.support.bidders import WALL_MS, ConstantScorer, FixedFacts, ask, bidder, campaign, imp, request

ALL = Shares(1.0, 1.0, 1.0)
TOKEN = token_of("ifa:a1-b2")
ADULT: dict[str, Any] = {"device": {"ifa": "A1-B2", "geo": {"country": "USA", "region": "CA"}, "os": "iOS"}}


class Purse:
    version = 0

    def funded(self, campaign: str) -> bool:
        return True

    def authorise(self, campaign: str, micros: int, wall_ms: int) -> int:
        return 0


class Persons:
    """Everybody who may be known is the person of TOKEN."""

    def fetch(self, wants: Sequence[UserWant | None], wall_ms: int, timeout_s: float) -> list[UserState | None]:
        return [None if want is None else UserState(TOKEN, segments=("rich",)) for want in wants]

    def settle(self, state: UserState, holds: Sequence[Hold]) -> None: ...

    def flush(self) -> None: ...


def make_log(shares: Shares = ALL) -> DecisionLog:
    return DecisionLog(shares, lambda token, wall_ms: f"<{token}@{wall_ms}>", "model-1", "agent")


def teller(*campaigns: Any, shares: Shares = ALL, persons: bool = True, **fields: Any) -> Bidder:
    state = State(Persons(), Purse(), lambda catalog: None, 600_000, 0.01) if persons else None
    return bidder(*campaigns, state=state, log=make_log(shares), clock_ns=lambda: 5_000_000, **fields)


def told(of: Bidder, *bodies: Any, now_ns: int = 3_000_000) -> tuple[list[DecisionEvent], list[RequestEvent]]:
    of.answer([ask(body, now_ns=1_000_000) for body in bodies], now_ns, WALL_MS)
    found = [decode_frame(frame) for frame in of.events()]
    return [one for frame in found for one in frame.decisions], [one for frame in found for one in frame.requests]


def test_a_bid_is_told_with_all_that_reports_ask_for() -> None:
    core = teller(campaign("c"), exchanges=[Exchange(name="x")])
    body = request(**ADULT, site={"domain": "News.example"})
    body["imp"][0]["bidfloor"] = 1.5
    ((event,), (logged,)) = told(core, body)
    assert event == DecisionEvent(
        kind="bid",
        id=bid_key("x", "r1", "1", "r1.0"),
        time_ms=WALL_MS,
        exchange="x",
        advertiser=core.pipeline.lines.lines[0].advertiser.id,
        campaign="c",
        creative=core.pipeline.lines.lines[0].creative.id,
        reason="",
        weight=1,
        price_micros=2_000_000,
        floor_micros=1_500_000,
        pctr_ppm=event.pctr_ppm,
        pcvr_ppm=event.pcvr_ppm,
        deal="",
        media="banner",
        size="300x250",
        inventory="site",
        place="news.example",
        country="USA",
        region="CA",
        device=0,
        os="ios",
        user=f"<{TOKEN}@{WALL_MS}>",
        contextual=False,
        catalog=core.catalog_version,
        model="model-1",
        latency_us=4000,
        test=False,
    )
    assert (logged.id, logged.reason, logged.segments, logged.weight) == (request_key("x", "r1"), "", ("rich",), 1)
    assert [(one.imp, one.campaign, one.price_micros) for one in logged.bids] == [("1", "c", 2_000_000)]
    assert decode_request(logged.body).imp[0].bidfloor == 1.5


def test_every_impression_that_is_bid_on_is_an_event_of_its_own() -> None:
    found, _ = told(teller(campaign("c")), request(imp=[imp("1"), imp("2")]))
    assert [one.id for one in found] == [bid_key("x", "r1", n, f"r1.{i}") for i, n in enumerate("12")]


def test_the_key_of_a_bid_is_made_once() -> None:
    core = teller(campaign("c"))
    context = core._context(decode_request(msgspec.json.encode(request())), core._exchange(""), WALL_MS)
    (decision,) = core.pipeline.decide([context])
    win = decision.wins[0]
    assert key_of(context, win) is key_of(context, win) is win.key


@pytest.mark.parametrize("auction", ["r" * 64, "r" * 65, "r" * 129, "a b/ü", "x" * 70 + " "])
@pytest.mark.parametrize("impression", ["1", "ü", "i" * 200])
def test_the_key_is_that_of_the_bids_notices(auction: str, impression: str) -> None:
    from campaign_express.openrtb.notices import portable_id

    found, _ = told(teller(campaign("c")), request(id=auction, imp=[imp(impression)]))
    bid = f"{auction[:64]}.0"
    assert found[0].id == bid_key("x", portable_id(auction), portable_id(impression), portable_id(bid))


@pytest.mark.parametrize(
    ("body", "fields", "reason", "place"),
    [
        (request(imp=[imp(banner={"format": [{"w": 1, "h": 1}]})]), {}, NoBidReason.SIZE, ""),
        (
            request(device={"ua": "bot"}, site={"domain": "a.example"}),
            {"crawler": True},
            NoBidReason.CRAWLER,
            "a.example",
        ),
    ],
)
def test_a_no_bid_says_why(body: dict[str, Any], fields: dict[str, Any], reason: NoBidReason, place: str) -> None:
    from campaign_express.ports import DeviceFacts

    facts = FixedFacts(device=DeviceFacts(crawler=True)) if fields else None
    ((event,), (logged,)) = told(teller(campaign("c"), facts=facts), body)
    assert (event.kind, event.reason, event.id, event.place) == ("no-bid", reason.value, request_key("x", "r1"), place)
    assert (event.advertiser, event.campaign, event.creative, event.price_micros) == ("", "", "", 0)
    assert (logged.reason, logged.bids) == (reason.value, ())


def test_a_request_that_came_too_late_is_told_without_anything_of_the_person() -> None:
    core = teller(campaign("c"))
    body = request(tmax=20, **ADULT)
    core.answer([ask(body, now_ns=0)], 1_000_000_000, WALL_MS)
    (frame,) = map(decode_frame, core.events())
    assert [(one.reason, one.user, one.contextual) for one in frame.decisions] == [("deadline-passed", "", True)]
    assert b"A1-B2" not in frame.requests[0].body


def test_a_fault_of_ours_is_told_as_one() -> None:
    class Broken(ConstantScorer):
        def score(self, *args: Any) -> Any:
            raise RuntimeError("broken")

    ((event,), _) = told(teller(campaign("c"), scorer=Broken()), request())
    assert event.reason == NoBidReason.TECHNICAL_ERROR.value


def test_a_fault_in_telling_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    core = teller(campaign("c"))
    core.log._pseudonym = lambda token, wall_ms: 1 / 0  # type: ignore[union-attr]
    reply = core.answer([ask(request(**ADULT))] * 3, 0, WALL_MS)
    assert [one.status for one in reply.answers] == [200] * 3
    assert core.log is not None
    assert core.log.failures == 3
    assert core.events() == []


def test_what_cannot_be_decoded_is_not_told() -> None:
    assert told(teller(campaign("c")), b"{", b"{}") == ([], [])


def test_contextual_requests_and_bidders_without_memory_name_nobody() -> None:
    child = request(**ADULT, regs={"coppa": 1}, user={"id": "u", "data": [{"segment": [{"id": "s"}]}]})
    ((event,), (logged,)) = told(teller(campaign("c")), child)
    assert (event.user, event.contextual, logged.user, logged.segments) == ("", True, "", ())
    assert decode_request(logged.body).user is None
    ((event,), (logged,)) = told(teller(campaign("c"), persons=False), request(**ADULT))
    assert (event.user, event.contextual, logged.user) == ("", False, "")


def test_tests_are_told_as_such_and_warming_up_is_not_told() -> None:
    core = teller(campaign("c"))
    core.warm_up()
    ((event,), _) = told(core, request(test=1))
    assert event.test


def test_shares_are_kept_and_weights_make_up_for_them() -> None:
    core = teller(campaign("c"), shares=Shares(0.25, 0.1, 0.05))
    numbers = range(20_000)
    bids, logged, empty = 0, 0, 0
    for start in range(0, len(numbers), 500):
        some = numbers[start : start + 500]
        found, requests = told(core, *[request(id=f"auction-{n:08}") for n in some])
        none, others = told(core, *[request(id=f"auction-{n:08}", bcat=["IAB1"], cur=["XXX"]) for n in some])
        assert {one.weight for one in found} == {4}
        assert {one.weight for one in none} == {10}
        assert {one.id for one in requests} == {one.id for one in others}  # the same requests, whatever came of them
        bids, empty, logged = bids + len(found), empty + len(none), logged + len(requests)
    assert bids == pytest.approx(5000, rel=0.05)
    assert empty == pytest.approx(2000, rel=0.05)
    assert logged == pytest.approx(1000, rel=0.1)


def test_a_share_of_none_tells_nothing() -> None:
    assert told(teller(campaign("c"), shares=Shares(0, 0, 0)), request(), request(cur=["XXX"])) == ([], [])


def decisions(core: Bidder, count: int) -> list[Decision]:
    context = core._context(decode_request(msgspec.json.encode(request())), core._exchange(""), WALL_MS)
    return core.pipeline.decide([context] * count)


def test_a_frame_is_due_when_it_is_full_or_old() -> None:
    core, log = teller(campaign("c")), make_log(Shares(1.0, 0, 0))
    some = decisions(core, FRAME_EVENTS)
    log.begin(1, WALL_MS, 0)
    assert log.decided(some[1:], [0] * (FRAME_EVENTS - 1), 0) == []
    log.begin(1, WALL_MS, FRAME_NS - 2)
    (full,) = log.decided(some[:1], [0], FRAME_NS - 1)
    log.begin(1, WALL_MS, FRAME_NS)
    assert log.decided(some[:1], [0], FRAME_NS) == []
    log.close_frame(2 * FRAME_NS - 1)
    assert log.frames(2 * FRAME_NS - 1) == []
    log.close_frame(2 * FRAME_NS)  # nobody asks for it yet
    (old,) = log.frames(2 * FRAME_NS)
    assert log.frames(9 * FRAME_NS, everything=True) == []
    first, second = decode_frame(full), decode_frame(old)
    assert (len(first.decisions), len(second.decisions)) == (FRAME_EVENTS, 1)
    assert (first.id, second.id) == ("agent-0", "agent-1")


def test_agents_name_their_frames_differently() -> None:
    names = {DecisionLog(ALL, lambda token, wall_ms: "", "m")._name for _ in range(20)}
    assert len(names) == 20


def frames_of(core: Bidder, *bodies: Any) -> list[DecisionFrame]:
    core.answer([ask(body) for body in bodies], 0, WALL_MS)
    frames = core.events()
    assert all(len(frame) <= MAX_FRAME for frame in frames)
    return [decode_frame(frame) for frame in frames]


def test_no_frame_is_larger_than_a_message_may_be() -> None:
    core = teller(campaign("c"))
    large = [request(id=f"r{n}", site={"domain": "d" * 50_000}, badv=[f"{n}.example"]) for n in range(16)]
    frames = frames_of(core, *large)
    assert len(frames) > 1
    assert len({frame.id for frame in frames}) == len(frames)
    assert sum(len(frame.decisions) for frame in frames) == 16
    assert sum(len(frame.requests) for frame in frames) == 16
    (frame,) = frames_of(core, request(site={"domain": "d" * 400_000}, badv=["x" * 300_000]))
    assert (len(frame.requests[0].body), frame.decisions[0].campaign) == (0, "c")
    assert MAX_BODY < MAX_FRAME
    (frame,) = frames_of(core, request(site={"domain": "d" * 900_000}))[:1]
    assert frame.decisions[0].place == "d" * 256


def test_half_a_surrogate_spoils_nothing() -> None:
    core, log = teller(campaign("c")), make_log(Shares(1.0, 0, 0))
    some = decisions(core, 3)
    log.begin(1, WALL_MS, 0)
    log.decided(some[:1], [0], 0)
    some[1].context.domain = "a\ud800b"
    assert log.decided(some[1:], [0, 0], 0) == []
    found = [one for frame in log.frames(0, everything=True) for one in decode_frame(frame).decisions]
    assert len(found) == 3
    assert "a?b" in {one.place for one in found}


def test_a_silent_bidder_tells_nothing() -> None:
    core = bidder(campaign("c"))
    reply = core.answer([ask(request())], 0, WALL_MS)
    assert isinstance(reply, Reply)
    assert (reply.events, core.events()) == ([], [])
