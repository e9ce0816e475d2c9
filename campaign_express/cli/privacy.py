"""`privacy erase`: a person's profile, counts, clicks and events removed, and the proof of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.bidding.identity import normal
from campaign_express.cli.common import (
    ConfigOption,
    PatientProgress,
    alone_on_tables,
    open_tables,
    settings_from,
    stdout,
)
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError

if TYPE_CHECKING:
    from campaign_express.adapters.erasure import Held, PersonalKeys
    from campaign_express.ports import Warehouse

app = typer.Typer(help="Rights of persons: erase one.", no_args_is_help=True)

_TOKEN = re.compile(r"[A-Za-z0-9_-]{20}").fullmatch


class SomethingIsLeft(CampaignExpressError):
    """An erasure that does not prove itself."""


@app.callback()
def group() -> None:
    """Keeps `erase` a command of a group though it is the only one."""


@app.command()
def erase(
    user: Annotated[str, typer.Argument(help="An id as KIND:VALUE, or a token of the person.", show_default=False)],
    exports: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Directory of an export to rewrite, too; may be repeated.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Remove a person from Redis, tables and event log, and from exports that are named; look everything up again.

    Streams, other exports and backups hold pseudonyms: their keys are destroyed, and with them whom they stand for.
    Exit code 1 where anything is left. May be repeated.
    """
    from campaign_express.adapters.users_keys import token_of

    if ":" in user:
        token = token_of(normal(user))
    elif _TOKEN(user):
        token = user
    else:
        raise typer.BadParameter(f"{user!r} is neither KIND:VALUE nor a token", param_hint="USER")
    settings = settings_from(config)
    with alone_on_tables(settings, "privacy erase") as still_alone, open_tables(settings) as warehouse:
        ready = embedded.ensure(settings, only=("redis_url",))
        _erase(ready, warehouse, token, list(dict.fromkeys(exports or ())), still_alone)


def _erase(
    settings: Settings, warehouse: Warehouse, token: str, exports: Sequence[Path], still_alone: Callable[[], None]
) -> None:
    from campaign_express.adapters.erasure import PersonalKeys, blank_messages, revealed
    from campaign_express.adapters.pseudonym_keys import PseudonymKeys
    from campaign_express.pipeline import archive_erasure, erasure

    persons, keys = PersonalKeys(settings.redis_url), PseudonymKeys.from_settings(settings)
    try:
        found = _look(persons, token)
        tokens = found.tokens
        pseudonyms = {pseudonym for one in tokens for pseudonym in keys.all_of(one)}
        users = {*pseudonyms, *tokens}
        rows = erasure.rows_of(warehouse, users)
        exported = {directory: archive_erasure.rows_of(directory, users) for directory in exports}
        sequences = erasure.sequences_of(warehouse, tokens)
        messages = 0
        if sequences:
            url = embedded.ensure(settings, only=("nats_url",)).nats_url
            messages = blank_messages(url, sequences, tokens)
        still_alone()
        minutes = erasure.blank_rows(warehouse, users, tokens, sequences)
        for directory in exports:
            still_alone()
            archive_erasure.blank(directory, users)
        persons.delete([key for of_kind in found.keys.values() for key in of_kind])
        # Last: without keys nobody could find the rest any more.
        for one in tokens:
            keys.destroy(one, parse_clock(settings.simulated_clock).now_ms())

        left = _look(persons, token, tokens)
        left_rows = erasure.rows_of(warehouse, users)
        left_exported = {directory: archive_erasure.rows_of(directory, users) for directory in exports}
        still = revealed(keys, settings.pseudonym_days, pseudonyms, tokens)
        still += [one for token in tokens for one in keys.all_of(token) if one in pseudonyms and one not in still]
    finally:
        keys.close()
        persons.close()
    table = Table("what", title=f"the person with the token {min(tokens)}", title_justify="left")
    table.add_column("found", justify="right")
    table.add_column("left", justify="right")
    for kind, of_kind in found.keys.items():
        table.add_row(f"Redis: {kind}", f"{len(of_kind):,}", f"{len(left.keys[kind]):,}")
    for name in erasure.TABLES:
        table.add_row(f"tables: {name}", f"{rows[name]:,}", f"{left_rows[name]:,}")
    for directory, of_tables in exported.items():
        for name, count in of_tables.items():
            table.add_row(f"exports in {directory}: {name}", f"{count:,}", f"{left_exported[directory][name]:,}")
    table.add_row("event log: by token", f"{messages:,}", f"{len(erasure.sequences_of(warehouse, tokens)):,}")
    table.add_row("pseudonyms that a key leads back from", f"{len(pseudonyms):,}", f"{len(still):,}")
    stdout.print(table)
    typer.echo(f"ids: {len(tokens):,}; minutes that were summed anew: {minutes:,}")
    left_there = any(count for of_tables in left_exported.values() for count in of_tables.values())
    if left.size or any(left_rows.values()) or left_there or still:
        raise SomethingIsLeft("something is left: the person may have been seen meanwhile; repeat this")
    here = f" here and in the exports in {', '.join(map(str, exports))}" if exports else ""
    others = "other exports" if exports else "exports"
    typer.echo(f"nothing is left{here}, and what streams, {others} and backups hold leads to nobody")


def _look(persons: PersonalKeys, token: str, tokens: frozenset[str] = frozenset()) -> Held:
    """All that Redis holds of the person, also under tokens that were found before."""
    with PatientProgress("looking through Redis", 1.0) as progress:
        return persons.find(token, lambda keys: progress.to(0.5, f"looked at {keys:,} keys of Redis"), tokens)
