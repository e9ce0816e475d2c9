"""Exchange rates from a file: floors come in any currency, we think in USD, answers go out in the exchange's.

The file is one that a cron job replaces: `{"base": "USD", "date": "2026-01-31", "rates": {"EUR": 0.92, ...}}`, where a
rate is units of that currency for one unit of `base`. Reading it, at start, is the only I/O here.
"""

from __future__ import annotations

import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from campaign_express.bidding.money import MICROS, floor_to_micros
from campaign_express.errors import ConfigError

Code = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
# From the largest to the smallest unit of money there is, a factor of 1e6 around USD covers all of them.
Rate = Annotated[float, Meta(gt=0, le=1e9)]


class RatesFile(Struct, frozen=True, forbid_unknown_fields=True):
    base: Code
    date: datetime.date
    rates: dict[Code, Rate]
    note: str = ""


class Rates:
    """What one unit of each currency is worth in USD. `date` says how old that is."""

    __slots__ = ("_usd", "date")

    def __init__(self, date: datetime.date, usd: dict[str, float]) -> None:
        self.date = date
        self._usd = usd

    def usd_per(self, currency: str) -> float | None:
        """USD for one unit of `currency` (ISO 4217, upper case); None where the file has no rate: no bid then."""
        return self._usd.get(currency)

    def __contains__(self, currency: str) -> bool:
        return currency in self._usd


def parse_rates(raw: bytes, name: str = "rates") -> Rates:
    """Rates of a file's bytes; `name` is what messages call it. Raises ConfigError."""
    try:
        file = msgspec.json.decode(raw, type=RatesFile)
    except msgspec.DecodeError as error:
        raise ConfigError("Exchange rates that cannot be used:", [f"{name}: {error}"]) from None
    rates = {**file.rates, file.base: 1.0}
    problems = []
    if file.rates.get(file.base, 1.0) != 1.0:
        problems.append(f"{name}: rate of the base {file.base} is not 1")
    if "USD" not in rates:
        problems.append(f"{name}: no rate for USD, the currency that budgets are kept in")
    if problems:
        raise ConfigError("Exchange rates that cannot be used:", problems)
    dollar = rates["USD"]
    usd = {currency: dollar / rate for currency, rate in rates.items()}
    usd["USD"] = 1.0
    return Rates(file.date, usd)


def load_rates(path: Path | None = None) -> Rates:
    """Rates of a file, by default of the packaged example. Raises ConfigError that names the file and its problems."""
    if path is None:
        return parse_rates(files("campaign_express").joinpath("data/rates.json").read_bytes(), "data/rates.json")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError("Exchange rates that cannot be used:", [f"{path}: {error.strerror or error}"]) from None
    return parse_rates(raw, str(path))


def price_for(micros: int, rate: float, floor: float) -> float:
    """The price to answer with, in a currency worth `rate` USD, for a bid of `micros` against `floor` in that currency.

    Rounding to six places may take a bid at its floor to just below it; then the floor itself is answered. That costs
    less than a millionth of the currency's unit (or a billionth of the price, if that is more). A bid that really is
    below its floor stays there.
    """
    # Ten times faster than Decimal; at most the last of the six places differs, and only where it was a tie.
    price = round(micros / (rate * MICROS), 6)
    if price < floor and micros >= floor_to_micros(floor, rate):
        return floor
    return price
