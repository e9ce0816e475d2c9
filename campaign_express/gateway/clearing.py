"""What an impression costs by the word of its notice: plain or encrypted, in any currency, never above what was bid.

Prices are CPM in the exchange's currency. One impression costs a thousandth of it, in micros of USD rounded up:
cost = ceil(CPM x USD per unit x 10^6 / 1000). A macro cannot be signed, so the price is held against the signed bid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from msgspec import Struct

from campaign_express.errors import ConfigError, InvalidRequest
from campaign_express.openrtb.notices import Notice
from campaign_express.openrtb.price_encryption import decrypt_price

SETTLING = ("win", "billing", "impression")
TOLERANCE = 0.01  # of a price in another currency: rates may have changed since the bid, which was made in USD
ROUNDING = 1  # micro of USD: the exchange saw the bid with six decimals
MAX_COST = 10**15  # micros; budgets end there

_plain = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,2})?").fullmatch


class PriceTerms(Struct, frozen=True):
    """What of an exchange says how its prices are read."""

    kind: str  # of the notice that sets the price: win, billing or impression
    currency: str = "USD"  # where the notice names none
    encrypted: bool = False
    keys: tuple[bytes, bytes] | None = None  # encryption, integrity


class Cost(NamedTuple):
    """`micros` is -1 where the notice says no price that can be read.

    `remark`: absent, unreadable, capped or quarantined, "" where all is well.
    """

    micros: int = -1
    sets_price: bool = False
    remark: str = ""
    quarantined: str = ""


class PriceReader:
    """`usd_per` is the worth of a currency's unit in USD, None where it is not known."""

    def __init__(self, terms: Mapping[str, PriceTerms], usd_per: Callable[[str], float | None]) -> None:
        self._terms = terms
        self._usd_per = usd_per

    def read(self, notice: Notice, authorised_micros: int) -> Cost:
        """The cost by this notice. `authorised_micros` is the most that the impression may cost."""
        terms = self._terms.get(notice.exchange)
        if terms is None or notice.kind not in SETTLING:
            return Cost()
        sets_price = notice.kind == terms.kind
        text = notice.macros.get("price", "")
        if not text:
            return Cost(remark="absent" if sets_price else "")
        currency = notice.macros.get("currency", "").upper() or terms.currency
        cost = self._cost(text, currency, terms)
        if cost is None:
            return Cost(remark="unreadable")
        if cost <= authorised_micros:
            return Cost(cost, sets_price)
        allowed = authorised_micros + ROUNDING
        if currency != "USD":
            allowed += int(authorised_micros * TOLERANCE)
        if cost <= allowed:
            return Cost(authorised_micros, sets_price, "capped")
        return Cost(cost, sets_price, "quarantined", f"clear price {cost} is above the authorised {authorised_micros}")

    def _cost(self, text: str, currency: str, terms: PriceTerms) -> int | None:
        rate = self._usd_per(currency)
        if rate is None:
            return None
        if terms.encrypted:
            if terms.keys is None:
                return None
            try:
                thousandths = Decimal(decrypt_price(text, *terms.keys)) / 1000  # it is in micros
            except InvalidRequest:
                return None
        elif _plain(text):
            thousandths = Decimal(text) * 1000
        else:
            return None
        cost = int((thousandths if rate == 1.0 else thousandths * Decimal(rate)).to_integral_value(ROUND_CEILING))
        return cost if cost <= MAX_COST else None


def parse_price_keys(text: str) -> dict[str, tuple[bytes, bytes]]:
    """Keys of `exchange=hex:hex,exchange=hex:hex`, by exchange. Raises ConfigError; no key is part of a message."""
    keys: dict[str, tuple[bytes, bytes]] = {}
    problems = []
    for number, part in enumerate(text.split(",") if text.strip() else [], 1):
        name, _, both = part.strip().partition("=")
        encryption, _, integrity = both.partition(":")
        try:
            pair = bytes.fromhex(encryption), bytes.fromhex(integrity)
        except ValueError:
            pair = b"", b""
        if not name or not all(pair):
            problems.append(f"price_keys: entry {number} is not exchange=hex:hex")
        elif name in keys:
            problems.append(f"price_keys: entry {number} names its exchange a second time")
        keys[name] = pair
    if problems:
        raise ConfigError("Price keys that cannot be used:", problems)
    return keys
