"""What an exchange puts into notice URLs and markup: macros of OpenRTB 2.6 section 4.4, and prices in its own way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from campaign_express.exchange.draws import ENCRYPTION, Draws
from campaign_express.exchange.venues import Venue
from campaign_express.openrtb.price_encryption import encrypt_price

_macro = re.compile(r"\$\{(AUCTION_[A-Z_]+)\}")


def price_text(micros: int) -> str:
    """A CPM as exchanges write it: up to six decimals."""
    whole, rest = divmod(micros, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".") if rest else str(whole)


def price_of(venue: Venue, micros: int, seed: int, number: int) -> str:
    """The price as this exchange tells it; `number` makes the initialisation vector of an encrypted one."""
    if venue.keys is None:
        return price_text(micros)
    draws = Draws(seed, number, ENCRYPTION)
    iv = draws.integer().to_bytes(8, "big") + draws.integer().to_bytes(8, "big")
    return encrypt_price(micros, iv, *venue.keys)


def substitute(text: str, price_macro: str, price: str, values: Mapping[str, str]) -> str:
    """`text` with the price and `values` (macro's name without its brackets -> value) put in, percent-encoded.

    Macros that we have no value for become empty, as the specification wants.
    """
    text = text.replace(price_macro, quote(price, safe=""))
    return _macro.sub(lambda found: quote(values.get(found[1], ""), safe=""), text)
