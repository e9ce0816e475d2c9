"""The report of a run, from charges that were made by hand: delivery, pacing error, overspending, the page."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from campaign_express.bidding.model import (
    Advertiser,
    Budget,
    Campaign,
    Catalog,
    Creative,
    Flight,
    Goal,
    GoalType,
    Media,
    Pacing,
)
from campaign_express.clock import Clock
from campaign_express.exchange.chart import render
from campaign_express.exchange.plan import Plan
from campaign_express.exchange.report import Report, curves, make_report, quantiles, whole_days
from campaign_express.exchange.sale import Sales
from campaign_express.exchange.simulation import Results
from campaign_express.exchange.traffic import DAY_MS, FLAT, Spike, Traffic
from campaign_express.exchange.venues import venues

DAY = 1_795_564_800_000  # 2026-11-25T00:00Z
HOUR = 3_600_000


def campaign(name: str, zone: str = "UTC", pacing: Pacing = Pacing.EVEN) -> Campaign:
    return Campaign(
        id=name,
        advertiser="a",
        flight=Flight(start=datetime(2026, 1, 1, tzinfo=UTC)),
        goal=Goal(type=GoalType.CPM, bid=1_000_000),
        max_bid=1_000_000,
        budget=Budget(daily=24),
        pacing=pacing,
        time_zone=zone,
        creatives=(Creative(id=f"{name}-1", media=Media.BANNER, w=300, h=250, landing="https://x.example/"),),
    )


CATALOG = Catalog(
    advertisers=(Advertiser(id="a", name="A", domain="a.example"),),
    campaigns=(
        campaign("steady"),
        campaign("hasty"),
        campaign("berlin", "Europe/Berlin"),
        campaign("asap", pacing=Pacing.ASAP),
    ),
)
PLAN = Plan(
    seed=7,
    host="127.0.0.1",
    port=1,
    requests=1,
    start_ms=DAY,
    end_ms=DAY + DAY_MS,
    clock=Clock(),
    traffic=Traffic(FLAT, (Spike(DAY + 5 * HOUR, HOUR, 3.0),)),
    venues=venues(),
    catalog=CATALOG,
)


@pytest.fixture
def results() -> Results:
    """Every hour on its half the steady one owes a micro; the hasty one owes 12 at one o'clock and 13 at the end."""
    sales = Sales(PLAN, {})
    for hour in range(24):
        sales.charges.charge("steady", 1000, DAY + hour * HOUR + HOUR // 2)
    for name in ("hasty", "asap"):
        sales.charges.charge(name, 12_000, DAY + HOUR)
        sales.charges.charge(name, 13_000, DAY + 23 * HOUR)
    sales.charges.charge("berlin", 5_000, DAY + HOUR)
    sales.counts["requests"] = 10
    return Results(
        sales=sales,
        counts=sales.counts,
        latency_us=[1000, 2000, 3000, 4000],
        notice_latency_us=[],
        lag_ms=[1, 2, 50],
    )


@pytest.fixture
def report(results: Results) -> Report:
    return make_report(PLAN, results)


def test_delivery_and_pacing(report: Report) -> None:
    rows = {row.campaign: row for row in report.campaigns}
    assert rows["steady"].delivery == 1.0
    assert rows["steady"].pacing_error == pytest.approx(0.5 / 24, abs=1e-5)  # half an hour's worth, at most
    # At 23 o'clock 12 of 24 are owed, where 23 would be ideal.
    assert rows["hasty"].pacing_error == pytest.approx(11 / 24, abs=1e-5)
    assert rows["hasty"].delivery == pytest.approx(25 / 24, abs=1e-5)
    assert rows["asap"].pacing_error is None
    assert rows["berlin"].delivery is None  # no whole day of its zone
    assert report.pacing_error_max == rows["hasty"].pacing_error


def test_what_is_beyond_a_budget(report: Report) -> None:
    assert report.overspend_micros_max == 1
    assert {row.campaign: row.overspent_micros for row in report.campaigns if row.overspent_micros} == {
        "hasty": 1,
        "asap": 1,
    }
    assert report.overspent == [
        "campaign hasty: daily 2026-11-25 of 24 by 1",
        "campaign asap: daily 2026-11-25 of 24 by 1",
    ]
    assert report.spend_micros == 24 + 25 + 25 + 5


def test_whole_days_are_those_of_the_zone() -> None:
    assert whole_days("UTC", DAY, DAY + DAY_MS) == [(DAY, DAY + DAY_MS)]
    assert whole_days("UTC", DAY + 1, DAY + 2 * DAY_MS) == [(DAY + DAY_MS, DAY + 2 * DAY_MS)]
    assert whole_days("Europe/Berlin", DAY, DAY + 2 * DAY_MS) == [(DAY + 23 * HOUR, DAY + 47 * HOUR)]
    autumn = int(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp() * 1000)  # midnight in Berlin
    assert whole_days("Europe/Berlin", autumn, autumn + 25 * HOUR) == [(autumn, autumn + 25 * HOUR)]


def test_quantiles() -> None:
    found = quantiles([5000, 1000, 3000, 2000])
    assert (found.p50, found.p95, found.most) == (3.0, 5.0, 5.0)
    assert quantiles([]).p99 == 0.0


def test_the_page_can_be_read_and_needs_nothing(results: Results, report: Report) -> None:
    drawn = curves(PLAN, results)
    assert [curve.name for curve in drawn] == ["all campaigns", "steady", "hasty"]
    assert drawn[1].ideal_micros[-1] == 24
    assert drawn[1].spent_micros[-1] == 24
    page = render(report, drawn, report.facts())
    tree = ElementTree.fromstring(page.replace("<!doctype html>", "").replace('<meta charset="utf-8">', ""))
    charts = tree.findall(".//svg")
    assert len(charts) == 3
    titles = [chart.findtext("text") for chart in charts]
    assert str(titles[1]).startswith("hasty: 104.2%")  # the furthest from its curve comes first
    assert "http" not in page.replace("http://www.w3.org", "")


def test_counts_are_shown(report: Report) -> None:
    facts = dict(report.facts())
    assert facts["requests"] == "10"
    assert facts["most beyond a budget, micros of USD"] == "1"
    assert Counter(report.counts)["requests"] == 10
