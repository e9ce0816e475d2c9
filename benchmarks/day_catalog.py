"""The catalogue of a simulated day: who wants how much of what, with budgets and caps of every kind.

    even    a daily budget that is a modest part of what the campaign could buy, evenly paced, day of UTC: its delivery
            and pacing are judged
    scarce  targets one of few sites that hardly any traffic comes from, as many others do; paced either way; budgets
            that all of them together cannot spend
    greedy  bids on everything as fast as it can, with budgets that it could spend many times over; a little less than
            the even ones do, so that these find supply while it lasts
    solo    buys only from the exchange with a single notice kind, and is reported apart

Budgets are set from the supply: a sample of the very requests that will come, and what competitors bid for them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from campaign_express.bidding.model import (
    Advertiser,
    Budget,
    Campaign,
    CapPeriod,
    Catalog,
    Creative,
    Flight,
    FrequencyCap,
    Goal,
    GoalType,
    IntMatch,
    Match,
    Media,
    NativeContent,
    Pacing,
    Targeting,
)
from campaign_express.exchange import auction, market
from campaign_express.exchange.stream import Call, RequestStream
from campaign_express.exchange.venues import SOLO, Venue

SAMPLE = 6000  # requests that supply is estimated from
SHARES = (("scarce", 0.50), ("greedy", 0.25), ("even", 0.22), ("solo", 0.03))
LEAST_IMPRESSIONS = 60  # of a budget: less is no budget that could be paced
CENT = 10_000  # micros
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")


def group_of(campaign: str) -> str:
    """ "even", "scarce", "greedy" or "solo", by the campaign's id."""
    return campaign.partition("-")[0]


class Supply:
    """What there is to buy in a day of `requests`, estimated from the first of them."""

    def __init__(self, stream: RequestStream, requests: int, seed: int) -> None:
        count = min(SAMPLE, requests)
        self._factor = requests / count
        self._slots = []
        for number in range(count):
            call = stream.call(number)
            for slot in call.shape.slots.values():
                highest, second = auction.competitors(seed, number, slot)
                self._slots.append((call, slot, max(highest, slot.floor_micros), max(second, slot.floor_micros)))

    def of(self, campaign: Campaign) -> tuple[float, float]:
        """(impressions, micros of USD) that the campaign could buy in a day if nobody else of ours bid."""
        media = {creative.media.value for creative in campaign.creatives}
        bid = campaign.goal.bid
        impressions = spend = 0.0
        for call, slot, needed, _ in self._slots:
            if bid <= needed or not media & set(slot.media) or not _matches(campaign, call):
                continue
            impressions += 1
            spend += (needed + auction.INCREMENT if call.venue.second_price else bid) / 1000
        return impressions * self._factor, spend * self._factor


def _matches(campaign: Campaign, call: Call) -> bool:
    """Whether the campaign targets a request, by the rules that `_targeting` sets."""
    rules, person = campaign.targeting, call.person
    if campaign.exchanges and call.venue.name not in campaign.exchanges:
        return False
    if campaign.caps and not campaign.cap_without_user and not person.tracked:
        return False
    if rules.country.include and person.country not in rules.country.include:
        return False
    if rules.device_type.include and (4 in rules.device_type.include) != person.mobile:
        return False
    if rules.domain.include:
        return call.shape.place in rules.domain.include
    return call.shape.place not in rules.domain.exclude


def generate(
    count: int, requests: int, stream: RequestStream, venues: Sequence[Venue], start_ms: int, seed: int
) -> Catalog:
    """`count` campaigns for a day of `requests` that begins at `start_ms`."""
    rng = random.Random(f"day/{seed}/{count}")
    supply = Supply(stream, requests, seed)
    several = tuple(venue.name for venue in venues if venue.name != SOLO)
    kinds = [kind for kind, share in SHARES for _ in range(max(1, round(share * count)))]
    kinds = (kinds + ["even"] * count)[:count]
    campaigns: list[Campaign] = []
    for number, kind in enumerate(kinds):
        plain = _campaign(rng, kind, number, (SOLO,) if kind == "solo" else several, start_ms)
        campaigns.append(_funded(rng, kind, plain, supply, kinds.count(kind)))
    return Catalog(advertisers=_advertisers(rng, campaigns), campaigns=tuple(campaigns))


def _campaign(rng: random.Random, kind: str, number: int, exchanges: tuple[str, ...], start_ms: int) -> Campaign:
    """Without its budget."""
    bid = {"even": (2.0, 3.2), "scarce": (2.5, 6.0), "greedy": (1.5, 1.95), "solo": (2.0, 3.0)}[kind]
    cpm = round(rng.uniform(*bid), 2)
    start = datetime.fromtimestamp(start_ms / 1000, UTC) - timedelta(days=30)
    judged = kind in ("even", "solo")
    name = f"{kind}-{number:03d}"
    caps = _caps(rng, kind)
    return Campaign(
        id=name,
        advertiser=f"adv-{kind}-{number // 5:02d}",
        name=name,
        flight=Flight(start=start),
        time_zone="UTC" if judged else rng.choice(ZONES),
        goal=Goal(type=GoalType.CPM, bid=round(cpm * 100) * CENT),
        max_bid=round(cpm * 100) * CENT * 2 if kind == "scarce" else round(cpm * 100) * CENT,
        pacing=Pacing.EVEN if judged or (kind == "scarce" and number % 2) else Pacing.ASAP,
        caps=caps,
        cap_without_user=bool(caps) and rng.random() < 0.2,
        cap_confirm="win" if rng.random() < 0.2 else "impression",
        exchanges=exchanges,
        targeting=_targeting(rng, kind, number),
        creatives=_creatives(rng, kind, number),
    )


def _targeting(rng: random.Random, kind: str, number: int) -> Targeting:
    if kind == "scarce":
        wanted = market.SCARCE_SITES[number % len(market.SCARCE_SITES)]
        return Targeting(domain=Match(include=(wanted,)))
    elsewhere = Match(exclude=market.SCARCE_SITES)
    if kind in ("greedy", "solo"):
        return Targeting(domain=elsewhere)
    countries = tuple(sorted({"USA", *rng.sample(sorted(market.COUNTRIES), rng.randint(3, 6))}))
    devices = IntMatch(include=(4, 5)) if rng.random() < 0.15 else IntMatch()
    return Targeting(domain=elsewhere, country=Match(include=countries), device_type=devices)


def _caps(rng: random.Random, kind: str) -> tuple[FrequencyCap, ...]:
    """Every period and window in turn. An evenly paced campaign's are looser: it is to find enough supply."""
    if rng.random() < (0.5 if kind == "even" else 0.25):
        return ()
    low = 3 if kind == "even" else 1
    period = rng.choice(tuple(CapPeriod))
    window = "sliding" if period is CapPeriod.LIFETIME else rng.choice(("sliding", "calendar"))
    more = {CapPeriod.HOUR: 0, CapPeriod.DAY: 1, CapPeriod.WEEK: 2, CapPeriod.LIFETIME: 2}[period]
    caps = [FrequencyCap(limit=rng.randint(low, low + 2) + more, per=period, window=window)]
    if period is not CapPeriod.HOUR and rng.random() < 0.3:
        caps.append(FrequencyCap(limit=low, per=CapPeriod.HOUR, window=rng.choice(("sliding", "calendar"))))
    return tuple(caps)


def _funded(rng: random.Random, kind: str, campaign: Campaign, supply: Supply, of_kind: int) -> Campaign:
    """With a budget that says what its kind promises of the supply."""
    impressions, spend = supply.of(campaign)
    one = max(1.0, spend / max(1.0, impressions))
    least = LEAST_IMPRESSIONS * one
    if kind in ("even", "solo"):
        # All of them together want a quarter of what there is at most, though they overlap.
        daily = max(least, spend * rng.uniform(0.6, 1.0) * 0.25 / of_kind)
        budget = Budget(daily=_round(daily))
    elif kind == "greedy":
        daily = max(least, spend * rng.uniform(0.5, 1.0) * 0.1 / of_kind)
        budget = (
            Budget(daily=_round(daily)),
            Budget(total=_round(daily)),
            Budget(daily=_round(daily), hourly=_round(daily / 6)),
            Budget(total=_round(daily * 1.2), daily=_round(daily), hourly=_round(daily / 4)),
        )[rng.randrange(4)]
    else:
        rivals = max(1, of_kind // len(market.SCARCE_SITES))
        daily = max(least, spend * rng.uniform(1.0, 3.0) * 2 / rivals)
        budget = (
            Budget(daily=_round(daily)),
            Budget(total=_round(daily), daily=_round(daily)),
            Budget(daily=_round(daily), hourly=_round(daily / 12)),
            Budget(total=_round(daily)),
        )[rng.randrange(4)]
    return replace(campaign, budget=budget)


def _round(micros: float) -> int:
    return max(CENT, round(micros / CENT) * CENT)


def _advertisers(rng: random.Random, campaigns: list[Campaign]) -> tuple[Advertiser, ...]:
    """Accounts of greedy and scarce campaigns often have less money than their campaigns together."""
    made = []
    for name in dict.fromkeys(campaign.advertiser for campaign in campaigns):
        own = [campaign for campaign in campaigns if campaign.advertiser == name]
        wanted = sum(campaign.budget.daily or campaign.budget.total or 0 for campaign in own)
        budget = Budget()
        if group_of(own[0].id) in ("greedy", "scarce") and rng.random() < 0.7:
            budget = (
                Budget(daily=_round(wanted * 0.6)),
                Budget(total=_round(wanted * 0.7)),
                Budget(total=_round(wanted), daily=_round(wanted * 0.8), hourly=_round(wanted * 0.8 / 8)),
            )[rng.randrange(3)]
        zone = rng.choice(ZONES) if budget.limited else "UTC"
        made.append(Advertiser(id=name, name=name, domain=f"{name}.example", budget=budget, time_zone=zone))
    return tuple(made)


def _creatives(rng: random.Random, kind: str, number: int) -> tuple[Creative, ...]:
    landing = f"https://www.brand{number}.example/offer?click={{CLICK_ID}}"
    assets = f"https://cdn.brand{number}.example"
    made = []
    sizes = list(dict.fromkeys(market.DESKTOP_SIZES + market.MOBILE_SIZES))
    for w, h in sizes:
        caps: tuple[FrequencyCap, ...] = ()
        if kind in ("scarce", "greedy") and rng.random() < 0.1:
            caps = (
                FrequencyCap(limit=rng.randint(1, 2), per=CapPeriod.DAY, window=rng.choice(("sliding", "calendar"))),
            )
        key = f"{kind}-{number:03d}-{w}x{h}"
        made.append(
            Creative(id=key, media=Media.BANNER, w=w, h=h, image=f"{assets}/{w}x{h}.jpg", landing=landing, caps=caps)
        )
    key = f"{kind}-{number:03d}"
    made.append(
        Creative(
            id=f"{key}-native",
            media=Media.NATIVE,
            landing=landing,
            native=NativeContent(
                title="This week's offer", sponsored=key, image=f"{assets}/main.jpg", image_w=1200, image_h=627
            ),
        )
    )
    if rng.random() < 0.6:
        made.append(
            Creative(
                id=f"{key}-video",
                media=Media.VIDEO,
                w=1280,
                h=720,
                landing=landing,
                asset=f"{assets}/spot.mp4",
                mime="video/mp4",
                duration=15,
            )
        )
    if rng.random() < 0.3:
        made.append(
            Creative(
                id=f"{key}-audio",
                media=Media.AUDIO,
                landing=landing,
                asset=f"{assets}/spot.mp3",
                mime="audio/mpeg",
                duration=30,
            )
        )
    return tuple(made)
