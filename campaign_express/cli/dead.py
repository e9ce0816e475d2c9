"""`events dead list | replay`: messages that a consumer could not read."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from campaign_express import embedded
from campaign_express.cli.common import ConfigOption, settings_from, stderr, stdout

if TYPE_CHECKING:
    from pathlib import Path

    from campaign_express.adapters.dead_letters import DeadLetter, DeadLetters

app = typer.Typer(help="Messages that could not be read: list them, publish them once more.", no_args_is_help=True)


class Origin(StrEnum):
    """Stream that a message was in."""

    MONEY = "money"
    DECISIONS = "decisions"
    CHANGES = "changes"


StreamOption = Annotated[Origin | None, typer.Option("--stream", help="Only what was in this one.", show_default="all")]


@app.command("list")
def show(
    stream: StreamOption = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="So many at most, oldest first; 0: all.")] = 100,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, with the message itself.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """List messages that a consumer could not read, with the reason."""
    with _letters(config) as dead:
        letters = dead.read(stream or "", limit)
    if as_json:
        for letter in letters:
            sys.stdout.write(msgspec.json.encode(_object(letter)).decode() + "\n")
    elif letters:
        stdout.print(_table(letters))
    else:
        typer.echo("no dead messages")


@app.command()
def replay(
    stream: StreamOption = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="So many at most, oldest first; 0: all.")] = 0,
    config: ConfigOption = None,
) -> None:
    """Publish dead messages to where they were, once they can be read. What still cannot is dead again."""
    replayed = 0

    def done(letter: DeadLetter) -> None:
        nonlocal replayed
        replayed += 1

    try:
        with _letters(config) as dead:
            staying = dead.replay(done, stream or "", limit)
    finally:
        typer.echo(f"replayed {replayed:,}")  # also of those before a failure
    for letter in staying:
        stderr.print(f"left {letter.seq} of {letter.stream}: it can be published nowhere", markup=False)


@contextmanager
def _letters(config: Path | None) -> Iterator[DeadLetters]:
    from campaign_express.adapters.dead_letters import DeadLetters

    settings = settings_from(config)
    try:
        yield DeadLetters(embedded.ensure(settings, only=("nats_url",)).nats_url)
    finally:
        embedded.release(settings)


def _object(letter: DeadLetter) -> dict[str, str | int]:
    return {
        "sequence": letter.seq,
        "time": letter.buried.isoformat(timespec="milliseconds"),
        "stream": letter.stream,
        "subject": letter.subject,
        "origin_sequence": letter.origin_seq,
        "problem": letter.problem,
        "data": b64encode(letter.data).decode(),
    }


def _table(letters: list[DeadLetter]) -> Table:
    table = Table()
    table.add_column("sequence", justify="right")
    for heading in ("since", "subject", "problem"):
        table.add_column(heading)
    table.add_column("bytes", justify="right")
    for letter in letters:
        table.add_row(
            str(letter.seq),
            f"{letter.buried:%Y-%m-%d %H:%M:%S}",
            escape(letter.subject or f"({letter.stream})"),
            escape(letter.problem),
            f"{len(letter.data):,}",
        )
    return table
