"""`python -m benchmarks.reports`: how long reports take over a day of ten million events in chDB.

The day is made by ClickHouse itself: bids, wins, impressions, clicks. Sums are built as the pipeline does, an hour of
minutes at a time; then each report is asked for several times, parameters in and JSON out, and the median told.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.analytics.reports import DailyBudget, answer
from campaign_express.ports import Warehouse

EVENTS = 10_000_000
BID_SHARE = 0.8  # of all events; the rest are wins, impressions and clicks of them
WON = 8  # one bid in so many
CAMPAIGNS, ADVERTISERS = 1_000, 100
DAY_S, HOUR_S = 86_400, 3600
PIECE = 1_000_000  # bids generated at once

_KEY = "substring(lower(hex(sipHash128(number))), 1, 20)"
_TIME = "fromUnixTimestamp64Milli(toInt64({first:UInt64} + intDiv(number * {step:UInt64}, 1000)), 'UTC')"
_CAMPAIGN = f"cityHash64(number, 1) % {CAMPAIGNS} AS c"
_OWN = f"concat('advertiser-', toString(c % {ADVERTISERS})) AS advertiser, concat('campaign-', toString(c)) AS campaign"
_CREATIVE = "concat('campaign-', toString(c), '-', toString(cityHash64(number, 2) % 3)) AS creative"
_EXCHANGE = "concat('exchange-', toString(cityHash64(number, 3) % 3)) AS exchange"
_PRICE = "500000 + cityHash64(number, 4) % 8000000"
_PERSON = "concat('p', toString(cityHash64(number, 8) % 400000))"
_DECISIONS = f"""
INSERT INTO decisions (time, kind, id, exchange, advertiser, campaign, creative, weight, price_micros, place, country,
    device, user, latency_us)
SELECT {_TIME} AS time, 'bid', {_KEY}, {_EXCHANGE}, {_OWN}, {_CREATIVE}, 1, {_PRICE},
    concat('site-', toString(cityHash64(number, 5) % 500), '.example'),
    ['USA', 'DEU', 'FRA', 'GBR', 'IND'][cityHash64(number, 10) % 5 + 1],
    [2, 4, 5][cityHash64(number, 6) % 3 + 1], {_PERSON}, 300 + cityHash64(number, 7) % 5000
FROM (SELECT number, {_CAMPAIGN} FROM numbers({{from:UInt64}}, {{count:UInt64}}))
"""  # noqa: S608
_NOTICES = f"""
INSERT INTO events (time, advertiser, campaign, creative, exchange, bid_key, kind, auction, imp, bid, authorised_micros,
    lease, clear_micros, sets_price, received, user, seq, rank)
SELECT {_TIME} AS time, {_OWN}, {_CREATIVE}, {_EXCHANGE}, {_KEY}, kind, concat('a', toString(number)), '1',
    concat('a', toString(number), '.0'), intDiv({_PRICE} + 999, 1000) AS most, toUInt32(toUnixTimestamp(time)),
    if(kind = 'win', toInt64(intDiv(most * (50 + cityHash64(number, 9) % 50), 100)), -1), kind = 'win', time,
    if(kind = 'impression', {_PERSON}, ''), number * 4 + n AS seq, 9223372036854775808 - seq
FROM
(
    SELECT number, c, arrayJoin(arrayEnumerate(kinds)) AS n, kinds[n] AS kind
    FROM
    (
        SELECT number, {_CAMPAIGN}, ['win', 'impression', 'click'] AS all_kinds,
            arraySlice(all_kinds, 1, if(number % 33 = 0, 3, 2)) AS kinds
        FROM numbers({{from:UInt64}}, {{count:UInt64}})
        WHERE number % {WON} = 0
    )
)
"""  # noqa: S608

ASKED: dict[str, list[tuple[str, str]]] = {
    "delivery by campaign": [("report", "delivery")],
    "delivery by campaign, a day of New York": [("report", "delivery"), ("timezone", "America/New_York")],
    "delivery by campaign, a day of Kolkata": [("report", "delivery"), ("timezone", "Asia/Kolkata")],
    "delivery by country": [("report", "delivery"), ("group_by", "country")],
    "spend by hour": [("report", "spend"), ("period", "hour")],
    "pacing": [("report", "pacing")],
    "reach by campaign": [("report", "reach")],
    "delivery by exchange and country, of the bids": [("report", "delivery"), ("group_by", "exchange,country")],
    "price landscape": [("report", "landscape")],
    "latency by exchange": [("report", "latency"), ("group_by", "exchange")],
    "no-bid funnel": [("report", "funnel")],
}


class Timed(NamedTuple):
    """One report: median and slowest, seconds, and which tables answered."""

    name: str
    median_s: float
    worst_s: float
    rows: int
    source: str


def fill(warehouse: Warehouse, events: int, midnight_s: int, say: Callable[[str], None]) -> int:
    """A day of `events` events and its sums; returns how many there are."""
    migrate(warehouse)
    bids = int(events * BID_SHARE)
    # An even day: bid number n comes n * step microseconds after midnight.
    bound: dict[str, Any] = {"first": midnight_s * 1000, "step": DAY_S * 1_000_000 // bids}
    began = time.perf_counter()
    for at in range(0, bids, PIECE):
        piece = {**bound, "from": at, "count": min(PIECE, bids - at)}
        warehouse.run(_DECISIONS, piece)
        warehouse.run(_NOTICES, piece)
    count = sum(warehouse.query(f"SELECT count() FROM {table}").rows[0][0] for table in ("decisions", "events"))  # noqa: S608
    say(f"{count:,} events made in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    for hour in range(midnight_s, midnight_s + DAY_S, HOUR_S):
        rollups.build(warehouse, range(hour, hour + HOUR_S, 60), time.time_ns() // 1_000_000, days=False)
    rollups.catch_up(warehouse, everything=True)
    say(f"sums built in {time.perf_counter() - began:.1f} s")
    return int(count)


def ask(warehouse: Warehouse, midnight_s: int, times: int) -> list[Timed]:
    """Every report of ASKED about that day (of a zone: the same date)."""
    found = []
    for name in ASKED:
        taken, body = _asked(warehouse, midnight_s, name, times)
        told = msgspec.json.decode(body)
        found.append(Timed(name, statistics.median(taken), max(taken), len(told["rows"]), told["source"]))
    return found


def times_of(warehouse: Warehouse, midnight_s: int, name: str, times: int) -> list[float]:
    """Seconds of each of several askings for one report of ASKED."""
    return _asked(warehouse, midnight_s, name, times)[0]


def _asked(warehouse: Warehouse, midnight_s: int, name: str, times: int) -> tuple[list[float], bytes]:
    date = time.strftime("%Y-%m-%d", time.gmtime(midnight_s))
    after = time.strftime("%Y-%m-%d", time.gmtime(midnight_s + DAY_S))
    budgets = {
        f"campaign-{number}": DailyBudget(f"advertiser-{number % ADVERTISERS}", 10**9, "UTC")
        for number in range(CAMPAIGNS)
    }
    parameters = ASKED[name]
    range_of = [("from", date)] if parameters[0][1] == "pacing" else [("from", date), ("to", after)]
    taken, body = [], b""
    for _ in range(times):
        began = time.perf_counter()
        _, body = answer(warehouse, [*parameters, *range_of], time.time_ns() // 1_000_000, lambda: budgets)
        taken.append(time.perf_counter() - began)
    return taken, body


def measure(events: int, times: int, say: Callable[[str], None]) -> tuple[int, list[Timed]]:
    """In a store of its own, which is removed."""
    midnight_s = (int(time.time()) // DAY_S - 1) * DAY_S
    with tempfile.TemporaryDirectory(prefix="campaign-express-reports-") as folder:
        warehouse = ChdbWarehouse(Path(folder) / "chdb")
        try:
            count = fill(warehouse, events, midnight_s, say)
            return count, ask(warehouse, midnight_s, times)
        finally:
            warehouse.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--times", type=int, default=7, help="how often each report is asked for")
    given = parser.parse_args()
    count, found = measure(given.events, given.times, print)
    print(f"\n| report over {count:,} events | median, s | slowest, s | rows | from |\n|---|---|---|---|---|")
    for one in found:
        print(f"| {one.name} | {one.median_s:.3f} | {one.worst_s:.3f} | {one.rows:,} | {one.source} |")


if __name__ == "__main__":
    main()
