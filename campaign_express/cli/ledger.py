"""`ledger show | audit | rebuild`: what was spent and is reserved, whether that is right, and how to get it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.bidding.money import micros_to_price
from campaign_express.cli.common import ConfigOption, PatientProgress, settings_from, stderr, stdout
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError

if TYPE_CHECKING:
    from campaign_express.adapters.event_log import EventLog
    from campaign_express.adapters.ledger import Ledger
    from campaign_express.adapters.ledger_terms import Fence, Spent
    from campaign_express.bidding.budget import Limits

AUDIT_ATTEMPTS = 4  # events that are under way make a difference for a moment
AUDIT_PAUSE_S = 1.5

app = typer.Typer(help="Money: what is spent, whether the books are right, rebuilding them.", no_args_is_help=True)

Chosen = Annotated[
    list[str] | None, typer.Argument(metavar="[ADVERTISER]...", show_default="all of the catalogue", help="Ids.")
]


class BooksAreWrong(CampaignExpressError):
    """An audit has found something."""


@app.command()
def show(advertisers: Chosen = None, config: ConfigOption = None) -> None:
    """Show budgets, what was spent of them, and what is reserved for bids and lent to agents, USD."""
    settings = settings_from(config)
    now_ms = parse_clock(settings.simulated_clock).now_ms()
    with open_ledger(settings) as ledger:
        names = _chosen(ledger, advertisers)
        campaigns, accounts = ledger.spent_of_all(now_ms)
        fences = ledger.fences(names)
    for name in names:
        table = Table("campaign", title=f"{name}: {_state(fences[name], now_ms)}", title_justify="left")
        for heading in ("hour", "of", "day", "of", "total", "of", "reserved"):
            table.add_column(heading, justify="right")
        of_account = ledger.accounts.account_limits(name)
        table.add_row("(account)", *_row(accounts[name], of_account), end_section=True)
        for campaign in ledger.accounts.of_advertiser[name]:
            table.add_row(campaign, *_row(campaigns[campaign], ledger.accounts.campaigns[campaign].limits))
        stdout.print(table)


@app.command()
def audit(advertisers: Chosen = None, config: ConfigOption = None) -> None:
    """Check that the books add up, that no budget is overspent, and that they are what the event log says.

    Exit code 1 where they are not. Reads the whole event log.
    """
    settings = settings_from(config)
    with open_ledger(settings, "nats_url") as ledger, open_log(settings) as log:
        names = _chosen(ledger, advertisers)
        wrong: dict[str, list[str]] = {name: [""] for name in names}
        for attempt in range(AUDIT_ATTEMPTS):
            if attempt:
                time.sleep(AUDIT_PAUSE_S)
            now_ms = parse_clock(settings.simulated_clock).now_ms()
            wrong = {name: lines for name in wrong if (lines := _wrong(ledger, log, name, now_ms))}
            if not wrong:
                break
        complete = log.whole()
    for name, lines in wrong.items():
        for line in lines:
            typer.echo(f"{name}: {line}")
    if not complete:
        stderr.print("warning: the event log has lost its beginning: totals from before it cannot be compared")
    if wrong:
        raise BooksAreWrong(f"the books of {', '.join(wrong)} are wrong")
    typer.echo(f"the books of {len(names):,} advertisers are right")


@app.command()
def rebuild(
    advertisers: Annotated[
        list[str] | None, typer.Argument(metavar="[ADVERTISER]...", show_default=False, help="Ids, or --all.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All advertisers of the catalogue.")] = False,
    nothing_outstanding: Annotated[
        bool,
        typer.Option("--nothing-outstanding", help="Grant at once: no bid of before can cost anything any more."),
    ] = False,
    incomplete: Annotated[
        bool, typer.Option("--incomplete-log", help="Rebuild though the event log has lost its beginning.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Empty the ledgers of these advertisers and fill them from the event log. Nothing is granted meanwhile.

    Bids and leases of before are not known any more, so nothing is granted until none of them can cost money: the
    longest `exp` of the exchanges, `notice_lateness_s` and two leases from now.
    """
    if bool(advertisers) == everyone:
        raise typer.BadParameter("name advertisers, or say --all")
    from campaign_express.adapters.rebuild import rebuild as rebuild_one

    settings = settings_from(config)
    now_ms = parse_clock(settings.simulated_clock).now_ms()
    with open_ledger(settings, "nats_url") as ledger, open_log(settings) as log:
        if not incomplete and not log.whole():
            raise CampaignExpressError(
                "the event log has lost its beginning: what was spent before it would be forgotten (--incomplete-log)"
            )
        names = _chosen(ledger, advertisers)
        with PatientProgress("rebuilding ledgers", len(names)) as progress:
            for done, name in enumerate(names):
                found = rebuild_one(ledger, log, name, now_ms, settings.lease_s, nothing_outstanding)
                opens = f"grants from {_moment(found.opens_ms)}" if found.opens_ms else "grants now"
                typer.echo(f"{name}: {found.events:,} events, {found.changed:,} of them counted; {opens}")
                progress.to(done + 1)
    if log.unreadable:
        stderr.print(f"warning: {log.unreadable:,} messages of the event log are no events")


@contextmanager
def open_ledger(settings: Settings, *more: str) -> Iterator[Ledger]:
    """The ledger by the catalogue in force. Embedded servers that are not up are started, and end with the command."""
    from campaign_express.adapters.ledger import LATEST_S, Ledger
    from campaign_express.bidding.budget import Accounts, settle_s
    from campaign_express.cli.catalog import current
    from campaign_express.packaged import read_exchanges

    exps = {exchange.name: exchange.exp for exchange in read_exchanges(settings).exchanges}
    accounts = Accounts(current(settings)[0], settings.budget_headroom)
    try:
        url = embedded.ensure(settings, only=("redis_url", *more)).redis_url
        ledger = Ledger(
            url,
            accounts,
            settle_s=settle_s(exps, settings.notice_lateness_s),
            replicas=settings.ledger_replicas,
            remember_s=settings.notice_url_life_s + LATEST_S,
        )
        try:
            yield ledger
        finally:
            ledger.close()
    finally:
        embedded.release(settings)


@contextmanager
def open_log(settings: Settings) -> Iterator[EventLog]:
    from campaign_express.adapters.event_log import EventLog

    yield EventLog(embedded.ensure(settings, only=("nats_url",)).nats_url)


def _wrong(ledger: Ledger, log: EventLog, advertiser: str, now_ms: int) -> list[str]:
    from campaign_express.bidding.books import broken_invariants, differences
    from campaign_express.bidding.settlement import Tally

    tally = Tally(ledger.accounts)
    for event in log.read(advertiser):
        tally.add(event)
    books = ledger.books(advertiser)
    return [*broken_invariants(books, ledger.accounts, now_ms), *differences(books, tally)]


def _chosen(ledger: Ledger, advertisers: list[str] | None) -> list[str]:
    known = ledger.accounts.of_advertiser
    for name in advertisers or ():
        if name not in known:
            raise typer.BadParameter(f"{name} is no advertiser of the catalogue")
    return list(advertisers or known)


def _state(fence: Fence, now_ms: int) -> str:
    if fence.rebuilding:
        return "is being rebuilt, grants nothing"
    if not fence.whole:
        return "waits for the treasury to compare it with the event log, grants nothing"
    if fence.opens_ms > now_ms:
        return f"was rebuilt, grants from {_moment(fence.opens_ms)}"
    return "open"


def _row(spent: Spent, limits: Limits) -> list[str]:
    cells = []
    for micros, limit in zip(
        (spent.this_hour, spent.today, spent.total), (limits.hourly, limits.daily, limits.total), strict=True
    ):
        cells += [_usd(micros), "-" if limit is None else _usd(limit)]
    return [*cells, _usd(spent.reserved)]


def _usd(micros: int) -> str:
    return f"{micros_to_price(micros):,.2f}"


def _moment(wall_ms: int) -> str:
    return f"{datetime.fromtimestamp(wall_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
