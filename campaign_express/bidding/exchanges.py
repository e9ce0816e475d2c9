"""The exchanges file: who asks, and what its habits are. Format reference: docs/catalogue.md, section "Exchanges".

As with the catalogue, everything wrong is reported at once with its key: `exchange northlight: currency: ...`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from campaign_express.bidding.documents import DocumentError, read_document
from campaign_express.bidding.model import Exchange, Exchanges
from campaign_express.bidding.shape import convert, show
from campaign_express.bidding.targeting_rules import cattax_problem
from campaign_express.errors import ConfigError
from campaign_express.openrtb.quirks import NAMES

MAX_FILE_BYTES = 8 * 2**20
MAX_EXCHANGES = 1_000

_TITLE = "The exchanges file is refused:"


def load_exchanges(path: Path) -> Exchanges:
    """The exchanges in a .yaml, .yml or .json file. Raises ConfigError with every problem."""
    try:
        raw = read_document(path, MAX_FILE_BYTES)
    except DocumentError as error:
        raise ConfigError(_TITLE, [f"{path}: {error}"]) from None
    return parse_exchanges(raw)


def parse_exchanges(raw: Any, quirks: Collection[str] | None = None) -> Exchanges:
    """Exchanges from the plain values of their file. Raises ConfigError with every problem, by exchange."""
    if not isinstance(raw, Mapping):
        raise ConfigError(_TITLE, [f"must be an object with default and exchanges, and is {show(raw)}"])
    problems = [f"{key}: no such key" for key in raw if key not in ("default", "exchanges")]
    values = raw.get("exchanges")
    if not isinstance(values, list | tuple) or not values:
        raise ConfigError(_TITLE, [*problems, "exchanges: must be a list with at least one exchange"])
    if len(values) > MAX_EXCHANGES:
        raise ConfigError(_TITLE, [*problems, f"exchanges: holds {len(values):,}; the most is {MAX_EXCHANGES:,}"])
    quirks = NAMES if quirks is None else quirks
    made: list[Exchange] = []
    names: dict[str, int] = {}
    for index, value in enumerate(values):
        name = value.get("name") if isinstance(value, Mapping) else None
        title = f"exchange {name}" if isinstance(name, str) and name else f"exchanges[{index}]"
        found: list[tuple[str, str]] = []
        exchange = convert(Exchange, value, "", found)
        if exchange is not None:
            found += exchange_problems(exchange, quirks)
            made.append(exchange)
        if isinstance(name, str) and names.setdefault(name, index) != index:
            found.append(("name", f"is used twice (exchanges[{names[name]}] and exchanges[{index}])"))
        problems += [f"{title}: {path}: {what}" if path else f"{title}: {what}" for path, what in found]
    default = raw.get("default")
    if not isinstance(default, str):
        problems.append("default: is missing: the exchange whose requests come without a name")
    elif default not in names:
        problems.append(f"default: {show(default)} is not one of the exchanges")
    if problems:
        raise ConfigError(_TITLE, problems)
    return Exchanges(default=str(default), exchanges=tuple(made))


def exchange_problems(exchange: Exchange, quirks: Collection[str]) -> Iterator[tuple[str, str]]:
    """Problems of an exchange whose types are right."""
    for index, quirk in enumerate(exchange.quirks):
        if quirk not in quirks:
            yield f"quirks[{index}]", f"{show(quirk)} is not one of {', '.join(sorted(quirks)) or 'none'}"
    if exchange.no_bid_status not in (200, 204):
        yield "no_bid_status", f"{exchange.no_bid_status} is neither 204 nor 200"
    if not exchange.price_macro:
        yield "price_macro", "is empty: without it no price comes back"
    if exchange.price_notice != "impression" and exchange.price_notice not in exchange.notices:
        yield "price_notice", f"{show(exchange.price_notice)} is not among notices, so nothing would ever be paid"
    if exchange.sync_url and "{UID}" not in exchange.sync_url:
        yield "sync_url", "has no {UID}: the exchange would not learn our id"
    if len(set(exchange.notices)) < len(exchange.notices):
        yield "notices", "names one twice"
    if wrong := cattax_problem(exchange.cattax):
        yield "cattax", wrong
    for advertiser, seat in exchange.seats.items():
        if not seat.strip():
            yield f"seats.{advertiser}", "is empty"
