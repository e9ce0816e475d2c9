"""`events export | replay`: days of the tables into Parquet files, and days of the tables built anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.cli import dead
from campaign_express.cli.common import (
    ConfigOption,
    PatientProgress,
    alone_on_tables,
    days_between,
    open_tables,
    settings_from,
    stderr,
    stdout,
)
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError

if TYPE_CHECKING:
    from campaign_express.pipeline.replay import Rebuilt, Source

app = typer.Typer(
    help="Events in tables: export days of them, build them anew; what could not be read.", no_args_is_help=True
)
app.add_typer(dead.app, name="dead")

First = Annotated[str, typer.Option("--from", metavar="DAY", help="First day (UTC), as 2026-11-25.")]
Last = Annotated[str, typer.Option("--to", metavar="DAY", help="Last day, included.")]
JETSTREAM = "jetstream"


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, show_default=False)],
    first: First,
    last: Last,
    config: ConfigOption = None,
) -> None:
    """Write days of all tables to DIR: Parquet files by table and day, with a manifest of rows and checksums.

    May be repeated: a day that was exported before is written anew.
    """
    from campaign_express.pipeline.archive import TABLES
    from campaign_express.pipeline.archive import export as write

    begin, end = days_between(first, last)
    days = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
    with (
        open_tables(settings_from(config)) as warehouse,
        PatientProgress("exporting", len(days) * len(TABLES)) as progress,
    ):
        rows = write(warehouse, directory, days, progress.to)
    told = ", ".join(f"{count:,} {table}" for table, count in rows.items())
    typer.echo(f"{len(days):,} days in {directory}: {told}")


@app.command()
def replay(
    first: First,
    last: Last,
    source: Annotated[str, typer.Option(help="`jetstream`, or the directory of an export.")] = JETSTREAM,
    part: Annotated[
        list[str] | None,
        typer.Option(help="events, decisions (with logged requests) or changes; may be repeated.", show_default="all"),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Replace what is stored also where the source has less.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Build days of the tables, and their sums, anew from JetStream or from an export. Totals are the same afterwards.

    Nothing is replaced before all of it is read. May be interrupted, and repeated. One runs at a time.
    """
    from campaign_express.pipeline.replay import PARTS, Replay

    begin, end = days_between(first, last)
    parts = part or list(PARTS)
    if unknown := [one for one in parts if one not in PARTS]:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}", param_hint="--part")
    settings = settings_from(config)
    with (
        alone_on_tables(settings, "events replay") as still_alone,
        open_tables(settings) as warehouse,
        _source(settings, source) as chosen,
        PatientProgress("replay", 1.0) as progress,
    ):
        rebuilt = Replay(
            *(warehouse, chosen, begin, end, parts),
            incomplete=incomplete,
            told=progress.to,
            still_alone=still_alone,
        ).run()
    _tell(rebuilt)


@contextmanager
def _source(settings: Settings, name: str) -> Iterator[Source]:
    if name != JETSTREAM:
        from campaign_express.pipeline.archive import Archive
        from campaign_express.pipeline.replay import ArchiveSource

        if not Path(name).is_dir():
            raise typer.BadParameter(f"{name} is no directory", param_hint="--source")
        yield ArchiveSource(Archive(Path(name)))
        return
    from campaign_express.pipeline.replay_streams import StreamSource

    url = embedded.ensure(settings, only=("nats_url",)).nats_url  # let go of with the lock's server
    yield StreamSource(url, simulated=bool(settings.simulated_clock))


def _tell(rebuilt: Rebuilt) -> None:
    table = Table("table", title="rows of these days", title_justify="left")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for name, rows in rebuilt.after.items():
        table.add_row(name, f"{rebuilt.before[name]:,}", f"{rows:,}")
    stdout.print(table)
    if rebuilt.unreadable:
        stderr.print(f"warning: {rebuilt.unreadable:,} messages cannot be read, and were left out")
    if rebuilt.not_summed:
        days = ", ".join(map(str, rebuilt.not_summed))
        stderr.print(f"warning: too long ago to be summed anew, their sums stay as they were: {days}")
    for difference in rebuilt.differences:
        typer.echo(str(difference))
    if rebuilt.differences:
        raise CampaignExpressError("sums are not what the tables hold: events came meanwhile, or repeat this")
