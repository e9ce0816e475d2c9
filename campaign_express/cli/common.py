"""What the commands share: the option that names the Serve configuration, and consoles.

Results go to stdout, everything else (progress, what happens) to stderr, so that results can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from campaign_express import embedded, serve_file
from campaign_express.config import Settings

if TYPE_CHECKING:
    from campaign_express.ports import Warehouse

stderr = Console(stderr=True)
stdout = Console(width=None if sys.stdout.isatty() else 160)  # a table in a pipe is not squeezed into 80 columns

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        exists=True,
        dir_okay=False,
        help="Serve configuration to take the settings from.",
        show_default="serve_config.yaml where it exists, else environment and defaults",
    ),
]
InputFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, show_default=False)]


def config_path(given: Path | None) -> Path | None:
    """The Serve configuration to use: the given one, or the one in this directory, if any."""
    return given or (serve_file.DEFAULT if serve_file.DEFAULT.exists() else None)


def settings_from(given: Path | None) -> Settings:
    return serve_file.settings(config_path(given))


def day_of(written: str, option: str) -> date:
    """A day as YYYY-MM-DD."""
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise typer.BadParameter(f"{written!r} is no day like 2026-11-25", param_hint=option) from None


def days_between(first: str, last: str) -> tuple[date, date]:
    """`--from` and `--to`, both days included."""
    begin, end = day_of(first, "--from"), day_of(last, "--to")
    if end < begin:
        raise typer.BadParameter("is before --from", param_hint="--to")
    return begin, end


@contextmanager
def open_tables(settings: Settings, *, migrated: bool = True) -> Iterator[Warehouse]:
    """The tables of events, and on stderr who has them.

    Embedded ones belong to one process: a bidder that runs is asked, and they are opened only where none does.
    `migrated`: made, or brought up to date, first.
    """
    from campaign_express.analytics.migrate import migrate
    from campaign_express.bootstrap_warehouse import open_warehouse

    warehouse = open_warehouse(settings)
    stderr.print(f"tables: {warehouse.where}", markup=False, highlight=False, soft_wrap=True)
    try:
        if migrated:
            migrate(warehouse)
        yield warehouse
    finally:
        warehouse.close()


@contextmanager
def alone_on_tables(settings: Settings, what: str) -> Iterator[Callable[[], None]]:
    """While no other command replaces or blanks rows; what it gives raises where that is not sure any more."""
    from campaign_express.adapters.rebuild_lock import alone

    try:
        with alone(embedded.ensure(settings, only=("redis_url",)).redis_url, what) as still_alone:
            yield still_alone
    finally:
        embedded.release(settings)


class PatientProgress:
    """A progress bar on stderr that appears only after a second, and only for a person: not where stderr is a file."""

    AFTER_S = 1.0

    def __init__(self, label: str, total: float) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)
        self._task = self._progress.add_task(label, total=total)
        self._started_at = time.monotonic()
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def then(self, label: str, total: float) -> None:
        """Begin the bar anew for the next part of the work. The second that it waits is not begun anew."""
        self._progress.reset(self._task, description=label, total=total)

    def to(self, done: float, label: str | None = None) -> None:
        self._progress.update(self._task, completed=done, description=label)
        if not self._shown and time.monotonic() - self._started_at > self.AFTER_S:
            self._shown = True
            self._progress.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._progress.stop()
