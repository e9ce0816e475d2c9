"""Reports of a small world in chDB, every figure against one that is counted in Python."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.analytics.migrate import migrate
from campaign_express.analytics.report_kinds import KINDS
from campaign_express.analytics.report_query import NAMES
from campaign_express.analytics.report_sql import RAW
from campaign_express.analytics.reports import Report, answer, parse, run
from campaign_express.analytics.retention import DEFAULTS
from campaign_express.errors import InvalidRequest
from tests.support import report_world as world
from tests.support.report_checks import BUDGETS, FACTS, MADE, TABLES, ZONES, compare, moment, report, rows_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbWarehouse]:
    warehouse = ChdbWarehouse(tmp_path_factory.mktemp("store") / "chdb")
    world.fill(warehouse, MADE)
    yield warehouse
    warehouse.close()


def test_stores_one_after_the_other(tmp_path: Path) -> None:
    """Kept first: chDB has one store a process at a time. Also a store without anything answers."""
    for name in "abc":
        warehouse = ChdbWarehouse(tmp_path / name)
        migrate(warehouse)
        for kind in KINDS:
            made = report(warehouse, kind)
            assert [row for row in made.rows if any(row)] == ([] if kind != "pacing" else made.rows)
        warehouse.run("INSERT INTO rollup_marks SELECT now(), 'dirty', 1")
        assert warehouse.query("SELECT count() FROM rollup_marks").rows == [(1,)]
        warehouse.close()


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("period", ["hour", "day", "total"])
def test_periods_are_those_of_the_zone(store: ChdbWarehouse, zone: str, period: str) -> None:
    source = compare(store, zone, "2026-10-31", "2026-11-02", period, "campaign")
    half = zone in ("Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns")
    whole = "rollup_day" if zone == "UTC" and period != "hour" else "rollup_hour"
    assert source == ("rollup_minute" if half else whole)


@pytest.mark.parametrize(
    ("since", "until", "source"),
    [
        ("2026-10-31", "2026-11-01", "rollup_day"),
        ("2026-10-31T13:00", "2026-11-01", "rollup_hour"),
        ("2026-10-31T13:01", "2026-11-01T05:59", "rollup_minute"),
        ("2026-10-31T13:01", "2026-10-31T13:02", "rollup_minute"),
    ],
)
@pytest.mark.parametrize("period", ["total", "hour"])
def test_edges(store: ChdbWarehouse, since: str, until: str, source: str, period: str) -> None:
    used = compare(store, "UTC", since, until, period, "advertiser")
    assert used == (source if period == "total" or source != "rollup_day" else "rollup_hour")


@pytest.mark.parametrize("dimension", world.DIMENSIONS)
def test_one_dimension_from_sums_and_from_bids(store: ChdbWarehouse, dimension: str) -> None:
    values = sorted({fact.dims[dimension] for fact in FACTS})
    assert compare(store, "UTC", "2026-10-31", "2026-11-02", "total", dimension) == "rollup_day"
    some = {dimension: values[:2]}
    assert compare(store, "UTC", "2026-10-31", "2026-11-02", "day", "campaign", **some) == "rollup_day"
    # The same once more, of the bids themselves: filters that let everything through ask for two dimensions.
    all_of = {name: sorted({fact.dims[name] for fact in FACTS}) for name in ("country", "creative")}
    assert compare(store, "UTC", "2026-10-31", "2026-11-02", "day", dimension, **all_of) == RAW


@pytest.mark.parametrize(
    ("group_by", "filters"),
    [
        ("exchange,country", {}),
        ("creative,place,device", {}),
        ("exchange", {"place": ["news.example", ""], "campaign": ["o'brien\\", "sun-a"]}),
        ("", {"country": ["DEU"], "device": ["4"]}),
        ("place", {"exchange": ["south"], "advertiser": ["moon"]}),
    ],
)
def test_several_dimensions_from_bids(store: ChdbWarehouse, group_by: str, filters: dict[str, list[str]]) -> None:
    for zone in ("UTC", "America/St_Johns"):
        assert compare(store, zone, "2026-10-31T02:30", "2026-11-02T01:07", "day", group_by, **filters) == RAW


def test_spend_of_events_needs_no_decisions(store: ChdbWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-hour zones a quarter later: minutes are forgotten, notices are not."""
    monkeypatch.setattr("campaign_express.analytics.reports.in_force", lambda _: DEFAULTS)  # this store forgets nothing
    pairs = [("report", "spend"), ("from", "2026-10-31"), ("to", "2026-11-02"), ("timezone", "Asia/Kolkata")]
    late = world.NOW_MS + 90 * 86_400_000
    made = run(store, parse(pairs, late), dict)
    assert made.source == RAW
    assert made.rows == run(store, parse(pairs, world.NOW_MS), dict).rows
    with pytest.raises(InvalidRequest, match="more than 30 days ago") as refused:
        run(store, parse([*pairs, ("group_by", "country")], late), dict)
    assert refused.value.path == "from"


@pytest.mark.parametrize("group_by", ["", "campaign", "exchange", "country", "creative,exchange", "campaign,country"])
def test_reach(store: ChdbWarehouse, group_by: str) -> None:
    groups = tuple(name for name in group_by.split(",") if name)
    zone = "America/New_York"
    picked = world.chosen(FACTS, moment("2026-10-31", zone), moment("2026-11-02", zone), {})
    for period in ("total", "day"):
        made = report(
            *(store, "reach"), since="2026-10-31", until="2026-11-02", timezone=zone, period=period, group_by=group_by
        )
        rows = rows_of(made, len(groups) + (period != "total"))
        counted = {
            key: people
            for key, facts in world.grouped(picked, zone, period, groups).items()
            if (people := world.frequency(facts))["impressions"]
        }
        assert rows.keys() == counted.keys()
        for key, people in counted.items():
            assert {name: rows[key][name] for name in people} == people
            assert rows[key]["frequency"] == (people["identified"] / people["reach"] if people["reach"] else None)
        if made.totals:
            totals = dict(zip((column.name for column in made.columns), made.totals, strict=True))
            whole = world.frequency(picked)
            assert {name: totals[name] for name in whole} == whole


def test_landscape(store: ChdbWarehouse) -> None:
    filters = {"country": ["DEU"], "campaign": ["sun-a", "moon-a"]}
    said = {"since": "2026-10-31", "until": "2026-11-02", "filters": filters}
    rows = rows_of(report(store, "landscape", **said), 1)
    picked = world.chosen(FACTS, moment("2026-10-31", "UTC"), moment("2026-11-02", "UTC"), filters)
    bids = [fact for fact in picked if fact.weight and not fact.reason]
    assert rows.keys() == {(world.price_bucket(fact),) for fact in bids}
    for (price,), row in rows.items():
        here = [fact for fact in bids if world.price_bucket(fact) == price]
        won = [fact for fact in here if fact.won]
        wins, cost = (sum(fact.weight for fact in won), sum(fact.weight * fact.figures["spend_micros"] for fact in won))
        assert (row["bids"], row["wins"]) == (sum(fact.weight for fact in here), wins)
        assert row["clear_cpm"] == (pytest.approx(cost * 1000 / wins, abs=0.51) if wins else None)
        assert row["price_to"] is None or row["price_to"] > price
    by_exchange = rows_of(report(store, "landscape", **said, group_by="exchange", period="day"), 3)
    assert sum(row["bids"] for row in by_exchange.values()) == sum(fact.weight for fact in bids)


def test_latency(store: ChdbWarehouse) -> None:
    made = report(store, "latency", since="2026-10-31", until="2026-11-02", group_by="exchange", period="day")
    picked = world.chosen(FACTS, moment("2026-10-31", "UTC"), moment("2026-11-02", "UTC"), {})
    for (day, exchange), row in rows_of(made, 2).items():
        here = [
            f for f in picked if f.weight and f.dims["exchange"] == exchange and world.label(f, "UTC", "day") == day
        ]
        assert row["decisions"] == sum(fact.weight for fact in here)
        assert row["max"] == max(fact.latency for fact in here) / 1000
        for name, level in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert row[name] == world.quantile(here, level) / 1000, name
    assert made.totals is not None
    assert made.totals[3] == world.quantile([fact for fact in picked if fact.weight], 0.5) / 1000


@pytest.mark.parametrize("filters", [{}, {"exchange": ["north"]}, {"reason": ["floor", "bid"]}, {"country": ["USA"]}])
@pytest.mark.parametrize("group_by", ["reason", "exchange"])
def test_funnel(store: ChdbWarehouse, filters: dict[str, list[str]], group_by: str) -> None:
    made = report(store, "funnel", since="2026-10-31", until="2026-11-02", filters=filters, group_by=group_by)
    others = {name: values for name, values in filters.items() if name != "reason"}
    picked = world.chosen(FACTS, moment("2026-10-31", "UTC"), moment("2026-11-02", "UTC"), others)
    keys = ("reason",) if group_by == "reason" else ("reason", "exchange")
    counted: dict[tuple[str, ...], int] = {}
    whole: dict[tuple[str, ...], int] = {}
    for fact in picked:
        if fact.weight:
            key = (fact.reason or "bid", *(fact.dims[name] for name in keys[1:]))
            counted[key] = counted.get(key, 0) + fact.weight
            whole[key[1:]] = whole.get(key[1:], 0) + fact.weight
    wanted = {key: n for key, n in counted.items() if key[0] in filters.get("reason", [key[0]])}
    rows = rows_of(made, len(keys))
    assert {key: row["decisions"] for key, row in rows.items()} == wanted
    for key, row in rows.items():
        assert row["share"] == pytest.approx(counted[key] / whole[key[1:]])
    assert made.source == ("decisions" if others or len(keys) > 1 else "rollup_day")
    assert made.totals is not None
    assert made.totals[len(keys)] == sum(wanted.values())


def test_a_total_of_all_where_rows_are_cut(store: ChdbWarehouse) -> None:
    for kind in ("delivery", "reach", "funnel", "win-rate", "latency", "landscape"):
        said = {"since": "2026-10-31", "until": "2026-11-02", "period": "hour"}
        whole, cut = report(store, kind, **said), report(store, kind, **said, limit=2)
        assert (cut.cut, whole.cut, len(cut.rows)) == (True, False, 2)
        assert cut.rows == whole.rows[:2]
        assert cut.totals == whole.totals, kind


def test_order(store: ChdbWarehouse) -> None:
    said = {"since": "2026-10-31", "until": "2026-11-02", "group_by": "creative"}
    for name in ("ctr", "spend", "cpa", "creative"):
        rising = [row[name] for row in map(dict, _dicts(report(store, "delivery", **said, order=name)))]
        falling = [row[name] for row in map(dict, _dicts(report(store, "delivery", **said, order=f"-{name}")))]
        there = [value for value in rising if value is not None]
        assert there == sorted(there)
        assert [value for value in falling if value is not None] == sorted(there, reverse=True)
        assert rising[len(there) :] == falling[len(there) :], "what there is not comes last"


def _dicts(made: Report) -> list[list[tuple[str, Any]]]:
    return [list(zip((column.name for column in made.columns), row, strict=True)) for row in made.rows]


def test_pacing_is_by_the_day_of_each_budget(store: ChdbWarehouse) -> None:
    rows = rows_of(report(store, "pacing"), 3)
    assert set(rows) == {
        ("sun", "sun-a", "2026-11-02"),
        ("sun", "sun-b", "2026-11-02"),
        ("moon", "never", "2026-11-02"),
    }
    for (_, campaign, _), row in rows.items():
        zone = BUDGETS[campaign].zone
        start, end = moment("2026-11-02", zone), moment("2026-11-03", zone)
        picked = world.chosen(FACTS, start, end, {"campaign": [campaign]})
        assert row["spend"] == world.sums(picked)["spend_micros"]
        passed = world.NOW_MS // 1000 - start
        assert row["even"] == BUDGETS[campaign].micros * passed // (end - start)
        assert row["ahead"] == row["spend"] - row["even"]
        assert row["on_course_for"] == pytest.approx(row["spend"] * (end - start) / passed, abs=0.51)
    long_day = report(store, "pacing", since="2026-11-01", filters={"campaign": ["sun-b"]})
    zone = "America/New_York"
    picked = world.chosen(FACTS, moment("2026-11-01", zone), moment("2026-11-02", zone), {"campaign": ["sun-b"]})
    [row] = rows_of(long_day, 3).values()
    assert (row["spend"], row["even"]) == (world.sums(picked)["spend_micros"], 1_000_000), "a day of 25 hours, over"


def test_pacing_of_a_day_that_has_not_begun_everywhere(store: ChdbWarehouse) -> None:
    early = (world.START + 2 * 86_400 + 3600) * 1000  # one o'clock UTC, still the day before in New York
    pairs = [("report", "pacing"), ("from", "2026-11-02")]
    rows = rows_of(run(store, parse(pairs, early), lambda: BUDGETS), 3)
    still = rows["sun", "sun-b", "2026-11-02"]
    assert (still["even"], still["on_course_for"]) == (0, None)
    assert rows["sun", "sun-a", "2026-11-02"]["even"] == 40_000_000 // 24


def test_changes(store: ChdbWarehouse) -> None:
    made = report(store, "changes", since="2026-10-31", filters={"kind": ["switch"]})
    assert [row[0] for row in made.rows] == ["2026-10-31T03:00+00:00", "2026-10-31T01:00+00:00"]
    assert dict(_dicts(made)[0])["after"] == '{"b":2}'


def test_formats_say_the_same(store: ChdbWarehouse) -> None:
    import pyarrow.parquet as pq

    pairs = [("report", "delivery"), ("from", "2026-10-31"), ("to", "2026-11-02"), ("group_by", "place,campaign")]
    bodies = {
        form: answer(store, [*pairs, ("format", form)], world.NOW_MS, dict) for form in ("json", "csv", "parquet")
    }
    told = json.loads(bodies["json"][1])
    names = [column["name"] for column in told["columns"]]
    table = pq.read_table(io.BytesIO(bodies["parquet"][1]))
    lines = list(csv.reader(io.StringIO(bodies["csv"][1].decode())))
    assert names == table.column_names == lines[0]
    assert len(told["rows"]) == table.num_rows == len(lines) - 1 > 4
    for row, line, stored in zip(told["rows"], lines[1:], table.to_pylist(), strict=True):
        for name, cell, text in zip(names, row, line, strict=True):
            kind = next(column["kind"] for column in told["columns"] if column["name"] == name)
            assert text.removeprefix("'" if str(cell).startswith("=") else "") == ("" if cell is None else str(cell))
            assert (f"{stored[name]:f}" if kind == "usd" and cell is not None else stored[name]) == cell
    assert any(line[0] == "'=1+1" for line in lines)
    assert bodies["json"][0] == "application/json"


HOSTILE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        (
            *(
                "'",
                "''",
                '"',
                "\\",
                "\\'",
                "`",
                "{filter0:Array(String)}",
                "{first:DateTime('UTC')}",
                "}",
                "{",
                "%s",
                "%(a)s",
            ),
            *(
                "'; DROP TABLE events; --",
                "') OR 1=1 --",
                "\0",
                "a\0b",
                "\n",
                "\t",
                "\\N",
                "\\0",
                "📈",
                "\ud800",
                "NULL",
            ),
            *("1 UNION ALL SELECT 1", "sleep(3)", "-1d; DROP TABLE decisions", "toString(1)", "campaign FORMAT CSV"),
        )
    ),
)


GOOD = st.sampled_from(
    (
        *(
            ("from", "2026-10-31"),
            ("to", "2026-11-02"),
            ("timezone", "Asia/Kolkata"),
            ("period", "day"),
            ("limit", "5"),
        ),
        *(("group_by", "campaign"), ("group_by", "country,creative"), ("order", "-bids"), ("format", "csv")),
    )
)


NAME = st.one_of(
    st.sampled_from(NAMES[1:]),
    st.sampled_from(("filter.campaign", "filter.place", "filter.device", "filter.reason", "filter.", "FROM")),
    HOSTILE.map(lambda text: f"filter.{text}"),
    HOSTILE,
)


def fingerprint(store: ChdbWarehouse) -> list[Any]:
    tables = store.query("SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name").rows
    return [tables, *(store.query(f"SELECT count() FROM {table}").rows for table in TABLES)]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(tuple(KINDS)),
    good=st.lists(GOOD, max_size=3, unique_by=lambda pair: pair[0]),
    hostile=st.lists(st.tuples(NAME, HOSTILE), max_size=3),
)
def test_hostile_parameters(
    store: ChdbWarehouse, kind: str, good: list[tuple[str, str]], hostile: list[tuple[str, str]]
) -> None:
    try:
        made = run(store, parse([("report", kind), *good, *hostile], world.NOW_MS), lambda: BUDGETS)
    except InvalidRequest as error:
        if not error.path.isascii():
            raise
        return
    filters = [(name, value) for name, value in hostile if name.startswith("filter.")]
    known = {fact.dims.get(name) for fact in FACTS for name in world.DIMENSIONS} | {"bid", *world.REASONS, "", "ann"}
    if any(all(value not in known for other, value in filters if other == name) for name, _ in filters):
        assert all(not cell for row in made.rows for cell in row if not isinstance(cell, str))


def test_nothing_has_changed_the_tables(store: ChdbWarehouse) -> None:
    before = fingerprint(store)
    test_hostile_parameters(store)  # type: ignore[call-arg]
    assert fingerprint(store) == before
