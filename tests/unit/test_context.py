"""Facts of a request in one spelling: which of several places counts, and what is left of them without consent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from campaign_express.bidding.context import Context, build_context, host_of
from campaign_express.bidding.model import Exchange, Inventory
from campaign_express.ports import DeviceFacts, GeoFacts
from tests.support.bidders import POLICY, WALL_MS, FixedFacts
from tests.support.contexts import BOSTON, context, decoded

# ------------------------------------------------------------------ where the ad is shown


def test_a_site_is_known_by_its_domain_then_by_its_page() -> None:
    by_domain = context(site={"domain": "News.Example", "page": "https://other.example/"})
    assert (by_domain.inventory, by_domain.domain, by_domain.bundle) == (Inventory.SITE, "news.example", "")
    assert context(site={"page": "https://News.example:8443/a/b?c=//d#e"}).domain == "news.example"
    assert context(site={}).domain == ""


def test_an_app_is_known_by_its_bundle() -> None:
    found = context(app={"bundle": "Com.Game", "domain": "Game.example", "publisher": {"id": "Pub-1"}})
    assert (found.inventory, found.bundle, found.domain) == (Inventory.APP, "com.game", "game.example")
    assert found.publisher == "Pub-1", "an id is not text"


def test_a_screen_has_a_domain_and_no_categories() -> None:
    found = context(dooh={"domain": "Screens.example", "content": {"cat": ["IAB1"], "cattax": 1}})
    assert (found.inventory, found.domain) == (Inventory.DOOH, "screens.example")
    assert found.category_groups == ((1, ("IAB1",)),)


def test_without_a_place_nothing_is_known_of_it() -> None:
    found = context()
    assert (found.inventory, found.domain, found.bundle, found.publisher) == (None, "", "", "")
    assert found.category_groups == ()
    assert found.keywords == frozenset()


def test_categories_keep_their_taxonomy() -> None:
    site = {"cat": ["IAB1"], "sectioncat": ["IAB2"], "pagecat": ["IAB3"], "content": {"cat": ["53"], "cattax": 6}}
    assert context(site=site).category_groups == ((1, ("IAB1", "IAB2", "IAB3")), (6, ("53",)))
    assert context(site={"pagecat": ["52"], "cattax": 7}).category_groups == ((7, ("52",)),)
    two = Exchange(name="x", cattax=2)
    assert context(exchange=two, app={"cat": ["1"], "content": {"cat": ["2"]}}).category_groups == (
        (2, ("1",)),
        (2, ("2",)),
    )


def test_keywords_come_from_page_content_and_person() -> None:
    fields: dict[str, Any] = {
        "site": {"keywords": " Shoes,running", "kwarray": ["Sale"], "content": {"keywords": "film"}},
        "user": {"keywords": "golf", "kwarray": ["Tea"]},
    }
    assert context(**fields).keywords == {"shoes", "running", "sale", "film", "golf", "tea"}
    assert context(**fields, device={"lmt": 1}).keywords == {"shoes", "running", "sale", "film"}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://A.example/x", "a.example"),
        ("a.example", "a.example"),
        ("a.example/x//y", "a.example"),
        ("//a.example?x", "a.example"),
        ("https://user:secret@a.example:80#x", "a.example"),
        ("a.example?next=https://b.example/", "a.example"),
        ("https://a.example/?next=https://b.example/", "a.example"),
        ("", ""),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host


# ------------------------------------------------------------------ where the person is


def place(found: Context) -> tuple[Any, ...]:
    return found.country, found.region, found.city, found.metro, found.lat, found.lon


def test_the_device_s_place_counts_before_the_person_s() -> None:
    home = {"geo": {"country": "AUS", "region": "QLD", "city": "Cairns"}}
    here = {"geo": {"country": "us", "region": "US-CA", "city": "Fresno", "metro": "866", "lat": 36.7, "lon": -119.8}}
    assert place(context(device=here, user=home)) == ("USA", "CA", "fresno", "866", 36.7, -119.8)
    assert place(context(user=home)) == ("AUS", "QLD", "cairns", "", None, None)


def test_the_address_tells_the_place_where_no_country_was_sent() -> None:
    from_address = ("USA", "MA", "boston", "506", 42.361, -71.057)
    assert place(context(device={"ip": "203.0.113.7"})) == from_address
    assert place(context(device={"ipv6": "2001:db8::1"})) == from_address
    assert place(context(device={"ip": "203.0.113.7", "geo": {"city": "Nowhere", "lat": 1.0}})) == from_address
    assert place(context(device={"ip": "203.0.113.7", "geo": {"country": "??"}})) == from_address
    assert place(context(device={"geo": {"city": "Fresno"}})) == ("", "", "fresno", "", None, None)


def test_the_second_address_tells_the_place_where_the_first_does_not() -> None:
    class SixOnly(FixedFacts):
        def geo(self, ip: str) -> GeoFacts:
            return BOSTON if ":" in ip else GeoFacts()

    def city(**device: str) -> str:
        return build_context(decoded(device=device), Exchange(name="x"), SixOnly(), POLICY, WALL_MS).city

    assert city(ip="10.0.0.1", ipv6="2001:db8::1") == "boston"
    assert city(ip="10.0.0.1") == ""


def test_a_sent_country_is_not_mixed_with_the_address_s_place() -> None:
    assert place(context(device={"ip": "203.0.113.7", "geo": {"country": "CAN"}})) == ("CAN", "", "", "", None, None)


def test_an_address_that_tells_nothing_leaves_what_was_sent() -> None:
    found = context(
        by_address=GeoFacts(), device={"ip": "203.0.113.7", "geo": {"city": "Fresno", "lat": 36.7, "lon": -119.8}}
    )
    assert place(found) == ("", "", "fresno", "", 36.7, -119.8)


def test_the_country_of_the_address_decides_whether_the_gdpr_applies() -> None:
    device = {"ip": "203.0.113.7", "ifa": "i", "geo": {"country": "??"}}
    assert context(device=device).user_id == "i"
    assert context(device=device, by_address=GeoFacts("FRA")).user_id == ""


# ------------------------------------------------------------------ the device


def system(found: Context) -> tuple[str, str, int, str]:
    return found.os, found.os_version, found.device_type, found.make


def test_what_is_sent_of_the_device_counts_before_what_its_agent_tells() -> None:
    sent = {"ua": "Mozilla/5.0", "os": "iPadOS", "osv": "17.4", "devicetype": 5, "make": "ACME"}
    assert system(context(device=sent)) == ("ios", "17.4", 5, "acme")
    assert system(context(device={"ua": "Mozilla/5.0"})) == ("macos", "14.5", 2, "apple")
    assert system(context(device={"ua": "Mozilla/5.0", "osv": "12"})) == ("macos", "12", 2, "apple")
    assert system(context(device={"os": "Android"})) == ("android", "", 0, "")
    assert system(context()) == ("", "", 0, "")


def test_the_structured_user_agent_counts_before_the_agent_string() -> None:
    sua = {"mobile": 1, "platform": {"brand": "Android", "version": ["13", "1"]}}
    assert system(context(device={"sua": sua}))[:3] == ("android", "13.1", 4)
    assert system(context(device={"sua": sua, "ua": "Mozilla/5.0"}))[:3] == ("android", "13.1", 2)
    assert system(context(device={"sua": sua, "osv": "9"}))[:3] == ("android", "9", 4)
    assert system(context(device={"sua": {"mobile": 0, "platform": {}}, "ua": "Mozilla/5.0"}))[:3] == (
        "macos",
        "14.5",
        2,
    )


@pytest.mark.parametrize(
    ("device", "language"),
    [
        ({"language": "de"}, "de"),
        ({"language": "EN-us"}, "en"),
        ({"language": "pt_BR"}, "pt"),
        ({"language": "fil"}, "fil"),  # not Finnish
        ({"langb": "zh-Hant-TW"}, "zh"),
        ({"language": "de", "langb": "fr"}, "de"),
        ({"language": ""}, ""),
        ({}, ""),
    ],
)
def test_language(device: dict[str, Any], language: str) -> None:
    assert context(device=device).language == language


def test_connection_and_carrier() -> None:
    found = context(device={"connectiontype": 6, "carrier": "VODAFONE DE"})
    assert (found.connection, found.carrier) == (6, "vodafone de")


def test_a_crawler_is_known_by_its_agent() -> None:
    assert context(device={"ua": "bot"}, by_agent=DeviceFacts(crawler=True)).crawler
    assert not context(device={"ua": "Mozilla/5.0"}).crawler
    assert not context(by_agent=DeviceFacts(crawler=True)).crawler


# ------------------------------------------------------------------ the person


PERSON: dict[str, Any] = {
    "user": {
        "id": "u",
        "buyeruid": "b",
        "data": [{"segment": [{"id": "S1"}, {"id": "s2"}, {}]}, {}, {"segment": [{"id": "s3"}]}],
        "eids": [{"source": "ID.example"}, {"source": "other.example"}, {}],
    },
    "device": {"ip": "203.0.113.77", "ifa": "i", "geo": {"country": "USA", "lat": 42.3601, "lon": -71.0589}},
}


def test_the_person_where_nothing_forbids_it() -> None:
    found = context(**PERSON)
    assert found.user_id == "b"
    assert found.segments == ("S1", "s2", "s3")
    assert found.eid_sources == ("id.example", "other.example")
    assert (found.ip, found.lat, found.lon) == ("203.0.113.77", 42.3601, -71.0589)


def test_which_id_of_the_person_counts() -> None:
    device = {"ifa": "i"}
    assert context(user={"id": "u", "buyeruid": "b"}, device=device).user_id == "b"
    assert context(user={"id": "u"}, device=device).user_id == "u"
    assert context(user={}, device=device).user_id == "i"
    assert context(device=device).user_id == "i"


def test_identities_where_openrtb_2_5_had_them() -> None:
    assert context(user={"ext": {"eids": [{"source": "A.example"}]}}).eid_sources == ("a.example",)
    both = {"eids": [{"source": "new.example"}], "ext": {"eids": [{"source": "old.example"}]}}
    assert context(user=both).eid_sources == ("new.example",)


@pytest.mark.parametrize(
    "signal",
    [
        {"regs": {"coppa": 1}},
        {"regs": {"gdpr": 1}},
        {"regs": {"us_privacy": "1YYN"}},
        {"regs": {"ext": {"gpc": 1}}},
    ],
)
def test_without_consent_nothing_is_left_of_the_person(signal: dict[str, Any]) -> None:
    found = context(**PERSON, **signal)
    assert (found.user_id, found.segments, found.eid_sources) == ("", (), ())
    assert (found.ip, found.lat, found.lon) == ("203.0.113.0", 42.4, -71.1)


def test_without_consent_nothing_finer_than_a_region_is_left_of_the_place() -> None:
    here = {
        "country": "USA",
        "region": "MA",
        "city": "Boston",
        "metro": "506",
        "zip": "02108",
        "lat": 42.361,
        "lon": -71.057,
    }
    coarse = ("USA", "MA", "", "506", 42.4, -71.1)
    assert place(context(device={"geo": here, "lmt": 1})) == coarse
    assert place(context(user={"geo": here}, device={"lmt": 1})) == coarse
    looked_up = context(device={"ip": "203.0.113.77", "lmt": 1})
    assert place(looked_up) == coarse, "what an address tells is cut as well"
    for found in (context(device={"geo": here, "lmt": 1}), looked_up):
        assert not any("boston" in str(getattr(found, name)).lower() for name in Context.__slots__ if name != "request")


def test_addresses_of_either_kind_are_cut_without_consent() -> None:
    both = {"ip": "203.0.113.77", "ipv6": "2001:db8:1:2::3"}
    for device, ip, ipv6 in (
        (both, "203.0.113.77", "2001:db8:1:2::3"),
        ({**both, "lmt": 1}, "203.0.113.0", "2001:db8:1::"),
        ({"ipv6": "2001:db8:1:2::3", "lmt": 1}, "", "2001:db8:1::"),
        ({"ip": "2001:db8:1:2::3", "lmt": 1}, "2001:db8:1::", ""),
        ({"ip": "nonsense", "lmt": 1}, "", ""),
    ):
        found = context(device=device)
        assert (found.ip, found.ipv6) == (ip, ipv6)


# ------------------------------------------------------------------ time


def millis(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("wall_ms", "offset", "utc_hour", "user_hour"),
    [
        (millis(2026, 6, 29), 0, 0, 0),  # a Monday
        (millis(2026, 6, 29) - 1, 0, 167, 167),
        (millis(2026, 7, 1, 12), 120, 60, 62),
        (millis(2026, 7, 1, 12), 330, 60, 65),  # half hours are cut
        (millis(2026, 7, 1, 12, 30), 330, 60, 66),
        (millis(2026, 6, 29), -60, 0, 167),  # back over the week's edge
        (millis(2026, 7, 5, 23), 60, 167, 0),  # and forth
    ],
)
def test_hour_of_week(wall_ms: int, offset: int, utc_hour: int, user_hour: int) -> None:
    found = context(wall_ms, device={"geo": {"country": "USA", "utcoffset": offset}})
    assert (found.utc_hour, found.user_hour) == (utc_hour, user_hour)


def test_the_hour_of_the_person_by_their_address_or_not_at_all() -> None:
    assert context(device={"ip": "203.0.113.7"}).user_hour == 60 - 4
    assert context(device={"ip": "203.0.113.7", "geo": {"utcoffset": 60}}).user_hour == 61
    assert context(device={"ip": "203.0.113.7", "geo": {"country": "USA"}}).user_hour == -1
    assert context().user_hour == -1
