"""One truth in four places, compared to the micro: the ledger, the event log, the tables, and the sums made of them.

Each place is read into figures by advertiser and campaign by rules of its own: the ledger's are what its scripts have
committed, the log's are made by `bidding.settlement.Tally`, the tables' by the query below, the sums' by `rollups`. The
ledger knows nothing but spending, the sums nothing but what the tables hold.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from campaign_express.analytics import rollups
from campaign_express.analytics.retention import in_force
from campaign_express.bidding.books import Books
from campaign_express.bidding.budget import Accounts
from campaign_express.bidding.settlement import TOTAL, Tally
from campaign_express.events import MoneyEvent
from campaign_express.ports import Warehouse

ATTEMPTS, PAUSE_S = 3, 0.3  # where events come while sums are compared
SPEND = "spend_micros"
OF_EVENTS = ("wins", "losses", "impressions", "clicks", "conversions", SPEND, "value_micros")
OF_DECISIONS = ("bids", "no_bids")
_COUNTED = {
    "win": "wins",
    "loss": "losses",
    "impression": "impressions",
    "click": "clicks",
    "conversion": "conversions",
}

# Advertiser and campaign ("" the account as a whole, or no campaign) -> measure -> figure.
Key = tuple[str, str]
Figures = Mapping[Key, Mapping[str, int]]

# A row a bid that has events. `seq <= last`: what was in the stream by then; 0 is all.
PER_BID = """
    SELECT advertiser, campaign, bid_key, max(kind = 'win') AS won, max(kind = 'loss') AS lost,
        max(kind = 'impression') AS shown, max(kind = 'click') AS clicked,
        countIf(kind = 'conversion') AS converted, sumIf(value_micros, kind = 'conversion') AS worth,
        max(kind IN ('win', 'billing', 'impression')) AS settled, max(toInt64(authorised_micros)) AS authorised,
        max(tells) AS priced,
        argMinIf(if(quarantined = '', clear_micros, toInt64(authorised_micros)), seq, tells) AS said,
        if(settled, if(priced, least(said, authorised), authorised), 0) AS cost,
        any(auction) AS auction, any(imp) AS imp, min(toUnixTimestamp64Milli(time)) AS time_ms
    FROM
    (
        SELECT *, kind IN ('win', 'billing', 'impression') AND sets_price = 1
            AND (clear_micros >= 0 OR quarantined != '') AS tells
        FROM events FINAL
        WHERE time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')} AND test = 0
            AND ({exchange:String} = '' OR exchange = {exchange:String})
    )
    WHERE {last:UInt64} = 0 OR seq <= {last:UInt64}
    GROUP BY advertiser, campaign, bid_key
"""
_EVENTS = f"""
SELECT advertiser, campaign, sum(won) AS wins, sum(lost) AS losses, sum(shown) AS impressions, sum(clicked) AS clicks,
    sum(converted) AS conversions, sum(cost) AS spend_micros, sum(worth) AS value_micros
FROM ({PER_BID})
GROUP BY advertiser, campaign
"""  # noqa: S608  # only names of our own
_DECISIONS = """
SELECT advertiser, campaign, sumIf(weight, kind = 'bid') AS bids, sumIf(weight, kind != 'bid') AS no_bids
FROM decisions FINAL
WHERE time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')} AND test = 0
GROUP BY advertiser, campaign
"""
_SUMS = f"""
SELECT advertiser, campaign, {", ".join(f"sum({name}) AS {name}" for name in (*OF_EVENTS, *OF_DECISIONS))}
FROM rollup_day FINAL
WHERE start >= {{first:DateTime('UTC')}} AND start < {{end:DateTime('UTC')}} AND dimension = ''
GROUP BY advertiser, campaign
"""  # noqa: S608  # only names of our own
_WAITING = f"""
SELECT count()
FROM
(
    SELECT start, maxIf(at, kind = 'dirty') AS dirty, maxIf(at, kind = 'built') AS built
    FROM rollup_marks FINAL GROUP BY start HAVING dirty > built AND {rollups.NOW_MS} > dirty + {{patience:UInt64}}
)
"""  # noqa: S608  # only names of our own
# By day (UTC), of the marks of its minutes and its own: when it last got an event, and whether all of it is summed.
_MARKS = """
SELECT toDate(start) AS day, max(dirty) AS got, max(dirty > built OR hours > whole) AS waits
FROM
(
    SELECT start, maxIf(at, kind = 'dirty') AS dirty, maxIf(at, kind = 'built') AS built,
        maxIf(at, kind = 'day') AS hours, maxIf(at, kind = 'day-built') AS whole
    FROM rollup_marks FINAL GROUP BY start
)
GROUP BY day
"""
_DAYS = "SELECT DISTINCT toDate(time) AS day FROM {table} ORDER BY day"


class Difference(NamedTuple):
    """One figure of which places say different things; those that know nothing of it are left out."""

    advertiser: str
    campaign: str  # "": the whole account
    what: str  # a measure, for the ledger's periods with the period behind it
    said: Mapping[str, int]  # by place

    def __str__(self) -> str:
        name = f"{self.advertiser or '(nobody)'}/{self.campaign or '(account)'}"
        return f"{name} {self.what}: " + ", ".join(f"{place} {figure}" for place, figure in self.said.items())


def midnight(day: date) -> int:
    """Its start, UTC, Unix seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def days_of(warehouse: Warehouse, table: str) -> list[date]:
    """Days (UTC) of which a table has rows."""
    return [day for (day,) in warehouse.query(_DAYS.replace("{table}", table)).rows]


@dataclass
class LogFigures:
    """What the event log says of one advertiser: `add` its events in the order of the stream."""

    accounts: Accounts
    since_ms: int = 0  # bids of before do not count in `figures`
    tally: Tally = field(init=False)
    figures: defaultdict[Key, defaultdict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(self.accounts)
        self.figures = defaultdict(lambda: defaultdict(int))
        self._once: set[tuple[str, str]] = set()  # clicks by their bid, conversions by their order

    def add(self, event: MoneyEvent) -> None:
        if event.test:
            return
        before = self.tally.bids.get(event.bid_key)
        effect = self.tally.add(event)
        if effect is not None:
            if effect.duplicate:
                return
        else:
            known = event.id if event.kind == "conversion" else event.bid_key
            if (event.kind, known) in self._once:
                return
            self._once.add((event.kind, known))
        if event.bid_ms < self.since_ms:
            return
        figures = self.figures[event.advertiser, event.campaign]
        if effect is not None:
            figures[SPEND] += effect.bid.committed - (before.committed if before is not None else 0)
        if event.kind == "conversion":
            figures["value_micros"] += event.value_micros
        if event.kind in _COUNTED:
            figures[_COUNTED[event.kind]] += 1


def from_tables(warehouse: Warehouse, days: Iterable[date], last: int = 0) -> Figures:
    """Figures of events, day by day so that a day's bids fit into memory. `last`: only up to this stream sequence."""
    return _by_day(warehouse, _EVENTS, days, OF_EVENTS, {"last": last, "exchange": ""})


def from_decisions(warehouse: Warehouse, days: Iterable[date]) -> Figures:
    return _by_day(warehouse, _DECISIONS, days, OF_DECISIONS, {})


def from_sums(warehouse: Warehouse, days: Iterable[date]) -> Figures:
    return _by_day(warehouse, _SUMS, days, (*OF_EVENTS, *OF_DECISIONS), {})


def _by_day(
    warehouse: Warehouse, sql: str, days: Iterable[date], measures: Sequence[str], more: Mapping[str, int | str]
) -> Figures:
    found: defaultdict[Key, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for day in days:
        span = {"first": midnight(day), "end": midnight(day + timedelta(days=1))}
        for advertiser, campaign, *values in warehouse.query(sql, {**span, **more}).rows:
            figures = found[advertiser, campaign]
            for name, value in zip(measures, values, strict=True):
                figures[name] += int(value)
    return found


def differences(places: Mapping[str, Figures], measures: Sequence[str]) -> Iterator[Difference]:
    """Figures on which two of `places` do not agree."""
    for key in sorted({key for figures in places.values() for key in figures}):
        for measure in measures:
            said = {place: figures.get(key, {}).get(measure, 0) for place, figures in places.items()}
            if len(set(said.values())) > 1:
                yield Difference(*key, measure, said)


def ledger_differences(
    books: Books, log: LogFigures, advertiser: str, tables: Figures | None, whole: bool, since: str = ""
) -> Iterator[Difference]:
    """Where the ledger, the log and, of what was ever spent, the tables disagree.

    `tables`: None where they do not hold all that was ever spent. `whole`: whether the log does; where it does not,
    only days (`d20261125`) behind `since` are compared.
    """
    periods = (TOTAL, *sorted(books.periods)) if whole else _behind(books.periods, since)
    for period in periods:
        known = books.total if period == TOTAL else books.periods[period]
        ours = {name[2:]: value for name, value in known.items() if name.startswith("c:")}
        ours[""] = books.committed("", period)
        theirs = log.tally.committed.get(period, {})
        of_tables = _spent(tables, advertiser) if tables is not None and period == TOTAL else None
        for campaign in sorted(ours.keys() | theirs.keys() | (of_tables or {}).keys()):
            said = {"ledger": ours.get(campaign, 0), "log": theirs.get(campaign, 0)}
            if of_tables is not None:
                said["tables"] = of_tables.get(campaign, 0)
            if len(set(said.values())) > 1:
                yield Difference(advertiser, campaign, f"{SPEND} {period or 'ever'}", said)


def _behind(periods: Iterable[str], since: str) -> list[str]:
    return sorted(period for period in periods if period[0] == "d" and period > since)


def _spent(tables: Figures, advertiser: str) -> dict[str, int]:
    spent = {campaign: figures.get(SPEND, 0) for (who, campaign), figures in tables.items() if who == advertiser}
    spent[""] = sum(spent.values())
    return spent


def sums_differences(warehouse: Warehouse, days: Sequence[date], now_s: int) -> Iterator[Difference]:
    """Where sums by day are not what the tables hold. Bids only of days that are still summed by their decisions."""
    tables = from_tables(warehouse, days)
    sums = from_sums(warehouse, days)
    yield from differences({"tables": tables, "sums": sums}, OF_EVENTS)
    recent = [day for day in days if midnight(day) >= now_s - in_force(warehouse).detailed_s]
    decisions = from_decisions(warehouse, recent)
    yield from differences({"tables": decisions, "sums": from_sums(warehouse, recent)}, OF_DECISIONS)


def settled_sums_differences(
    warehouse: Warehouse, days: Sequence[date], now_s: int
) -> tuple[list[Difference], list[date]]:
    """Likewise beside a pipeline that sums; and the days that are not compared, since they are being summed."""
    found: list[Difference] = []
    moving: set[date] = set()
    for _ in range(ATTEMPTS):
        moving = {day for day, (_, waits) in marks(warehouse).items() if waits}
        found = list(sums_differences(warehouse, [day for day in days if day not in moving], now_s))
        if not found:
            break
        time.sleep(PAUSE_S)  # rows are marked after they are inserted
        if moving >= {day for day, (_, waits) in marks(warehouse).items() if waits}:
            break
    return found, sorted(moving.intersection(days))


def marks(warehouse: Warehouse) -> dict[date, tuple[int, bool]]:
    """By day: when it last got an event, in milliseconds of the store's clock, and whether it waits to be summed."""
    return {day: (int(got), bool(waits)) for day, got, waits in warehouse.query(_MARKS).rows}


def wait_to_be_summed(warehouse: Warehouse) -> int:
    """Minutes that have got events and were not summed for much longer than that should take."""
    return int(warehouse.query(_WAITING, {"patience": 4 * rollups.OLDEST_MS}).rows[0][0])
