"""Reports: parameters in, figures out. docs/reports.md tells what each says, and which tables it is made of.

`answer` is all that a server needs; `parse` and `run` are its halves. Blocking: it waits for the store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from campaign_express.analytics import report_sql
from campaign_express.analytics.report_formats import MEDIA_TYPES, Cell, Head, Report, encode
from campaign_express.analytics.report_kinds import PRICES, Column
from campaign_express.analytics.report_query import ReportQuery, parse
from campaign_express.analytics.report_range import read_day
from campaign_express.analytics.retention import in_force
from campaign_express.bidding.model import Catalog
from campaign_express.ports import Warehouse

__all__ = ["DailyBudget", "Report", "ReportQuery", "answer", "budgets_of", "parse", "run"]


class DailyBudget(NamedTuple):
    """Of one campaign, by the catalogue."""

    advertiser: str
    micros: int
    zone: str  # whose days the budget is for


def budgets_of(catalog: Catalog) -> dict[str, DailyBudget]:
    """Of the campaigns that have a daily one."""
    return {
        campaign.id: DailyBudget(campaign.advertiser, campaign.budget.daily, campaign.time_zone)
        for campaign in catalog.campaigns
        if campaign.budget.daily is not None
    }


Budgets = Callable[[], Mapping[str, DailyBudget]]  # by campaign; asked for only where a report wants them


def answer(
    warehouse: Warehouse, parameters: Iterable[tuple[str, str]], now_ms: int, budgets: Budgets
) -> tuple[str, bytes]:
    """(media type, body). Raises InvalidRequest, Unavailable, WarehouseError."""
    query = parse(parameters, now_ms)
    return MEDIA_TYPES[query.format], encode(run(warehouse, query, budgets), query.format)


def run(warehouse: Warehouse, query: ReportQuery, budgets: Budgets) -> Report:
    """Raises InvalidRequest where what is asked for is not kept so long, Unavailable, WarehouseError."""
    query = replace(query, kept=in_force(warehouse))
    if query.report == "pacing":
        return _pacing(warehouse, query, budgets())
    if query.report == "changes":
        made = report_sql.changes(query)
        found = warehouse.query(made.sql, made.parameters).rows
        rows: list[tuple[Cell, ...]] = [(query.range.shown(int(row[0])), *row[1:]) for row in found]
        return _report(query, rows, None, made.source)
    made = report_sql.plan(query, query.keys, query.limit + 1)
    counted = [dict(zip(made.names, row, strict=True)) for row in warehouse.query(made.sql, made.parameters).rows]
    rows = [_row(query, measures) for measures in counted]
    totals = None
    if query.kind.totals and query.keys:
        if query.kind.adds and len(rows) <= query.limit:
            whole = _sum(counted, made.names[len(query.keys) :])
        else:
            total = report_sql.totals(query)
            [row] = warehouse.query(total.sql, total.parameters).rows
            whole = dict(zip(total.names, row, strict=True))
        if query.keys != ("reason",):
            whole[report_sql.ALL] = 0  # shares are of each group
        totals = (*(None for _ in query.keys), *_figures(query.kind.columns, {**whole, "price_from": None}))
    return _report(query, rows, totals, made.source)


def _sum(rows: list[dict[str, Any]], measures: tuple[str, ...]) -> dict[str, Any]:
    whole: dict[str, Any] = {name: sum(row[name] for row in rows) for name in measures}
    if report_sql.ALL in whole:
        whole[report_sql.ALL] = max((row[report_sql.ALL] for row in rows), default=0)
    return whole


def _row(query: ReportQuery, measures: Mapping[str, Any]) -> tuple[Cell, ...]:
    keys = (query.range.shown(int(measures[key])) if key == "period" else measures[key] for key in query.keys)
    return (*keys, *_figures(query.kind.columns, measures))


def _figures(columns: Iterable[Column], measures: Mapping[str, Any]) -> tuple[Cell, ...]:
    return tuple(_figure(column, measures) for column in columns)


def _figure(column: Column, measures: Mapping[str, Any]) -> Cell:
    if column.name == "price_to":
        start = measures.get("price_from")
        later = [price for price in PRICES if start is not None and price > start]
        return later[0] if later else None
    value = measures[column.measure]
    if value is None or (column.over and not measures[column.over]):
        return None
    if column.kind == "ms":
        return int(value) / 1000
    if not column.over:
        return int(value)
    over = int(measures[column.over])
    if column.kind == "usd":
        return (2 * int(value) * column.scale + over) // (2 * over)  # half a micro is rounded up
    return int(value) * column.scale / over


def _pacing(warehouse: Warehouse, query: ReportQuery, budgets: Mapping[str, DailyBudget]) -> Report:
    """Each campaign's day is that of its budget's time zone, unless a zone is asked for."""
    wanted = {name: set(values) for name, values in query.filters}
    by_zone: dict[str, dict[str, DailyBudget]] = defaultdict(dict)
    for campaign, budget in budgets.items():
        if campaign in wanted.get("campaign", {campaign}) and budget.advertiser in wanted.get(
            "advertiser", {budget.advertiser}
        ):
            by_zone[query.range.zone if query.zone_given else budget.zone][campaign] = budget
    counted: list[dict[str, Any]] = []
    source = ""
    for zone, group in sorted(by_zone.items()):
        days = read_day(query.since, zone, query.now_s)
        start, end = days.first, days.end
        passed, whole = min(max(query.now_s - start, 0), end - start), end - start
        day = replace(
            query,
            report="spend",
            range=days._replace(period="total"),
            group_by=("campaign",),
            filters=(),
            order=(("campaign", False),),
        )
        made = report_sql.plan(day, ("campaign",), report_sql.MOST)
        at = made.names.index("spend_micros")
        spent = {row[0]: int(row[at]) for row in warehouse.query(made.sql, made.parameters).rows}
        source = made.source
        for campaign, budget in group.items():
            even, spend = budget.micros * passed // whole, spent.get(campaign, 0)
            counted.append(
                {
                    "advertiser": budget.advertiser,
                    "campaign": campaign,
                    "day": days.shown(start),
                    "spend_micros": spend,
                    "budget_micros": budget.micros,
                    "even_micros": even,
                    "ahead_micros": spend - even,
                    "forecast_micros": (2 * spend * whole + passed) // (2 * passed) if passed else None,
                }
            )
    rows = [_row(query, measures) for measures in counted]
    places = {name: place for place, name in enumerate((*query.keys, *(column.name for column in query.kind.columns)))}
    for name, falling in reversed(query.order):
        there = [row for row in rows if row[places[name]] is not None]
        there.sort(key=lambda row: row[places[name]], reverse=falling)  # type: ignore[return-value,arg-type]
        rows = there + [row for row in rows if row[places[name]] is None]
    return _report(query, rows[: query.limit + 1], None, source)


def _report(query: ReportQuery, rows: list[tuple[Cell, ...]], totals: tuple[Cell, ...] | None, source: str) -> Report:
    kinds = {"period": "time", "time": "time", "day": "time", "price_from": "usd"}
    keys = tuple(Head(key, kinds.get(key, "text")) for key in query.keys)
    return Report(
        query.kind.title,
        _told(query),
        (*keys, *(Head(column.name, column.kind) for column in query.kind.columns)),
        rows[: query.limit],
        totals,
        len(rows) > query.limit,
        source,
    )


def _told(query: ReportQuery) -> dict[str, Any]:
    """What was asked for, with every default."""
    span = query.range._replace(period="minute")
    told: dict[str, Any] = {"report": query.report}
    if query.kind.whole_day:
        told |= {"from": query.since, "timezone": query.range.zone if query.zone_given else "each budget's"}
    else:
        told |= {"from": span.shown(span.first), "to": span.shown(span.end), "timezone": span.zone}
    if query.kind.period:
        told["period"] = query.range.period
    return {
        **told,
        "group_by": list(query.group_by),
        "filters": {name: list(values) for name, values in query.filters},
        "order": ["-" * falling + name for name, falling in query.order],
        "limit": query.limit,
    }
