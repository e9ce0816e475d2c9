"""`db migrate`: the tables of the store of events, brought up to date."""

from __future__ import annotations

import typer

from campaign_express.cli.common import ConfigOption, settings_from
from campaign_express.errors import Unavailable

app = typer.Typer(help="The store of events.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The store of events."""  # or its only command would stand for the group


@app.command()
def migrate(config: ConfigOption = None) -> None:
    """Make the tables of events, or bring them up to date. Safe twice, and while a bidder runs on ClickHouse."""
    from campaign_express.analytics import migrate as applying
    from campaign_express.bootstrap_warehouse import open_warehouse

    settings = settings_from(config)
    try:
        warehouse = open_warehouse(settings)
    except Unavailable as error:  # only of the embedded store
        raise Unavailable(f"{error}: the bidder that runs here. It has migrated the store as it started") from None
    try:
        done = applying.migrate(warehouse)
    finally:
        warehouse.close()
    for one in done:
        typer.echo(f"applied {one.number:04d}_{one.name}")
    if not done:
        typer.echo(f"nothing to do: all {len(applying.migrations())} migrations were applied before")
