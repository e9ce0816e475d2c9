"""`backtest`: days of logged requests decided once more, with another catalogue or model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.cli.common import (
    ConfigOption,
    PatientProgress,
    days_between,
    open_tables,
    settings_from,
    stderr,
    stdout,
)

if TYPE_CHECKING:
    from campaign_express.backtest import Logged, Report, Side

NOT_REPLAYED = (
    "Budgets, caps, paces and switches are not replayed: requests that these decided are left out. Cities, the number "
    "of a person's ids and keywords of persons are not logged. Compare with a backtest of the catalogue of then."
)
REASONS = 15  # changes of reasons that are shown


def backtest(
    catalog: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Campaign file to decide with.")],
    first: Annotated[
        str, typer.Option("--from", metavar="DAY", help="First day (UTC), as 2026-11-25.", show_default="all logged")
    ] = "",
    last: Annotated[
        str, typer.Option("--to", metavar="DAY", help="Last day, included.", show_default="the last logged")
    ] = "",
    model: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Model to score with.", show_default="the settings'"),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    config: ConfigOption = None,
) -> None:
    """Decide logged requests once more, with the serving core and another catalogue or model; compare with the log.

    Starts and writes nothing.
    """
    from campaign_express import bootstrap
    from campaign_express.analytics import logged
    from campaign_express.analytics.audit import days_of
    from campaign_express.backtest import Backtest
    from campaign_express.bidding.catalog import load_catalog

    if form not in ("table", "json"):
        raise typer.BadParameter("is neither table nor json", param_hint="--format")
    begin, end = days_between(first or str(date.min), last or str(date.max))
    settings = embedded.with_notice_key(settings_from(config))
    if model is not None:
        settings = msgspec.structs.replace(settings, model_file=str(model))
    exchanges = bootstrap.read_exchanges(settings)
    test = Backtest(bootstrap.build_bidder(settings, load_catalog(catalog, exchanges)))
    with open_tables(settings) as warehouse:
        days = [day for day in days_of(warehouse, "requests") if begin <= day <= end]
        total = logged.count(warehouse, days)
        with PatientProgress("deciding", total) as progress:
            for done in test.run(_rows(logged.rows(warehouse, days))):
                progress.to(done)
    if form == "json":
        typer.echo(msgspec.json.format(msgspec.json.encode(test.report), indent=2))
    else:
        _print(test.report)
    stderr.print(NOT_REPLAYED, soft_wrap=True)


def _rows(rows: Iterator[tuple[Any, ...]]) -> Iterator[Logged]:
    from campaign_express.backtest import Logged
    from campaign_express.events import Chosen

    decode = msgspec.json.Decoder(tuple[Chosen, ...]).decode
    for time_ms, exchange, body, segments, bids, reason, user, weight in rows:
        yield Logged(
            *(int(time_ms), exchange, body, tuple(segments), decode(bids or "[]"), reason, user, max(int(weight), 1))
        )


def _print(report: Report) -> None:
    title = f"{report.requests:,} requests ({report.logged:,} logged), {_share(report.same, report.requests)} as before"
    table = Table("", title=title, title_justify="left")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right")
    sides = (report.before, report.after)
    table.add_row("bids", *(f"{side.bids:,}" for side in sides))
    table.add_row("requests with a bid", *(_share(side.requests_with_bid, report.requests) for side in sides))
    table.add_row("mean price, CPM USD", *(_mean(side) for side in sides))
    table.add_row("spend if all were won, USD", *(f"{side.spend_micros / 1e6:,.2f}" for side in sides))
    table.add_row("expected clicks of these", "", f"{report.after.clicks:,.1f}")
    table.add_row("expected conversions", "", f"{report.after.conversions:,.2f}")
    stdout.print(table)
    if report.campaigns:
        table = Table("campaign", title="bids by campaign", title_justify="left")
        for heading in ("before", "after", "gained", "lost", "repriced", "CPM before", "CPM after", "clicks"):
            table.add_column(heading, justify="right")
        for name, of in report.campaigns.items():
            table.add_row(
                name,
                *(f"{number:,}" for number in (of.before.bids, of.after.bids, of.gained, of.lost, of.repriced)),
                *(_mean(of.before), _mean(of.after), f"{of.after.clicks:,.1f}"),
            )
        stdout.print(table)
    if report.reasons:
        table = Table("before", "after", title="requests with another outcome", title_justify="left")
        table.add_column("requests", justify="right")
        for before, after, count in report.reasons[:REASONS]:
            table.add_row(before, after, f"{count:,}")
        stdout.print(table)
    for why, count in report.left_out.items():
        typer.echo(f"left out: {count:,} logged requests {why}")
    if report.by_state_now_bid:
        typer.echo(f"of those that state decided, {report.by_state_now_bid:,} would be bid on without it")


def _mean(side: Side) -> str:
    return f"{side.price_micros / side.bids / 1e6:,.4f}" if side.bids else "-"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"
