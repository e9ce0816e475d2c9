"""Adapters are constructed and put together here: settings in, a ready bidder out. Imports no Ray."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from campaign_express import compiled
from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.enrichment import LocalEnricher
from campaign_express.adapters.leases import LeaseKeeper
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.onnx import OnnxScorer, parse_options
from campaign_express.adapters.pseudonym_keys import PseudonymKeeper
from campaign_express.adapters.supply import SupplyMeter
from campaign_express.adapters.users import RedisUsers
from campaign_express.bidder import Bidder, State
from campaign_express.bidding.budget import Accounts, LeaseClock, settle_s
from campaign_express.bidding.currency import load_rates
from campaign_express.bidding.model import Catalog
from campaign_express.bidding.privacy import PrivacyPolicy, gdpr_countries
from campaign_express.bidding.purse import Purse
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.control import Switches
from campaign_express.decision_log import DecisionLog, Shares
from campaign_express.errors import CampaignExpressError
from campaign_express.frames import StateCounts
from campaign_express.openrtb.notices import NoticeSigner, parse_keys
from campaign_express.packaged import packaged, read_catalog, read_exchanges

__all__ = ["build_agent", "build_bidder", "read_catalog", "read_exchanges"]

log = logging.getLogger(__name__)

USERS_WAIT_S = 2.0  # for the connections of an agent that starts; it goes on without


def build_agent(settings: Settings, catalog: Catalog | None = None) -> Bidder:
    """A warm bidder that keeps budgets, caps, switches and paces in the Redis of `settings`, if it names one.

    `close` it in the end. Raises as `build_bidder`.
    """
    if not settings.redis_url:
        return build_bidder(settings, catalog)
    exchanges = read_exchanges(settings)
    catalog = catalog if catalog is not None else read_catalog(settings, exchanges)
    exps = {exchange.name: exchange.exp for exchange in exchanges.exchanges}
    clock, leases = parse_clock(settings.simulated_clock), LeaseClock(settings.lease_s)
    lateness_ms = settings.notice_lateness_s * 1000
    accounts = Accounts(catalog, settings.budget_headroom)
    ledger = Ledger(
        settings.redis_url,
        accounts,
        settle_s=settle_s(exps, settings.notice_lateness_s),
        replicas=settings.ledger_replicas,
    )
    purse = Purse(accounts, leases)
    keeper = LeaseKeeper(ledger, purse, catalog, leases, clock, headroom=settings.budget_headroom)

    def users(wait_s: float) -> RedisUsers:
        return RedisUsers(
            settings.redis_url,
            hold_ms=max(exps.values()) * 1000 + lateness_ms,
            lateness_ms=lateness_ms,
            profile_ttl_s=settings.profile_ttl_days * 86_400,
            cache_entries=settings.profile_cache_entries,
            cache_bytes=settings.profile_cache_bytes,
            cache_ttl_s=settings.profile_cache_s,
            wait_s=wait_s,
        )

    persons, explained, stop, control = (
        users(USERS_WAIT_S),
        users(0.0),
        threading.Event(),
        ControlStore(settings.redis_url),
    )

    supply = SupplyMeter(settings.redis_url)
    pseudonyms: PseudonymKeeper | None = None
    log_of: Callable[[str], DecisionLog] | None = None
    if settings.decision_events and settings.nats_url:
        pseudonyms = PseudonymKeeper.from_settings(settings)
        pseudonyms.start()
        shares = Shares(settings.decision_share, settings.no_bid_share, settings.request_share)
        log_of = functools.partial(DecisionLog, shares, pseudonyms.pseudonyms.of)

    def close() -> None:
        stop.set()
        if pseudonyms is not None:
            pseudonyms.close()
        keeper.stop()
        supply.close()
        persons.close()
        explained.close()
        ledger.close()

    def counts() -> StateCounts:
        return StateCounts(
            *(persons.fetches, persons.unknown, persons.timeouts, persons.round_trips),
            *(persons.l1_hits, persons.l1_misses, keeper.granted_micros, keeper.failures, persons.breaker_state),
        )

    timeout_s = settings.state_timeout_ms / 1000
    state = State(
        persons, purse, keeper.replace_catalog, lateness_ms, timeout_s, explained, supply.count, counts, close
    )
    bidder = build_bidder(settings, catalog, state, log_of)

    def on_switches(switches: Switches) -> None:
        bidder.tell_switches(switches)
        keeper.tell_switches(switches)

    # Before its first bid, or an agent that starts anew would bid for a moment on what is stopped, and on everything.
    try:
        on_switches(control.switches())
        bidder.tell_paces(control.paces())
    except CampaignExpressError as error:
        log.warning("what is stopped, and how campaigns are paced, is not known yet", extra={"reason": str(error)})
    control.watch(on_switches, bidder.tell_paces, stop)
    keeper.start()
    supply.start()
    return bidder


def build_bidder(
    settings: Settings,
    catalog: Catalog | None = None,
    state: State | None = None,
    log_of: Callable[[str], DecisionLog] | None = None,
) -> Bidder:
    """A warm bidder. `catalog`: what to bid with instead of the file (a published catalogue, say). `state`: see Bidder.
    `log_of`: makes the log of decisions by the model's version.

    Raises ConfigError, CatalogError or ModelError, each naming the file and place.
    """
    compiled.check()
    exchanges = read_exchanges(settings)
    scorer = OnnxScorer(
        Path(settings.model_file) if settings.model_file else packaged("models/seed.onnx"),
        settings.accelerator,
        settings.require_accelerator,
        provider_options=parse_options(settings.npu_options),
    )
    bidder = Bidder(
        catalog=catalog if catalog is not None else read_catalog(settings, exchanges),
        exchanges={exchange.name: exchange for exchange in exchanges.exchanges},
        default_exchange=exchanges.default,
        rates=load_rates(Path(settings.rates_file) if settings.rates_file else None),
        scorer=scorer,
        enricher=LocalEnricher(
            geoip_file=settings.geoip_file,
            data_center_file=settings.data_center_file,
            crawler_file=settings.crawler_file,
            sellers_file=settings.sellers_file,
        ),
        privacy=PrivacyPolicy(settings.tcf_vendor_id, gdpr_countries(settings.gdpr_when_absent)),
        signer=NoticeSigner(parse_keys(settings.notice_keys), settings.notice_base_url),
        max_candidates=settings.max_candidates,
        max_decompressed_bytes=settings.max_decompressed_bytes,
        tmax_reserve_ms=settings.tmax_reserve_ms,
        state=state,
        log=log_of(scorer.version) if log_of is not None else None,
        trace_share=settings.trace_sample if settings.otlp_endpoint else 0.0,
    )
    bidder.warm_up()
    return bidder
