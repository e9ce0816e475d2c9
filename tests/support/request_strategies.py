"""Random bid requests about what `catalog_strategies` sells: values from the same small pools, mostly left out."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.catalog_strategies import CATEGORIES, CONSENTS, FULL_CONSENT, GPP, SIZES
from tests.support.drawing import Draw, every, just, make, maybe, number, one_of, pick, seldom, several, some

COUNTRIES = ("USA", "US", "DEU", "de", "BRA")

_apis = some((2, 7))
_battr = seldom(some((1, 8, 16)))
_floors: dict[str, Draw] = {
    # At, and a micro above, what campaigns pay; and one finer than the six decimal places of an answer.
    "bidfloor": pick((0, 0.1, 0.1234563, 0.5, 0.500001, 0.75, 1.0, 1.000001, 2.500001, 2.500002, 9.5)),
    "bidfloorcur": pick((None, "USD", "USD", "USD", "EUR", "EUR", "JPY", "JPY", "XXX")),
}
_format = pick(
    (
        *({"w": w, "h": h} for w, h in SIZES * 2),
        {"w": 300},
        {"w": 0, "h": 0},
        {"wratio": 6, "hratio": 5, "wmin": 300},
        {"wratio": 6, "hratio": 5, "wmin": 301},
    )
)
banners = maybe(
    format=several(_format, 1, 3),
    w=pick((300, 728, -1, None)),
    h=pick((250, 90)),
    battr=_battr,
    pos=pick((0, 1, 3)),
    api=_apis,
    mimes=seldom(some(("text/html", "image/gif"))),
).map(lambda banner: banner if "format" in banner or "w" in banner else {**banner, "w": 300, "h": 250})
_streams: dict[str, Draw] = {
    "minduration": seldom(pick((10, 16))),
    "maxduration": pick((14, 15, 30, 60)),
    "rqddurs": seldom(some((10, 15, 30))),
    "protocols": pick(((), (2, 3), (7,), (7, 11, 13), (11,), (2, 3, 5, 6, 7, 8, 11, 12, 13, 14))),
    "battr": _battr,
    "api": _apis,
    "poddur": seldom(pick((0, 60))),
    "maxseq": seldom(pick((1, 2))),
    "sequence": just(1),
}
videos = maybe(
    **_streams,
    mimes=pick((("video/mp4",), ("video/MP4", "video/webm"), ())),
    protocol=seldom(pick((2, 7))),
    w=pick((640, 1280)),
    h=pick((360, 720, 480)),
    boxingallowed=pick((0, 1)),
    skip=pick((0, 1)),
    linearity=pick((None, 1, 1, 2)),
    plcmt=pick((1, 3, 4)),
    placement=pick((0, 1, 3, 5)),
    pos=pick((0, 1, 3)),
)
audios = maybe(**_streams, mimes=pick((("audio/mpeg",), ("audio/mpeg", "audio/OGG"))))

_asset = one_of(
    make(lambda most: {"title": {"len": most}}, pick((5, 25, 90))),
    make(lambda kind: {"data": {"type": kind}}, pick((1, 2, 5, 12))),
    make(lambda kind, most: {"data": {"type": kind, "len": most}}, pick((1, 2)), pick((5, 90))),
    make(
        lambda kind, size: {"img": {"type": kind, **size}},
        pick((1, 3)),
        pick(({}, {"w": 80, "h": 80}, {"wmin": 64, "hmin": 64}, {"wmin": 1200, "hmin": 628}, {"w": 1200, "h": 627})),
    ),
    just({"video": {"mimes": ["video/mp4"], "minduration": 1, "maxduration": 30, "protocols": [7]}}),
)


def _native_request(assets: list[tuple[dict[str, Any], bool]], wrapped: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "ver": "1.2",
        "assets": [{"id": at, "required": int(must), **asset} for at, (asset, must) in enumerate(assets, 1)],
        "eventtrackers": [{"event": 1, "methods": [1]}],
    }
    return {"request": msgspec.json.encode({"native": body} if wrapped else body).decode()}


natives = make(
    lambda request, fields: request | fields,
    one_of(
        make(
            _native_request,
            several(make(lambda *pair: pair, _asset, pick((True, False, False))), 1, 4),
            pick((False, True)),
        ),
        make(_native_request, just([({"title": {"len": 90}}, True)]), pick((False, True))),
        pick(({"request": "{"}, {})),
    ),
    maybe(battr=_battr, api=_apis),
)

deals = make(
    lambda id, fields: {"id": id, **fields},
    pick(("d1", "d1", "d2", "D2", "D1", "d3")),
    maybe(
        **_floors,
        at=pick((1, 2, 3)),
        wseat=seldom(some(("brand", "seat-77", "s-2"))),
        wadomain=seldom(some(("BRAND.example", "kestrel.example"))),
    ),
)
_media: dict[str, Draw] = {"banner": banners, "video": videos, "audio": audios, "native": natives}
_kinds = (
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
impressions = make(
    lambda media, fields: {**media, **fields},
    one_of(*(every({kind: _media[kind] for kind in kinds}) for kinds in _kinds)),
    maybe(
        **_floors,
        secure=pick((0, 1)),
        instl=pick((0, 1)),
        rwdd=pick((0, 1)),
        qty=seldom(pick(({"multiplier": 1}, {"multiplier": 2.5}))),
        pmp=maybe(private_auction=pick((0, 0, 1)), deals=several(deals, 0, 3)),
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
    cattax=pick((1, 6)),
    keywords=just("golf, RUNNING"),
    kwarray=some(("Golf", "tea")),
)
_taxed = one_of(
    maybe(cat=some(CATEGORIES), sectioncat=some(CATEGORIES), pagecat=some(CATEGORIES)),
    just({"cat": ["53", "9"], "cattax": 6}),
)
_publishers = pick(({"id": "pub-9"}, {"id": "pub-9"}, {"id": "Pub-7"}, {"id": "pub-7"}, {}))
_domains = pick(("example.com", "News.example.com", "example.org", "notexample.com"))
_sites = make(
    lambda taxed, fields: {"site": {**taxed, **fields}},
    _taxed,
    maybe(
        domain=_domains,
        page=just("https://news.example.com:443/a?b"),
        publisher=_publishers,
        content=_content,
        keywords=just("shoes, running ,sale"),
    ),
)
_apps = make(
    lambda taxed, fields: {"app": {**taxed, **fields}},
    _taxed,
    maybe(
        bundle=pick(("com.game.fun", "com.other")),
        domain=_domains,
        publisher=_publishers,
        content=_content,
        kwarray=some(("golf", "tea")),
    ),
)
_doohs = maybe(domain=_domains, publisher=_publishers, content=_content).map(lambda dooh: {"dooh": dooh})
_points = ((52.55, 13.45), (42.36, -71.06), (-17.01, -179.96), (0.05, 0.05), None)
_sent_geos = maybe(
    country=pick((*COUNTRIES, "XX")),
    region=pick(("CA", "US-CA", "NY", "BY")),
    city=pick(("Boston", "berlin")),
    metro=pick(("501", "803")),
    utcoffset=pick((0, 120, 330, -720)),
)
_geos = make(
    lambda geo, point: geo if point is None else {**geo, "lat": point[0], "lon": point[1]}, _sent_geos, pick(_points)
)
_devices = maybe(
    geo=one_of(_geos, just({"country": "USA"})),
    ip=pick(("203.0.113.5", "203.0.113.200", "198.51.100.7", "bogus")),
    ipv6=pick(("2001:db8:1::1", "2001:db8:1:200::1", "2001:db9::1", "::ffff:203.0.113.5")),
    ua=just("Mozilla/5.0"),
    sua=pick(({"mobile": 1}, {"platform": {"brand": "Android", "version": ["10", "1"]}}, {"platform": {}})),
    devicetype=pick((1, 2, 4, 5)),
    os=pick(("iOS", "Android", "Windows")),
    osv=pick(("17.5.1", "16", "9.3.0", "10", "10.1", "beta")),
    make=pick(("APPLE", "Samsung")),
    connectiontype=pick((0, 2, 6)),
    carrier=pick(("vodafone", "o2")),
    language=pick(("de-AT", "en", "EN-us", "fil")),
    langb=just("de"),
    lmt=seldom(just(1)),
    dnt=seldom(just(1)),
    ext=seldom(pick(({"gpc": 1}, {"gpc": "1"}, {"gpc": "0"}))),
)
_eids = several(
    pick(("ID.example", "other.example")).map(lambda source: {"source": source, "uids": [{"id": "e"}]}), 1, 2
)
_strings = pick((FULL_CONSENT, *CONSENTS))
_users = maybe(
    id=just("u"),
    buyeruid=just("b"),
    keywords=just("golf"),
    kwarray=some(("running", "tea")),
    geo=_geos,
    data=several(some(("s1", "s2", "S2")).map(lambda ids: {"segment": [{"id": id} for id in ids]}), 1, 2),
    consent=_strings,
    eids=_eids,
    ext=maybe(eids=_eids, consent=_strings),
)
_regs = maybe(
    coppa=seldom(pick((0, 1))),
    gdpr=pick((0, 0, 1)),
    us_privacy=seldom(pick(("1---", "1YNN", "1YYN", "yes"))),
    gpp=seldom(pick(tuple(GPP))),
    ext=maybe(
        gdpr=seldom(pick((0, 1))),
        us_privacy=seldom(pick(("1---", "1-Y-"))),
        gpc=seldom(pick((0, 1))),
        dsa=seldom(make(lambda r, p: {"dsarequired": r, "pubrender": p}, number(0, 3), number(0, 2))),
    ),
)
_chain = number(0, 1).map(lambda complete: {"complete": complete, "nodes": [], "ver": "1.0"})
requests: Draw = make(
    lambda id, impressions, place, fields: {"id": id, "imp": impressions, **place, **fields},
    pick(("auction-1", "auction-2", "auction-3")),
    one_of(*[several(impressions, 1, 3).map(_numbered)] * 3, just(PLAIN_IMPRESSIONS)),
    one_of(_sites, _apps, _doohs, just({})),
    maybe(
        device=_devices,
        user=_users,
        regs=_regs,
        source=one_of(_chain.map(lambda c: {"schain": c}), _chain.map(lambda c: {"ext": {"schain": c}})),
        cur=pick(((), ("USD",), ("USD",), ("EUR",), ("EUR",), ("EUR", "USD"), ("XXX", "JPY"), ("XXX",))),
        at=pick((1, 2)),
        test=pick((0, 1)),
        tmax=just(60_000),
        cattax=seldom(pick((1, 6))),
        bcat=seldom(some(("IAB2", "iab2-1", "IAB3", "IAB22", "53", "12"), 3)),
        badv=seldom(some(("BRAND.example", "kestrel.example", "example.kestrel", "and.example"))),
        bapp=seldom(some(("com.brand.app", "com.other"))),
        wseat=seldom(some(("brand", "seat-77", "s-2", "civic"), 3)),
        bseat=seldom(some(("brand", "seat-77", "shop"))),
    ),
)
"""Bodies of valid requests, as plain values."""
