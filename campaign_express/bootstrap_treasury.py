"""The treasury's part of bootstrap: settings in, a treasury with its adapters out. Imports no Ray."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from campaign_express.adapters.catalog_store import CatalogStore
from campaign_express.adapters.changes import ChangeLog
from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.event_log import EventLog
from campaign_express.adapters.event_queue import EventQueue
from campaign_express.adapters.leader import LeaderLock
from campaign_express.adapters.ledger import LATEST_S, Ledger
from campaign_express.adapters.pseudonym_keys import PseudonymKeeper
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.bidding.budget import Accounts, settle_s
from campaign_express.bidding.frequency import CountedEntities
from campaign_express.bidding.model import Catalog
from campaign_express.bootstrap_pacing import Pacemaker, build_pacemaker
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import CampaignExpressError, ConfigError
from campaign_express.events import STREAM
from campaign_express.families import Family
from campaign_express.packaged import read_catalog, read_exchanges
from campaign_express.streams import stream_terms
from campaign_express.treasury.auditor import Auditor
from campaign_express.treasury.breaker import Velocity, VelocityBreaker
from campaign_express.treasury.consumer import CALM_S, Consumer
from campaign_express.treasury.loops import Health, Loop, Worker
from campaign_express.treasury.metrics import families
from campaign_express.treasury.notify import Watch
from campaign_express.treasury.notify_sender import Sender
from campaign_express.treasury.reconcile import Reconciler
from campaign_express.treasury.service import Treasury
from campaign_express.treasury.sweeper import Sweeper


@dataclass(frozen=True, slots=True)
class Parts:
    """What a treasury consists of."""

    treasury: Treasury
    ledger: Ledger
    consumer: Consumer
    sweeper: Sweeper
    reconciler: Reconciler
    auditor: Auditor
    breaker: VelocityBreaker
    pacemaker: Pacemaker
    healths: Mapping[str, Health]

    async def start(self) -> None:
        await self.treasury.start()

    async def stop(self) -> None:
        await self.treasury.stop()

    def families(self) -> list[Family]:
        """Everything that it counts."""
        tallies, findings = self.consumer.tallies, self.auditor.findings
        return families(
            {
                "treasury_leader": self.treasury.leads,
                "treasury_terms": self.treasury.terms,
                "treasury_events": tallies.outcomes,
                "treasury_committed_usd": tallies.committed_micros / 1e6,
                "treasury_dead_events": tallies.buried,
                "treasury_stuck_events": len(tallies.stuck),
                "treasury_lag_events": tallies.lag_events,
                "treasury_lag_seconds": tallies.lag_s,
                "treasury_swept_leases": self.sweeper.leases,
                "treasury_swept_usd": self.sweeper.micros / 1e6,
                "treasury_reconciled_ledgers": self.reconciler.reconciled,
                "treasury_restored_events": self.reconciler.restored,
                "treasury_lost_ledgers": len(self.reconciler.lost),
                "treasury_audits": findings.audits,
                "treasury_audit_comparisons": findings.comparisons,
                "treasury_audit_findings": {
                    "invariant": len(findings.broken),
                    "overspent": len(findings.overspent),
                    "event-log": len(findings.different),
                },
                "treasury_breaker_trips": self.breaker.trips,
                "treasury_paced_campaigns": self.pacemaker.pacing.places(),
                "treasury_notifications": self.pacemaker.sender.outcomes,
                "treasury_failures": {name: health.failures for name, health in self.healths.items()},
            }
        )

    def status(self) -> dict[str, Any]:
        """For an operator: who leads, how each part fares, and what there is to worry about."""
        findings = self.auditor.findings
        return {
            **self.treasury.status(),
            "lag_events": self.consumer.tallies.lag_events,
            "lag_s": round(self.consumer.tallies.lag_s, 1),
            "stuck_events": len(self.consumer.tallies.stuck),
            "lost_ledgers": sorted(self.reconciler.lost),
            "pacing": self.pacemaker.pacing.furthest(),
            "audit": {
                "invariant": findings.broken,
                "overspent": findings.overspent,
                "event_log": findings.different,
                "left_out": findings.left_out,
            },
        }


def build_treasury(settings: Settings, catalog: Catalog | None = None, calm_s: float = CALM_S) -> Parts:
    """A treasury of ready settings (`redis_url` and `nats_url` filled in). Blocks for a moment; starts nothing.

    `catalog`: where none is published; default that of the settings' file. `calm_s`: see `consumer`. Raises ConfigError
    and CatalogError.
    """
    if not settings.redis_url or not settings.nats_url:
        raise ConfigError("Settings that cannot be used:", ["redis_url, nats_url: the treasury needs both"])
    clock = parse_clock(settings.simulated_clock)
    exchanges = read_exchanges(settings)
    exps = {exchange.name: exchange.exp for exchange in exchanges.exchanges}
    catalogs = CatalogStore(settings.redis_url)
    known, current = _current(catalogs, settings, catalog)
    terms = stream_terms(settings)[STREAM]
    healths: dict[str, Health] = {name: Health() for name in (Consumer.name, Auditor.name, Watch.name, Sender.name)}
    control = ControlStore(settings.redis_url)
    event_log = EventLog(settings.nats_url)
    ledger = Ledger(
        settings.redis_url,
        Accounts(current, settings.budget_headroom),
        settle_s=settle_s(exps, settings.notice_lateness_s),
        replicas=settings.ledger_replicas,
        remember_s=settings.notice_url_life_s + LATEST_S,
    )
    pseudonyms = PseudonymKeeper.from_settings(settings, history=True)
    pseudonyms.start()
    counts = UserCounts.from_settings(
        settings, CountedEntities(current), max(exps.values()), settings.ledger_replicas, pseudonyms.person
    )
    velocity = Velocity(settings.breaker_factor, settings.breaker_window_s * 1000, settings.breaker_floor_micros)
    change_log = ChangeLog.from_settings(settings, "campaign-express treasury changes")
    breaker = VelocityBreaker(velocity, control, clock, change_log.publish)
    breaker.follow(current)
    queue = EventQueue(settings.nats_url, terms, name="campaign-express treasury")
    lock = LeaderLock(settings.redis_url, f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}")
    in_force = [current]
    pacemaker = build_pacemaker(
        settings,
        ledger=ledger,
        control=control,
        catalog=lambda: in_force[0],
        exchanges=exchanges,
        epoch=lambda: lock.epoch,
        clock=clock,
        terms=terms,
        healths=healths,
    )
    listeners = [breaker.take, pacemaker.pacing.heard]
    consumer = Consumer(queue, counts, ledger, clock, healths[Consumer.name], listeners, calm_s)
    sweeper = Sweeper(ledger, lambda: consumer.applied_ms)
    reconciler = Reconciler(
        ledger,
        event_log,
        clock,
        lambda: sweeper.swept_ms,
        lease_s=settings.lease_s,
        replicas=settings.ledger_replicas,
    )
    auditor = Auditor(
        ledger,
        event_log,
        consumer,
        clock,
        healths[Auditor.name],
        period_s=settings.audit_period_s,
        window_s=settings.audit_window_s,
    )
    loops: Sequence[Loop] = (reconciler, sweeper, breaker, pacemaker.pacing)
    workers: Sequence[Worker] = (consumer, auditor, pacemaker.watch, pacemaker.sender)
    stop = threading.Event()

    def follow(published: Catalog) -> None:
        ledger.follow(Accounts(published, settings.budget_headroom))
        counts.counted = CountedEntities(published)
        breaker.follow(published)
        in_force[0] = published

    def close() -> None:
        stop.set()
        watching.join()
        pacemaker.close()
        for part in (consumer, auditor, counts, pseudonyms, ledger, control, catalogs, lock):
            part.close()

    treasury = Treasury(lock, loops, workers, healths, close)
    watching = catalogs.watch(follow, stop, known)
    return Parts(treasury, ledger, consumer, sweeper, reconciler, auditor, breaker, pacemaker, healths)


def _current(store: CatalogStore, settings: Settings, catalog: Catalog | None) -> tuple[int, Catalog]:
    """(version, catalogue): the published one, else, as version 0, the one of the file."""
    try:
        published = store.latest()
    except CampaignExpressError:
        published = None  # Redis is away, or it does not decode: `watch` says so
    if published is not None:
        return published.version, published
    return 0, catalog if catalog is not None else read_catalog(settings, read_exchanges(settings))
