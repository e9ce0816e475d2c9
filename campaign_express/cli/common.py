"""What the commands share: the option that names the Serve configuration, and consoles.

Results go to stdout, everything else (progress, what happens) to stderr, so that results can be piped.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from campaign_express import serve_file
from campaign_express.config import Settings

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
