"""`db migrate`: the tables of the store of events, brought up to date."""

from __future__ import annotations

from typing import Annotated

import typer

from campaign_express.cli.common import ConfigOption, settings_from, stderr

app = typer.Typer(help="The store of events.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The store of events."""  # or its only command would stand for the group


@app.command()
def migrate(
    config: ConfigOption = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was applied: for a replica that is new.")] = False,
) -> None:
    """Make the tables of events, or bring them up to date. Safe twice, and while a bidder runs.

    On ClickHouse servers it makes the database, too. Tables keep rows as long as the settings say.
    """
    from campaign_express.analytics import migrate as applying
    from campaign_express.analytics import retention
    from campaign_express.bootstrap_warehouse import kept, open_warehouse

    settings = settings_from(config)
    wanted = kept(settings)
    warehouse = open_warehouse(settings)
    try:
        stderr.print(f"tables: {warehouse.where}", markup=False, highlight=False, soft_wrap=True)
        done = [f"applied {one.number:04d}_{one.name}" for one in applying.migrate(warehouse, again)]
        done += retention.apply(warehouse, wanted)
    finally:
        warehouse.close()
    for line in done:
        typer.echo(line)
    if not done:
        typer.echo(f"nothing to do: all {len(applying.migrations())} migrations were applied before")
