"""A catalogue file is taken whole, or refused with everything that is wrong with it."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from campaign_express.bidding import catalog_rules, documents
from campaign_express.bidding.catalog import (
    dump_catalog,
    load_catalog,
    parse_catalog,
)
from campaign_express.bidding.exchanges import load_exchanges, parse_exchanges
from campaign_express.bidding.model import CapPeriod, GoalType, Media, Pacing
from campaign_express.openrtb.iso3166 import country_alpha3
from tests.support.raw_catalog import BANNER, EXAMPLES, ROOT, VIDEO, example, problems, raw


def test_a_good_catalogue() -> None:
    catalog = parse_catalog(raw())
    (campaign,) = catalog.campaigns
    assert campaign.goal.type is GoalType.CPM
    assert (campaign.goal.bid, campaign.max_bid) == (2_500_000, 4_000_000)
    assert campaign.creatives[0].media is Media.BANNER
    assert campaign.flight.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert campaign.flight.end == datetime(2026, 7, 1, tzinfo=UTC)  # a date alone is the whole day


def test_the_input_is_left_alone() -> None:
    value = raw()
    before = copy.deepcopy(value)
    parse_catalog(value)
    assert value == before


@pytest.mark.parametrize(
    ("amount", "micros"),
    [(2.5, 2_500_000), ("2.50", 2_500_000), (3, 3_000_000), (0.1, 100_000), ("0.000001", 1), (4.35, 4_350_000)],
)
def test_amounts_are_exact(amount: Any, micros: int) -> None:
    catalog = parse_catalog(raw(goal={"type": "cpc", "bid": amount}))
    assert catalog.campaigns[0].goal.bid == micros


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        ("$2.50", '"$2.50" is not an amount in USD'),
        ("2,50", "is not an amount"),
        (True, "true is not an amount"),
        (None, "null is not an amount"),
        ([1], "a list is not an amount"),
        ("NaN", "is not an amount"),
        ("Infinity", "is not an amount"),
        (-1, "-1 is not between 0"),
        (1e12, "is not between 0"),
        ("1e999999999", "is not between 0"),
        ("0.0000001", "more than six decimal places"),
        (0, "must be more than 0"),
    ],
)
def test_what_is_no_amount(amount: Any, says: str) -> None:
    value = raw()
    value["campaigns"][0]["goal"]["bid"] = amount
    (problem,) = problems(value)
    assert problem.startswith("campaign spring-sale: goal.bid: ")
    assert says in problem


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-05-01", "Europe/Berlin", datetime(2026, 4, 30, 22, tzinfo=UTC)),
        ("2026-05-01T08:00:00", "America/New_York", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("2026-05-01 08:00:00+02:00", "America/New_York", datetime(2026, 5, 1, 6, tzinfo=UTC)),
        ("2026-05-01T08:00:00Z", "America/New_York", datetime(2026, 5, 1, 8, tzinfo=UTC)),
        (datetime(2026, 5, 1, 8), "Europe/Berlin", datetime(2026, 5, 1, 6, tzinfo=UTC)),
    ],
)
def test_moments_without_an_offset_are_the_campaigns_own_time(text: Any, zone: str, moment: datetime) -> None:
    catalog = parse_catalog(raw(flight={"start": text}, time_zone=zone))
    assert catalog.campaigns[0].flight.start == moment
    assert catalog.campaigns[0].flight.end is None


def test_everything_wrong_is_reported_at_once_by_campaign() -> None:
    value = raw(max_bid=1)
    second = copy.deepcopy(value["campaigns"][0]) | {
        "id": "autumn",
        "time_zone": 3,
        "goal": {"type": "cpm", "bid": "x"},
        "targeting": {"country": {"include": ["XX"]}, "metro": {"include": [501]}, "language": {"exclude": ["xx"]}},
        "creatives": [BANNER | {"id": "b2", "w": 0}, VIDEO | {"duration": "long"}],
    }
    third = copy.deepcopy(raw()["campaigns"][0])
    value["campaigns"] += [second, third, "fourth"]
    value["advertisers"] += [{"id": "acme", "name": "", "domain": "https://x", "categories": ["nope"]}]
    value["campains"] = []
    found = problems(value)
    assert found == [
        "campains: no such key",
        'advertiser acme: domain: "https://x" is not a domain such as "news.example": no scheme, port or path',
        "advertiser acme: name: is empty",
        'advertiser acme: categories[0]: "nope" is not a category id of taxonomy 1',
        "advertiser acme: id: is used twice (advertisers[0] and advertisers[1])",
        "campaign spring-sale: max_bid: 1 is less than the CPM of goal.bid, 2.5",
        'campaign autumn: goal.bid: "x" is not an amount in USD such as 2.5 or "2.50"',
        'campaign autumn: creatives[1].duration: "long": expected `int`, got `str`',
        "campaign autumn: time_zone: must be text, and is 3: write it in quotes",
        "campaign autumn: targeting.metro.include[0]: must be text, and is 501: write it in quotes",
        "campaign autumn: creatives[0].w: is missing: a banner has a size",
        'campaign autumn: targeting.country.include[0]: "XX" is not an ISO 3166 country',
        'campaign autumn: targeting.language.exclude[0]: "xx" is not an ISO 639-1 language',
        'campaign spring-sale: creatives[0].id: "b1" is used already, by campaign spring-sale, creatives[0]',
        "campaign spring-sale: id: is used twice (campaigns[0] and campaigns[2])",
        'campaigns[3]: must be an object, and is "fourth"',
    ]


@pytest.mark.parametrize("value", [None, [], "x", {}, {"advertisers": [], "campaigns": {}}, {"version": -1}])
def test_what_is_no_catalogue(value: Any) -> None:
    assert problems(value)


def test_exchanges_that_are_not_defined() -> None:
    exchanges = parse_exchanges({"default": "generic", "exchanges": [{"name": "generic"}]})
    assert parse_catalog(raw(exchanges=["generic"]), exchanges)
    assert parse_catalog(raw(exchanges=["other"]))  # not known without the exchanges file
    assert problems(raw(exchanges=["generic", "other"]), exchanges=exchanges) == [
        'campaign spring-sale: exchanges[1]: "other" is not a defined exchange'
    ]


def test_remarks_on_what_is_probably_not_meant() -> None:
    catalog = parse_catalog(
        raw(
            targeting={"deal": {"include": ["d1"]}, "media": ["banner"]},
            creatives=[BANNER | {"html": "<b>hi</b>"}, VIDEO],
        )
    )
    exchanges = parse_exchanges(
        {"default": "x", "exchanges": [{"name": "x", "seats": {"acne": "1"}, "approved_creatives": ["b1", "b9"]}]}
    )
    assert list(catalog_rules.remarks(catalog, exchanges)) == [
        "campaign spring-sale: creatives[0].html: without {CLICK_URL}, so clicks will not be counted",
        "campaign spring-sale: creatives[1]: never used, targeting.media leaves video out",
        "campaign spring-sale: exchanges: a deal belongs to one exchange, and all exchanges are meant",
        "exchange x: seats.acne: no such advertiser",
        'exchange x: approved_creatives: no creative "b9"',
    ]


def test_budgets_are_micros() -> None:
    value = raw(budget={"total": "1000.50", "daily": 100, "hourly": None}, pacing="asap")
    value["advertisers"][0]["budget"] = {"daily": 0.25}
    catalog = parse_catalog(value)
    (campaign,), (advertiser,) = catalog.campaigns, catalog.advertisers
    assert (campaign.budget.total, campaign.budget.daily, campaign.budget.hourly) == (1_000_500_000, 100_000_000, None)
    assert (advertiser.budget.total, advertiser.budget.daily) == (None, 250_000)
    assert campaign.budget.limited
    assert parse_catalog(documents.parse_yaml(dump_catalog(catalog))) == catalog


def test_budgets_and_zones_of_accounts_are_checked() -> None:
    value = raw()
    value["advertisers"][0] |= {"budget": {"daily": 3, "hourly": 4, "total": "x"}, "time_zone": "Mars/Base"}
    assert problems(value) == [
        'advertiser acme: budget.total: "x" is not an amount in USD such as 2.5 or "2.50"',
        'advertiser acme: time_zone: "Mars/Base" is not a time zone such as Europe/Berlin',
        "advertiser acme: budget.hourly: 4 is more than budget.daily, 3",
    ]


# What ships.


def test_the_example_catalogue_is_varied() -> None:
    catalog = example()
    creatives = [creative for campaign in catalog.campaigns for creative in campaign.creatives]
    assert len(catalog.campaigns) >= 30
    assert {creative.media for creative in creatives} == set(Media)
    assert {campaign.goal.type for campaign in catalog.campaigns} == set(GoalType)
    used = {
        name
        for campaign in catalog.campaigns
        for name in campaign.targeting.__struct_fields__
        if getattr(campaign.targeting, name) != getattr(type(campaign.targeting)(), name)
    }
    assert used == set(catalog.campaigns[0].targeting.__struct_fields__)
    assert sum(campaign.budget.limited for campaign in catalog.campaigns) >= 20
    assert any(advertiser.budget.limited for advertiser in catalog.advertisers)
    assert {cap.per for campaign in catalog.campaigns for cap in campaign.caps} == set(CapPeriod)
    assert {campaign.pacing for campaign in catalog.campaigns} == set(Pacing)
    exchanges = load_exchanges(EXAMPLES / "exchanges.yaml")
    assert list(catalog_rules.remarks(catalog, exchanges)) == []


def test_the_example_in_the_documentation_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "catalogue.md").read_text()
    catalogs = re.findall(r"```yaml\n(advertisers:.*?)```", text, re.DOTALL)
    assert catalogs
    for block in catalogs:
        (tmp_path / "c.yaml").write_text(block)
        assert load_catalog(tmp_path / "c.yaml").campaigns
    for block in re.findall(r"```yaml\n(default:.*?)```", text, re.DOTALL):
        (tmp_path / "e.yaml").write_text(block)
        assert load_exchanges(tmp_path / "e.yaml").exchanges


def test_the_documentation_names_every_key() -> None:
    from campaign_express.bidding import model

    text = (ROOT / "docs" / "catalogue.md").read_text()
    for kind in (
        *(
            model.Advertiser,
            model.Campaign,
            model.Targeting,
            model.Creative,
            model.NativeContent,
            model.Goal,
            model.Flight,
            model.Budget,
            model.FrequencyCap,
        ),
        *(model.Dsa, model.Exchange, model.Exchanges, model.Circle, model.OsVersion, model.Hours, model.CategoryMatch),
    ):
        for name in kind.__struct_fields__:
            assert f"`{name}`" in text, f"{kind.__name__}.{name}"


def test_every_language_and_country_is_a_code() -> None:
    from campaign_express.bidding.targeting_rules import LANGUAGES

    assert len(LANGUAGES) == 183
    assert all(re.fullmatch("[a-z]{2}", code) for code in LANGUAGES)
    assert country_alpha3("no") == "NOR"
