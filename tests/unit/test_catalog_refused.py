"""What a catalogue may not hold: each rule, and how it is told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from campaign_express.bidding.catalog import (
    MAX_CREATIVES,
    parse_catalog,
)
from tests.support.raw_catalog import AUDIO, BANNER, NATIVE, VIDEO, problems, raw

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
