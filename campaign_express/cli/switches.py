"""`stop`, `resume`, `switches`: what must not bid, told to every agent within a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.bidding.changes import switch_change
from campaign_express.cli.changes import log_changes, user
from campaign_express.cli.common import ConfigOption, settings_from, stderr, stdout
from campaign_express.config import Settings
from campaign_express.control import ALL, Stop, Switched, Switches, stops, with_stop, without_stop
from campaign_express.errors import CampaignExpressError

if TYPE_CHECKING:
    from campaign_express.adapters.control import ControlStore

CampaignOption = Annotated[str, typer.Option("--campaign", help="Id of a campaign.")]
AdvertiserOption = Annotated[str, typer.Option("--advertiser", help="Id of an advertiser: all of its campaigns.")]
ExchangeOption = Annotated[str, typer.Option("--exchange", help="Name of an exchange: all of its requests.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everything, everywhere.")]


def stop(
    reason: Annotated[str, typer.Option("--reason", help="Why; shown to whoever asks.")],
    campaign: CampaignOption = "",
    advertiser: AdvertiserOption = "",
    exchange: ExchangeOption = "",
    everything: AllOption = False,
    config: ConfigOption = None,
) -> None:
    """Stop bidding for a campaign, an advertiser, an exchange or all, in every agent within a second."""
    what = _chosen(campaign, advertiser, exchange, everything)
    off = Stop(reason=reason, by=f"operator {user()}", at_ms=time.time_ns() // 1_000_000)
    with _store(settings_from(config)) as (settings, store):
        in_force = stops(store.update(lambda switches: with_stop(switches, what, off)))[what]
        stopped = f"stopped {_words(what)}"
        typer.echo(stopped if in_force == off else f"{_words(what)} was stopped before: {_why(in_force)}")
        if in_force == off:
            log_changes(settings, [switch_change(what, None, off, off.at_ms, user())])
        try:
            known = _exists(settings, what)
        except CampaignExpressError as error:
            stderr.print(f"warning: whether there is such a {what.kind} is not known: {error}", markup=False)
        else:
            if not known:
                stderr.print(f"warning: the catalogue and the exchanges name no {what.kind} {what.name}")


def resume(
    campaign: CampaignOption = "",
    advertiser: AdvertiserOption = "",
    exchange: ExchangeOption = "",
    everything: AllOption = False,
    config: ConfigOption = None,
) -> None:
    """Take one `stop` back. Others stay: a campaign of a stopped advertiser does not bid."""
    what = _chosen(campaign, advertiser, exchange, everything)
    was: Stop | None = None

    def back(switches: Switches) -> Switches:
        nonlocal was
        was = stops(switches).get(what)
        return without_stop(switches, what)

    with _store(settings_from(config)) as (settings, store):
        store.update(back)
        typer.echo(f"resumed {_words(what)}" if was is not None else f"{_words(what)} was not stopped")
        if was is not None:
            log_changes(settings, [switch_change(what, was, None, time.time_ns() // 1_000_000, user())])


def switches(config: ConfigOption = None) -> None:
    """List what is stopped, since when, by whom and why."""
    with _store(settings_from(config)) as (_, store):
        off = stops(store.switches())
    if not off:
        typer.echo("nothing is stopped")
        return
    table = Table("stopped", "since", "by", "reason")
    for what, one in sorted(off.items()):
        table.add_row(_words(what), _when(one), one.by, one.reason)
    stdout.print(table)


def _chosen(campaign: str, advertiser: str, exchange: str, everything: bool) -> Switched:
    named = [("campaign", campaign), ("advertiser", advertiser), ("exchange", exchange)]
    given = [Switched(kind, name) for kind, name in named if name] + ([ALL] if everything else [])
    if len(given) != 1:
        raise typer.BadParameter("give one of --campaign, --advertiser, --exchange and --all")
    return given[0]


def _exists(settings: Settings, what: Switched) -> bool:
    """Whether the published catalogue (or the file in its place) or the exchanges know it."""
    from campaign_express.adapters.catalog_store import CatalogStore
    from campaign_express.packaged import read_catalog, read_exchanges

    if what == ALL:
        return True
    exchanges = read_exchanges(settings)
    if what.kind == "exchange":
        return what.name in {exchange.name for exchange in exchanges.exchanges}
    store = CatalogStore(settings.redis_url)
    try:
        catalog = store.latest() or read_catalog(settings, exchanges)
    finally:
        store.close()
    known = catalog.campaigns if what.kind == "campaign" else catalog.advertisers
    return what.name in {one.id for one in known}


@contextmanager
def _store(settings: Settings) -> Iterator[tuple[Settings, ControlStore]]:
    """The store, and settings that say where it is. An embedded server that is started here ends with the command."""
    from campaign_express.adapters.control import ControlStore

    ready = embedded.ensure(settings, only=("redis_url",))
    store = ControlStore(ready.redis_url)
    try:
        yield ready, store
    finally:
        store.close()
        embedded.release(settings)


def _words(what: Switched) -> str:
    return "everything" if what == ALL else f"{what.kind} {what.name}"


def _why(one: Stop) -> str:
    return f"{_when(one)} by {one.by or 'somebody'}: {one.reason}"


def _when(one: Stop) -> str:
    return f"{datetime.fromtimestamp(one.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
