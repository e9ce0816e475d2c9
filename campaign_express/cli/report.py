"""`report`: figures of what was bid, won, shown and spent; docs/reports.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from campaign_express.analytics.report_kinds import KINDS
from campaign_express.analytics.report_query import FILTER, FORMATS, LIMIT
from campaign_express.cli.common import ConfigOption, settings_from, stdout
from campaign_express.cli.report_source import open_reports
from campaign_express.errors import ConfigError, InvalidRequest

TABLE = "table"
_LEFT = ("text", "time")


def report(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.", show_default=False)],
    since: Annotated[str, typer.Option("--from", help="First moment: 2026-11-28, 2026-11-28T13:00, today, -7d.")] = "",
    until: Annotated[str, typer.Option("--to", help="First moment that is not part of it any more.")] = "",
    timezone: Annotated[str, typer.Option(help="Time zone of dates and periods: Europe/Berlin.")] = "",
    period: Annotated[str, typer.Option(help="A row for each minute, hour or day; total.")] = "",
    group_by: Annotated[str, typer.Option(help="Dimensions with commas between: campaign,country.")] = "",
    chosen: Annotated[
        list[str] | None, typer.Option("--filter", help="DIMENSION=VALUE; may be repeated, also of one dimension.")
    ] = None,
    order: Annotated[str, typer.Option(help="Columns with commas between; -spend: falling.")] = "",
    limit: Annotated[int, typer.Option(help="Rows, at most.")] = LIMIT,
    form: Annotated[str, typer.Option("--format", help=f"One of {TABLE}, {', '.join(FORMATS)}.")] = TABLE,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, writable=True, help="File to write.", show_default="standard output")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print a report of what was bid, won, shown and spent."""
    settings = settings_from(config)
    if form not in (TABLE, *FORMATS):
        raise typer.BadParameter(f"--format is none of {TABLE}, {', '.join(FORMATS)}")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is not for a terminal: give --output")
    given = {"from": since, "to": until, "timezone": timezone, "period": period, "group_by": group_by, "order": order}
    parameters = [("report", kind), ("limit", str(limit)), ("format", "json" if form == TABLE else form)]
    parameters += [(name, value) for name, value in given.items() if value]
    parameters += [_filter(text) for text in chosen or ()]
    try:
        with open_reports(settings) as ask:
            _, body = ask(parameters)
    except InvalidRequest as error:
        raise ConfigError("A report that cannot be made:", [error.message]) from None
    if form == TABLE:
        table = table_of(msgspec.json.decode(body))
        if output is None:
            stdout.print(table)
        else:
            with output.open("w", encoding="utf-8") as file:
                Console(file=file, width=200).print(table)
    elif output is None:
        sys.stdout.buffer.write(body + (b"\n" if form == "json" else b""))
        sys.stdout.buffer.flush()
    else:
        output.write_bytes(body)


def table_of(told: dict[str, Any]) -> Table:
    """A report's JSON as a table for a terminal, with its total."""
    query, columns, rows, totals = told["query"], told["columns"], told["rows"], told["totals"]
    whole = f" to {query['to']}" if "to" in query else ""
    caption = f"of {told['source'] or 'no tables'}" + (f"; the first {len(rows):,} rows" if told["cut"] else "")
    table = Table(
        title=f"{told['title']}: {query['from']}{whole}, {query['timezone']}",
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD if totals is None else box.SIMPLE_HEAVY,
        show_footer=totals is not None,
    )
    lines = (*rows, totals or [None] * len(columns))
    shown = [_cells(column["kind"], [line[at] for line in lines]) for at, column in enumerate(columns)]
    for at, column in enumerate(columns):
        total = shown[at].pop()
        if at == 0 and column["kind"] in _LEFT and totals is not None:
            total = Text("total")
        heading = column["name"].replace("_", " ") + (" USD" if column["kind"] == "usd" else "")
        table.add_column(heading, justify="left" if column["kind"] in _LEFT else "right", footer=total)
    for row in zip(*shown, strict=True) if rows else ():
        table.add_row(*row)
    return table


def _cells(kind: str, values: list[Any]) -> list[Text]:
    """One column. Amounts have as many places as the largest needs."""
    if kind == "usd":
        amounts = [None if value is None else float(value) for value in values]
        places = 2 if max((abs(amount) for amount in amounts if amount is not None), default=0) >= 1000 else 4
        return [Text("" if amount is None else f"{amount:,.{places}f}") for amount in amounts]
    return [Text("" if value is None else _cell(kind, value)) for value in values]


def _cell(kind: str, value: Any) -> str:
    if kind == "count":
        return f"{value:,}"
    if kind == "share":
        return f"{value:.2%}"
    if kind in ("ratio", "ms"):
        return f"{value:,.3f}"
    text = str(value)  # of exchanges, too: nothing that a terminal would obey
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _filter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter("--filter is no DIMENSION=VALUE")
    return FILTER + name, value
