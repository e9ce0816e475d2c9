"""Every filter of the table: one request that it admits and one that it stops, with its own reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from campaign_express.bidding.eligibility import REQUEST_FILTERS, SLOT_FILTERS
from campaign_express.bidding.model import (
    Advertiser,
    Campaign,
    Dsa,
    Exchange,
    Flight,
    Hours,
    Status,
    Targeting,
)
from campaign_express.openrtb.nobid import NoBidReason
from tests.support.bidders import (
    BRAND,
    WALL_MS,
    bidder,
    campaign,
    reason,
    request,
)
from tests.support.filter_cases import REQUEST_CASES, SITE
from tests.support.slot_cases import SLOT_CASES

CASES = REQUEST_CASES + SLOT_CASES

ADVERTISERS = (
    msgspec.structs.replace(BRAND, bundle="com.brand.app", dsa=Dsa(behalf="brand.example", paid="agency.example")),
    Advertiser(id="quiet", name="Quiet", domain="quiet.example", categories=("IAB1",)),
)


@pytest.mark.parametrize(
    ("why", "of", "admitted", "stopped"), CASES, ids=[f"{i}-{c[0].value}" for i, c in enumerate(CASES)]
)
def test_filter_admits_and_stops(
    why: NoBidReason, of: Campaign, admitted: dict[str, Any], stopped: dict[str, Any]
) -> None:
    made = bidder(of, advertisers=ADVERTISERS)
    assert reason(made, request(**admitted)) is None
    assert reason(made, request(**stopped)) == why.value
    assert reason(made, request(**admitted)) is None, "a remembered mask must not leak from one request to the next"


def test_flights_begin_and_end() -> None:
    start = datetime.fromtimestamp(WALL_MS / 1000, UTC)
    made = bidder(campaign(flight=Flight(start=start, end=datetime.fromtimestamp(WALL_MS / 1000 + 60, UTC))))
    assert reason(made, request(), wall_ms=WALL_MS - 1) == "flight"
    assert reason(made, request(), wall_ms=WALL_MS) is None
    assert reason(made, request(), wall_ms=WALL_MS + 59_999) is None
    assert reason(made, request(), wall_ms=WALL_MS + 60_000) == "flight"


def test_paused_campaigns_do_not_bid() -> None:
    assert reason(bidder(campaign(status=Status.PAUSED)), request()) == "paused"


def test_campaigns_of_other_exchanges_do_not_bid() -> None:
    made = bidder(campaign(exchanges=("y",)), exchanges=(Exchange(name="x"), Exchange(name="y")))
    assert reason(made, request(), "y") is None
    assert reason(made, request(), "x") == "exchange"


def test_an_exchange_may_want_approved_creatives() -> None:
    exchanges = (Exchange(name="x", approved_creatives=("c-k",)), Exchange(name="y", approved_creatives=("other",)))
    made = bidder(campaign(), exchanges=exchanges)
    assert reason(made, request(), "x") is None
    assert reason(made, request(), "y") == "creative-approval"


def test_seats_are_those_of_the_exchange() -> None:
    made = bidder(campaign(), exchanges=(Exchange(name="x", seats={"brand": "seat-77"}),))
    assert reason(made, request(wseat=["seat-77"])) is None
    assert reason(made, request(wseat=["brand"])) == "seat"


def test_hours_follow_the_campaign_s_time_zone_and_summer_time() -> None:
    # 14:00 on a Wednesday in Berlin: 12:00 UTC in July, 13:00 UTC in January.
    made = bidder(campaign(targeting=Targeting(hours=Hours(hours=(62,))), time_zone="Europe/Berlin"))
    january = int(datetime(2026, 1, 7, 13, 0, tzinfo=UTC).timestamp() * 1000)
    assert reason(made, request(), wall_ms=WALL_MS) is None
    assert reason(made, request(), wall_ms=WALL_MS + 3_600_000) == "hour-of-week"
    assert reason(made, request(), wall_ms=january) is None
    assert reason(made, request(), wall_ms=january - 3_600_000) == "hour-of-week"


def test_half_hour_time_zones() -> None:
    # 00:00 on Thursday in Kolkata (UTC+5:30) is 18:30 UTC on Wednesday.
    made = bidder(campaign(targeting=Targeting(hours=Hours(hours=(72,))), time_zone="Asia/Kolkata"))
    thursday = int(datetime(2026, 7, 1, 18, 30, tzinfo=UTC).timestamp() * 1000)
    assert reason(made, request(), wall_ms=thursday - 1) == "hour-of-week"
    assert reason(made, request(), wall_ms=thursday) is None


def test_every_filter_is_tested_and_reasons_stand_in_its_order() -> None:
    order = [f.reason for f in REQUEST_FILTERS] + [f.reason for f in SLOT_FILTERS]
    assert [r.index for r in order] == sorted(r.index for r in order)
    elsewhere = {NoBidReason.FLIGHT, NoBidReason.PAUSED, NoBidReason.EXCHANGE, NoBidReason.APPROVAL}
    assert {case[0] for case in CASES} | elsewhere == set(order)


def test_a_remembered_filter_names_what_it_reads() -> None:
    """A remembered mask is wrong when a filter reads something that its key does not hold."""
    from campaign_express.bidding.context import build_context
    from campaign_express.bidding.lines import Lines
    from campaign_express.openrtb.codec import decode_request

    made = bidder(
        *[
            msgspec.structs.replace(
                case[1],
                id=f"c{i}",
                creatives=tuple(msgspec.structs.replace(k, id=f"{i}-{k.id}") for k in case[1].creatives),
            )
            for i, case in enumerate(CASES)
        ],
        advertisers=ADVERTISERS,
    )
    context = build_context(
        decode_request(msgspec.json.encode(request(**SITE))), made.exchanges[""], made.enricher, made.privacy, WALL_MS
    )

    class Spy:
        """Notes which attributes are read, with the path for those of the request and the consent."""

        def __init__(self, of: Any, path: str, read: set[str]) -> None:
            self._of, self._path, self._read = of, path, read

        def __getattr__(self, name: str) -> Any:
            value = getattr(self._of, name)
            if name in ("request", "consent"):
                return Spy(value, f"{name}.", self._read)
            self._read.add(self._path + name)
            return value

    lines = Lines(made_catalog(made))
    for f in REQUEST_FILTERS:
        allow = f.build(lines)
        if not f.facts or allow is None:
            continue
        read: set[str] = set()
        allow(Spy(context, "", read))  # type: ignore[arg-type]
        derived = {"exchange"} if "exchange_name" in f.facts else set()
        assert read <= set(f.facts) | derived, f.reason


def made_catalog(made: Any) -> Any:
    from campaign_express.bidding.model import Catalog

    return Catalog(advertisers=ADVERTISERS, campaigns=tuple(c for c, _, _ in made.pipeline.lines.campaigns))
