"""Hypothesis strategies for catalogues and bid requests that have much to do with each other.

All values come from small pools that both sides share, so that rules match, fail and collide often; most fields are
left out most of the time, so that bids happen at all. Everything generated is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st

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

COUNTRIES = ("USA", "US", "DEU", "de", "BRA")
TEXTS: dict[str, tuple[str, ...]] = {
    "country": ("USA", "us", "DEU", "BRA"),
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
CURRENCIES = ("USD", "EUR", "JPY", "XXX")


def some(values: Sequence[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True).map(tuple)


def seldom(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly null, which means the same as left out."""
    return st.integers(0, 7).flatmap(lambda n: value if n == 7 else st.none())


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


# ------------------------------------------------------------------ catalogues


@st.composite
def _include_or_exclude(draw: st.DrawFn, /, kind: Any, values: Sequence[Any], **fields: Any) -> Any:
    """A rule that includes some values, excludes some, or both, but never both of the same."""
    chosen = draw(some(values, 3))
    including = draw(st.integers(0, 4))
    if including == 4 and len(chosen) > 1:
        same = {value.lower() for value in chosen if isinstance(value, str)}
        if not isinstance(chosen[0], str) or len(same) == len(chosen):
            return kind(include=chosen[1:], exclude=chosen[:1], **fields)
    return kind(include=chosen, **fields) if including > 1 else kind(exclude=chosen, **fields)


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
RULES: dict[str, st.SearchStrategy[Any]] = {
    **{name: _include_or_exclude(Match, values) for name, values in TEXTS.items()},
    **{name: _include_or_exclude(IntMatch, values) for name, values in NUMBERS.items()},
    "radius": _include_or_exclude(CircleMatch, CIRCLES),
    "os_version": some(OS_VERSIONS),
    "category": st.one_of(
        _include_or_exclude(CategoryMatch, CATEGORIES), _include_or_exclude(CategoryMatch, ("53", "12"), cattax=6)
    ),
    "inventory": some(tuple(Inventory)),
    "media": some(tuple(Media), 3),
    "interstitial": st.booleans(),
    "rewarded": st.booleans(),
    "hours": st.builds(Hours, hours=some((59, 60, 61, 62, 65), 3), clock=st.sampled_from(("user", "campaign"))),
    "schain": st.just("complete"),
}
RULE_NAMES = sorted(RULES)

_common = maybe(
    attr=some((1, 8, 500)),
    secure=st.booleans(),
    weight=st.sampled_from((1, 3)),
    language=st.just("en"),
)
_stream = maybe(
    duration=st.sampled_from((10, 15, 30)),
    vast=st.sampled_from(("", "4.0", "4.1", "4.2")),
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


creatives: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(_banner, st.sampled_from(SIZES), _common),
    st.builds(
        _video,
        st.sampled_from(((640, 360), (640, 480))),
        st.booleans(),
        st.sampled_from(("video/mp4", "video/webm")),
        _common,
        _stream,
    ),
    st.builds(_audio, st.sampled_from(("audio/mpeg", "audio/ogg")), _common, _stream),
    st.builds(
        lambda native, fields: native | fields,
        st.builds(
            _native_assets,
            st.sampled_from(("Short", "A title of forty characters, no, forty-4")),
            maybe(sponsored=st.just("Brand"), description=st.just("Some words"), call_to_action=st.just("Buy")),
            st.booleans(),
            st.booleans(),
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


_terms: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "advertiser": st.sampled_from([advertiser.id for advertiser in ADVERTISERS]),
        "flight": st.sampled_from(FLIGHTS[:2] * 4 + FLIGHTS),
        "goal": st.sampled_from(GOALS),
        "max_bid": st.sampled_from((3_000_000, 4_000_000, 9_000_000)),
        # Binary fractions, so that the oracle's price is exact to the micro.
        "margin": st.sampled_from((1.0, 1.0, 0.75, 0.5)),
        "status": st.sampled_from((Status.ACTIVE,) * 9 + (Status.PAUSED,)),
        "time_zone": st.sampled_from(("UTC", "Europe/Berlin", "Asia/Kolkata")),
        "exchanges": st.sampled_from(((), (), (), (), ("x",), ("y", "x"), ("y",))),
    }
)
UNRESTRICTED: dict[str, Any] = {"flight": FLIGHTS[0], "status": Status.ACTIVE, "exchanges": ()}
_categories: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    ({}, {}, {}, {}, {"categories": ("IAB2",)}, {"categories": ("IAB3-1",)}, {"categories": ("12",), "cattax": 6})
)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Campaigns that share a few creatives: one without rules, one each for half of all rules, a few with three."""
    shown = [*draw(st.lists(creatives, min_size=1, max_size=3)), _banner(SIZES[0], {})]
    half = RULE_NAMES[draw(st.integers(0, 1)) :: 2]
    rules = draw(st.fixed_dictionaries({name: RULES[name] for name in half}))
    sets = [(), *((name,) for name in half), half[:3], half[4:6], half[9:12]]
    terms = [draw(_terms), draw(_terms), {**draw(_terms), **UNRESTRICTED}]
    categories = draw(st.lists(_categories, min_size=2, max_size=2))
    return Catalog(
        advertisers=ADVERTISERS,
        campaigns=tuple(
            Campaign(
                id=f"c{index}",
                targeting=Targeting(**{name: rules[name] for name in names}),
                creatives=tuple(
                    Creative(id=f"c{index}-{at}", landing="https://brand.example/", **fields)
                    for at, fields in enumerate(shown[index % 2 :])
                ),
                **terms[index % 3],
                **categories[index % 2],
            )
            for index, names in enumerate(sets)
        ),
    )


exchanges: st.SearchStrategy[tuple[Exchange, Exchange]] = st.tuples(
    st.just(Exchange(name="x")),
    st.builds(
        Exchange,
        name=st.just("y"),
        seats=st.sampled_from(({}, {"brand": "seat-77"})),
        currency=st.sampled_from(("EUR", "JPY")),
        approved_creatives=st.one_of(st.none(), some([f"c{c}-{k}" for c in range(20) for k in range(2)], 30)),
        cattax=st.sampled_from((1, 6)),
    ),
)

worlds: st.SearchStrategy[list[World]] = st.builds(
    lambda catalog, pair, wall_ms, device, geo: [
        World(catalog, exchange, RATES, wall_ms, device, geo, CONSENTS, GPP) for exchange in pair
    ],
    catalogs(),
    exchanges,
    st.sampled_from(MOMENTS),
    st.sampled_from(
        (
            DeviceFacts(),
            DeviceFacts(device_type=2, os="windows", os_version="10", browser="edge"),
            DeviceFacts(4, "ios", "16.1", make="apple"),
        )
    ),
    st.sampled_from((GeoFacts(), GeoFacts("USA", "CA", "Boston", "501", 42.31, -71.05, -240), GeoFacts("DEU"))),
)
"""One catalogue as seen by two exchanges."""


# ------------------------------------------------------------------ requests

_apis = some((2, 7))
_battr = seldom(some((1, 8, 16)))
_floors: dict[str, st.SearchStrategy[Any]] = {
    "bidfloor": st.sampled_from((0, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 9.5)),
    "bidfloorcur": st.sampled_from((None, "USD", "USD", "USD", "EUR", "EUR", "JPY", "JPY", "XXX")),
}
_format = st.sampled_from(
    (
        *({"w": w, "h": h} for w, h in SIZES * 2),
        {"w": 300},
        {"w": 0, "h": 0},
        {"wratio": 6, "hratio": 5, "wmin": 300},
        {"wratio": 6, "hratio": 5, "wmin": 301},
    )
)
banners = maybe(
    format=st.lists(_format, min_size=1, max_size=3),
    w=st.sampled_from((300, 728, -1, None)),
    h=st.sampled_from((250, 90)),
    battr=_battr,
    pos=st.sampled_from((0, 1, 3)),
    api=_apis,
    mimes=seldom(some(("text/html", "image/gif"))),
).map(lambda banner: banner if "format" in banner or "w" in banner else {**banner, "w": 300, "h": 250})
_streams: dict[str, st.SearchStrategy[Any]] = {
    "minduration": seldom(st.sampled_from((10, 16))),
    "maxduration": st.sampled_from((14, 15, 30, 60)),
    "rqddurs": seldom(some((10, 15, 30))),
    "protocols": st.sampled_from(((), (2, 3), (7,), (7, 11, 13), (11,), (2, 3, 5, 6, 7, 8, 11, 12, 13, 14))),
    "battr": _battr,
    "api": _apis,
    "poddur": seldom(st.sampled_from((0, 60))),
    "maxseq": seldom(st.sampled_from((1, 2))),
    "sequence": st.just(1),
}
videos = maybe(
    **_streams,
    mimes=st.sampled_from((("video/mp4",), ("video/MP4", "video/webm"), ())),
    protocol=seldom(st.sampled_from((2, 7))),
    w=st.sampled_from((640, 1280)),
    h=st.sampled_from((360, 720, 480)),
    boxingallowed=st.sampled_from((0, 1)),
    skip=st.sampled_from((0, 1)),
    linearity=st.sampled_from((None, 1, 1, 2)),
    plcmt=st.sampled_from((1, 3, 4)),
    placement=st.sampled_from((0, 1, 3, 5)),
    pos=st.sampled_from((0, 1, 3)),
)
audios = maybe(**_streams, mimes=st.sampled_from((("audio/mpeg",), ("audio/mpeg", "audio/OGG"))))

_asset = st.one_of(
    st.builds(lambda most: {"title": {"len": most}}, st.sampled_from((5, 25, 90))),
    st.builds(lambda kind: {"data": {"type": kind}}, st.sampled_from((1, 2, 5, 12))),
    st.builds(
        lambda kind, most: {"data": {"type": kind, "len": most}}, st.sampled_from((1, 2)), st.sampled_from((5, 90))
    ),
    st.builds(
        lambda kind, size: {"img": {"type": kind, **size}},
        st.sampled_from((1, 3)),
        st.sampled_from(
            ({}, {"w": 80, "h": 80}, {"wmin": 64, "hmin": 64}, {"wmin": 1200, "hmin": 628}, {"w": 1200, "h": 627})
        ),
    ),
    st.just({"video": {"mimes": ["video/mp4"], "minduration": 1, "maxduration": 30, "protocols": [7]}}),
)


def _native_request(assets: list[tuple[dict[str, Any], bool]], wrapped: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "ver": "1.2",
        "assets": [{"id": at, "required": int(must), **asset} for at, (asset, must) in enumerate(assets, 1)],
        "eventtrackers": [{"event": 1, "methods": [1]}],
    }
    return {"request": msgspec.json.encode({"native": body} if wrapped else body).decode()}


natives = st.builds(
    lambda request, fields: request | fields,
    st.one_of(
        st.builds(
            _native_request,
            st.lists(st.tuples(_asset, st.sampled_from((True, False, False))), min_size=1, max_size=4),
            st.booleans(),
        ),
        st.builds(_native_request, st.just([({"title": {"len": 90}}, True)]), st.booleans()),
        st.sampled_from(({"request": "{"}, {})),
    ),
    maybe(battr=_battr, api=_apis),
)

deals = st.builds(
    lambda id, fields: {"id": id, **fields},
    st.sampled_from(("d1", "d1", "d2", "D2", "D1", "d3")),
    maybe(
        **_floors,
        at=st.sampled_from((1, 2, 3)),
        wseat=seldom(some(("brand", "seat-77", "s-2"))),
        wadomain=seldom(some(("BRAND.example", "kestrel.example"))),
    ),
)
_media: dict[str, st.SearchStrategy[Any]] = {"banner": banners, "video": videos, "audio": audios, "native": natives}
impressions = st.builds(
    lambda media, fields: {**media, **fields},
    st.sampled_from(
        (
            ("banner",),
            ("video",),
            ("audio",),
            ("native",),
            ("banner", "video"),
            ("banner", "native"),
            ("video", "audio"),
            ("banner", "video", "native"),
            tuple(_media),
        )
    ).flatmap(lambda kinds: st.fixed_dictionaries({kind: _media[kind] for kind in kinds})),
    maybe(
        **_floors,
        secure=st.sampled_from((0, 1)),
        instl=st.sampled_from((0, 1)),
        rwdd=st.sampled_from((0, 1)),
        qty=seldom(st.sampled_from(({"multiplier": 1}, {"multiplier": 2.5}))),
        pmp=maybe(private_auction=st.sampled_from((0, 0, 1)), deals=st.lists(deals, max_size=3)),
    ),
)


PLAIN_IMPRESSIONS: list[dict[str, Any]] = [
    {"id": "1", "banner": {"w": 300, "h": 250, "api": [2, 7]}},
    {"id": "2", "video": {"mimes": ["video/mp4", "video/webm"], "w": 640, "h": 360, "pos": 1, "plcmt": 1}},
]
"""What nearly every creative may be shown in, so that rules about the request alone decide."""


def _numbered(impressions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": str(at), **impression} for at, impression in enumerate(impressions, 1)]


_content = maybe(
    cat=some(CATEGORIES),
    cattax=st.sampled_from((1, 6)),
    keywords=st.just("golf, RUNNING"),
    kwarray=some(("Golf", "tea")),
)
_taxed = st.one_of(
    maybe(cat=some(CATEGORIES), sectioncat=some(CATEGORIES), pagecat=some(CATEGORIES)),
    st.just({"cat": ["53", "9"], "cattax": 6}),
)
_publishers = st.sampled_from(({"id": "pub-9"}, {"id": "pub-9"}, {"id": "Pub-7"}, {"id": "pub-7"}, {}))
_domains = st.sampled_from(("example.com", "News.example.com", "example.org", "notexample.com"))
_sites = st.builds(
    lambda taxed, fields: {"site": {**taxed, **fields}},
    _taxed,
    maybe(
        domain=_domains,
        page=st.just("https://news.example.com:443/a?b"),
        publisher=_publishers,
        content=_content,
        keywords=st.just("shoes, running ,sale"),
    ),
)
_apps = st.builds(
    lambda taxed, fields: {"app": {**taxed, **fields}},
    _taxed,
    maybe(
        bundle=st.sampled_from(("com.game.fun", "com.other")),
        domain=_domains,
        publisher=_publishers,
        content=_content,
        kwarray=some(("golf", "tea")),
    ),
)
_doohs = maybe(domain=_domains, publisher=_publishers, content=_content).map(lambda dooh: {"dooh": dooh})
_geos = maybe(
    country=st.sampled_from((*COUNTRIES, "XX")),
    region=st.sampled_from(("CA", "US-CA", "NY", "BY")),
    city=st.sampled_from(("Boston", "berlin")),
    metro=st.sampled_from(("501", "803")),
    utcoffset=st.sampled_from((0, 120, 330, -720)),
).flatmap(
    lambda geo: st.sampled_from(((52.55, 13.45), (42.36, -71.06), (-17.01, -179.96), (0.05, 0.05), None)).map(
        lambda point: geo if point is None else {**geo, "lat": point[0], "lon": point[1]}
    )
)
_devices = maybe(
    geo=st.one_of(_geos, st.just({"country": "USA"})),
    ip=st.sampled_from(("203.0.113.5", "203.0.113.200", "198.51.100.7", "bogus")),
    ipv6=st.sampled_from(("2001:db8:1::1", "2001:db8:1:200::1", "2001:db9::1", "::ffff:203.0.113.5")),
    ua=st.just("Mozilla/5.0"),
    sua=st.sampled_from(({"mobile": 1}, {"platform": {"brand": "Android", "version": ["10", "1"]}}, {"platform": {}})),
    devicetype=st.sampled_from((1, 2, 4, 5)),
    os=st.sampled_from(("iOS", "Android", "Windows")),
    osv=st.sampled_from(("17.5.1", "16", "9.3.0", "10", "10.1", "beta")),
    make=st.sampled_from(("APPLE", "Samsung")),
    connectiontype=st.sampled_from((0, 2, 6)),
    carrier=st.sampled_from(("vodafone", "o2")),
    language=st.sampled_from(("de-AT", "en", "EN-us", "fil")),
    langb=st.just("de"),
    lmt=seldom(st.just(1)),
    dnt=seldom(st.just(1)),
    ext=seldom(st.sampled_from(({"gpc": 1}, {"gpc": "1"}, {"gpc": "0"}))),
)
_eids = st.lists(
    st.sampled_from(("ID.example", "other.example")).map(lambda source: {"source": source, "uids": [{"id": "e"}]}),
    min_size=1,
    max_size=2,
)
_strings = st.sampled_from((FULL_CONSENT, *CONSENTS))
_users = maybe(
    id=st.just("u"),
    buyeruid=st.just("b"),
    keywords=st.just("golf"),
    kwarray=some(("running", "tea")),
    geo=_geos,
    data=st.lists(
        some(("s1", "s2", "S2")).map(lambda ids: {"segment": [{"id": id} for id in ids]}), min_size=1, max_size=2
    ),
    consent=_strings,
    eids=_eids,
    ext=maybe(eids=_eids, consent=_strings),
)
_regs = maybe(
    coppa=seldom(st.sampled_from((0, 1))),
    gdpr=st.sampled_from((0, 0, 1)),
    us_privacy=seldom(st.sampled_from(("1---", "1YNN", "1YYN", "yes"))),
    gpp=seldom(st.sampled_from(tuple(GPP))),
    ext=maybe(
        gdpr=seldom(st.sampled_from((0, 1))),
        us_privacy=seldom(st.sampled_from(("1---", "1-Y-"))),
        gpc=seldom(st.sampled_from((0, 1))),
        dsa=seldom(st.builds(lambda r, p: {"dsarequired": r, "pubrender": p}, st.integers(0, 3), st.integers(0, 2))),
    ),
)
_chain = st.integers(0, 1).map(lambda complete: {"complete": complete, "nodes": [], "ver": "1.0"})
requests: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda id, impressions, place, fields: {"id": id, "imp": impressions, **place, **fields},
    st.sampled_from(("auction-1", "auction-2", "auction-3")),
    st.lists(impressions, min_size=1, max_size=3).map(_numbered),
    st.one_of(_sites, _apps, _doohs, st.just({})),
    maybe(
        device=_devices,
        user=_users,
        regs=_regs,
        source=st.one_of(_chain.map(lambda c: {"schain": c}), _chain.map(lambda c: {"ext": {"schain": c}})),
        cur=st.sampled_from(((), ("USD",), ("USD",), ("EUR",), ("EUR",), ("EUR", "USD"), ("XXX", "JPY"), ("XXX",))),
        at=st.sampled_from((1, 2)),
        test=st.sampled_from((0, 1)),
        tmax=st.just(60_000),
        cattax=seldom(st.sampled_from((1, 6))),
        bcat=seldom(some(("IAB2", "iab2-1", "IAB3", "IAB22", "53", "12"), 3)),
        badv=seldom(some(("BRAND.example", "kestrel.example", "example.kestrel", "and.example"))),
        bapp=seldom(some(("com.brand.app", "com.other"))),
        wseat=seldom(some(("brand", "seat-77", "s-2", "civic"), 3)),
        bseat=seldom(some(("brand", "seat-77", "shop"))),
    ),
)
"""Bodies of valid requests, as plain values."""
