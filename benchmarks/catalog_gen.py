"""Seeded catalogues of any size with the variety of targeting that a bidder's catalogue has.

    python -m benchmarks.catalog_gen 1000 > catalog.json

The same count and seed always give the same catalogue. Shares below are of campaigns; together they let a request of
`benchmarks.bodies` match about 3 % of a catalogue, which the benchmark checks with the decision core itself.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

import msgspec

from benchmarks import market
from campaign_express.bidding.model import (
    Advertiser,
    Campaign,
    Catalog,
    CategoryMatch,
    Circle,
    CircleMatch,
    Creative,
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
    Targeting,
)
from campaign_express.bidding.money import MICROS

SEED = 2026
T = TypeVar("T")
# Kinds of creative in one campaign, with weights.
_KINDS = {
    (Media.BANNER,): 38,
    (Media.VIDEO,): 17,
    (Media.NATIVE,): 15,
    (Media.BANNER, Media.VIDEO): 12,
    (Media.BANNER, Media.NATIVE): 12,
    (Media.AUDIO,): 6,
}


def generate(count: int, seed: int = SEED) -> Catalog:
    """A catalogue of `count` campaigns, about one advertiser for four of them."""
    rng = random.Random(f"{seed}/{count}")
    advertisers = tuple(_advertiser(rng, number) for number in range(max(1, count // 4)))
    campaigns = tuple(_campaign(rng, number, rng.choice(advertisers)) for number in range(count))
    return Catalog(advertisers=advertisers, campaigns=campaigns)


def _some(rng: random.Random, values: Sequence[T], low: int, high: int) -> tuple[T, ...]:
    return tuple(rng.sample(list(values), rng.randint(low, min(high, len(values)))))


def _advertiser(rng: random.Random, number: int) -> Advertiser:
    return Advertiser(
        id=f"adv-{number:05d}",
        name=f"Advertiser {number}",
        domain=f"brand{number}.example",
        categories=_some(rng, market.CATEGORIES, 1, 2),
    )


def _campaign(rng: random.Random, number: int, advertiser: Advertiser) -> Campaign:
    goal = rng.choices((GoalType.CPM, GoalType.CPC, GoalType.CPA), (50, 35, 15))[0]
    low, high = {GoalType.CPM: (0.8, 6.0), GoalType.CPC: (0.2, 2.5), GoalType.CPA: (4.0, 60.0)}[goal]
    usd = rng.uniform(low, high)
    return Campaign(
        id=f"cmp-{number:05d}",
        advertiser=advertiser.id,
        name=f"Campaign {number}",
        flight=Flight(start=datetime(2024, 1, 1, tzinfo=UTC)),
        time_zone=rng.choice(("UTC", "Europe/Berlin", "America/New_York")),
        goal=Goal(type=goal, bid=int(usd * 100) * 10_000),
        max_bid=int(rng.uniform(6, 15) * 100) * 10_000,
        margin=round(rng.uniform(0.6, 1.0), 2),
        targeting=_targeting(rng),
        creatives=_creatives(rng, number, advertiser),
    )


def _targeting(rng: random.Random) -> Targeting:
    def share(probability: float) -> bool:
        return rng.random() < probability

    include: dict[str, object] = {}
    if share(0.85):
        countries = _some(rng, tuple(market.COUNTRIES), 2, 5)
        include["country"] = Match(include=countries)
        if share(0.08):
            places = [(country, place) for country in countries for place in market.COUNTRIES[country][2]]
            country, (region, city, _, lat, lon) = rng.choice(places)
            kind = rng.randrange(3)
            if kind == 0:
                include["region"] = Match(include=(f"{country}-{region}",))
            elif kind == 1:
                include["city"] = Match(include=(f"{country}/{city}",))
            else:
                include["radius"] = CircleMatch(include=(Circle(lat=lat, lon=lon, km=rng.choice((10, 50, 200))),))
    elif share(0.2):
        include["country"] = Match(exclude=_some(rng, tuple(market.COUNTRIES), 1, 3))
    if share(0.4):
        include["device_type"] = IntMatch(include=rng.choice(((4, 5), (2,), (4,), (2, 4, 5))))
    if share(0.12):
        include["os"] = Match(include=rng.choice((("ios",), ("android",), ("ios", "android"), ("windows", "macos"))))
    if share(0.03):
        include["os_version"] = (OsVersion(os="android", min="11"), OsVersion(os="ios", min="15.2"))
    if share(0.06):
        include["make"] = Match(exclude=("apple",)) if share(0.5) else Match(include=("apple", "samsung"))
    if share(0.05):
        include["connection"] = IntMatch(include=(2, 6, 7)) if share(0.5) else IntMatch(exclude=(3, 4))
    if share(0.03):
        include["carrier"] = Match(exclude=_some(rng, market.CARRIERS, 1, 2))
    if share(0.1):
        include["language"] = Match(include=_some(rng, ("en", "es", "de", "fr", "pt", "ja", "it"), 2, 5))
    if share(0.25):
        include["domain"] = Match(exclude=_some(rng, market.SITES, 5, 60))
    elif share(0.08):
        include["domain"] = Match(include=_some(rng, market.SITES, 80, 250))
    if share(0.1):
        include["bundle"] = Match(exclude=_some(rng, market.APPS, 5, 40))
    if share(0.1):
        include["publisher"] = Match(exclude=_some(rng, market.PUBLISHERS, 1, 6))
    if share(0.3):
        include["category"] = CategoryMatch(include=_some(rng, market.CATEGORIES, 4, 10))
    elif share(0.3):
        include["category"] = CategoryMatch(exclude=_some(rng, market.CATEGORIES, 1, 4))
    if share(0.04):
        include["keyword"] = Match(include=_some(rng, market.KEYWORDS, 4, 9))
    if share(0.3):
        include["inventory"] = (rng.choice((Inventory.SITE, Inventory.APP)),)
    if share(0.06):
        include["position"] = IntMatch(include=(1, 4)) if share(0.6) else IntMatch(exclude=(3,))
    if share(0.05):
        include["interstitial"] = share(0.3)
    if share(0.03):
        include["deal"] = Match(include=_some(rng, market.DEALS, 1, 3))
    if share(0.12):
        include["segment"] = Match(include=_some(rng, market.SEGMENTS, 6, 20))
    elif share(0.06):
        include["segment"] = Match(exclude=_some(rng, market.SEGMENTS, 1, 5))
    if share(0.04):
        include["eid_source"] = Match(include=_some(rng, market.EID_SOURCES, 1, 2))
    if share(0.05):
        first, clock = rng.randint(0, 6), rng.choice(("user", "campaign"))
        hours = tuple(day * 24 + hour for day in range(7) for hour in range(first, first + 18))
        include["hours"] = Hours(hours=hours, clock=clock)
    if share(0.03):
        include["ip"] = Match(exclude=(f"203.0.{rng.randrange(114)}.0/24", "198.51.100.0/24"))
    if share(0.05):
        include["schain"] = "complete"
    return Targeting(**include)  # type: ignore[arg-type]


def _creatives(rng: random.Random, number: int, advertiser: Advertiser) -> tuple[Creative, ...]:
    kinds = rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    landing = f"https://www.{advertiser.domain}/offer/{number}?source=rtb&creative="
    assets = f"https://cdn.{advertiser.domain}/c{number}"
    attr = (rng.choice((1, 6, 9, 13)),) if rng.random() < 0.1 else ()
    made: list[Creative] = []
    if Media.BANNER in kinds:
        for w, h in _some(rng, market.SIZES, 2, 4):
            key = f"crt-{number:05d}-{w}x{h}"
            html = (
                f'<a href="{{CLICK_URL}}" target="_blank" rel="noopener"><img src="{assets}/{w}x{h}.jpg" width="{w}" '
                f'height="{h}" alt="{advertiser.name}" style="border:0"></a>'
            )
            made.append(Creative(id=key, media=Media.BANNER, w=w, h=h, landing=landing + key, html=html, attr=attr))
    if Media.VIDEO in kinds:
        w, h = rng.choice(market.VIDEO_SIZES)
        key = f"crt-{number:05d}-video"
        made.append(
            Creative(
                id=key,
                media=Media.VIDEO,
                w=w,
                h=h,
                landing=landing + key,
                asset=f"{assets}/spot.mp4",
                mime="video/mp4",
                duration=rng.choice((6, 15, 15, 30)),
                bitrate=rng.choice((1200, 2500)),
                skippable=rng.random() < 0.3,
                skip_after=5,
                attr=attr,
            )
        )
    if Media.NATIVE in kinds:
        key = f"crt-{number:05d}-native"
        made.append(
            Creative(
                id=key,
                media=Media.NATIVE,
                landing=landing + key,
                native=NativeContent(
                    title=f"Offer {number % 1000} this week",
                    description=f"Why people choose {advertiser.name}, and what it costs",
                    sponsored=advertiser.name,
                    call_to_action="See more",
                    image=f"{assets}/main.jpg",
                    image_w=1200,
                    image_h=627,
                    icon=f"{assets}/icon.png",
                    icon_w=128,
                    icon_h=128,
                ),
                attr=attr,
            )
        )
    if Media.AUDIO in kinds:
        key = f"crt-{number:05d}-audio"
        made.append(
            Creative(
                id=key,
                media=Media.AUDIO,
                landing=landing + key,
                asset=f"{assets}/spot.mp3",
                mime="audio/mpeg",
                duration=30,
                bitrate=128,
            )
        )
    return tuple(made)


def to_json(catalog: Catalog) -> bytes:
    """The catalogue as a file that `catalog_file` names: amounts in USD."""
    plain = msgspec.to_builtins(catalog)
    for campaign in plain["campaigns"]:
        campaign["max_bid"] = _usd(campaign["max_bid"])
        campaign["goal"]["bid"] = _usd(campaign["goal"]["bid"])
    return msgspec.json.encode(plain)


def _usd(micros: int) -> str:
    return str(Decimal(micros) / MICROS)


if __name__ == "__main__":
    sys.stdout.buffer.write(to_json(generate(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)) + b"\n")
