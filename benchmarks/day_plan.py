"""What a simulated day is made of: its size, its clock, its catalogue, and the settings of the bidder for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import day_catalog
from benchmarks.day_servers import Servers
from campaign_express.adapters.catalog_store import CatalogStore
from campaign_express.adapters.pacing_store import PacingStore
from campaign_express.bidding.pacing import Course
from campaign_express.bidding.supply import learned
from campaign_express.clock import parse_clock
from campaign_express.exchange import shapes, venues
from campaign_express.exchange.consent import VENDOR
from campaign_express.exchange.faults import Faults
from campaign_express.exchange.people import People
from campaign_express.exchange.plan import Plan
from campaign_express.exchange.shapes import Shapes
from campaign_express.exchange.stream import RequestStream
from campaign_express.exchange.traffic import DIURNAL, Spike, Traffic
from campaign_express.openrtb.notices import parse_keys
from campaign_express.openrtb.postbacks import make_token
from campaign_express.treasury.pacing import Record, Remembered

DATE_MS = 1_795_564_800_000  # 2026-11-25T00:00Z, a Wednesday
NOTICE_KEYS = "day:" + "5a" * 32  # of a simulation on loopback, so no secret
SPIKE = Spike(DATE_MS + 15 * 3_600_000, 30 * 60_000, 1.8)  # half an hour of nearly twice the traffic, in the afternoon
LATENESS_S = 1800
EXP_S = 900
EVIDENCE_IMPRESSIONS = 15  # from which pacing knows a campaign
LEASE_S = 900  # six seconds of real time, where the day passes in ten minutes


@dataclass(frozen=True, slots=True)
class Size:
    """How large a day is, and in how many real minutes it passes. `hours`: less than 24 is only the day's beginning."""

    requests: int = 500_000
    campaigns: int = 200
    minutes: float = 11.0
    hours: int = 24
    seed: int = 2026
    cells: int = 2
    agents: int = 2  # of each cell
    lead_s: float = 90.0  # real time before midnight, in which the bidder starts


@dataclass(frozen=True, slots=True)
class Day:
    plan: Plan
    shapes: Shapes
    clock: str  # the setting `simulated_clock`
    settings: dict[str, Any]
    full_spend: dict[str, float]  # by campaign: micros that it could spend if it bid on everything


def prepare(size: Size, directory: Path, servers: Servers, http_port: int, more: dict[str, Any]) -> Day:
    """The day, its exchanges file in `directory`, and settings for the bidder. Midnight comes `lead_s` from now."""
    known = venues.venues(exp_s=EXP_S)
    sold = shapes.generate(size.seed)
    people = max(10, size.requests // 6)
    stream = RequestStream(size.seed, People(people, size.seed), sold, known)
    catalog = day_catalog.generate(size.campaigns, size.requests, stream, known, DATE_MS, size.seed)
    exchanges = directory / "exchanges.yaml"
    venues.write_exchanges(exchanges, known)
    length_ms = size.hours * 3_600_000
    clock = f"{time.time_ns() // 1_000_000 + int(size.lead_s * 1000)}:{DATE_MS}:{length_ms / 60_000 / size.minutes:g}"
    keys = parse_keys(NOTICE_KEYS)
    plan = Plan(
        seed=size.seed,
        host="127.0.0.1",
        port=http_port,
        requests=size.requests,
        start_ms=DATE_MS,
        end_ms=DATE_MS + length_ms,
        clock=parse_clock(clock),
        traffic=Traffic(DIURNAL, (SPIKE,)),
        venues=known,
        catalog=catalog,
        faults=Faults(lost=0.02, late=0.02, duplicated=0.02, reordered=0.01, lateness_ms=LATENESS_S * 1000),
        people=people,
        tokens=lambda advertiser: make_token(keys, advertiser),
    )
    settings = {
        "http_port": http_port,
        "agents_per_cell": size.agents,
        "redis_url": servers.redis_url,
        "nats_url": servers.nats_url,
        "data_dir": str(directory),
        "exchanges_file": str(exchanges),
        "notice_keys": NOTICE_KEYS,
        "price_keys": venues.price_keys(known),
        "notice_base_url": f"http://127.0.0.1:{http_port}",
        "notice_lateness_s": LATENESS_S,
        "lease_s": LEASE_S,
        "audit_period_s": 300,
        "ledger_replicas": 1 if servers.nodes else 0,
        "tcf_vendor_id": VENDOR,
        "simulated_clock": clock,
        **more,
    }
    supply = day_catalog.Supply(stream, size.requests, size.seed)
    return Day(plan, sold, clock, settings, {campaign.id: supply.of(campaign)[1] for campaign in catalog.campaigns})


def remembered(day: Day) -> Remembered:
    """What pacing would remember of the days before: the usual hours, and what a request is worth to each campaign."""
    hours = usual_hours(day.plan)
    shares = {venue.name: venue.share for venue in day.plan.venues}
    records = {}
    for campaign in day.plan.catalog.campaigns if day.plan.catalog is not None else ():
        daily, full = campaign.budget.daily, day.full_spend[campaign.id]
        if daily is not None and full > 0:
            asked = sum(hours) * sum(shares[name] for name in campaign.exchanges) / sum(shares.values())
            evidence = EVIDENCE_IMPRESSIONS * campaign.max_bid / 1000
            course = Course(spent=evidence, taken=evidence * asked / full, participation=min(1.0, daily / full))
            records[campaign.id] = Record(course=course)
    return Remembered(history=learned(hours), records=records)


def usual_hours(plan: Plan) -> list[float]:
    """Requests that are usual in each hour of a day (UTC)."""
    hour_ms = 3_600_000
    day_ms = plan.start_ms // (24 * hour_ms) * 24 * hour_ms
    of_run = plan.traffic.usual(plan.start_ms, plan.end_ms)
    return [
        plan.requests * plan.traffic.usual(day_ms + hour * hour_ms, day_ms + (hour + 1) * hour_ms) / of_run
        for hour in range(24)
    ]


def publish(day: Day, redis_url: str) -> None:
    """Make the day's catalogue the one that agents find when they start, and give pacing the memory of the days before.

    A bidder that has run for some days knows what supply is usual and what it is worth to each campaign.
    """
    if day.plan.catalog is None:
        raise ValueError("a day has a catalogue")
    store = CatalogStore(redis_url)
    try:
        store.publish(day.plan.catalog)
    finally:
        store.close()
    memory = PacingStore(redis_url)
    memory.save(msgspec.msgpack.encode(remembered(day)))
    memory.close()
