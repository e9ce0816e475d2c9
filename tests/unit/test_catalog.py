"""A catalogue file is taken whole, or refused with everything that is wrong with it."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from campaign_express.bidding import catalog_rules, documents
from campaign_express.bidding.catalog import (
    MAX_CREATIVES,
    decode_catalog,
    dump_catalog,
    encode_catalog,
    load_catalog,
    parse_catalog,
)
from campaign_express.bidding.exchanges import load_exchanges, parse_exchanges
from campaign_express.bidding.model import Campaign, CapPeriod, GoalType, Match, Media, Pacing, Targeting
from campaign_express.errors import CatalogError
from campaign_express.openrtb.iso3166 import country_alpha3

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = Path(str(files("campaign_express").joinpath("data", "examples")))

BANNER = {
    "id": "b1",
    "media": "banner",
    "w": 300,
    "h": 250,
    "image": "https://cdn.acme.example/1.png",
    "landing": "https://acme.example/",
}
VIDEO = {
    "id": "v1",
    "media": "video",
    "w": 640,
    "h": 360,
    "asset": "https://cdn.acme.example/1.mp4",
    "mime": "video/mp4",
    "duration": 15,
    "landing": "https://acme.example/",
}
AUDIO = {
    "id": "a1",
    "media": "audio",
    "asset": "https://cdn.acme.example/1.mp3",
    "mime": "audio/mpeg",
    "duration": 20,
    "landing": "https://acme.example/",
}
NATIVE = {"id": "n1", "media": "native", "landing": "https://acme.example/", "native": {"title": "Hello"}}


def raw(**changes: Any) -> dict[str, Any]:
    """A good catalogue of one campaign, with some of the campaign's keys changed (None: left out)."""
    campaign: dict[str, Any] = {
        "id": "spring-sale",
        "advertiser": "acme",
        "flight": {"start": "2026-01-01", "end": "2026-06-30"},
        "goal": {"type": "cpm", "bid": 2.5},
        "max_bid": "4.00",
        "creatives": [dict(BANNER)],
    }
    campaign.update(changes)
    return {
        "advertisers": [{"id": "acme", "name": "Acme", "domain": "acme.example", "categories": ["IAB1"]}],
        "campaigns": [{key: value for key, value in campaign.items() if value is not None}],
    }


def problems(value: Any, **options: Any) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(value, **options)
    return list(caught.value.problems)


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


# (changes of the campaign, the problems, each without "campaign spring-sale: "; "..." stands for any text)
REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"max_bid": None}, ["max_bid: is missing"]),
    ({"colour": 1}, ["colour: no such key"]),
    ({"max_bids": 4}, ['max_bids: no such key (did you mean "max_bid"?)']),
    ({"advertiser": "acne"}, ['advertiser: "acne" is not an advertiser of this catalogue']),
    ({"name": 7}, ["name: must be text, and is 7: write it in quotes"]),
    ({"status": "stopped"}, ['status: "stopped" is not one of active, paused']),
    ({"goal": {"type": "cpv", "bid": 1}}, ['goal.type: "cpv" is not one of cpm, cpc, cpa...']),
    ({"goal": "cpm"}, ['goal: must be an object with keys, and is "cpm"']),
    ({"budget": {"daily": "ten"}}, ['budget.daily: "ten" is not an amount in USD such as 2.5 or "2.50"']),
    ({"budget": {"dayly": 1}}, ['budget.dayly: no such key (did you mean "daily"?)']),
    ({"budget": {"total": 5, "daily": 10}}, ["budget.daily: 10 is more than budget.total, 5"]),
    ({"budget": {"total": 5, "hourly": 10}}, ["budget.hourly: 10 is more than budget.total, 5"]),
    ({"budget": {"daily": 0}}, ["budget.daily: 0 is less than one impression may cost, 0.004"]),
    ({"budget": {"total": 1e10}}, ["budget.total: 10000000000.0 is not between 0 and 1,000,000,000 USD"]),
    ({"budget": 5}, ["budget: must be an object with keys, and is 5"]),
    ({"pacing": "slow"}, ['pacing: "slow" is not one of even, asap']),
    ({"caps": [{"limit": 0, "per": "day"}]}, ["caps[0].limit: 0: ..."]),
    ({"caps": [{"limit": 1, "per": "month"}]}, ['caps[0].per: "month" is not one of hour, day, week, lifetime']),
    (
        {
            "caps": [
                {"limit": 1, "per": "day"},
                {"limit": 2, "per": "day", "window": "calendar"},
                {"limit": 3, "per": "day"},
            ]
        },
        ["caps[2]: says the same period as caps[0]"],
    ),
    ({"max_bid": 2}, ["max_bid: 2 is less than the CPM of goal.bid, 2.5"]),
    ({"margin": 1.5}, ["margin: 1.5: expected `float` <= 1.0"]),
    ({"time_zone": "Mars/Base"}, ['time_zone: "Mars/Base" is not a time zone...']),
    ({"time_zone": "../../etc/passwd"}, ["time_zone: ...is not a time zone..."]),
    ({"flight": {"start": "2026-06-01", "end": "2026-05-01"}}, ["flight.end: ...is not after the start..."]),
    ({"flight": {"start": "soon"}}, ['flight.start: "soon" is not a date or time...']),
    ({"flight": {"start": "2026-02-30"}}, ['flight.start: "2026-02-30" is not a date or time...']),
    ({"flight": {"end": "2026-05-01"}}, ["flight.start: is missing"]),
    ({"flight": {"start": 20260101}}, ["flight.start: 20260101 is not a date or time..."]),
    ({"categories": ["IAB27"]}, ['categories[0]: "IAB27" is not a category id of taxonomy 1']),
    ({"categories": ["IAB1"], "cattax": 6}, ['categories[0]: "IAB1" is not a category id of taxonomy 6']),
    ({"cattax": 99}, ["cattax: 99 is not a category taxonomy..."]),
    ({"creatives": []}, ["creatives: a list: ..."]),
    (
        {"creatives": [dict(BANNER, id=f"b{n}") for n in range(MAX_CREATIVES + 1)]},
        ["creatives: holds 501; the most is 500"],
    ),
    ({"creatives": [BANNER, BANNER]}, ['creatives[1].id: "b1" is used already, by campaign spring-sale, creatives[0]']),
    (
        {"targeting": {"country": {"include": ["US", "XX"], "exclude": ["usa"]}}},
        [
            'targeting.country.include[1]: "XX" is not an ISO 3166 country',
            'targeting.country.exclude[0]: "usa" is included and excluded',
        ],
    ),
    ({"targeting": {"country": ["US"]}}, ["targeting.country: must be an object with keys, and is a list"]),
    ({"targeting": {"country": {"include": "US"}}}, ['targeting.country.include: must be a list, and is "US"']),
    ({"targeting": {"country": {"include": [False]}}}, ["targeting.country.include[0]: must be text, and is false..."]),
    ({"targeting": {"contry": {}}}, ['targeting.contry: no such key (did you mean "country"?)']),
    ({"targeting": {"region": {"include": ["California", "USA-CA"]}}}, ["targeting.region.include[0]: ..."]),
    ({"targeting": {"city": {"include": ["XX/Nowhere", "Boston", "USA/Boston"]}}}, ["targeting.city.include[0]: ..."]),
    ({"targeting": {"metro": {"include": ["New York"]}}}, ["targeting.metro.include[0]: ..."]),
    (
        {"targeting": {"ip": {"include": ["10.0.0.1/8", "::/200", "10.0.0.0/8"]}}},
        ["targeting.ip.include[0]: ...host bits...", "targeting.ip.include[1]: ..."],
    ),
    ({"targeting": {"language": {"include": ["en", "english"]}}}, ["targeting.language.include[1]: ...ISO 639-1..."]),
    ({"targeting": {"size": {"exclude": ["300*250"]}}}, ['targeting.size.exclude[0]: "300*250" is not a size...']),
    ({"targeting": {"size": {"include": ["728x90"]}}}, ["targeting.size.include: no creative has one of these sizes"]),
    ({"targeting": {"domain": {"include": ["https://a.example/"]}}}, ["targeting.domain.include[0]: ...no scheme..."]),
    ({"targeting": {"keyword": {"include": [" "]}}}, ['targeting.keyword.include[0]: " " is empty']),
    (
        {"targeting": {"device_type": {"include": [0, 2, 9]}}},
        ["targeting.device_type.include[0]: ...", "targeting.device_type.include[2]: ..."],
    ),
    (
        {"targeting": {"connection": {"exclude": [8]}}},
        ["targeting.connection.exclude[0]: 8 is not a connection type (0 to 7)"],
    ),
    ({"targeting": {"position": {"include": [8]}}}, ["targeting.position.include[0]: ..."]),
    ({"targeting": {"placement": {"include": [5]}}}, ["targeting.placement.include[0]: ..."]),
    (
        {"targeting": {"category": {"cattax": 7, "include": ["JLBCU7", "640", "IAB1-2"]}}},
        ["targeting.category.include[2]: ..."],
    ),
    ({"targeting": {"category": {"cattax": 77}}}, ["targeting.category.cattax: ..."]),
    ({"targeting": {"hours": {"hours": []}}}, ["targeting.hours.hours: names no hour..."]),
    ({"targeting": {"hours": {"hours": [168]}}}, ["targeting.hours.hours[0]: 168: ..."]),
    ({"targeting": {"hours": {"hours": [1], "clock": "mine"}}}, ['targeting.hours.clock: "mine": ...']),
    ({"targeting": {"schain": "some"}}, ["targeting.schain: ..."]),
    ({"targeting": {"media": ["video"]}}, ['targeting.media[0]: "video", and the campaign has no such creative']),
    ({"targeting": {"media": ["film"]}}, ['targeting.media[0]: "film" is not one of banner, video, audio, native']),
    (
        {"targeting": {"radius": {"include": [{"lat": 91, "lon": 0, "km": 1}]}}},
        ["targeting.radius.include[0].lat: 91: ..."],
    ),
    (
        {
            "targeting": {
                "radius": {"include": [{"lat": 9, "lon": 0, "km": 1}], "exclude": [{"lat": 9, "lon": 0, "km": 1}]}
            }
        },
        ["targeting.radius.exclude[0]: is included and excluded"],
    ),
    (
        {
            "targeting": {
                "os_version": [{"os": "ios"}, {"os": "ios", "min": "x"}, {"os": "ios", "min": "10.10", "max": "10.2"}]
            }
        },
        [
            "targeting.os_version[0]: has neither min nor max",
            "targeting.os_version[1].min: ...",
            "targeting.os_version[2]: min 10.10 is above max 10.2",
        ],
    ),
]

# (a good creative, what is changed, the problem below creatives[0])
REFUSED_CREATIVES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (BANNER, {"id": "has space"}, 'id: "has space": ...'),
    (BANNER, {"media": "gif"}, 'media: "gif" is not one of banner, video, audio, native'),
    (BANNER, {"w": 0}, "w: is missing: a banner has a size"),
    (BANNER, {"image": ""}, "html: is missing: a banner has html or an image"),
    (BANNER, {"image": "cdn/1.png"}, 'image: "cdn/1.png" is not a URL'),
    (
        BANNER,
        {"image": "http://cdn.acme.example/1.png"},
        "image: ...is not https, and the creative says that it is secure",
    ),
    (BANNER, {"html": '<img src="http://cdn.acme.example/1.png">'}, "html: loads something over http://..."),
    (BANNER, {"html": "<style>a{background:url(HTTP://x.example/)}</style>"}, "html: loads something over http://..."),
    (BANNER, {"html": "x" * 65_537}, "html: has 65,537 characters; the most is 65,536"),
    (BANNER, {"landing": "acme.example"}, 'landing: "acme.example": ...'),
    (BANNER, {"landing": "https://"}, 'landing: "https://" is not a URL'),
    (BANNER, {"attr": [17, 19, 500]}, "attr[1]: 19 is not a creative attribute..."),
    (BANNER, {"api": [0, 7]}, "api[0]: 0 is not an API framework..."),
    (BANNER, {"language": "deutsch"}, 'language: "deutsch" is not an ISO 639-1 language'),
    (BANNER, {"weight": 0}, "weight: 0: ..."),
    (VIDEO, {"h": 0}, "h: is missing: a video has a size"),
    (VIDEO, {"asset": ""}, "asset: is missing: a video needs it"),
    (VIDEO, {"mime": ""}, "mime: is missing: a video needs it"),
    (VIDEO, {"mime": "audio/mpeg"}, 'mime: "audio/mpeg" is not the MIME type of a video file'),
    (VIDEO, {"duration": 0}, "duration: is missing: a video has a length in seconds"),
    (VIDEO, {"skippable": True, "skip_after": 15}, "skip_after: 15 is not within the duration of 15 seconds"),
    (VIDEO, {"vast": "3.0"}, 'vast: "3.0": ...'),
    (AUDIO, {"asset": "ftp://x"}, 'asset: "ftp://x" is not a URL'),
    (AUDIO, {"duration": 0}, "duration: is missing: an audio ad has a length in seconds"),
    (NATIVE, {"native": None}, "native: is missing: a native creative has its assets there"),
    (NATIVE, {"native": {"title": ""}}, "native.title: is empty"),
    (
        NATIVE,
        {"native": {"title": "x", "image": "https://x.example/1", "image_w": 3}},
        "native.image_h: is missing: image has a size",
    ),
    (NATIVE, {"native": {"title": "x", "rating": "6"}}, 'native.rating: "6" is not a rating from "0" to "5"'),
    (NATIVE, {"native": {"titel": "x", "title": "x"}}, 'native.titel: no such key (did you mean "title"?)'),
    (
        NATIVE,
        {"native": {"title": "x", "icon": "http://x.example/1", "icon_w": 1, "icon_h": 1}},
        "native.icon: ...is not https...",
    ),
]


def same(found: list[str], expected: list[str]) -> bool:
    patterns = [re.escape(line).replace(re.escape("..."), ".*") for line in expected]
    return len(found) == len(patterns) and all(map(re.fullmatch, patterns, found))


@pytest.mark.parametrize(
    ("changes", "expected"), REFUSED, ids=lambda value: "" if isinstance(value, list) else str(value)[:60]
)
def test_what_is_refused(changes: dict[str, Any], expected: list[str]) -> None:
    found = problems(
        raw(**{k: v for k, v in changes.items() if v is not None} | {k: None for k, v in changes.items() if v is None})
    )
    assert same(found, [f"campaign spring-sale: {line}" for line in expected]), found


@pytest.mark.parametrize(("good", "change", "expected"), REFUSED_CREATIVES, ids=lambda value: str(value)[:40])
def test_which_creatives_are_refused(good: dict[str, Any], change: dict[str, Any], expected: str) -> None:
    assert parse_catalog(raw(creatives=[good]))
    found = problems(raw(creatives=[{k: v for k, v in (good | change).items() if v is not None}]))
    assert same(found, [f"campaign spring-sale: creatives[0].{expected}"]), found


def test_an_insecure_creative_may_say_so() -> None:
    creative = BANNER | {"image": "http://cdn.acme.example/1.png", "secure": False}
    assert parse_catalog(raw(creatives=[creative])).campaigns[0].creatives[0].secure is False


def test_names_of_namespaces_are_not_resources() -> None:
    assert parse_catalog(
        raw(creatives=[BANNER | {"html": '<svg xmlns="http://www.w3.org/2000/svg"></svg>{CLICK_URL}'}])
    )


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


# Text of files.


def load(tmp_path: Path, name: str, text: str | bytes) -> Any:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_catalog(path)


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    text = json.dumps(raw())
    assert load(tmp_path, "c.json", text) == load(tmp_path, "c.yaml", text) == load(tmp_path, "c.yml", text)
    assert load(tmp_path, "c.json", "\ufeff" + text)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("c.yaml", "campaigns: [\nadvertisers: }", r"line 2, column 14: "),
        ("c.yaml", "a:\n  b: 1\n  b: 2", r'line 3, column 3: the key "b" is written twice'),
        ("c.yaml", "a: !!python/object/apply:os.getcwd []", r"line 1, column 4: could not determine a constructor"),
        ("c.yaml", "a: 1\n---\nb: 1", r"line 2, column 1: "),
        ("c.yaml", "? [a]\n: b", r"line 1, column 3: a key must be a plain word"),
        ("c.yaml", "a: *b", r"line 1, column 4: found undefined alias"),
        ("c.yaml", "[" * 100_000, r"line 1, column \d+: "),
        ("c.yaml", "\n".join(" " * n + "a:" for n in range(500)), r"line 33, column 33: more than 32 levels deep"),
        ("c.yaml", "a: \x00", r"is not YAML: unacceptable character"),
        ("c.yaml", b"a: 1\nb: \xff\xfe", r"line 2: is not UTF-8 text"),
        ("c.json", '{"a": 1,\n "b" 2}', r"line 2, column 6: Expecting ':' delimiter"),
        ("c.json", '{"a": 1, "a": 2}', r'the key "a" is written twice'),
        ("c.json", '{"a": NaN}', r"NaN is not JSON"),
        ("c.json", "[" * 100_000, r"is nested too deep"),
        ("c.txt", "{}", r'the name ends in ".txt"'),
    ],
    ids=str,
)
def test_text_that_is_no_document(tmp_path: Path, name: str, text: str | bytes, says: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, name, text)
    (problem,) = caught.value.problems
    assert re.match(re.escape(str(tmp_path / name)) + ": " + says, problem), problem


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"cannot be read: No such file"):
        load_catalog(tmp_path / "none.yaml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("[1, 2, 3]")
    assert documents.read_document(path, 9) == [1, 2, 3]
    with pytest.raises(documents.DocumentError, match="larger than 8 bytes"):
        documents.read_document(path, 8)


def test_yaml_does_not_surprise() -> None:
    """Norway is not false, a time is not a number of minutes, a date is text as in JSON."""
    text = "{a: NO, b: 12:30, c: 2026-01-01, d: 0123, e: [yes, on, true], f: 1_000, g: ~, h: 1e3, i: .5, j: -2}"
    assert documents.parse_yaml(text) == {
        "a": "NO",
        "b": "12:30",
        "c": "2026-01-01",
        "d": 123,
        "e": ["yes", "on", True],
        "f": "1_000",
        "g": None,
        "h": 1000.0,
        "i": 0.5,
        "j": -2,
    }


# There and back.


def example() -> Any:
    return load_catalog(EXAMPLES / "catalog.yaml", load_exchanges(EXAMPLES / "exchanges.yaml"))


def test_what_is_dumped_reads_back_equal() -> None:
    catalog = msgspec.structs.replace(example(), version=7)
    text = dump_catalog(catalog)
    assert "max_bid: 30.00" in text
    assert "&id" not in text
    assert parse_catalog(documents.parse_yaml(text)) == catalog


@pytest.mark.parametrize("micros", [1, 10, 2_500_000, 1_000_000_000_000_000 - 1, 123_456_789_012_345])
def test_amounts_survive_the_dump(micros: int) -> None:
    (campaign,) = parse_catalog(raw(goal={"type": "cpc", "bid": 1})).campaigns
    catalog = msgspec.structs.replace(
        parse_catalog(raw()), campaigns=(msgspec.structs.replace(campaign, max_bid=micros),)
    )
    again = parse_catalog(documents.parse_yaml(dump_catalog(catalog)))
    assert again.campaigns[0].max_bid == micros


def test_what_is_encoded_decodes_equal() -> None:
    catalog = msgspec.structs.replace(example(), version=7)
    assert decode_catalog(encode_catalog(catalog)) == catalog


def test_equal_rules_are_held_once() -> None:
    (campaign,) = parse_catalog(raw()).campaigns

    def wanting(number: int, **rules: Match) -> Campaign:
        return msgspec.structs.replace(campaign, id=f"c{number}", targeting=Targeting(**rules))  # type: ignore[arg-type]

    both = Match(include=("a.example", "b.example"))
    catalog = msgspec.structs.replace(
        parse_catalog(raw()),
        campaigns=(wanting(1, domain=both), wanting(2, domain=both), wanting(3, domain=Match(exclude=("a.example",)))),
    )
    again = decode_catalog(encode_catalog(catalog))
    assert again == catalog
    first, second, third = (c.targeting.domain for c in again.campaigns)
    assert first is second
    assert first.include[0] is third.exclude[0]


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"campaign-express-catalogue/2\n\x80", encode_catalog(parse_catalog(raw()))[:-1]], ids=str
)
def test_what_does_not_decode(data: bytes) -> None:
    with pytest.raises(CatalogError, match="the encoded form"):
        decode_catalog(data)


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
