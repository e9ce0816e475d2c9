"""Pacing and notifications, put together from settings for the treasury. Imports no Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.ledger import Ledger
from campaign_express.adapters.nats import StreamTerms
from campaign_express.adapters.notify_queue import NotifyQueue, Told
from campaign_express.adapters.pacing_store import PacingStore
from campaign_express.adapters.sendgrid import SendGrid
from campaign_express.adapters.supply import SupplyStore
from campaign_express.adapters.twilio import Twilio
from campaign_express.adapters.webhook import Webhook
from campaign_express.bidding.model import Catalog, Exchanges
from campaign_express.clock import Clock
from campaign_express.config import Settings
from campaign_express.errors import ConfigError
from campaign_express.treasury.loops import Health
from campaign_express.treasury.notify import Recipients, Watch
from campaign_express.treasury.notify_conditions import Conditions, Look, Thresholds
from campaign_express.treasury.notify_sender import Channel, Sender
from campaign_express.treasury.pacing import PacingLoop


@dataclass(frozen=True, slots=True)
class Pacemaker:
    """A loop and two workers for the treasury. `pacing.heard` is to be told what is applied."""

    pacing: PacingLoop
    watch: Watch
    sender: Sender
    close: Callable[[], None]  # when they have ended; saves what pacing has learned


def build_pacemaker(
    settings: Settings,
    *,
    ledger: Ledger,
    control: ControlStore,
    catalog: Callable[[], Catalog],
    exchanges: Exchanges,
    epoch: Callable[[], int],
    clock: Clock,
    terms: StreamTerms,
    healths: Mapping[str, Health],
) -> Pacemaker:
    """`catalog`: the one in force. `epoch`: of this treasury's term. `healths`: by part. Raises ConfigError."""
    supply, told = SupplyStore(settings.redis_url), Told(settings.redis_url)
    watched_supply = SupplyStore(settings.redis_url)  # of its own: another thread reads it
    memory = PacingStore(settings.redis_url)
    recipients, channels = build_channels(settings)
    pacing = PacingLoop(
        ledger,
        supply,
        control,
        memory,
        catalog=catalog,
        exchanges=exchanges,
        epoch=epoch,
        clock=clock,
        least_multiplier=settings.pacing_multiplier_min,
    )

    def look() -> Look:
        wall_ms = clock.now_ms()
        campaigns, accounts = ledger.spent_of_all(wall_ms)
        stopped = frozenset(control.switches().exchanges)
        asked = watched_supply.read().asked_ms
        return Look(wall_ms, catalog(), campaigns, accounts, pacing.progress, asked, stopped)

    def queue(name: str) -> NotifyQueue:
        return NotifyQueue(settings.nats_url, terms, name=f"campaign-express {name}")

    thresholds = Thresholds(
        settings.notify_behind_share, settings.notify_behind_minutes, settings.notify_silent_minutes
    )
    watch = Watch(Conditions(thresholds), look, queue(Watch.name), told, recipients, healths[Watch.name])
    sender = Sender(queue(Sender.name), channels, healths[Sender.name])

    def close() -> None:
        pacing.close()
        for part in (supply, watched_supply, told, memory):
            part.close()

    return Pacemaker(pacing, watch, sender, close)


def build_channels(settings: Settings) -> tuple[Recipients, dict[str, Channel]]:
    """Who is told, and how. Raises ConfigError with every problem at once."""
    channels: dict[str, Channel] = {}
    problems: list[str] = []
    numbers = tuple(number.strip() for number in settings.notify_sms_to.split(",") if number.strip())
    wanted: tuple[tuple[str, bool, Callable[[], Channel]], ...] = (
        (
            "webhook",
            bool(settings.notify_webhook_url),
            lambda: Webhook(settings.notify_webhook_url, settings.notify_webhook_secret),
        ),
        (
            "email",
            bool(settings.notify_email_to),
            lambda: SendGrid(settings.sendgrid_api_key, settings.notify_email_from, settings.sendgrid_url),
        ),
        (
            "sms",
            bool(numbers),
            lambda: Twilio(
                settings.twilio_account_sid, settings.twilio_auth_token, settings.notify_sms_from, settings.twilio_url
            ),
        ),
    )
    for name, wants, make in wanted:
        if wants:
            try:
                channels[name] = make()
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
    return Recipients("webhook" in channels, settings.notify_email_to, numbers), channels
