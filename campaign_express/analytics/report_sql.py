"""A report's query: SQL of our own pieces, every value bound. Which tables answer is decided here, by what is asked.

- Sums (`rollup_*`): at most one of creative, exchange, place, country, device and reason beside advertiser and
  campaign, of the longest of day, hour and minute that the range and its periods are made of.
- Decisions and events themselves: everything else. Both count the same bids (`bids.py`), so the figures are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from campaign_express.analytics.bids import COST, bids_of
from campaign_express.analytics.report_kinds import APART, OF_DECISIONS, OF_EVENTS, PRICES, TIMES
from campaign_express.analytics.report_query import ReportQuery
from campaign_express.analytics.report_range import DAY_S, HOUR_S, MINUTE_S, refused
from campaign_express.analytics.retention import FOR_EVER_S

TABLES = {MINUTE_S: "rollup_minute", HOUR_S: "rollup_hour", DAY_S: "rollup_day"}
RAW = "decisions and events"
# Duplicates are in one partition, since partitions are made of sorting keys.
SETTINGS = "SETTINGS do_not_merge_across_partitions_select_final = 1"

ALL = "all_decisions"  # of the funnel
MOST = 2**40  # no limit

_RANGE = "time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')} AND test = 0"
_PERIOD = "roundDown(toUnixTimestamp({}), {{starts:Array(UInt32)}}) AS period"
_MEASURES = {
    "bids": "toUInt64(0)",
    "price_micros": "toUInt64(0)",
    "wins": "won",
    "losses": "lost",
    "impressions": "shown",
    "clicks": "clicked",
    "conversions": "converted",
    "spend_micros": COST,
    "value_micros": "worth",
}
_OF_DECISIONS = {"bids": "toUInt64(weight)", "price_micros": "decisions.price_micros * weight"}
_SIGNED = ("spend_micros", "value_micros")


class Plan(NamedTuple):
    """What to ask the store. `names` are the columns that come back: keys, then measures."""

    sql: str
    parameters: dict[str, Any]
    names: tuple[str, ...]
    source: str


class Inner(NamedTuple):
    """A relation with the keys of a report, and what to make of its rows: measure -> expression."""

    sql: str
    measures: dict[str, str]
    source: str


def plan(query: ReportQuery, keys: tuple[str, ...], limit: int) -> Plan:
    """For `keys`, which are those of the query or none (the total). Raises InvalidRequest where nothing is kept."""
    bound: dict[str, Any] = {"first": query.range.first, "end": query.range.end}
    if "period" in keys:
        bound["starts"] = list(query.range.starts)
    for index, (_, values) in enumerate(query.filters):
        bound[f"filter{index}"] = list(values)
    inner = _INNER[query.report](query, keys)
    if query.report == "landscape":
        bound["prices"] = list(PRICES)
    columns = ", ".join((*keys, *(f"{made} AS {name}" for name, made in inner.measures.items())))
    grouped = f"SELECT {columns} FROM ({inner.sql})"  # noqa: S608
    names = (*keys, *inner.measures)
    if not keys:
        return Plan(f"{grouped} {SETTINGS}", bound, names, inner.source)
    grouped += f" GROUP BY {', '.join(keys)}"
    if query.report == "funnel":
        grouped, names = _shares(query, keys, grouped), (*names, ALL)
    any_of = " OR ".join(f"{name} != 0" for name in inner.measures)
    chosen = f"SELECT {', '.join(names)} FROM ({grouped}) WHERE {any_of}"  # noqa: S608
    bound["limit"] = limit
    return Plan(f"{chosen} ORDER BY {_order(query)} LIMIT {{limit:UInt64}} {SETTINGS}", bound, names, inner.source)


def totals(query: ReportQuery) -> Plan:
    """The whole, as one row without keys."""
    rows = plan(query, query.keys, MOST)
    if not query.kind.adds or not query.keys:
        return plan(query, (), 1)
    measures = rows.names[len(query.keys) :]
    summed = ", ".join(f"{'max' if name == ALL else 'sum'}({name}) AS total_{name}" for name in measures)
    sql = f"SELECT {summed} FROM ({rows.sql.removesuffix(SETTINGS)}) {SETTINGS}"  # noqa: S608
    return Plan(sql, rows.parameters, measures, rows.source)


def changes(query: ReportQuery) -> Plan:
    """Of operators: rows as they are."""
    columns = ", ".join(column.name for column in query.kind.columns)
    where = "time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')}"
    sql = (
        f"SELECT toUnixTimestamp(time) AS second, {columns} FROM changes FINAL "  # noqa: S608
        f"WHERE {where}{_where(query, query.kind.dimensions)} "
        f"ORDER BY {_order(query)}, id LIMIT {{limit:UInt64}} {SETTINGS}"
    )
    bound: dict[str, Any] = {"first": query.range.first, "end": query.range.end, "limit": query.limit + 1}
    for index, (_, values) in enumerate(query.filters):
        bound[f"filter{index}"] = list(values)
    return Plan(sql, bound, ("time", *(column.name for column in query.kind.columns)), "changes")


def _sums(query: ReportQuery, keys: tuple[str, ...]) -> Inner:
    """Delivery, spend, win rate: of a rollup, or of the bids themselves."""
    wanted = tuple(
        dict.fromkeys(
            name for column in query.kind.columns for name in (column.measure, column.over) if name in _MEASURES
        )
    )
    measures = {name: f"sum({name})" for name in wanted}
    source = _source(query)
    if source != RAW:
        return Inner(_rollup(query, keys, source, wanted), measures, source)
    dimensions = tuple(key for key in keys if key != "period")
    events = ", ".join(f"{_MEASURES[name]} AS {name}" for name in wanted)
    sql = (
        f"SELECT {_keys(keys, 'start')}{events} FROM ({_bids(query, dimensions)}) "  # noqa: S608
        f"WHERE 1{_where(query, OF_DECISIONS)}"
    )
    if _decided(query):
        decided = ", ".join(
            f"{_OF_DECISIONS.get(name, 'toInt64(0)' if name in _SIGNED else 'toUInt64(0)')} AS {name}"
            for name in wanted
        )
        sql += (
            f" UNION ALL SELECT {_keys(keys, 'time', raw=True)}{decided} FROM decisions FINAL "  # noqa: S608
            f"WHERE {_RANGE} AND kind = 'bid'{_where(query, query.kind.dimensions, raw=True)}"
        )
    return Inner(sql, measures, RAW)


def _rollup(query: ReportQuery, keys: tuple[str, ...], table: str, wanted: tuple[str, ...]) -> str:
    apart = _apart(query)
    dimension = next(iter(apart), "")
    where = "start >= {first:DateTime('UTC')} AND start < {end:DateTime('UTC')}"
    shown = [_PERIOD.format("start") if key == "period" else "value AS " + key if key in apart else key for key in keys]
    return (
        f"SELECT {', '.join((*shown, *wanted))} FROM {table} FINAL "  # noqa: S608
        f"WHERE {where} AND dimension = '{dimension}'{_where(query, query.kind.dimensions, value=dimension)}"
    )


def _reach(query: ReportQuery, keys: tuple[str, ...]) -> Inner:
    """Impressions and persons of the sums; how often each person was shown something, of the events themselves."""
    source = _source(query)
    dimensions = tuple(key for key in keys if key != "period")
    counted = ("identified", "people", *(name for name, _, _ in TIMES))
    zeros = ", ".join(f"toUInt64(0) AS {name}" for name in counted)
    comma = ", " if keys else ""
    group = f"GROUP BY {', '.join(keys)}" if keys else ""
    if source == RAW:
        known = (
            f"SELECT {_keys(keys, 'start')}shown AS impressions, person FROM ({_bids(query, dimensions)}) "  # noqa: S608
            f"WHERE shown = 1{_where(query, OF_DECISIONS)}"
        )
        reach = "uniqCombinedIf(14)(person, person != '')"
    else:
        known = _rollup(query, keys, source, ("impressions", "users"))
        reach = "uniqCombinedMerge(14)(users)"
    first = (
        f"SELECT {', '.join(keys)}{comma}sum(impressions) AS impressions, {reach} AS reach, {zeros} "  # noqa: S608
        f"FROM ({known}) {group}"
    )
    if _of_decisions(query):
        shown = (
            f"SELECT {_keys(keys, 'start')}person FROM ({_bids(query, dimensions)}) "  # noqa: S608
            f"WHERE shown = 1 AND person != ''{_where(query, OF_DECISIONS)}"
        )
    else:
        _kept(query, "events")
        shown = (
            f"SELECT {_keys(keys, 'time')}user AS person FROM events FINAL "  # noqa: S608
            f"WHERE {_RANGE} AND kind = 'impression' AND user != ''{_where(query, query.kind.dimensions)}"
        )
    by_person = ", ".join((*keys, "person"))
    persons = f"SELECT {by_person}, count() AS times FROM ({shown}) GROUP BY {by_person}"  # noqa: S608
    often = ", ".join(f"countIf(times BETWEEN {least} AND {most}) AS {name}" for name, least, most in TIMES)
    second = (
        f"SELECT {', '.join(keys)}{comma}toUInt64(0) AS impressions, toUInt64(0) AS reach, "  # noqa: S608
        f"sum(times) AS identified, count() AS people, {often} FROM ({persons}) {group}"
    )
    measures = {name: f"sum({name})" for name in ("impressions", "reach", *counted)}
    told = RAW if source == RAW else f"{source} and events"
    return Inner(f"{first} UNION ALL {second}", measures, told)


def _landscape(query: ReportQuery, keys: tuple[str, ...]) -> Inner:
    """Bids by price, each decision with what became of it."""
    _kept(query, "decisions")
    chosen = _RANGE + _where(query, OF_EVENTS)
    shown = [
        _PERIOD.format("start")
        if key == "period"
        else "roundDown(price_micros, {prices:Array(UInt64)}) AS price_from"
        if key == "price_from"
        else key
        for key in keys
    ]
    sql = (
        f"SELECT {', '.join(shown)}{', ' if keys else ''}toUInt64(weight) AS bids, won * weight AS wins, "  # noqa: S608
        f"if(won = 1, ({COST}) * weight, 0) AS spend_micros "
        f"FROM ({bids_of(chosen, 'known = 1')}) WHERE 1{_where(query, OF_DECISIONS)}"
    )
    return Inner(sql, {name: f"sum({name})" for name in ("bids", "wins", "spend_micros")}, RAW)


def _latency(query: ReportQuery, keys: tuple[str, ...]) -> Inner:
    _kept(query, "decisions")
    sql = (
        f"SELECT {_keys(keys, 'time', raw=True)}latency_us, weight FROM decisions FINAL "  # noqa: S608
        f"WHERE {_RANGE}{_where(query, query.kind.dimensions, raw=True)}"
    )
    measures = {"decisions": "sum(weight)"}
    for name, level in (("p50_us", 0.5), ("p95_us", 0.95), ("p99_us", 0.99)):
        measures[name] = f"quantileExactWeighted({level})(latency_us, weight)"
    return Inner(sql, {**measures, "max_us": "max(latency_us)"}, "decisions")


def _funnel(query: ReportQuery, keys: tuple[str, ...]) -> Inner:
    """What became of requests: "bid", or why not. The filter by reason comes after the shares."""
    measures = {"decisions": "sum(decisions)"}
    source = _source(query)
    if source == RAW or _apart(query) - {"reason"}:
        _kept(query, "decisions")
        others = tuple(name for name in query.kind.dimensions if name != "reason")
        reason = "if(kind = 'bid', 'bid', toString(decisions.reason)) AS "
        shown = _keys(keys, "time", raw=True, made={"reason": reason + "reason"})
        sql = (
            f"SELECT {shown}toUInt64(weight) AS decisions FROM decisions FINAL "  # noqa: S608
            f"WHERE {_RANGE}{_where(query, others, raw=True)}"
        )
        return Inner(sql, measures, "decisions")
    parts = []
    for dimension, reason, measure in (("reason", "toString(value)", "no_bids"), ("", "'bid'", "bids")):
        shown = _keys(keys, "start", made={"reason": f"{reason} AS reason"})
        parts.append(
            f"SELECT {shown}{measure} AS decisions FROM {source} FINAL WHERE "  # noqa: S608
            "start >= {first:DateTime('UTC')} AND start < {end:DateTime('UTC')} "
            f"AND dimension = '{dimension}' AND part = 'decisions'"
        )
    return Inner(" UNION ALL ".join(parts), measures, source)


def _shares(query: ReportQuery, keys: tuple[str, ...], sql: str) -> str:
    """With what all reasons of the same period and group come to; then only the reasons that are asked for."""
    others = ", ".join(key for key in keys if key != "reason")
    over = f"sum(decisions) OVER ({f'PARTITION BY {others}' if others else ''}) AS {ALL}"
    return f"SELECT * FROM (SELECT *, {over} FROM ({sql})) WHERE 1{_where(query, ('reason',))}"  # noqa: S608


_INNER: dict[str, Callable[[ReportQuery, tuple[str, ...]], Inner]] = {
    "delivery": _sums,
    "spend": _sums,
    "win-rate": _sums,
    "reach": _reach,
    "landscape": _landscape,
    "latency": _latency,
    "funnel": _funnel,
}


def _source(query: ReportQuery) -> str:
    """The table of sums that has what is asked for, else RAW."""
    span = query.range
    if len(_apart(query)) <= 1:
        old = query.now_s - span.first
        if span.grain == DAY_S or (span.grain == HOUR_S and old <= query.kept.seconds("hours")):
            return TABLES[span.grain]
        if old <= query.kept.summed_s:
            return TABLES[span.grain]
    _kept(query, "decisions" if _decided(query) else "events")
    return RAW


def _kept(query: ReportQuery, what: str) -> None:
    """`what`: decisions or events."""
    seconds = query.kept.seconds(what)
    if query.now_s - query.range.first > seconds:
        raise refused(
            "from",
            f"is more than {seconds // DAY_S} days ago, for which {what} are kept, and what is asked for is not in "
            f"the sums (those are of whole days UTC for ever, of whole hours {_days(query.kept.seconds('hours'))}, of "
            f"minutes {_days(query.kept.summed_s)}; of one of creative, exchange, place, country and device)",
        )


def _days(seconds: int) -> str:
    return "for ever" if seconds > FOR_EVER_S // 2 else f"for {seconds // DAY_S} days"


def _apart(query: ReportQuery) -> frozenset[str]:
    return APART.intersection((*query.group_by, *(name for name, _ in query.filters)))


def _of_decisions(query: ReportQuery) -> bool:
    return not _apart(query).isdisjoint(OF_DECISIONS)


def _decided(query: ReportQuery) -> bool:
    """Whether decisions are wanted: for what only they know, or to be counted."""
    counted = {column.measure for column in query.kind.columns} & {"bids", "price_micros", "decisions"}
    return bool(counted) or _of_decisions(query)


def _bids(query: ReportQuery, dimensions: tuple[str, ...]) -> str:
    """Bids with events. Decisions are looked up for these alone, where anything of them is wanted."""
    chosen = _RANGE + _where(query, OF_EVENTS)
    wanted = _of_decisions(query) or not set(dimensions).isdisjoint(OF_DECISIONS)
    known = f"id IN (SELECT bid_key FROM events WHERE {chosen})"  # noqa: S608
    return bids_of(chosen, "told = 1", known if wanted else "0")


def _keys(keys: tuple[str, ...], time: str, raw: bool = False, made: dict[str, str] | None = None) -> str:
    """Keys as the beginning of a SELECT list; `raw`: of `decisions`, where devices are numbers."""
    shown = []
    for key in keys:
        if made and key in made:
            shown.append(made[key])
        elif key == "period":
            shown.append(_PERIOD.format(time))
        else:
            shown.append("toString(device) AS device" if raw and key == "device" else key)
    return "".join(f"{one}, " for one in shown)


def _where(query: ReportQuery, names: tuple[str, ...], raw: bool = False, value: str = "") -> str:
    """Conditions for those filters of the query that are among `names`; `value` is the one that a rollup sums by."""
    text = ""
    for index, (name, _) in enumerate(query.filters):
        if name in names:
            column = "value" if name == value else "toString(device)" if raw and name == "device" else name
            text += f" AND {column} IN {{filter{index}:Array(String)}}"
    return text


def _order(query: ReportQuery) -> str:
    columns = {column.name: column for column in query.kind.columns}
    parts = []
    for name, falling in query.order:
        made = name
        if column := columns.get(name):
            made = column.measure
            if column.over:
                made = f"if({column.over} = 0, NULL, {made} * {column.scale} / {column.over})"
            elif name == "price_to":
                made = "price_from"
        parts.append(f"{made} {'DESC' if falling else 'ASC'} NULLS LAST")
    return ", ".join(parts)
