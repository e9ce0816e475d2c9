"""The catalogue of a simulated day is a catalogue that could be published, and keeps the promises of its groups."""

from __future__ import annotations

import pytest

from benchmarks import day_catalog
from benchmarks.day_catalog import Supply, group_of
from campaign_express.bidding.catalog import dump_catalog, parse_catalog
from campaign_express.bidding.documents import parse_yaml
from campaign_express.bidding.model import Catalog, Exchanges, Pacing
from campaign_express.exchange import market, shapes, venues
from campaign_express.exchange.people import People
from campaign_express.exchange.stream import RequestStream

REQUESTS, COUNT, SEED = 200_000, 60, 3
KNOWN = venues.venues()


@pytest.fixture(scope="module")
def stream() -> RequestStream:
    return RequestStream(SEED, People(5000, SEED), shapes.generate(SEED, 300), KNOWN)


@pytest.fixture(scope="module")
def catalog(stream: RequestStream) -> Catalog:
    return day_catalog.generate(COUNT, REQUESTS, stream, KNOWN, 1_795_564_800_000, SEED)


def test_it_can_be_published(catalog: Catalog) -> None:
    exchanges = Exchanges(default=KNOWN[0].name, exchanges=tuple(venue.exchange for venue in KNOWN))
    again = parse_catalog(parse_yaml(dump_catalog(catalog)), exchanges)
    assert again.campaigns == catalog.campaigns
    assert again.advertisers == catalog.advertisers


def test_half_want_what_is_scarce_and_a_quarter_could_overspend(catalog: Catalog, stream: RequestStream) -> None:
    groups = [group_of(campaign.id) for campaign in catalog.campaigns]
    assert len(groups) == COUNT
    assert groups.count("scarce") >= COUNT / 2
    assert groups.count("greedy") >= COUNT / 4
    supply = Supply(stream, REQUESTS, SEED)
    wanted = dict.fromkeys(market.SCARCE_SITES, 0)
    offered = dict.fromkeys(market.SCARCE_SITES, 0.0)
    for campaign in catalog.campaigns:
        budget = campaign.budget.daily or campaign.budget.total or 0
        _, spend = supply.of(campaign)
        if group_of(campaign.id) == "scarce":
            [site] = campaign.targeting.domain.include
            wanted[site] += budget
            offered[site] = max(offered[site], spend)
        elif group_of(campaign.id) == "greedy":
            assert spend > 5 * budget
        elif group_of(campaign.id) == "even":
            assert spend > 5 * budget
            assert campaign.pacing is Pacing.EVEN
            assert campaign.time_zone == "UTC"
    assert sum(wanted[site] > offered[site] for site in wanted) > len(wanted) / 2


def test_budgets_and_caps_are_of_every_kind(catalog: Catalog) -> None:
    budgets = [campaign.budget for campaign in catalog.campaigns]
    assert any(b.total is not None for b in budgets)
    assert any(b.hourly is not None for b in budgets)
    assert any(advertiser.budget.limited for advertiser in catalog.advertisers)
    caps = {(cap.per.value, cap.window) for campaign in catalog.campaigns for cap in campaign.caps}
    assert {per for per, _ in caps} == {"hour", "day", "week", "lifetime"}
    assert {window for _, window in caps} == {"sliding", "calendar"}
    assert any(creative.caps for campaign in catalog.campaigns for creative in campaign.creatives)


def test_the_same_day_for_the_same_seed(catalog: Catalog, stream: RequestStream) -> None:
    again = day_catalog.generate(COUNT, REQUESTS, stream, KNOWN, 1_795_564_800_000, SEED)
    assert again == catalog
