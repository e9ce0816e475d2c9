"""A small world of bids and what became of them, whose truth is written down while it is made.

Two days, two advertisers, every way in which a bid can end. The truth is what each way is meant to cost and to count,
not what any code of ours makes of the events. Everything is published to a real JetStream; `fill` loads tables from
there as the pipeline does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.nats import StreamTerms, connect, ensure_stream
from campaign_express.adapters.stream_log import StreamLog
from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.bidding.budget import Accounts, LeaseClock
from campaign_express.bidding.catalog import load_catalog
from campaign_express.events import (
    CHANGE_SUBJECTS,
    CHANGES,
    DECISION_SUBJECTS,
    DECISIONS,
    STREAM,
    SUBJECTS,
    ChangeEvent,
    Chosen,
    DecisionEvent,
    DecisionFrame,
    MoneyEvent,
    RequestEvent,
    bid_key,
    change_subject,
    encode_change,
    encode_event,
    encode_frame,
    event_id,
    request_key,
    subject,
)
from campaign_express.pipeline.loader import LOADERS, mark_dirty
from tests.support.stored import notice, stray

CATALOG = """
advertisers:
  - {id: acme, name: Acme, domain: acme.example, budget: {total: 1000}}
  - {id: o.ther, name: Other, domain: other.example}
campaigns:
  - id: spring
    advertiser: acme
    flight: {start: 2026-01-01}
    goal: {type: cpm, bid: 2}
    max_bid: 4
    budget: {daily: 50}
    creatives:
      - {id: k, media: banner, w: 300, h: 250, image: "https://acme.example/1.png", landing: "https://acme.example/"}
  - id: autumn
    advertiser: o.ther
    flight: {start: 2026-01-01}
    goal: {type: cpm, bid: 2}
    max_bid: 4
    creatives:
      - {id: m, media: banner, w: 300, h: 250, image: "https://other.example/1.png", landing: "https://other.example/"}
"""
AUTHORISED = 2_000
OF = {"spring": ("acme", "k"), "autumn": ("o.ther", "m")}
STREAMS = ((STREAM, SUBJECTS), (DECISIONS, DECISION_SUBJECTS), (CHANGES, CHANGE_SUBJECTS))

Truth = dict[tuple[str, str], dict[str, int]]


class World:
    """`truth` by advertiser and campaign, `day_truth` by day as well; `money` in the order of the stream."""

    def __init__(self, bids: int = 400, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self.today = datetime.now(UTC).date()
        self.days = (self.today - timedelta(days=1), self.today)
        self.truth: Truth = defaultdict(lambda: defaultdict(int))
        self.day_truth: dict[tuple[date, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.money: list[MoneyEvent] = []
        self.decisions: list[DecisionEvent] = []
        self.requests: list[RequestEvent] = []
        self.changes: list[ChangeEvent] = []
        self.users: dict[str, list[MoneyEvent]] = defaultdict(list)
        clicks: list[MoneyEvent] = []
        for number in range(bids):
            clicks += self._bid(number)
        self._conversions(clicks)
        repeated = self._rng.sample(self.money, len(self.money) // 10)
        self.money += repeated  # a notice that came twice
        for number, day in enumerate(self.days):
            at = self._moment(day)
            self.changes.append(ChangeEvent(id=f"ch{number}", kind="budget", time_ms=at, actor="op", before="1"))

    def _moment(self, day: date) -> int:
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
        end = min(start + 86_400_000, int(datetime.now(UTC).timestamp() * 1000) - 1000)
        return self._rng.randrange(start, max(end, start + 1)) // 21_600_000 * 21_600_000 + self._rng.randrange(60_000)

    def _bid(self, number: int) -> list[MoneyEvent]:
        rng = self._rng
        day = self.days[number % 2]
        at = min(self._moment(day), int(datetime.now(UTC).timestamp() * 1000) - 500)
        campaign = rng.choice(("spring", "autumn"))
        advertiser, creative = OF[campaign]
        auction = f"a{number}"
        key = bid_key("x", auction, "1", f"{auction}.0")
        user = f"person-{number % 20:012d}"
        test = number % 50 == 49
        self.decisions.append(
            DecisionEvent(
                *("bid", key, at, "x", advertiser, campaign, creative, "", 1, 2_000_000, 0, 100, 0, "", "banner"),
                *("300x250", "site", f"p{number % 3}.example", "USA", "CA", 4, "ios", user, False, 1, "m", 500, test),
            )
        )
        self.requests.append(
            RequestEvent(
                *(request_key("x", auction), at, "x", b'{"id":"%d"}' % number, ("s1",)),
                *((Chosen("1", campaign, creative, 2_000_000),), "", user, 1, "m", 1),
            )
        )

        def event(kind: str, **more: Any) -> MoneyEvent:
            made = notice(
                *(kind, "x", auction),
                advertiser=advertiser,
                campaign=campaign,
                creative=creative,
                authorised_micros=AUTHORISED,
                lease=LeaseClock(60).lease_at(at),
                user=user if kind == "impression" else "",
                bid_ms=at,
                received_ms=at + 300,
                test=test,
                **more,
            )
            if user and kind == "impression":
                self.users[user].append(made)
            return made

        price = rng.randrange(1, AUTHORISED)
        way = rng.choice(("lost", "priced", "shown", "over", "unbelieved", "price last", "silent"))
        told, cost = {
            "lost": ([event("loss")], 0),
            "priced": ([event("win", clear_micros=price, sets_price=True), event("impression")], price),
            "shown": ([event("impression")], AUTHORISED),
            "over": ([event("win", clear_micros=AUTHORISED + 5, sets_price=True)], AUTHORISED),
            "unbelieved": ([event("win", clear_micros=7, sets_price=True, quarantined="forged")], AUTHORISED),
            "price last": ([event("impression"), event("billing", clear_micros=price, sets_price=True)], price),
            "silent": ([], 0),
        }[way]
        clicks = []
        if any(one.kind == "impression" for one in told) and rng.random() < 0.4:
            clicks = [event("click")]
        self.money += [*told, *clicks]
        if test:
            return []
        self._count(day, advertiser, campaign, bids=1, spend_micros=cost)
        for one in (*told, *clicks):
            plural = {"win": "wins", "loss": "losses", "impression": "impressions", "click": "clicks"}.get(one.kind)
            if plural:
                self._count(day, advertiser, campaign, **{plural: 1})
        return clicks

    def _conversions(self, clicks: list[MoneyEvent]) -> None:
        """Of every third click, one order twice (the second due to another click), and two that are due to nobody."""
        chosen = clicks[::3]
        for click in chosen:
            day = datetime.fromtimestamp(click.bid_ms / 1000, UTC).date()
            self.money.append(_conversion(click, f"order-{click.auction}", 5_000_000))
            self._count(day, click.advertiser, click.campaign, conversions=1, value_micros=5_000_000)
        first = chosen[0]
        # On the other day: whoever builds that day alone must know of the first one.
        again = next(
            one
            for one in clicks
            if one.advertiser == first.advertiser and one.bid_ms // 86_400_000 != first.bid_ms // 86_400_000
        )
        self.money.append(_conversion(again, f"order-{first.auction}", 9_000_000))
        at = self._moment(self.days[0])
        for advertiser in ("acme", "o.ther"):
            self.money.append(stray(advertiser, "stray", at, 3))
            self._count(self.days[0], advertiser, "", conversions=1, value_micros=3)

    def _count(self, day: date, advertiser: str, campaign: str, **more: int) -> None:
        for name, amount in more.items():
            self.truth[advertiser, campaign][name] += amount
            self.day_truth[day, advertiser, campaign][name] += amount

    def publish(self, url: str) -> None:
        async def send() -> None:
            client = await connect(url, "test")
            for name, subjects in STREAMS:
                await ensure_stream(client, StreamTerms(duplicate_window_s=60), name, subjects)
            context = client.jetstream()
            for event in self.money:
                await context.publish(subject(event), encode_event(event))
            for at in range(0, len(self.decisions), 64):
                frame = DecisionFrame(1, f"f{at}", self.decisions[at : at + 64], self.requests[at : at + 64])
                await context.publish("decisions.0", encode_frame(frame))
            for change in self.changes:
                await context.publish(change_subject(change), encode_change(change))
            await client.close()

        asyncio.run(send())

    def settle(self, url: str, directory: Path) -> None:
        """Have the ledger in Redis apply all events."""
        accounts = Accounts(load_catalog(catalog_file(directory)))
        ledger = Ledger(url, accounts, settle_s=4200)
        for name, fence in ledger.fences(list(accounts.of_advertiser)).items():
            assert ledger.set_fence(name, fence.run_id)
        ledger.apply(self.money)
        ledger.close()


def _conversion(click: MoneyEvent, order: str, value_micros: int) -> MoneyEvent:
    return msgspec.structs.replace(
        click,
        id=event_id("conversion", click.advertiser, order),
        kind="conversion",
        received_ms=click.bid_ms + 9_000,
        value_micros=value_micros,
        macros={"order_id": order},
    )


def catalog_file(directory: Path) -> Path:
    path = directory / "catalog.yaml"
    path.write_text(CATALOG)
    return path


def tables(directory: Path) -> ChdbWarehouse:
    warehouse = ChdbWarehouse(directory / "chdb")
    migrate(warehouse)
    return warehouse


def fill(warehouse: Any, url: str) -> None:
    """What the pipeline does, in batches that are not those of a replay."""
    minutes: set[int] = set()
    for name, subjects in STREAMS:
        for number, messages in enumerate(StreamLog(url, name, subjects).read()):
            loaded = LOADERS[name].load(warehouse, messages, f"{name}-{number}")
            assert not loaded.unreadable
            mark_dirty(warehouse, loaded.minutes)
            minutes |= loaded.minutes
    seconds = [minute * 60 for minute in sorted(minutes)]
    for at in range(0, len(seconds), 60):
        rollups.build(warehouse, seconds[at : at + 60], int(time.time() * 1000))
    # As it is some time later: nothing has come since it was summed.
    warehouse.run("INSERT INTO rollup_marks SELECT start, 'built', at + 1 FROM rollup_marks FINAL WHERE kind = 'dirty'")


def totals(warehouse: Any) -> dict[str, list[Any]]:
    """Everything that a report could say: rows of all tables, and sums of all three lengths."""
    found: dict[str, list[Any]] = {}
    for table in ("events", "decisions", "requests", "changes"):
        found[table] = warehouse.query(f"SELECT * FROM {table} FINAL ORDER BY ALL").rows
    for table in ("rollup_minute", "rollup_hour", "rollup_day"):
        measures = ", ".join(rollups.MEASURES)
        rows = warehouse.query(
            f"SELECT toUnixTimestamp(start) AS at, advertiser, campaign, dimension, value, part, {measures}, "
            f"finalizeAggregation(users) FROM {table} FINAL ORDER BY ALL"
        ).rows
        found[table] = [(datetime.fromtimestamp(at, UTC), *others) for at, *others in rows]
    return found
