"""`check-config`: everything that can be known to be wrong with a configuration, without starting anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from campaign_express import embedded
from campaign_express.cli.common import config_path, stdout
from campaign_express.config import PREFIX, Secret, Settings, refuse_secrets
from campaign_express.errors import CampaignExpressError, ConfigError, Problems


def check_config(
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, show_default="serve_config.yaml where it exists")
    ] = None,
) -> None:
    """Check a Serve configuration with the environment's settings, and every file that they name; list the settings."""
    from campaign_express import serve_file

    path = config_path(file)
    settings = serve_file.settings(path)
    arguments = serve_file.arguments(serve_file.read(path), path) if path else {}
    problems = _problems(settings, arguments)
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
    stdout.print(_table(settings, f"{path or 'defaults'}: no problem found"))


def _problems(settings: Settings, arguments: dict[str, Any]) -> list[str]:
    from campaign_express import bootstrap
    from campaign_express.adapters import nats
    from campaign_express.adapters.clickhouse import parse_url
    from campaign_express.bidding.budget import LeaseClock
    from campaign_express.bootstrap_notices import check_exchanges
    from campaign_express.bootstrap_pacing import build_channels
    from campaign_express.bootstrap_warehouse import kept
    from campaign_express.clock import parse_clock
    from campaign_express.gateway.clearing import parse_price_keys
    from campaign_express.openrtb.notices import parse_keys

    found: list[str] = []

    def attempt(check: Callable[[], object]) -> None:
        try:
            check()
        except Problems as error:
            found.extend(error.problems)
        except (CampaignExpressError, OSError) as error:
            found.append(str(error))

    attempt(lambda: refuse_secrets(arguments))
    if settings.notice_keys:
        attempt(lambda: parse_keys(settings.notice_keys))
    attempt(lambda: parse_price_keys(settings.price_keys))
    if settings.nats_url:
        attempt(lambda: nats.read_url(settings.nats_url))
    attempt(lambda: LeaseClock(settings.lease_s))
    attempt(lambda: parse_clock(settings.simulated_clock))
    attempt(lambda: build_channels(settings))
    attempt(lambda: kept(settings))
    if settings.clickhouse_url:
        attempt(lambda: parse_url(settings.clickhouse_url))
    if not found:
        attempt(lambda: check_exchanges(settings, bootstrap.read_exchanges(settings).exchanges))
        attempt(lambda: bootstrap.build_bidder(embedded.with_notice_key(settings)))
    return list(dict.fromkeys(found))  # both read the exchanges


def _public(name: str, value: str) -> str:
    """A value without what no terminal should show."""
    from campaign_express.adapters import clickhouse, nats, redis

    redact = {"redis_url": redis.redact, "nats_url": nats.redact, "clickhouse_url": clickhouse.redact}.get(name)
    return redact(value) if redact is not None and value else value


def _table(settings: Settings, title: str) -> Table:
    defaults = Settings()
    table = Table("setting", "value", "environment variable", title=title, title_justify="left")
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        shown = "(set, not shown)" if field.type is Secret and value else _public(field.name, str(value))
        style = None if value == getattr(defaults, field.name) else "bold"
        table.add_row(field.name, shown, PREFIX + field.name.upper(), style=style)
    return table
