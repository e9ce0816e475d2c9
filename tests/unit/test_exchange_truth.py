"""The truth itself, against cases worked out by hand: charges by period, what the ledger must say, caps exceeded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from campaign_express.bidding.model import (
    Advertiser,
    Budget,
    Campaign,
    CapPeriod,
    Catalog,
    Creative,
    Flight,
    FrequencyCap,
    Goal,
    GoalType,
    Media,
)
from campaign_express.exchange.shown import Impressions, impressions_beyond
from campaign_express.exchange.told import BILLING, IMPRESSION, WIN, Expected, Sale, cost_micros, expect
from campaign_express.exchange.truth import Charges, Overspent, cumulative

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def campaign(
    name: str = "c",
    advertiser: str = "a",
    *,
    budget: Budget = Budget(),  # noqa: B008  # frozen
    zone: str = "UTC",
    caps: tuple[FrequencyCap, ...] = (),
    creative_caps: tuple[FrequencyCap, ...] = (),
) -> Campaign:
    return Campaign(
        id=name,
        advertiser=advertiser,
        flight=Flight(start=datetime(2026, 1, 1, tzinfo=UTC)),
        goal=Goal(type=GoalType.CPM, bid=2_000_000),
        max_bid=4_000_000,
        budget=budget,
        time_zone=zone,
        caps=caps,
        creatives=(
            Creative(
                id=f"{name}-1", media=Media.BANNER, w=300, h=250, landing="https://x.example/", caps=creative_caps
            ),
        ),
    )


def catalog(*campaigns: Campaign, account: Budget = Budget(), zone: str = "UTC") -> Catalog:  # noqa: B008
    names = dict.fromkeys(one.advertiser for one in campaigns)
    return Catalog(
        advertisers=tuple(Advertiser(id=n, name=n, domain="x.example", budget=account, time_zone=zone) for n in names),
        campaigns=campaigns,
    )


class TestCharges:
    def test_a_cpm_of_so_many_micros_costs_so_many_nanos(self) -> None:
        charges = Charges(catalog(campaign()))
        for _ in range(1000):
            charges.charge("c", 1_234_567, ms(NOON))
        assert charges.campaigns["c"] == 1_234_567_000  # 1,000 impressions at 1.234567 USD CPM: 1.234567 USD

    def test_a_budget_that_is_met_exactly_is_not_passed(self) -> None:
        charges = Charges(catalog(campaign(budget=Budget(total=3))))
        charges.charge("c", 3_000, ms(NOON))
        assert list(charges.overspent()) == []
        charges.charge("c", 1, ms(NOON))  # one nano
        assert list(charges.overspent()) == [Overspent("campaign c", "total", "", 3, 1)]

    def test_hours_and_days_are_those_of_the_campaigns_zone(self) -> None:
        """Kolkata is 5:30 ahead: its day begins at 18:30 UTC, its hours on the half hour."""
        charges = Charges(catalog(campaign(budget=Budget(daily=10, hourly=6), zone="Asia/Kolkata")))
        evening = datetime(2026, 11, 25, 18, 29, 59, tzinfo=UTC)
        charges.charge("c", 6_000, ms(evening))
        charges.charge("c", 6_000, ms(evening + timedelta(seconds=1)))
        assert list(charges.overspent()) == []
        assert charges.spent("campaign c") == {
            ("total", ""): 12_000,
            ("daily", "2026-11-25"): 6_000,
            ("daily", "2026-11-26"): 6_000,
            ("hourly", "2026-11-25T23+0530"): 6_000,
            ("hourly", "2026-11-26T00+0530"): 6_000,
        }

    def test_the_hour_that_clocks_repeat_is_two_hours(self) -> None:
        """Berlin, 25 October 2026: 02:00 to 03:00 comes twice, at 00:00 and at 01:00 UTC; the day has 25 hours."""
        charges = Charges(catalog(campaign(budget=Budget(daily=10, hourly=5), zone="Europe/Berlin")))
        for hour in (0, 1):
            charges.charge("c", 5_000, ms(datetime(2026, 10, 25, hour, 30, tzinfo=UTC)))
        assert list(charges.overspent()) == []
        charges.charge("c", 1_000, ms(datetime(2026, 10, 25, 1, 59, tzinfo=UTC)))
        assert {(o.scope, o.beyond_micros) for o in charges.overspent()} == {("hourly", 1), ("daily", 1)}

    def test_an_account_is_passed_by_campaigns_that_each_stay_below(self) -> None:
        both = catalog(
            campaign("c1", budget=Budget(daily=8)), campaign("c2", budget=Budget(daily=8)), account=Budget(daily=10)
        )
        charges = Charges(both)
        charges.charge("c1", 7_000, ms(NOON))
        charges.charge("c2", 4_200, ms(NOON))
        assert list(charges.overspent()) == [Overspent("account a", "daily", "2026-11-25", 10, 2)]  # 1.2, rounded up

    def test_sums_over_time(self) -> None:
        assert cumulative({3: 10, 5: 1, 9: 100}, [0, 3, 4, 5, 6, 10]) == [0, 0, 10, 10, 11, 111]


class TestTold:
    @staticmethod
    def sale(told: int, charged: bool = True, clear: int = 1_500_001, price: int = BILLING) -> Sale:
        made = Sale("c", 2_000_500, clear, price)
        made.told, made.charged = told, charged
        return made

    def test_an_impression_costs_a_thousandth_rounded_up(self) -> None:
        assert [cost_micros(cpm) for cpm in (0, 1, 1000, 1001)] == [0, 1, 1, 2]

    @pytest.mark.parametrize(
        ("told", "charged", "expected"),
        [
            (BILLING, True, Expected(1501, 1501, 0, 0, 0)),
            (WIN | BILLING | IMPRESSION, True, Expected(1501, 1501, 0, 0, 0)),
            (WIN, True, Expected(2001, 2001, 2001, 0, 0)),  # the price never came: the most that was authorised
            (IMPRESSION, True, Expected(2001, 2001, 2001, 0, 0)),
            (WIN, False, Expected(2001, 2001, 2001, 0, 2001)),  # won, never shown, so never charged
            (0, True, Expected(0, 0, 0, 1_500_001, 0)),  # nobody said anything
            (0, False, Expected(0, 0, 0, 0, 0)),
        ],
    )
    def test_what_the_ledger_must_say(self, told: int, charged: bool, expected: Expected) -> None:
        assert expect([self.sale(told, charged)]) == expected

    @pytest.mark.parametrize(
        ("told", "doubtful", "least", "most"),
        [
            (0, WIN, 0, 2001),  # not at all, or the most that was authorised
            (WIN, BILLING, 1501, 2001),  # the clear price, if that was taken
            (0, WIN | BILLING, 0, 2001),
            (BILLING, WIN, 1501, 1501),  # the price is known: no other notice changes anything
        ],
    )
    def test_notices_without_an_answer_leave_a_range(self, told: int, doubtful: int, least: int, most: int) -> None:
        sale = self.sale(told)
        sale.doubtful = doubtful
        found = expect([sale])
        assert (found.committed, found.most) == (least, most)


class TestImpressions:
    HOUR = 3_600_000

    def test_a_sliding_window_is_half_open(self) -> None:
        cap = FrequencyCap(limit=2, per=CapPeriod.HOUR)
        zone = ZoneInfo("UTC")
        assert impressions_beyond(cap, [0, 1, self.HOUR], zone) == 0  # the first is exactly an hour ago
        assert impressions_beyond(cap, [0, 1, self.HOUR - 1], zone) == 1
        assert impressions_beyond(cap, [0, 1, 2, 3], zone) == 2

    def test_calendar_days_begin_at_local_midnight(self) -> None:
        cap = FrequencyCap(limit=1, per=CapPeriod.DAY, window="calendar")
        midnight = ms(datetime(2026, 11, 25, 5, tzinfo=UTC))  # New York
        times = [midnight - 1, midnight, midnight + 1]
        assert impressions_beyond(cap, times, ZoneInfo("America/New_York")) == 1
        assert impressions_beyond(cap, times, ZoneInfo("UTC")) == 2

    def test_calendar_weeks_begin_on_monday(self) -> None:
        cap = FrequencyCap(limit=1, per=CapPeriod.WEEK, window="calendar")
        monday = ms(datetime(2026, 11, 23, tzinfo=UTC))
        assert impressions_beyond(cap, [monday - 1, monday], ZoneInfo("UTC")) == 0
        assert impressions_beyond(cap, [monday, monday + 6 * 24 * self.HOUR], ZoneInfo("UTC")) == 1

    def test_calendar_hours_that_clocks_repeat_are_two(self) -> None:
        cap = FrequencyCap(limit=1, per=CapPeriod.HOUR, window="calendar")
        first = ms(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
        assert impressions_beyond(cap, [first, first + self.HOUR], ZoneInfo("Europe/Berlin")) == 0

    def test_a_lifetime_has_no_end(self) -> None:
        cap = FrequencyCap(limit=2, per=CapPeriod.LIFETIME)
        assert impressions_beyond(cap, [0, 10**9, 10**12], ZoneInfo("UTC")) == 1

    def test_campaigns_and_creatives_are_capped_each_for_one_person(self) -> None:
        once = FrequencyCap(limit=1, per=CapPeriod.DAY)
        twice = FrequencyCap(limit=2, per=CapPeriod.DAY)
        known = catalog(campaign("c1", caps=(twice,)), campaign("c2", creative_caps=(once,)), campaign("c3"))
        shown = Impressions()
        for name, person in (("c1", "p"), ("c1", "p"), ("c2", "p"), ("c3", "p"), ("c3", "p"), ("c1", "q"), ("c2", "q")):
            shown.record(person, name, f"{name}-1", 1000)
        assert list(shown.exceeded(known)) == []
        shown.record("p", "c1", "c1-1", 2000)
        shown.record("q", "c2", "c2-1", 2000)
        found = [(one.entity, one.person, one.impressions) for one in shown.exceeded(known)]
        assert found == [("campaign c1", "p", 1), ("creative c2-1", "q", 1)]

    def test_impressions_to_nobody_are_capped_by_nothing(self) -> None:
        known = catalog(campaign("c", caps=(FrequencyCap(limit=1, per=CapPeriod.DAY),)))
        shown = Impressions()
        for _ in range(5):
            shown.record("", "c", "c-1", 1000)
        assert shown.total == 5
        assert list(shown.exceeded(known)) == []
