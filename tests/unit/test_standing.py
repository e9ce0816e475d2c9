"""Money, switches and pace as masks."""

from __future__ import annotations

import pytest

from campaign_express.bidding.lines import Lines
from campaign_express.bidding.model import Advertiser, Budget
from campaign_express.bidding.standing import LOTS, Standing
from campaign_express.control import Pace, Paces, Stop, Switches
from campaign_express.events import impression_cost
from tests.support.bidders import banner, campaign, catalog


class FakePurse:
    def __init__(self) -> None:
        self.version = 0
        self.poor: set[str] = set()
        self.asked = 0

    def funded(self, campaign: str) -> bool:
        self.asked += 1
        return campaign not in self.poor

    def authorise(self, campaign: str, micros: int, wall_ms: int) -> int:
        raise NotImplementedError


def names(lines: Lines, mask: int) -> set[str]:
    return {line.creative.id for line in lines if mask >> line.bit & 1}


@pytest.fixture
def lines() -> Lines:
    limited = Budget(daily=1_000_000)
    return Lines(
        catalog(
            campaign("one", banner("1"), banner("2"), advertiser="a", budget=limited),
            campaign("two", banner("1"), advertiser="b", budget=limited),
            campaign("free", banner("1"), advertiser="b"),
            advertisers=[Advertiser(id=id, name=id, domain=f"{id}.example") for id in ("a", "b")],
        )
    )


def test_lines_without_money_are_left_out_and_come_back(lines: Lines) -> None:
    purse = FakePurse()
    standing = Standing(lines, purse)
    assert names(lines, standing.funded()) == {"one-1", "one-2", "two-1", "free-1"}
    purse.poor = {"one", "free"}  # nothing limits "free", so nobody asks about it
    purse.version += 1
    assert names(lines, standing.funded()) == {"two-1", "free-1"}
    asked = purse.asked
    standing.funded()
    assert purse.asked == asked  # only a new version is worth asking
    purse.poor = set()
    purse.version += 1
    assert names(lines, standing.funded()) == {"one-1", "one-2", "two-1", "free-1"}


def test_switches_stop_what_they_name(lines: Lines) -> None:
    standing = Standing(lines)
    standing.tell_switches(Switches(campaigns={"two": Stop()}))
    assert names(lines, standing.running("x")) == {"one-1", "one-2", "free-1"}
    standing.tell_switches(Switches(advertisers={"b": Stop()}, exchanges={"y": Stop()}))
    assert names(lines, standing.running("x")) == {"one-1", "one-2"}
    assert standing.running("y") == 0
    standing.tell_switches(Switches(everything=Stop()))
    assert standing.running("x") == 0
    standing.tell_switches(Switches())
    assert standing.running("x") == standing.running("y") == lines.everything


def test_a_campaign_takes_part_in_its_share_of_requests(lines: Lines) -> None:
    standing = Standing(lines)
    assert standing.drawn("any") == lines.everything
    standing.tell_paces(Paces(at_ms=7, campaigns={"one": Pace(0.3, 1.0), "two": Pace(0.0, 1.0)}))
    count = 20_000
    seen = [names(lines, standing.drawn(f"auction-{n}")) for n in range(count)]
    # 256 lots hold 0.3 of them to one lot; crc32 spreads ids over lots evenly: four standard deviations of a binomial.
    share = sum("one-1" in s for s in seen) / count
    assert abs(share - 0.3) < 1 / LOTS + 4 * (0.3 * 0.7 / count) ** 0.5
    assert all(("one-1" in s) == ("one-2" in s) for s in seen)  # one lot a campaign
    assert not any("two-1" in s for s in seen)
    assert all("free-1" in s for s in seen)
    assert standing.drawn("auction-1") == standing.drawn("auction-1")


def test_multipliers_stand_at_the_lines_of_their_campaign(lines: Lines) -> None:
    standing = Standing(lines)
    standing.tell_paces(Paces(campaigns={"one": Pace(1.0, 0.8), "gone": Pace(1.0, 0.1)}))
    assert standing.multiplier is not None
    by_line = {line.creative.id: float(standing.multiplier[line.bit]) for line in lines}
    assert by_line == {"one-1": 0.8, "one-2": 0.8, "two-1": 1.0, "free-1": 1.0}
    standing.tell_paces(Paces(campaigns={"one": Pace(0.5, 1.0)}))
    assert standing.multiplier is None


@pytest.mark.parametrize(("cpm", "micros"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (2_500_000, 2500)])
def test_an_impression_costs_at_most_what_is_authorised(cpm: int, micros: int) -> None:
    """A thousandth, rounded up."""
    assert impression_cost(cpm) == micros
    assert 0 <= micros * 1000 - cpm < 1000
