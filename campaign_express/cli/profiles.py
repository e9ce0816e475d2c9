"""`profiles import | show`: segments and interests of persons into Redis in bulk, and one person looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.bidding.identity import normal
from campaign_express.cli.common import ConfigOption, InputFile, PatientProgress, settings_from, stderr, stdout
from campaign_express.clock import parse_clock
from campaign_express.config import Settings

if TYPE_CHECKING:
    from campaign_express.adapters.users_profiles import Row, UserProfiles

app = typer.Typer(help="Profiles of persons: import segments in bulk, show one person.", no_args_is_help=True)

AT_ONCE = 500  # rows of one round trip
TOLD = 20  # bad lines that are shown
SAMPLE = 1000  # profiles whose memory is measured


@app.command("import")
def import_(
    file: InputFile,
    config: ConfigOption = None,
    add: Annotated[bool, typer.Option("--add", help="Keep the segments that persons have already.")] = False,
) -> None:
    """Load profiles from FILE: JSON lines, or CSV by its name. May be repeated: the same lines change nothing."""
    from campaign_express.cli.profiles_file import BadLine, lines_of

    settings = settings_from(config)
    clock = parse_clock(settings.simulated_clock)
    bad = written = 0
    sample: list[Row] = []
    rows: list[Row] = []
    started = time.monotonic()
    with (
        _profiles(settings) as profiles,
        file.open("rb") as stream,
        PatientProgress(f"importing {file.name}", file.stat().st_size) as progress,
    ):
        try:
            for end, row in lines_of(file, stream):
                if isinstance(row, BadLine):
                    bad += 1
                    if bad <= TOLD:
                        stderr.print(f"{file}:{row.line}: {row.why}", markup=False, highlight=False, soft_wrap=True)
                    continue
                rows.append(row)
                if len(rows) == AT_ONCE:
                    profiles.write(rows, clock.now_ms(), add)
                    written += len(rows)
                    sample = sample or rows[:SAMPLE]
                    rows = []
                    progress.to(end)
            profiles.write(rows, clock.now_ms(), add)
            written += len(rows)
            sample = sample or rows
        except BaseException:
            stderr.print(
                f"stopped: {written:,} profiles are written; repeat the command, the same lines change nothing"
            )
            raise
        seconds = time.monotonic() - started
        size = profiles.bytes_of(sample)
    rate = written / max(seconds, 1e-9)
    typer.echo(f"{written:,} profiles in {seconds:.1f} s: {rate:,.0f} a second, {size:,.0f} bytes of Redis a profile")
    if bad:
        typer.echo(f"error: {bad:,} lines were left out", err=True)
        raise typer.Exit(2)


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="An id as in an import: KIND:VALUE.", show_default=False)],
    config: ConfigOption = None,
) -> None:
    """Show what is known of the person with ID: profile, impressions, bids under way."""
    settings = settings_from(config)
    with _profiles(settings) as profiles:
        found = profiles.read(normal(id), parse_clock(settings.simulated_clock).now_ms())
    if found is None:
        typer.echo(f"error: nothing is known of {id}", err=True)
        raise typer.Exit(1)
    state, keys = found
    table = Table("what", "value", show_header=False)
    table.add_row("canonical token", state.key)
    table.add_row("segments", ", ".join(state.segments) or "none")
    table.add_row("interests", " ".join(f"{value:.4g}" for value in state.interests) or "none")
    table.add_row("first seen", _date(state.first_seen_ms))
    table.add_row("last seen", _date(state.last_seen_ms))
    for entity, times in sorted(state.shown.items()):
        table.add_row(f"impressions of {entity}", ", ".join(map(_date, times)))
    for entity, count in sorted(state.held.items()):
        table.add_row(f"bids under way of {entity}", str(count))
    table.add_row("requests being decided", str(state.pending))
    for name, value in keys.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    stdout.print(table)


def _date(wall_ms: int) -> str:
    return f"{datetime.fromtimestamp(wall_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if wall_ms else "never"


@contextmanager
def _profiles(settings: Settings) -> Iterator[UserProfiles]:
    """An embedded server that is not up is started, and ends with the command."""
    from campaign_express.adapters.users_profiles import UserProfiles

    profiles = UserProfiles.from_settings(embedded.ensure(settings, only=("redis_url",)))
    try:
        yield profiles
    finally:
        profiles.close()
        embedded.release(settings)
