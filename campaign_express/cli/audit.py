"""`audit`: the ledger against the event log against the tables and their sums, to the micro."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from campaign_express.cli.common import ConfigOption, PatientProgress, open_tables, settings_from, stderr
from campaign_express.cli.ledger import AUDIT_ATTEMPTS, AUDIT_PAUSE_S, open_ledger, open_log
from campaign_express.errors import CampaignExpressError

if TYPE_CHECKING:
    from campaign_express.adapters.event_log import EventLog
    from campaign_express.adapters.ledger import Ledger
    from campaign_express.adapters.stream_log import Extent
    from campaign_express.analytics.audit import Difference
    from campaign_express.ports import Warehouse

KINDS = frozenset({"win", "billing", "impression", "loss", "click", "conversion"})


class PlacesDiffer(CampaignExpressError):
    """An audit has found something."""


def audit(
    advertisers: Annotated[
        list[str] | None, typer.Argument(metavar="[ADVERTISER]...", show_default="all", help="Ids.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Compare ledger, event log, tables and sums, by campaign and to the micro. Prints every difference.

    Exit code 1 where there is one. Reads the whole event log.
    """
    settings = settings_from(config)
    with open_tables(settings) as warehouse, open_ledger(settings, "nats_url") as ledger, open_log(settings) as log:
        extent = log.extent()
        auditor = Auditor(warehouse, ledger, log, extent)
        names = set(advertisers or auditor.everybody())
        found = auditor.settled(names)
    for difference in found:
        typer.echo(str(difference))
    if auditor.moving:
        days = ", ".join(map(str, auditor.moving))
        stderr.print(f"sums not compared, since they are being made: {days}", soft_wrap=True)
    if auditor.waiting:
        stderr.print(f"warning: {auditor.waiting:,} minutes have waited long to be summed: does the pipeline run?")
    if extent is not None and not extent.whole:
        stderr.print(
            f"warning: the event log has lost its beginning: compared is from {auditor.since} (UTC) on, and of the "
            "ledger days behind that"
        )
    if found:
        raise PlacesDiffer(f"{len(found):,} differences")
    typer.echo(f"ledger, event log, tables and sums agree on {len(names):,} advertisers and {auditor.days:,} days")


@dataclass
class Auditor:
    """Compares all places. Of the last comparison are `days`, `waiting` (minutes to be summed) and `moving` (days whose
    sums were not compared, since they are being made)."""

    warehouse: Warehouse
    ledger: Ledger
    log: EventLog
    extent: Extent | None
    days: int = 0
    waiting: int = 0
    moving: list[date] = field(default_factory=list)

    @property
    def since(self) -> date | None:
        """First day that the log holds whole, None where it holds all."""
        if self.extent is None or self.extent.whole:
            return None
        return datetime.fromtimestamp(self.extent.first_ms / 1000, UTC).date() + timedelta(days=1)

    def everybody(self) -> set[str]:
        """All advertisers that any place knows. "" where it has conversions of nobody's campaign is one, too."""
        stored = {str(name) for (name,) in self.warehouse.query("SELECT DISTINCT advertiser FROM events").rows}
        return {*self.ledger.accounts.of_advertiser, *self.log.advertisers(KINDS), *stored}

    def settled(self, names: Collection[str]) -> list[Difference]:
        """Differences that are still there after a few attempts."""
        found: list[Difference] = []
        for attempt in range(AUDIT_ATTEMPTS):
            if attempt:
                time.sleep(AUDIT_PAUSE_S)
            found = self.compare(names)
            if not found:
                break
        return found

    def compare(self, names: Collection[str]) -> list[Difference]:
        """All differences of this moment. Log and tables are compared up to one sequence of the stream."""
        from campaign_express.analytics import audit as places

        extent = self.log.extent()
        last = extent.last if extent is not None else 0
        since = self.since
        days = [day for day in places.days_of(self.warehouse, "events") if since is None or day >= since]
        self.days = len(days)
        tables = places.from_tables(self.warehouse, days, last)
        since_ms = 0 if since is None else places.midnight(since) * 1000
        behind = "" if since is None else f"d{since:%Y%m%d}"
        found: list[Difference] = []
        with PatientProgress("reading the event log", len(names)) as progress:
            for done, name in enumerate(sorted(names)):
                log = places.LogFigures(self.ledger.accounts, since_ms)
                for event in self.log.read(name, last=last):
                    log.add(event)
                of_tables = {key: figures for key, figures in tables.items() if key[0] == name}
                found += places.differences({"log": log.figures, "tables": of_tables}, places.OF_EVENTS)
                found += places.ledger_differences(
                    *(self.ledger.books(name), log, name),
                    of_tables if since is None else None,
                    since is None,
                    behind,
                )
                progress.to(done + 1)
        summed = sorted({*days, *places.days_of(self.warehouse, "decisions")})
        of_sums, self.moving = places.settled_sums_differences(self.warehouse, summed, int(time.time()))
        found += [difference for difference in of_sums if difference.advertiser in names or difference.advertiser == ""]
        self.waiting = places.wait_to_be_summed(self.warehouse)
        return found
