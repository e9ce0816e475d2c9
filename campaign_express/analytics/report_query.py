"""Parameters of a report, read and checked: text in, `ReportQuery` out, or one InvalidRequest that names the parameter.

Nothing of what is given here becomes part of SQL: names are looked up in tables, values are bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from campaign_express.analytics.report_kinds import KINDS, Kind
from campaign_express.analytics.report_range import Range, read_day, read_moment, read_range, read_zone, refused
from campaign_express.analytics.retention import DEFAULTS, Kept

FORMATS = ("json", "csv", "parquet")
NAMES = ("report", "from", "to", "timezone", "period", "group_by", "order", "limit", "format")
FILTER = "filter."
LIMIT, MAX_LIMIT = 1_000, 100_000
MAX_GROUPS = 4
MAX_VALUES, MAX_VALUE = 100, 1_000  # of one filter; characters of one value


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What is asked for."""

    report: str
    range: Range
    since: str  # `from` as it was said, which means another moment in another zone
    zone_given: bool
    group_by: tuple[str, ...]  # without the period
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    order: tuple[tuple[str, bool], ...]  # column, descending
    limit: int
    format: str
    now_s: int
    kept: Kept = DEFAULTS

    @property
    def kind(self) -> Kind:
        return KINDS[self.report]

    @property
    def keys(self) -> tuple[str, ...]:
        """What a row is known by."""
        period = ("period",) if self.kind.period and self.range.period != "total" else ()
        return (*period, *self.group_by)

    def filtered(self) -> dict[str, tuple[str, ...]]:
        return dict(self.filters)


def parse(parameters: Iterable[tuple[str, str]], now_ms: int) -> ReportQuery:
    """Raises InvalidRequest for the first parameter that is wrong."""
    given: dict[str, str] = {}
    filters: dict[str, list[str]] = {}
    for name, value in parameters:
        if name.startswith(FILTER):
            filters.setdefault(name.removeprefix(FILTER), []).append(value)
        elif name not in NAMES:
            raise refused(_shown(name), f"is no parameter; there are {', '.join(NAMES)} and {FILTER}DIMENSION")
        elif name in given:
            raise refused(name, "is given twice")
        else:
            given[name] = value
    if "report" not in given:
        raise refused("report", f"is missing; it is one of {', '.join(KINDS)}")
    kind = KINDS.get(given["report"])
    if kind is None:
        raise refused("report", f"is none of {', '.join(KINDS)}")
    group_by = _groups(kind, given)
    period = _period(kind, given)
    found = _range(kind, given, period, now_ms // 1000)
    keys = ("period", *group_by) if period != "total" and kind.period else group_by
    return ReportQuery(
        given["report"],
        found,
        given.get("from", kind.since),
        "timezone" in given,
        group_by,
        _filters(given["report"], kind, filters),
        _order(kind, given.get("order"), keys),
        _limit(given.get("limit")),
        _one_of("format", given.get("format", "json"), FORMATS),
        now_ms // 1000,
    )


def _groups(kind: Kind, given: dict[str, str]) -> tuple[str, ...]:
    if "group_by" not in given:
        return (*kind.always, *(name for name in kind.group_by if name not in kind.always))
    if not kind.groups:
        raise refused("group_by", f"is not for {given['report']}, which is always by {', '.join(kind.always)}")
    names = [name for name in given["group_by"].split(",") if name]
    for name in names:
        if name not in kind.groups:
            raise refused("group_by", f"has a name that is none of {', '.join(kind.groups)} (time: see period)")
    if len(set(names)) != len(names):
        raise refused("group_by", "names a dimension twice")
    if len(names) > MAX_GROUPS:
        raise refused("group_by", f"names more than {MAX_GROUPS} dimensions")
    return (*(name for name in kind.always if name not in names), *names)


def _period(kind: Kind, given: dict[str, str]) -> str:
    if kind.period is None and "period" in given:
        raise refused("period", f"is not for {given['report']}")
    return given.get("period", kind.period or "total")


def _range(kind: Kind, given: dict[str, str], period: str, now_s: int) -> Range:
    zone = given.get("timezone", "UTC")
    since = given.get("from", kind.since)
    if not kind.whole_day:
        return read_range(since, given.get("to", kind.until), zone, period, now_s)
    if "to" in given:
        raise refused("to", f"is not for {given['report']}, which is about the day `from`")
    if read_moment("from", since, read_zone(zone), now_s) > now_s:
        raise refused("from", "has not come yet")
    found = read_day(since, zone, now_s)
    if found.first != read_moment("from", since, read_zone(zone), now_s):
        raise refused("from", f"is no whole day, which {given['report']} is about")
    return found


def _filters(report: str, kind: Kind, filters: dict[str, list[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    for name, values in filters.items():
        if name not in kind.dimensions:
            allowed = ", ".join(FILTER + one for one in kind.dimensions)
            raise refused(_shown(FILTER + name), f"is no filter of {report}; there are {allowed}")
        if len(values) > MAX_VALUES:
            raise refused(FILTER + name, f"has more than {MAX_VALUES} values")
        for value in values:
            if len(value) > MAX_VALUE:
                raise refused(FILTER + name, f"has a value of more than {MAX_VALUE} characters")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise refused(FILTER + name, "is not Unicode text") from None
    return tuple((name, tuple(dict.fromkeys(values))) for name, values in filters.items())


def _order(kind: Kind, text: str | None, keys: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    names = (*keys, *(column.name for column in kind.columns))
    usual = f"period,{kind.order}" if "period" in keys else kind.order
    order: dict[str, bool] = {}
    for one in (usual if text is None else text).split(","):
        name = one.removeprefix("-")
        if name not in names:
            raise refused("order", f"has a name that is none of {', '.join(names)} (-NAME: falling)")
        order.setdefault(name, one.startswith("-"))
    for name in keys:  # so that the same question has the same answer
        order.setdefault(name, False)
    return tuple(order.items())


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT and len(text) < 9):
        raise refused("limit", f"is no number from 1 to {MAX_LIMIT}")
    return int(text)


def _one_of(parameter: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise refused(parameter, f"is none of {', '.join(allowed)}")
    return text


def _shown(name: str) -> str:
    """A name that a caller made up, for an error message."""
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in name[:60])
