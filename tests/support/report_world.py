"""A small world of bids and what became of them, and its figures counted by hand: what reports are compared with.

Spending is reckoned by the ledger's own rules (`settlement.settle`), groups by dictionaries, periods by zones' clocks.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.analytics.report_kinds import PRICES, TIMES
from campaign_express.bidding.settlement import KINDS, Bid, settle
from campaign_express.events import (
    CHANGES,
    DECISIONS,
    STREAM,
    ChangeEvent,
    DecisionEvent,
    DecisionFrame,
    MoneyEvent,
    bid_key,
    encode_change,
    encode_event,
    encode_frame,
    impression_cost,
)
from campaign_express.pipeline.loader import LOADERS, Message
from campaign_express.ports import Warehouse
from tests.support.stored import notice, stray

START = int(datetime(2026, 10, 31, tzinfo=UTC).timestamp())
DAYS = 3  # of which in the second the clocks of North America are put back
NOW_MS = (START + 60 * 3600) * 1000
DIMENSIONS = ("advertiser", "campaign", "creative", "exchange", "place", "country", "device")
CAMPAIGNS = {"sun-a": "sun", "sun-b": "sun", "moon-a": "moon", "o'brien\\": "moon"}
PLACES = ("news.example", "'; DROP TABLE events; --", "=1+1", "")
REASONS = ("no-candidate", "floor", "no-budget")


@dataclass
class World:
    """What was sent: events with their sequence, decisions, changes."""

    money: list[tuple[int, MoneyEvent]] = field(default_factory=list)
    decisions: list[DecisionEvent] = field(default_factory=list)
    changes: list[ChangeEvent] = field(default_factory=list)


@dataclass(frozen=True)
class Fact:
    """One bid, unattributed conversion or no-bid, as a row of figures."""

    minute: int
    dims: Mapping[str, str]
    figures: Mapping[str, int]
    person: str = ""
    weight: int = 0  # of its decision, 0: it has none
    price: int = 0
    latency: int = 0
    won: bool = False
    reason: str = ""  # no-bid


def make(bids: int, seed: int) -> World:
    rng = random.Random(seed)
    world = World()
    sequence = 0

    def tell(event: MoneyEvent) -> None:
        nonlocal sequence
        sequence += 1
        world.money.append((sequence, event))
        if rng.random() < 0.1:  # the same once more
            sequence += 1
            world.money.append((sequence, event))

    for number in range(bids):
        campaign = rng.choice(tuple(CAMPAIGNS))
        exchange, auction = rng.choice(("north", "south")), f"a{number}"
        key = bid_key(exchange, auction, "1", f"{auction}.0")
        time_ms = START * 1000 + rng.randrange(DAYS * 86_400_000)
        if rng.random() < 0.1:  # at the edges of hours
            time_ms = time_ms // 3_600_000 * 3_600_000 + rng.choice((0, -1, 59_999, 1_800_000, 1_799_999))
        time_ms = min(max(time_ms, START * 1000), (START + DAYS * 86_400) * 1000 - 1)
        price, test = rng.choice((90_000, 250_000, 1_999_999, 2_000_000, 123_456_789)), rng.random() < 0.05
        creative, user = f"{campaign}-{rng.randrange(2)}", rng.choice(("", *(f"u{n}" for n in range(40))))
        if rng.random() < 0.97:  # else its frame was lost
            decision = DecisionEvent(
                *("bid", key, time_ms, exchange, CAMPAIGNS[campaign], campaign, creative, "", rng.choice((1, 1, 4))),
                *(price, 0, 100, 0, "", "banner", "300x250", "site", rng.choice(PLACES), rng.choice(("USA", "DEU"))),
                *("CA", rng.choice((2, 4)), "ios", user, False, 1, "m", rng.randrange(100, 90_000), test),
            )
            world.decisions += [decision] * rng.choice((1, 1, 2))
        if rng.random() < 0.3:
            continue

        def event(kind: str, clear: int = -1, sets: bool = False, **more: Any) -> MoneyEvent:
            return notice(
                *(kind, exchange, auction, more.pop("detail", "")),  # noqa: B023  # used at once
                advertiser=CAMPAIGNS[campaign],  # noqa: B023
                campaign=campaign,  # noqa: B023
                creative=creative,  # noqa: B023
                authorised_micros=impression_cost(price),  # noqa: B023
                lease=1,
                clear_micros=clear,
                sets_price=sets,
                user=user if kind == "impression" else "",  # noqa: B023
                bid_ms=time_ms,  # noqa: B023
                received_ms=time_ms + 100,  # noqa: B023
                test=test,  # noqa: B023
                **more,
            )

        if rng.random() < 0.2:
            tell(event("loss"))
            if rng.random() < 0.9:
                continue
        happens = ["win", "billing", "impression"][: rng.randrange(1, 4)]
        rng.shuffle(happens)
        speaks = rng.choice(happens)
        for kind in happens:
            clear = rng.randrange(0, impression_cost(price) * 11 // 10 + 1)
            doubt = "does not decrypt" if kind == speaks and rng.random() < 0.1 else ""
            tell(event(kind, rng.choice((clear, clear, -1)), kind == speaks, quarantined=doubt))
        if rng.random() < 0.1:  # another price notice of the same kind, too late
            tell(event(speaks, 1, True))
        if rng.random() < 0.3:
            tell(event("click"))
            for order in range(rng.choice((0, 0, 1, 2))):
                worth = rng.choice((0, 5_000_000, -1_000_000))
                tell(event("conversion", value_micros=worth, detail=f"{number}/{order}"))
    for number in range(bids // 50):  # due to nobody, two advertisers in one minute among them
        time_ms = (START + 3600 * (number // 2 * 5 % (24 * DAYS))) * 1000 + number
        tell(stray(("sun", "moon")[number % 2], f"n{number}", time_ms, 7))
    for number in range(bids // 4):
        time_ms = START * 1000 + rng.randrange(DAYS * 86_400_000)
        no_bid = DecisionEvent(
            *("no-bid", f"n{number}", time_ms, rng.choice(("north", "south")), "", "", "", rng.choice(REASONS), 100),
            *(0, 0, 0, 0, "", "", "", "site", rng.choice(PLACES), rng.choice(("USA", "DEU")), "", 4, "", "", False),
            *(1, "m", rng.randrange(50, 5000), rng.random() < 0.05),
        )
        world.decisions.append(no_bid)
    for number in range(5):
        world.changes.append(
            ChangeEvent(
                id=f"c{number}",
                kind=("budget", "switch")[number % 2],
                time_ms=(START + 3600 * number) * 1000,
                actor="ann",
                campaign="sun-a",
                before="1",
                after='{"b":2}',
            )
        )
    return world


def fill(warehouse: Warehouse, world: World) -> None:
    """As the pipeline does, every batch twice under another token, without anything that forgets what is old."""
    migrate(warehouse)
    for table in ("events", "decisions", "rollup_minute", "rollup_hour"):
        warehouse.run(f"ALTER TABLE {table} REMOVE TTL")
    frames = [world.decisions[at : at + 500] for at in range(0, len(world.decisions), 500)]
    batches = {
        STREAM: [Message(seq, "m", encode_event(event)) for seq, event in world.money],
        DECISIONS: [Message(i, "d", encode_frame(DecisionFrame(1, f"f{i}", frame))) for i, frame in enumerate(frames)],
        CHANGES: [Message(i, "c", encode_change(change)) for i, change in enumerate(world.changes)],
    }
    minutes: set[int] = set()
    for turn in range(2):
        for stream, messages in batches.items():
            loaded = LOADERS[stream].load(warehouse, messages, f"{stream}-{turn}")
            assert not loaded.unreadable
            minutes |= loaded.minutes
    starts = sorted(minute * 60 for minute in minutes)
    for at in range(0, len(starts), 2000):
        rollups.build(warehouse, starts[at : at + 2000], NOW_MS)


def facts_of(world: World) -> list[Fact]:
    decided = {one.id: one for one in world.decisions if one.kind == "bid" and not one.test}
    of_bid: dict[str, list[MoneyEvent]] = defaultdict(list)
    facts: list[Fact] = []
    seen: set[str] = set()
    for _, event in sorted(world.money, key=lambda one: one[0]):
        if event.id in seen:
            continue
        seen.add(event.id)
        if event.test:
            continue
        if event.bid_key:
            of_bid[event.bid_key].append(event)
        else:
            dims = {**dict.fromkeys(DIMENSIONS, ""), "advertiser": event.advertiser}
            figures = {"conversions": 1, "value_micros": event.value_micros}
            facts.append(Fact(event.bid_ms // 60_000 * 60, dims, figures))
    facts += [_bid_fact(decided.get(key), of_bid.get(key, [])) for key in decided.keys() | of_bid.keys()]
    for no_bid in {one.id: one for one in world.decisions if one.kind == "no-bid" and not one.test}.values():
        dims = {name: str(getattr(no_bid, name)) for name in DIMENSIONS}
        minute = no_bid.time_ms // 60_000 * 60
        facts.append(Fact(minute, dims, {}, weight=no_bid.weight, latency=no_bid.latency_us, reason=no_bid.reason))
    return facts


def _bid_fact(decision: DecisionEvent | None, events: list[MoneyEvent]) -> Fact:
    bid = Bid()
    figures: Counter[str] = Counter()
    person = ""
    for event in events:
        if event.kind in KINDS:
            bid = settle(bid, event).bid
        name = {"win": "wins", "loss": "losses", "billing": ""}.get(event.kind, f"{event.kind}s")
        if name:
            figures[name] += 1
        if event.kind == "conversion":
            figures["value_micros"] += event.value_micros
        if event.kind == "impression":
            person = event.user
    figures["spend_micros"] = bid.committed
    source: Any = decision or events[0]
    dims = {name: str(getattr(source, name)) for name in DIMENSIONS[:4]}
    for name in DIMENSIONS[4:]:
        dims[name] = str(getattr(decision, name)) if decision else ""
    minute = (decision.time_ms if decision else events[0].bid_ms) // 60_000 * 60
    weight, price, latency = (decision.weight, decision.price_micros, decision.latency_us) if decision else (0, 0, 0)
    figures["bids"], figures["price_micros"] = weight, price * weight
    return Fact(minute, dims, figures, person, weight, price, latency, bool(figures["wins"]))


def chosen(facts: Iterable[Fact], first: int, end: int, filters: Mapping[str, Iterable[str]]) -> list[Fact]:
    return [
        fact
        for fact in facts
        if first <= fact.minute < end and all(fact.dims[name] in set(values) for name, values in filters.items())
    ]


def label(fact: Fact, zone: str, period: str) -> str:
    local = datetime.fromtimestamp(fact.minute, ZoneInfo(zone))
    if period == "day":
        return f"{local:%Y-%m-%d}"
    return (local.replace(minute=0) if period == "hour" else local).isoformat(timespec="minutes")


def grouped(
    facts: Iterable[Fact], zone: str, period: str, group_by: Iterable[str]
) -> dict[tuple[str, ...], list[Fact]]:
    groups: dict[tuple[str, ...], list[Fact]] = defaultdict(list)
    names = tuple(group_by)
    for fact in facts:
        when = () if period == "total" else (label(fact, zone, period),)
        groups[(*when, *(fact.dims[name] for name in names))].append(fact)
    return groups


def sums(facts: Iterable[Fact]) -> Counter[str]:
    total: Counter[str] = Counter()
    for fact in facts:
        if not fact.reason:
            total.update(fact.figures)
    return total


def frequency(facts: Iterable[Fact]) -> dict[str, int]:
    shown = [fact for fact in facts if fact.figures.get("impressions")]
    times = Counter(fact.person for fact in shown if fact.person)
    counted = {name: sum(least <= n <= most for n in times.values()) for name, least, most in TIMES}
    return {"impressions": len(shown), "reach": len(times), "identified": sum(times.values()), **counted}


def price_bucket(fact: Fact) -> int:
    return max(price for price in PRICES if price <= fact.price)


def quantile(facts: Iterable[Fact], level: float) -> int:
    """The least value that at least `level` of the weight does not exceed."""
    pairs = sorted((fact.latency, fact.weight) for fact in facts if fact.weight)
    wanted, so_far = level * sum(weight for _, weight in pairs), 0
    for value, weight in pairs:
        so_far += weight
        if so_far >= wanted:
            return value
    raise ValueError("nothing")
