"""What each filter of requests admits and stops; `slot_cases.py` has those of impressions."""

from __future__ import annotations

from typing import Any

import msgspec

from campaign_express.bidding.model import (
    Campaign,
    CategoryMatch,
    Circle,
    CircleMatch,
    Hours,
    IntMatch,
    Inventory,
    Match,
    OsVersion,
    Targeting,
)
from campaign_express.openrtb.nobid import NoBidReason
from tests.support.bidders import (
    campaign,
    imp,
    targeted,
    video,
)

SITE = {"site": {"domain": "news.example.com", "cat": ["IAB12-3"], "publisher": {"id": "pub-9"}}}


APP = {"app": {"bundle": "com.game.fun", "publisher": {"id": "pub-9"}}}


def device(**fields: Any) -> dict[str, Any]:
    return {"device": fields}


def geo(**fields: Any) -> dict[str, Any]:
    return {"device": {"geo": fields}}


def video_imp(**fields: Any) -> list[dict[str, Any]]:
    return [imp(video={"mimes": ["video/mp4"], **fields})]


def audio_imp(**fields: Any) -> list[dict[str, Any]]:
    return [imp(audio={"mimes": ["audio/mpeg"], **fields})]


def native_imp(*assets: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    text = msgspec.json.encode({"ver": "1.2", "assets": [{"id": i, **a} for i, a in enumerate(assets, 1)]}).decode()
    return [imp(native={"request": text, **fields})]


def wanting(**rules: Any) -> Campaign:
    return targeted(Targeting(**rules))


def video_wanting(**rules: Any) -> Campaign:
    return targeted(Targeting(**rules), video())


# (reason, campaign, a request that it bids on, a request stopped by the reason)
REQUEST_CASES: list[tuple[NoBidReason, Campaign, dict[str, Any], dict[str, Any]]] = [
    (NoBidReason.WANTED_SEAT, campaign(), {"wseat": ["brand", "z"]}, {"wseat": ["z"]}),
    (NoBidReason.WANTED_SEAT, campaign(), {"bseat": ["z"]}, {"bseat": ["brand"]}),
    (NoBidReason.BLOCKED_CATEGORY, campaign(), {"bcat": ["IAB3", "IAB2-2"]}, {"bcat": ["IAB2-1"]}),
    (NoBidReason.BLOCKED_CATEGORY, campaign(), {"bcat": ["iab3"]}, {"bcat": ["iab2"]}),
    # Categories in a taxonomy that we did not state ours in: nothing shows that they are not blocked.
    (NoBidReason.BLOCKED_CATEGORY, campaign(), {"bcat": ["IAB3"], "cattax": 1}, {"bcat": ["53"], "cattax": 6}),
    (
        NoBidReason.BLOCKED_ADVERTISER,
        campaign(),
        {"badv": ["brand.example.com", "rand.example"]},
        {"badv": ["Brand.example"]},
    ),
    (NoBidReason.BLOCKED_ADVERTISER, campaign(), {"badv": ["other.example"]}, {"badv": ["example"]}),
    (NoBidReason.BLOCKED_APP, campaign(), {"bapp": ["com.other"]}, {"bapp": ["com.brand.App"]}),
    (
        NoBidReason.DSA,
        campaign(advertiser="quiet"),
        {"regs": {"ext": {"dsa": {"dsarequired": 1}}}},
        {"regs": {"ext": {"dsa": {"dsarequired": 2, "pubrender": 1}}}},
    ),
    (
        NoBidReason.DSA,
        campaign(),
        {"regs": {"ext": {"dsa": {"dsarequired": 3, "pubrender": 2}}}},
        {"regs": {"ext": {"dsa": {"dsarequired": 3, "pubrender": 0}}}},
    ),
    (
        NoBidReason.PRIVACY,
        wanting(segment=Match(include=("s1",))),
        {"user": {"id": "u", "data": [{"segment": [{"id": "s1"}]}]}},
        {"user": {"id": "u", "data": [{"segment": [{"id": "s1"}]}]}, "regs": {"coppa": 1}},
    ),
    (
        NoBidReason.PRIVACY,
        wanting(radius=CircleMatch(include=(Circle(lat=52.5, lon=13.4, km=5),))),
        geo(lat=52.51, lon=13.41),
        {"device": {"lmt": 1, "geo": {"lat": 52.51, "lon": 13.41}}},
    ),
    (
        NoBidReason.SUPPLY_CHAIN,
        wanting(schain="complete"),
        {"source": {"schain": {"complete": 1, "nodes": [], "ver": "1.0"}}},
        {"source": {"schain": {"complete": 0, "nodes": [], "ver": "1.0"}}},
    ),
    (
        NoBidReason.SUPPLY_CHAIN,
        wanting(schain="complete"),
        {"source": {"ext": {"schain": {"complete": 1, "nodes": [], "ver": "1.0"}}}},
        {},
    ),
    (NoBidReason.INVENTORY, wanting(inventory=(Inventory.APP, Inventory.DOOH)), APP, SITE),
    (NoBidReason.INVENTORY, wanting(inventory=(Inventory.SITE,)), SITE, {}),
    (NoBidReason.SITE, wanting(domain=Match(include=("example.com",))), SITE, {"site": {"domain": "example.org"}}),
    (NoBidReason.SITE, wanting(domain=Match(exclude=("example.com",))), {}, SITE),
    (
        NoBidReason.SITE,
        wanting(domain=Match(include=("news.example.com",))),
        {"site": {"page": "https://user@News.example.com:443/a?b#c"}},
        {"site": {"domain": "example.com"}},
    ),
    (NoBidReason.APP, wanting(bundle=Match(include=("com.Game.fun",))), APP, {"app": {"bundle": "com.game"}}),
    (NoBidReason.PUBLISHER, wanting(publisher=Match(exclude=("pub-9",))), {}, SITE),
    (NoBidReason.COUNTRY, wanting(country=Match(include=("DE", "FRA"))), geo(country="DEU"), geo(country="USA")),
    (NoBidReason.COUNTRY, wanting(country=Match(include=("DE",))), geo(country="de"), {}),
    (NoBidReason.COUNTRY, wanting(country=Match(exclude=("USA",))), {}, geo(country="US")),
    (
        NoBidReason.REGION,
        wanting(region=Match(include=("US-CA",))),
        geo(country="USA", region="CA"),
        geo(country="AUS", region="CA"),
    ),
    (
        NoBidReason.REGION,
        wanting(region=Match(include=("USA-CA",))),
        geo(country="USA", region="US-CA"),
        geo(country="USA"),
    ),
    (
        NoBidReason.CITY,
        wanting(city=Match(include=("USA/Boston",))),
        geo(country="USA", city="boston"),
        geo(country="CAN", city="Boston"),
    ),
    (NoBidReason.CITY, wanting(city=Match(include=("Boston",))), geo(country="CAN", city="Boston"), geo(country="CAN")),
    (
        NoBidReason.METRO,
        wanting(metro=Match(include=("501",))),
        geo(country="USA", metro="501"),
        geo(country="USA", metro="803"),
    ),
    (
        NoBidReason.DEVICE_TYPE,
        wanting(device_type=IntMatch(include=(4, 5))),
        device(devicetype=5),
        device(devicetype=2),
    ),
    (NoBidReason.DEVICE_TYPE, wanting(device_type=IntMatch(exclude=(3,))), {}, device(devicetype=3)),
    (NoBidReason.OS, wanting(os=Match(include=("iOS",))), device(os="ios"), device(os="Android")),
    (NoBidReason.OS, wanting(os=Match(include=("macOS",))), device(os="Mac OS X"), device(os="iPadOS")),
    (NoBidReason.OS, wanting(os=Match(include=("android",))), device(sua={"platform": {"brand": "Android"}}), {}),
    (
        NoBidReason.OS_VERSION,
        wanting(os_version=(OsVersion(os="ios", min="16.2", max="17"),)),
        device(os="iOS", osv="17.5.1"),
        device(os="iOS", osv="16.1.9"),
    ),
    (
        NoBidReason.OS_VERSION,
        wanting(os_version=(OsVersion(os="ios", min="9.3"),)),
        device(os="Android", osv="4"),
        device(os="iOS"),
    ),
    (
        NoBidReason.OS_VERSION,
        wanting(os_version=(OsVersion(os="android", min="9"),)),
        device(os="android", sua={"platform": {"brand": "Android", "version": ["10", "0"]}}),
        device(os="android", osv="8.9"),
    ),
    (NoBidReason.MAKE, wanting(make=Match(exclude=("Apple",))), {}, device(make="APPLE")),
    (
        NoBidReason.CONNECTION,
        wanting(connection=IntMatch(include=(2,))),
        device(connectiontype=2),
        device(connectiontype=6),
    ),
    (
        NoBidReason.CARRIER,
        wanting(carrier=Match(include=("vodafone",))),
        device(carrier="Vodafone"),
        device(carrier="O2"),
    ),
    (NoBidReason.LANGUAGE, wanting(language=Match(include=("de",))), device(language="de-AT"), device(language="en")),
    # WALL_MS is Wednesday 12:00 UTC: hour 60; 14:00 in Berlin's summer: 62.
    (NoBidReason.HOUR, wanting(hours=Hours(hours=(62,), clock="user")), geo(utcoffset=120), geo(utcoffset=60)),
    (NoBidReason.HOUR, wanting(hours=Hours(hours=(62,), clock="user")), geo(utcoffset=120), {}),
    (NoBidReason.CATEGORY, wanting(category=CategoryMatch(include=("IAB12",))), SITE, {"site": {"cat": ["IAB1"]}}),
    (
        NoBidReason.CATEGORY,
        wanting(category=CategoryMatch(include=("IAB12",))),
        SITE,
        {"site": {"cat": ["IAB12"], "cattax": 6}},
    ),
    (
        NoBidReason.CATEGORY,
        wanting(category=CategoryMatch(cattax=6, exclude=("53",))),
        {"site": {"cat": ["53"], "cattax": 1}},
        {"app": {"content": {"cat": ["53"], "cattax": 6}}},
    ),
    (
        NoBidReason.KEYWORD,
        wanting(keyword=Match(include=("Running",))),
        {"site": {"keywords": "shoes, running ,sale"}},
        {"site": {"keywords": "run"}},
    ),
    (
        NoBidReason.KEYWORD,
        wanting(keyword=Match(include=("golf",))),
        {"user": {"kwarray": ["Golf"]}},
        {"user": {"kwarray": ["Golf"]}, "device": {"dnt": 1}},
    ),
    (
        NoBidReason.SEGMENT,
        wanting(segment=Match(exclude=("bad",))),
        {"user": {"data": [{"segment": [{"id": "good"}]}]}},
        {"user": {"data": [{"segment": [{"id": "good"}, {"id": "bad"}]}]}},
    ),
    (NoBidReason.SEGMENT, wanting(segment=Match(include=("s",))), {"user": {"data": [{"segment": [{"id": "s"}]}]}}, {}),
    (
        NoBidReason.EID_SOURCE,
        wanting(eid_source=Match(include=("id.example",))),
        {"user": {"ext": {"eids": [{"source": "ID.example", "uids": [{"id": "1"}]}]}}},
        {"user": {"eids": [{"source": "other.example", "uids": [{"id": "1"}]}]}},
    ),
    (
        NoBidReason.IP_RANGE,
        wanting(ip=Match(include=("203.0.113.0/25",))),
        device(ip="203.0.113.127"),
        device(ip="203.0.113.128"),
    ),
    (
        NoBidReason.IP_RANGE,
        wanting(ip=Match(exclude=("2001:db8::/32",))),
        device(ip="203.0.113.1"),
        device(ipv6="2001:db8:1::1"),
    ),
    (
        NoBidReason.IP_RANGE,
        wanting(ip=Match(include=("203.0.113.0/24",))),
        device(ip="203.0.113.9"),
        device(ip="not an ip"),
    ),
    # Without consent a place is known no finer than by its region.
    (
        NoBidReason.CITY,
        wanting(city=Match(include=("Boston",))),
        {"device": {"geo": {"country": "USA", "city": "Boston"}}},
        {"device": {"geo": {"country": "USA", "city": "Boston"}, "lmt": 1}},
    ),
    (
        NoBidReason.CITY,
        wanting(city=Match(exclude=("Boston",))),
        {"device": {"geo": {"country": "USA", "city": "Boston"}}, "regs": {"coppa": 1}},
        {"device": {"geo": {"country": "USA", "city": "Boston"}}},
    ),
    (NoBidReason.IP_RANGE, wanting(ip=Match(include=("200.0.0.0/6",))), device(ip="203.0.0.1"), device(ip="204.0.0.1")),
    (NoBidReason.IP_RANGE, wanting(ip=Match(exclude=("203.0.113.0/24",))), {}, device(ip="0203.0.113.5")),
    # Without consent only the first 24 bits of an address are known: it is in no narrower network, whatever its end.
    (
        NoBidReason.IP_RANGE,
        wanting(ip=Match(include=("203.0.113.0/28",))),
        device(ip="203.0.113.5"),
        device(ip="203.0.113.5", lmt=1),
    ),
    (
        NoBidReason.IP_RANGE,
        wanting(ip=Match(exclude=("203.0.113.0/28",))),
        device(ip="203.0.113.5", lmt=1),
        device(ip="203.0.113.5"),
    ),
    (NoBidReason.IP_RANGE, wanting(ip=Match(exclude=("203.0.113.0/24",))), {}, device(ipv6="::ffff:203.0.113.5")),
    # A device with two addresses is where either is.
    (
        NoBidReason.IP_RANGE,
        wanting(ip=Match(include=("2001:db8::/32",))),
        device(ip="203.0.113.5", ipv6="2001:db8::1"),
        device(ip="203.0.113.5", ipv6="2001:db9::1"),
    ),
    (
        NoBidReason.IP_RANGE,
        wanting(ip=Match(include=("203.0.113.0/24",), exclude=("2001:db8::/32",))),
        device(ip="203.0.113.5", ipv6="2001:db9::1"),
        device(ip="203.0.113.5", ipv6="2001:db8::1"),
    ),
    (
        NoBidReason.RADIUS,
        wanting(radius=CircleMatch(include=(Circle(lat=52.52, lon=13.405, km=10),))),
        geo(lat=52.45, lon=13.45),
        geo(lat=52.40, lon=13.50),
    ),
    (
        NoBidReason.RADIUS,
        wanting(radius=CircleMatch(exclude=(Circle(lat=0.0, lon=179.9, km=50),))),
        geo(lat=0.0, lon=-179.0),
        geo(lat=0.0, lon=-179.9),
    ),
]
