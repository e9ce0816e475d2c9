"""`catalog validate | publish | show`: the campaign file, and the catalogue that every agent bids with."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.bidding.model import Catalog
from campaign_express.bidding.money import micros_to_price
from campaign_express.cli.changes import log_changes, user
from campaign_express.cli.common import ConfigOption, InputFile, PatientProgress, settings_from, stdout
from campaign_express.config import Settings

if TYPE_CHECKING:
    from campaign_express.adapters.catalog_store import CatalogStore

PUBLISH_ATTEMPTS = 100

app = typer.Typer(
    help="Campaigns: check a file, publish it to every agent, show what is published.", no_args_is_help=True
)


@app.command()
def validate(file: InputFile, config: ConfigOption = None) -> None:
    """Check a campaign FILE (YAML or JSON); every problem is reported by campaign."""
    catalog = _read(settings_from(config), file)
    typer.echo(f"{file}: {_counted(catalog)}, no problem found")


@app.command()
def publish(file: InputFile, config: ConfigOption = None) -> None:
    """Make FILE the catalogue of every agent, live within 2 seconds. Nothing changes if it has a problem."""
    from campaign_express.bidding.changes import catalog_changes

    settings = settings_from(config)
    catalog = _read(settings, file)
    with _store(settings) as store:
        before, version = _publish(store, catalog)
        typer.echo(f"published version {version}: {_counted(catalog)}")
        after = msgspec.structs.replace(catalog, version=version)
        log_changes(settings, catalog_changes(before, after, time.time_ns() // 1_000_000, user()))


@app.command()
def show(
    config: ConfigOption = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print it whole, as a file that `publish` takes.")] = False,
) -> None:
    """Show the published catalogue, or the file that stands in for it while none is published."""
    from campaign_express.bidding.catalog import dump_catalog

    catalog, published = current(settings_from(config))
    if yaml:
        typer.echo(dump_catalog(catalog), nl=False)
        return
    origin = f"published version {catalog.version}" if published else "nothing is published; agents bid with the file's"
    stdout.print(_table(catalog, f"{origin}: {_counted(catalog)}"))


def current(settings: Settings) -> tuple[Catalog, bool]:
    """The published catalogue and True, or the one of the file that stands in for it and False."""
    from campaign_express import bootstrap

    with _store(settings) as store:
        catalog = store.latest()
    if catalog is not None:
        return catalog, True
    return bootstrap.read_catalog(settings, bootstrap.read_exchanges(settings)), False


def _publish(store: CatalogStore, catalog: Catalog) -> tuple[Catalog | None, int]:
    """Publish; returns the very catalogue that was replaced (None: there was none, or none that decodes), and the
    version."""
    from campaign_express.errors import CatalogError

    for _ in range(PUBLISH_ATTEMPTS):
        base = store.version()
        try:
            before = store.latest()
        except CatalogError:
            before = None
        try:
            if before is None or before.version == base:
                return before, store.publish(catalog, base)
        except CatalogError:  # another one was faster: what we replace is not what we have read
            continue
    return None, store.publish(catalog)


def _read(settings: Settings, file: Path) -> Catalog:
    from campaign_express import bootstrap
    from campaign_express.bidding.catalog import load_catalog

    def checking(done: int, total: int) -> None:
        if done == 1:
            progress.then("", total)
        progress.to(done, f"checked {done:,} of {total:,} campaigns")

    with PatientProgress(f"reading {file.name}", 1.0) as progress:
        return load_catalog(file, bootstrap.read_exchanges(settings), progress.to, checking)


@contextmanager
def _store(settings: Settings) -> Iterator[CatalogStore]:
    """The store in Redis. An embedded server that is not up is started, and ends with the command."""
    from campaign_express.adapters.catalog_store import CatalogStore

    store = CatalogStore(embedded.ensure(settings, only=("redis_url",)).redis_url)
    try:
        yield store
    finally:
        store.close()
        embedded.release(settings)


def _counted(catalog: Catalog) -> str:
    creatives = sum(len(campaign.creatives) for campaign in catalog.campaigns)
    return f"{len(catalog.campaigns):,} campaigns, {len(catalog.advertisers):,} advertisers, {creatives:,} creatives"


def _table(catalog: Catalog, title: str) -> Table:
    table = Table("campaign", "advertiser", "goal", title=title, title_justify="left")
    table.add_column("bid, USD", justify="right")
    table.add_column("max CPM, USD", justify="right")
    for heading in ("flight", "status", "creatives"):
        table.add_column(heading)
    for campaign in catalog.campaigns:
        media = Counter(creative.media.value for creative in campaign.creatives)
        start, end = campaign.flight.start, campaign.flight.end
        table.add_row(
            campaign.id,
            campaign.advertiser,
            campaign.goal.type.value,
            f"{micros_to_price(campaign.goal.bid):.2f}",
            f"{micros_to_price(campaign.max_bid):.2f}",
            f"{start:%Y-%m-%d} to {end:%Y-%m-%d}" if end else f"from {start:%Y-%m-%d}",
            campaign.status.value,
            ", ".join(f"{count} {kind}" for kind, count in media.items()),
        )
    return table
