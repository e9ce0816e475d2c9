"""`reconcile`: an exchange's invoice against what its notices say that we owe."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import typer
from rich.table import Table

from campaign_express.cli.common import (
    ConfigOption,
    InputFile,
    PatientProgress,
    days_between,
    open_tables,
    settings_from,
    stderr,
    stdout,
)
from campaign_express.errors import CampaignExpressError, ConfigError

if TYPE_CHECKING:
    from campaign_express.analytics.reconcile import Result

TOLD = 20  # bad lines that are shown


class InvoiceDiffers(CampaignExpressError):
    """An invoice that is not what our notices say."""


def reconcile(
    file: InputFile,
    exchange: Annotated[str, typer.Option(help="Whose invoice it is.")],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day (UTC), as 2026-11-25.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included.")],
    columns: Annotated[str, typer.Option(help="Names of columns, as `auction=Auction ID,price=CPM`.")] = "",
    currency: Annotated[str, typer.Option(help="Of lines that name none.", show_default="the exchange's")] = "",
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="CSV to write with every difference.", show_default=False)
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Compare an exchange's invoice, a CSV with a line an impression, with our settled bids, to the micro.

    Exit code 1 where they differ, 2 where lines cannot be read.
    """
    from campaign_express.analytics.invoice import BadLine, Invoice, parse_columns
    from campaign_express.analytics.reconcile import Result, compare, our_bids
    from campaign_express.bidding.currency import load_rates
    from campaign_express.packaged import read_exchanges

    begin, end = days_between(first, last)
    settings = settings_from(config)
    known = {one.name: one for one in read_exchanges(settings).exchanges}
    if exchange not in known:
        raise ConfigError(
            "An option that cannot be used:", [f"--exchange {exchange}: unknown; known are {', '.join(sorted(known))}"]
        )
    rates = load_rates(Path(settings.rates_file) if settings.rates_file else None)
    invoice = Invoice(parse_columns(columns), currency or known[exchange].currency, rates.usd_per)
    result, shown = Result(), 0
    with our_bids() as bids, PatientProgress("reading our bids", 1.0) as progress:
        with open_tables(settings) as warehouse:
            for share in bids.load(warehouse, exchange, begin, end):
                progress.to(share)
        progress.then(f"comparing {file.name}", file.stat().st_size)
        with file.open("rb") as raw, _writer(output) as write:
            lines = invoice.lines(_told(raw, progress))
            for found in compare(lines, bids, begin, end, result):
                if not isinstance(found, BadLine):
                    write(found)
                elif (shown := shown + 1) <= TOLD:
                    stderr.print(f"{file}:{found.line}: {found.why}", markup=False, highlight=False, soft_wrap=True)
    _print(result, exchange)
    if result.bad:
        typer.echo(f"error: {result.bad:,} lines cannot be read", err=True)
        raise typer.Exit(2)
    if result.differs:
        raise InvoiceDiffers("the invoice is not what our notices say" + (f": see {output}" if output else ""))


def _told(raw: BinaryIO, progress: PatientProgress) -> Iterator[str]:
    """The file's lines as text; the bar moves with them."""
    for number, line in enumerate(raw):
        if number % 20_000 == 0:
            progress.to(raw.tell())
        yield line.decode(errors="replace")


@contextmanager
def _writer(output: Path | None) -> Iterator[Any]:
    """Writes differences to a file that takes its name when it is whole."""
    if output is None:
        yield lambda difference: None
        return
    from campaign_express.analytics.reconcile import Difference

    unfinished = output.with_name(f"{output.name}.new")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            yield _rows_to(file, Difference._fields).writerow
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def _rows_to(file: TextIO, header: tuple[str, ...]) -> Any:
    writer = csv.writer(file)
    writer.writerow(header)
    return writer


def _print(result: Result, exchange: str) -> None:
    table = Table("", title=f"{exchange}: {result.lines:,} lines", title_justify="left")
    table.add_column("impressions", justify="right")
    table.add_column("USD", justify="right")
    table.add_row("billed and matched", f"{result.matched:,}", _usd(result.matched_micros))
    table.add_row("  the same by our notices", f"{result.matched:,}", _usd(result.our_micros), end_section=True)
    for kind, name in (
        ("unknown", "billed, unknown to us"),
        ("not-billed", "ours, not billed"),
        ("price", "another price: billed less ours"),
        ("duplicate", "billed more than once"),
    ):
        table.add_row(name, f"{result.counts[kind]:,}", _usd(result.micros[kind]))
    if result.outside:
        table.add_row("of other days, passed over", f"{result.outside:,}", "")
    stdout.print(table)


def _usd(micros: int) -> str:
    """To the micro."""
    sign = "-" if micros < 0 else ""
    return f"{sign}{abs(micros) // 1_000_000:,}.{abs(micros) % 1_000_000:06d}"
