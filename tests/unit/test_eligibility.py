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
    CategoryMatch,
    Circle,
    CircleMatch,
    Dsa,
    Exchange,
    Flight,
    Hours,
    IntMatch,
    Inventory,
    Match,
    Media,
    OsVersion,
    Status,
    Targeting,
)
from campaign_express.openrtb.nobid import NoBidReason
from tests.support.bidders import (
    BRAND,
    WALL_MS,
    audio,
    banner,
    bidder,
    campaign,
    imp,
    native,
    reason,
    request,
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
CASES: list[tuple[NoBidReason, Campaign, dict[str, Any], dict[str, Any]]] = [
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
    # The impression.
    (NoBidReason.MEDIA, campaign("c", video()), {"imp": video_imp()}, {}),
    (
        NoBidReason.MEDIA,
        targeted(Targeting(media=(Media.VIDEO,)), banner("b"), video("v")),
        {"imp": video_imp()},
        {},
    ),
    (NoBidReason.SECURE, campaign("c", banner(secure=False)), {"imp": [imp(secure=0)]}, {"imp": [imp(secure=1)]}),
    (
        NoBidReason.SIZE,
        campaign(),
        {"imp": [imp(banner={"w": 300, "h": 250})]},
        {"imp": [imp(banner={"w": 250, "h": 300})]},
    ),
    (
        NoBidReason.SIZE,
        campaign(),
        {"imp": [imp(banner={"format": [{"wratio": 6, "hratio": 5, "wmin": 300}]})]},
        {"imp": [imp(banner={"format": [{"wratio": 6, "hratio": 5, "wmin": 301}]})]},
    ),
    (NoBidReason.SIZE, campaign(), {}, {"imp": [imp(banner={})]}),
    (
        NoBidReason.SIZE,
        video_wanting(size=Match(include=("640x360",))),
        {"imp": video_imp(w=640, h=360)},
        {"imp": video_imp(w=640, h=480)},
    ),
    (
        NoBidReason.SIZE,
        campaign("c", video()),
        {"imp": video_imp(w=1280, h=720, boxingallowed=0)},
        {"imp": video_imp(w=640, h=480, boxingallowed=0)},
    ),
    (NoBidReason.INTERSTITIAL, wanting(interstitial=True), {"imp": [imp(instl=1)]}, {}),
    (NoBidReason.INTERSTITIAL, wanting(interstitial=False), {}, {"imp": [imp(instl=1)]}),
    (NoBidReason.REWARDED, wanting(rewarded=True), {"imp": [imp(rwdd=1)]}, {}),
    (
        NoBidReason.POSITION,
        wanting(position=IntMatch(include=(1,))),
        {"imp": [imp(banner={"w": 300, "h": 250, "pos": 1})]},
        {"imp": [imp(banner={"w": 300, "h": 250, "pos": 3})]},
    ),
    (
        NoBidReason.BLOCKED_ATTRIBUTE,
        campaign("c", banner(attr=(1, 8))),
        {"imp": [imp(banner={"w": 300, "h": 250, "battr": [2]})]},
        {"imp": [imp(banner={"w": 300, "h": 250, "battr": [2, 8]})]},
    ),
    (
        NoBidReason.BLOCKED_ATTRIBUTE,
        campaign("c", video(skippable=True)),
        {"imp": video_imp(battr=[1])},
        {"imp": video_imp(battr=[16])},
    ),
    (NoBidReason.API, campaign("c", video(api=(7,))), {"imp": video_imp(api=[2, 7])}, {"imp": video_imp(api=[2])}),
    (NoBidReason.MIME, campaign("c", video()), {"imp": video_imp()}, {"imp": [imp(video={"mimes": ["video/webm"]})]}),
    (
        NoBidReason.MIME,
        campaign("c", audio()),
        {"imp": [imp(audio={"mimes": ["audio/MP3"]})]},
        {"imp": [imp(audio={"mimes": ["audio/ogg"]})]},
    ),
    (
        NoBidReason.MIME,
        campaign(),
        {"imp": [imp(banner={"w": 300, "h": 250, "mimes": ["text/html"]})]},
        {"imp": [imp(banner={"w": 300, "h": 250, "mimes": ["image/gif"]})]},
    ),
    (
        NoBidReason.PROTOCOL,
        campaign("c", video()),
        {"imp": video_imp(protocols=[2, 7])},
        {"imp": video_imp(protocols=[2, 3])},
    ),
    (
        NoBidReason.PROTOCOL,
        campaign("c", video(vast="4.0")),
        {"imp": video_imp(protocols=[7])},
        {"imp": video_imp(protocols=[13])},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", video()),
        {"imp": video_imp(minduration=15, maxduration=15)},
        {"imp": video_imp(maxduration=14)},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", video()),
        {"imp": video_imp(rqddurs=[15, 30])},
        {"imp": video_imp(rqddurs=[10, 20])},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", video()),
        {"imp": video_imp(rqddurs=[15], maxduration=15)},
        {"imp": video_imp(rqddurs=[15], maxduration=14)},
    ),
    (
        NoBidReason.DURATION,
        campaign("c", audio()),
        {"imp": audio_imp(minduration=30)},
        {"imp": audio_imp(minduration=31)},
    ),
    (
        NoBidReason.SKIPPABLE,
        campaign("c", video(skippable=True)),
        {"imp": video_imp(skip=1)},
        {"imp": video_imp(skip=0)},
    ),
    (NoBidReason.SKIPPABLE, campaign("c", video()), {"imp": video_imp(linearity=1)}, {"imp": video_imp(linearity=2)}),
    (
        NoBidReason.PLACEMENT,
        video_wanting(placement=IntMatch(include=(1,))),
        {"imp": video_imp(plcmt=1)},
        {"imp": video_imp(plcmt=4)},
    ),
    (
        NoBidReason.PLACEMENT,
        video_wanting(placement=IntMatch(include=(3,))),
        {"imp": video_imp(placement=5)},
        {"imp": video_imp()},
    ),
    (
        NoBidReason.NATIVE_ASSET,
        campaign("c", native()),
        {"imp": native_imp({"required": 1, "title": {"len": 25}})},
        {"imp": native_imp({"required": 1, "title": {"len": 3}})},
    ),
    (
        NoBidReason.NATIVE_ASSET,
        campaign("c", native()),
        {"imp": native_imp({"required": 0, "data": {"type": 12}}, {"required": 1, "title": {"len": 90}})},
        {"imp": native_imp({"required": 1, "data": {"type": 12}})},
    ),
]

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
