"""The gateway's part of bootstrap: settings in, a notices desk with its adapters out. Imports no Ray.

Apart from `bootstrap`, because agents need none of it and would hold the clients of NATS and Redis in memory.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from campaign_express.adapters import redis_async
from campaign_express.adapters.decision_sink import DecisionSink
from campaign_express.adapters.identities import RedisIdentities
from campaign_express.adapters.money_sink import JetStreamSink
from campaign_express.adapters.pseudonym_keys import PseudonymKeeper
from campaign_express.adapters.spool import Spool
from campaign_express.adapters.touches import RedisTouches
from campaign_express.bidding.currency import load_rates
from campaign_express.bidding.model import Exchange
from campaign_express.bidding.privacy import PrivacyPolicy, assess_query, gdpr_countries
from campaign_express.clock import parse_clock
from campaign_express.config import Settings
from campaign_express.errors import ConfigError
from campaign_express.events import DECISIONS, STREAM
from campaign_express.gateway.clearing import PriceReader, PriceTerms, parse_price_keys
from campaign_express.gateway.conversions import Conversions, Windows
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.notices import NoticeDesk
from campaign_express.gateway.sync import SyncTerms, UserSync
from campaign_express.openrtb.notices import NoticeSigner, parse_keys
from campaign_express.openrtb.postbacks import PostbackTokens
from campaign_express.packaged import read_exchanges
from campaign_express.streams import stream_terms
from campaign_express.tracing import NoticeTrace

if TYPE_CHECKING:
    from campaign_express.adapters.otlp import Spans

log = logging.getLogger(__name__)

_KINDS = {"nurl": "win", "burl": "billing", "impression": "impression"}


@dataclass(frozen=True, slots=True)
class NoticeService:
    """The desk and what it stands on, started and ended in order."""

    desk: NoticeDesk
    sink: JetStreamSink
    decisions: DecisionSink
    pseudonyms: PseudonymKeeper
    touches: RedisTouches
    identities: RedisIdentities
    meters: Meters

    async def start(self) -> None:
        """Returns when events can be made durable. Raises Unavailable when not even the spool can be opened."""
        await self.sink.start()
        self.decisions.start()

    async def close(self) -> None:
        """After the listeners: nothing is lost, and what JetStream did not take stays in the spool."""
        await self.desk.close()
        await self.touches.close()
        await self.identities.close()
        await self.sink.close()
        await self.decisions.close()
        self.pseudonyms.close()

    def refresh(self) -> None:
        """Bring the cell's meters up to date."""
        gauges, counters = self.meters.gauges, self.meters.counters
        gauges.broker_up = self.sink.up
        gauges.spool_bytes = self.sink.spool.bytes
        counters.spooled = self.sink.spooled
        counters.drained = self.sink.drained
        counters.refused_events = self.sink.refused
        counters.spool_damaged = self.sink.spool.torn + self.sink.spool.damaged
        counters.touches_dropped = self.touches.dropped
        gauges.decision_bytes = self.decisions.pending_bytes
        counters.decisions_published = self.decisions.published
        counters.decisions_dropped = self.decisions.dropped
        counters.decision_frames_dropped = self.decisions.dropped_frames


def build_spans(settings: Settings, cell: str) -> Spans | None:
    """What makes traces of bids and notices; None where they are off, and then OpenTelemetry is not even imported."""
    if not settings.otlp_endpoint or not settings.trace_sample:
        return None
    from campaign_express.adapters.otlp import Spans

    return Spans(settings.otlp_endpoint, settings.trace_sample, cell)


def build_notice_service(
    settings: Settings, meters: Meters, cell: str, trace: Callable[[NoticeTrace], None] | None = None
) -> NoticeService:
    """What a cell answers notices with. `cell` names its spool; `redis_url` and `nats_url` are filled in; `trace`: see
    NoticeDesk.

    Raises ConfigError with every problem.
    """
    exchanges = read_exchanges(settings).exchanges
    keys = parse_keys(settings.notice_keys)
    check_exchanges(settings, exchanges)
    price_keys = parse_price_keys(settings.price_keys)
    clock = parse_clock(settings.simulated_clock)
    rates = load_rates(Path(settings.rates_file) if settings.rates_file else None)
    windows = Windows(settings.click_window_s * 1000, settings.view_window_s * 1000)
    make_client = functools.partial(redis_async.connect, settings.redis_url)
    identities = RedisIdentities(settings.redis_url, make_client, clock, settings.profile_ttl_days * 86_400)
    touches = RedisTouches(
        make_client,
        clock,
        click_window_ms=windows.click_ms,
        view_window_ms=windows.view_ms,
    )
    terms = stream_terms(settings)
    spool = Spool(Path(settings.data_dir, "spool").absolute(), cell, max_bytes=settings.spool_max_bytes)
    sink = JetStreamSink(
        settings.nats_url,
        spool,
        name=f"campaign-express cell {cell}",
        terms=terms[STREAM],
        patience_s=settings.publish_patience_ms / 1000,
    )
    decisions = DecisionSink(
        settings.nats_url,
        name=f"campaign-express decisions {cell}",
        terms=terms[DECISIONS],
        partitions=settings.decision_partitions,
        buffer_bytes=settings.decision_buffer_bytes,
    )
    pseudonyms = PseudonymKeeper.from_settings(settings)
    pseudonyms.start()
    policy = PrivacyPolicy(settings.tcf_vendor_id, gdpr_countries(settings.gdpr_when_absent))

    def may_identify(signals: Mapping[str, str], gpc: bool) -> bool:
        return assess_query(signals, gpc, policy).identify

    desk = NoticeDesk(
        NoticeSigner(keys, settings.notice_base_url),
        sink,
        PriceReader({exchange.name: _price_terms(exchange, price_keys) for exchange in exchanges}, rates.usd_per),
        Conversions(PostbackTokens(keys).fits, touches, identities, rates.usd_per, windows),
        UserSync({e.name: SyncTerms(e.name, e.sync_url) for e in exchanges}, identities, may_identify),
        touches,
        clock,
        meters,
        url_life_s=settings.notice_url_life_s,
        pseudonym=pseudonyms.pseudonyms.of,
        trace=trace,
    )
    return NoticeService(desk, sink, decisions, pseudonyms, touches, identities, meters)


def _price_terms(exchange: Exchange, keys: Mapping[str, tuple[bytes, bytes]]) -> PriceTerms:
    return PriceTerms(
        kind=_KINDS[exchange.price_notice],
        currency=exchange.currency,
        encrypted=exchange.price_encryption != "none",
        keys=keys.get(exchange.name),
    )


def check_exchanges(settings: Settings, exchanges: tuple[Exchange, ...]) -> None:
    """Raises ConfigError for settings of notices that do not fit these exchanges."""
    keys = parse_price_keys(settings.price_keys)
    names = {exchange.name for exchange in exchanges}
    problems = [f"price_keys: no exchange is called {name}" for name in sorted(keys.keys() - names)]
    for exchange in exchanges:
        if exchange.price_encryption != "none" and exchange.name not in keys:
            log.warning("an exchange encrypts its prices and has no price_keys", extra={"exchange": exchange.name})
    longest = max(exchange.exp for exchange in exchanges) + settings.notice_lateness_s
    if settings.notice_url_life_s < longest:
        problems.append(
            f"notice_url_life_s: {settings.notice_url_life_s} is less than the longest exp"
            f" and notice_lateness_s together, {longest}"
        )
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
