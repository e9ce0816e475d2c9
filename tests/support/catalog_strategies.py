"""Random catalogues and bid requests that have much to do with each other.

All values come from small pools that both sides share, so that rules match, fail and collide often; most fields are
left out most of the time, so that bids happen at all. Everything generated is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

from campaign_express.bidding.currency import load_rates
from campaign_express.bidding.model import (
    Advertiser,
    Campaign,
    Catalog,
    CategoryMatch,
    Circle,
    CircleMatch,
    Creative,
    Dsa,
    Exchange,
    Flight,
    Goal,
    GoalType,
    Hours,
    IntMatch,
    Inventory,
    Match,
    Media,
    NativeContent,
    OsVersion,
    Status,
    Targeting,
)
from campaign_express.ports import DeviceFacts, GeoFacts
from tests.support.drawing import Draw, every, just, make, maybe, one_of, pick, seldom, several, some
from tests.support.oracle import World

VENDOR = 8  # our id in consent strings
# 12:00 UTC on a Wednesday in July (hour 60 of the week) and a millisecond earlier; the same hour on a day in winter.
MOMENTS = tuple(
    int(datetime(*day, 12, 0, tzinfo=UTC).timestamp() * 1000) - early
    for day, early in (((2026, 7, 1), 0), ((2026, 7, 1), 1), ((2026, 1, 7), 0))
)
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
RATES = load_rates()

# What each string allows us (docs/privacy.md).
FULL_CONSENT = "COvFyF-OvFyF-AbAAAENAPEgALIAAAAAAAAAAEAEAAAAA"  # purposes 1, 3, 4, 7 and vendor 8
CONSENTS = {
    FULL_CONSENT: True,
    "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA": False,
    "consent": False,
}
GPP = {"DBABLA~BVQqAAAACg": True, "DBABLA~BVVVkkkkkpFY.YA": False, "gppString": False}

# Where an absent flag means that the GDPR applies, of the countries that requests name.
GDPR_WHEN_ABSENT = {
    "eea=applies,unknown=does-not-apply,other=does-not-apply": frozenset({"DEU"}),
    "eea=applies,DE=does-not-apply,BRA=applies,unknown=applies,other=does-not-apply": frozenset({"BRA", ""}),
}

TEXTS: dict[str, tuple[str, ...]] = {
    "country": ("us", "DEU", "BRA", "AUS"),
    "region": ("USA-CA", "us-ny", "DEU-BY"),
    "city": ("Boston", "USA/boston", "DE/Berlin", "Berlin"),
    "metro": ("501", "803"),
    "ip": ("203.0.113.0/24", "203.0.113.0/28", "198.51.0.0/16", "2001:db8::/32", "2001:db8:1::/56"),
    "os": ("iOS", "android", "windows"),
    "make": ("Apple", "samsung"),
    "carrier": ("Vodafone", "O2"),
    "language": ("de", "en", "fi"),
    "domain": ("example.com", "news.example.com", "example.org"),
    "bundle": ("com.Game.fun", "com.other"),
    "publisher": ("pub-9", "Pub-7"),
    "keyword": ("running", "Golf"),
    "size": ("300x250", "728x90", "640x360", "1280x720"),
    "segment": ("s1", "S2"),
    "eid_source": ("id.example", "other.example"),
    "deal": ("d1", "D2"),
}
NUMBERS = {
    "device_type": (1, 2, 4, 5),
    "connection": (2, 6),
    "position": (1, 3),
    "placement": (1, 3, 4),
}
CATEGORIES = ("IAB12", "IAB12-3", "IAB1", "IAB1-2")
SIZES = ((300, 250), (728, 90), (320, 50))


# ------------------------------------------------------------------ catalogues


def _include_or_exclude(kind: Any, values: Sequence[Any], **fields: Any) -> Draw:
    """A rule that includes some values, excludes some, or both, but never both of the same."""

    def draw(random: Random) -> Any:
        chosen = random.sample(values, random.randint(1, min(3, len(values))))
        if random.random() < 0.2 and len({str(value).lower() for value in chosen}) == len(chosen) > 1:
            return kind(include=tuple(chosen[1:]), exclude=tuple(chosen[:1]), **fields)
        side = "include" if random.random() < 0.6 else "exclude"
        return kind(**{side: tuple(chosen)}, **fields)

    return Draw(draw)


CIRCLES = (
    Circle(lat=52.5, lon=13.4, km=60),
    Circle(lat=42.3, lon=-71.0, km=50),
    Circle(lat=-17.0, lon=179.9, km=60),
)
OS_VERSIONS = (
    OsVersion(os="ios", min="16.2"),
    OsVersion(os="iOS", min="9.3", max="17"),
    OsVersion(os="android", max="10"),
    OsVersion(os="Android", min="9"),
    OsVersion(os="windows", min="10.0"),
)
RULES: dict[str, Draw] = {
    **{name: _include_or_exclude(Match, values) for name, values in TEXTS.items()},
    **{name: _include_or_exclude(IntMatch, values) for name, values in NUMBERS.items()},
    "radius": _include_or_exclude(CircleMatch, CIRCLES),
    "os_version": some(OS_VERSIONS),
    "category": one_of(
        _include_or_exclude(CategoryMatch, CATEGORIES), _include_or_exclude(CategoryMatch, ("53", "12"), cattax=6)
    ),
    "inventory": some(tuple(Inventory)),
    "media": some(tuple(Media), 3),
    "interstitial": pick((False, True)),
    "rewarded": pick((False, True)),
    "hours": make(Hours, hours=some((59, 60, 61, 62, 65), 3), clock=pick(("user", "campaign"))),
    "schain": just("complete"),
}
RULE_NAMES = sorted(RULES)

_common = maybe(
    attr=some((1, 8, 500)),
    secure=pick((False, True)),
    weight=pick((1, 3)),
    language=just("en"),
)
_stream = maybe(
    duration=pick((10, 15, 30)),
    vast=pick(("", "4.0", "4.1", "4.2")),
    api=seldom(some((2, 7))).map(lambda api: api or ()),
)


def _banner(size: tuple[int, int], fields: dict[str, Any]) -> dict[str, Any]:
    return {"media": Media.BANNER, "w": size[0], "h": size[1], "html": '<a href="{CLICK_URL}">x</a>', **fields}


def _video(size: tuple[int, int], skippable: bool, mime: str, *fields: dict[str, Any]) -> dict[str, Any]:
    made = {"media": Media.VIDEO, "asset": "https://cdn.example/a", "mime": mime, "duration": 15, "bitrate": 1000}
    made |= {"w": size[0], "h": size[1], "skippable": skippable}
    return made | fields[0] | fields[1]


def _audio(mime: str, *fields: dict[str, Any]) -> dict[str, Any]:
    made = {"media": Media.AUDIO, "asset": "https://cdn.example/a", "mime": mime, "duration": 30}
    return made | fields[0] | fields[1]


def _native_assets(title: str, words: dict[str, Any], image: bool, icon: bool) -> dict[str, Any]:
    pictures: dict[str, Any] = {}
    if image:
        pictures |= {"image": "https://cdn.example/a.jpg", "image_w": 1200, "image_h": 627}
    if icon:
        pictures |= {"icon": "https://cdn.example/i.png", "icon_w": 80, "icon_h": 80}
    return {"media": Media.NATIVE, "native": NativeContent(title=title, **words, **pictures)}


creatives: Draw = one_of(
    make(_banner, pick(SIZES), _common),
    make(
        _video,
        pick(((640, 360), (640, 480))),
        pick((False, True)),
        pick(("video/mp4", "video/webm")),
        _common,
        _stream,
    ),
    make(_audio, pick(("audio/mpeg", "audio/ogg")), _common, _stream),
    make(
        lambda native, fields: native | fields,
        make(
            _native_assets,
            pick(("Short", "A title of forty characters, no, forty-4")),
            maybe(sponsored=just("Brand"), description=just("Some words"), call_to_action=just("Buy")),
            pick((False, True)),
            pick((False, True)),
        ),
        _common,
    ),
)

ADVERTISERS = (
    Advertiser(id="brand", name="Brand", domain="brand.example", categories=("IAB2-1",), bundle="com.Brand.app"),
    Advertiser(id="shop", name="Shop", domain="Shop.kestrel.example", categories=("IAB3", "IAB22"), seat="s-2"),
    Advertiser(
        id="civic",
        name="Civic",
        domain="civic.example",
        categories=("53",),
        cattax=6,
        dsa=Dsa(behalf="civic.example", paid="Civic"),
    ),
    Advertiser(id="plain", name="Plain", domain="plain.example"),
)
FLIGHTS = (
    Flight(start=datetime(2026, 1, 1, tzinfo=UTC)),
    Flight(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2027, 1, 1, tzinfo=UTC)),
    Flight(start=NOW),
    Flight(start=datetime(2026, 1, 1, tzinfo=UTC), end=NOW),
)
GOALS = tuple(
    Goal(type=kind, bid=bid)
    for kind, bid in (
        (GoalType.CPM, 1_000_000),
        (GoalType.CPM, 2_500_001),
        (GoalType.CPC, 310_000),
        (GoalType.CPC, 5_000_000),
        (GoalType.CPA, 2_000_003),
        (GoalType.CPA, 40_000_000),
    )
)


_terms: Draw = every(
    {
        "advertiser": pick([advertiser.id for advertiser in ADVERTISERS]),
        "flight": pick(FLIGHTS[:2] * 4 + FLIGHTS),
        "goal": pick(GOALS),
        "max_bid": pick((3_000_000, 4_000_000, 9_000_000)),
        # Binary fractions, so that the oracle's price is exact to the micro.
        "margin": pick((1.0, 1.0, 0.75, 0.5)),
        "status": pick((Status.ACTIVE,) * 9 + (Status.PAUSED,)),
        "time_zone": pick(("UTC", "Europe/Berlin", "Asia/Kolkata")),
        "exchanges": pick(((), (), (), (), ("x",), ("y", "x"), ("y",))),
    }
)
UNRESTRICTED: dict[str, Any] = {"flight": FLIGHTS[0], "status": Status.ACTIVE, "exchanges": ()}
_categories: Draw = pick(
    ({}, {}, {}, {}, {"categories": ("IAB2",)}, {"categories": ("IAB3-1",)}, {"categories": ("12",), "cattax": 6})
)


def _catalog(random: Random) -> Catalog:
    """Campaigns that share a few creatives: one without rules, one for each rule, a few with three."""
    shown = [*several(creatives, 2, 4).draw(random), _banner(SIZES[0], {})]
    names = random.sample(RULE_NAMES, len(RULE_NAMES))
    rules = every(RULES).draw(random)
    sets: list[Sequence[str]] = [(), *((name,) for name in names[:18]), names[18:21], names[21:23], names[23:25]]
    terms = [_terms.draw(random), _terms.draw(random), {**_terms.draw(random), **UNRESTRICTED}]
    return Catalog(
        advertisers=ADVERTISERS,
        campaigns=tuple(
            Campaign(
                id=f"c{index}",
                targeting=Targeting(**{name: rules[name] for name in chosen}),
                creatives=tuple(
                    Creative(id=f"c{index}-{at}", landing="https://brand.example/", **fields)
                    for at, fields in enumerate(shown[index % 2 :])
                ),
                **random.choice(terms),
                **_categories.draw(random),
            )
            for index, chosen in enumerate(sets)
        ),
    )


catalogs = Draw(_catalog)
_exchanges = make(
    lambda *pair: pair,
    just(Exchange(name="x")),
    make(
        Exchange,
        name=just("y"),
        seats=pick(({}, {"brand": "seat-77"})),
        currency=pick(("EUR", "JPY")),
        approved_creatives=one_of(just(None), some([f"c{c}-{k}" for c in range(20) for k in range(2)], 30)),
        cattax=pick((1, 6)),
    ),
)

worlds: Draw = make(
    lambda catalog, pair, wall_ms, device, geo, regions: [
        World(catalog, exchange, RATES, wall_ms, device, geo, CONSENTS, GPP, *regions) for exchange in pair
    ],
    catalogs,
    _exchanges,
    pick(MOMENTS),
    pick(
        (
            DeviceFacts(),
            DeviceFacts(device_type=2, os="windows", os_version="10", browser="edge"),
            DeviceFacts(4, "ios", "16.1", make="apple"),
        )
    ),
    pick((GeoFacts(), GeoFacts("USA", "CA", "Boston", "501", 42.31, -71.05, -240), GeoFacts("DEU"))),
    pick(tuple(GDPR_WHEN_ABSENT.items())),
)
"""One catalogue as seen by two exchanges."""
