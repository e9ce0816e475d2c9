"""Reports of a made world, compared with what is known of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.analytics.reports import DailyBudget, Report, parse, run
from tests.support import report_world as world

TABLES = ("events", "decisions", "requests", "changes", "rollup_minute", "rollup_hour", "rollup_day", "rollup_marks")


ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Pacific/Auckland")


MADE = world.make(3_000, 7)


FACTS = world.facts_of(MADE)


BUDGETS = {
    "sun-a": DailyBudget("sun", 40_000_000, "UTC"),
    "sun-b": DailyBudget("sun", 1_000_000, "America/New_York"),
    "never": DailyBudget("moon", 9, "Asia/Kolkata"),
}


def report(store: ChdbWarehouse, kind: str, **parameters: Any) -> Report:
    pairs = [("report", kind)]
    for name, value in parameters.items():
        if name == "filters":
            pairs += [(f"filter.{key}", one) for key, values in value.items() for one in values]
        else:
            pairs.append(({"since": "from", "until": "to"}.get(name, name), str(value)))
    return run(store, parse(pairs, world.NOW_MS), lambda: BUDGETS)


def rows_of(made: Report, keys: int) -> dict[tuple[Any, ...], dict[str, Any]]:
    names = [column.name for column in made.columns]
    return {row[:keys]: dict(zip(names[keys:], row[keys:], strict=True)) for row in made.rows}


def moment(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


def compare(store: ChdbWarehouse, zone: str, since: str, until: str, period: str, group_by: str, **filters: Any) -> str:
    """Delivery, spend and win rate against the count; returns the tables that answered."""
    groups = tuple(name for name in group_by.split(",") if name)
    picked = world.chosen(FACTS, moment(since, zone), moment(until, zone), filters)
    counted = {
        key: sums
        for key, facts in world.grouped(picked, zone, period, groups).items()
        if any((sums := world.sums(facts)).values())
    }
    said = {"since": since, "until": until, "timezone": zone, "period": period, "group_by": group_by, "limit": 50_000}
    made = report(store, "delivery", **said, filters=filters)
    rows = rows_of(made, len(groups) + (period != "total"))
    if not groups and period == "total":
        counted = {(): world.sums(picked)}
    assert rows.keys() == counted.keys()
    for key, sums in counted.items():
        row = rows[key]
        for name in ("bids", "wins", "impressions", "clicks", "conversions"):
            assert row[name] == sums[name], (key, name)
        assert (row["spend"], row["value"]) == (sums["spend_micros"], sums["value_micros"]), key
        assert row["ctr"] == (sums["clicks"] / sums["impressions"] if sums["impressions"] else None)
        assert row["win_rate"] == (sums["wins"] / sums["bids"] if sums["bids"] else None)
        cpm = sums["spend_micros"] * 1000 / sums["impressions"] if sums["impressions"] else None
        assert row["cpm"] == (pytest.approx(cpm, abs=0.51) if cpm is not None else None)
    whole = world.sums(picked)
    if made.totals is not None:
        totals = dict(zip((column.name for column in made.columns), made.totals, strict=True))
        assert (totals["bids"], totals["spend"]) == (whole["bids"], whole["spend_micros"])
    rates = rows_of(report(store, "win-rate", **said, filters=filters), len(groups) + (period != "total"))
    for key, row in rates.items():
        assert row["losses"] == counted[key]["losses"]
        bids = counted[key]["bids"]
        assert row["bid_cpm"] == (pytest.approx(counted[key]["price_micros"] / bids, abs=0.51) if bids else None)
    spent = rows_of(report(store, "spend", **said, filters=filters), len(groups) + (period != "total"))
    assert sum(row["spend"] for row in spent.values()) == whole["spend_micros"]
    return made.source
