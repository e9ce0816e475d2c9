"""Money: integer micros of USD. 1 USD = 1,000,000 micros.

Prices in an auction are CPM, so `price` micros are per thousand impressions. Floats appear only at the edges: a floor
read from a request, a price written to a response, an expected value inside scoring. They become micros once, here.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

MICROS = 1_000_000


def usd_to_micros(text: str | int | float | Decimal) -> int:
    """Micros of a decimal amount, exact for anything written with up to six places.

    Raises ValueError for what is not a finite amount or has more than six places.
    """
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        raise ValueError(f"{text!r} is not an amount") from None
    if not amount.is_finite():
        raise ValueError(f"{text!r} is not an amount")
    micros = amount * MICROS
    if micros != micros.to_integral_value():
        raise ValueError(f"{text!r} has more than six decimal places")
    return int(micros)


def floor_to_micros(price: float, rate: float) -> int:
    """A floor of `price` in a currency worth `rate` USD, rounded up: a bid at the result is never below the floor."""
    exact = price * rate * MICROS
    # One part in 10^9 forgives binary noise, so that a floor of 0.29 is 290,000 micros and not 290,001.
    return math.ceil(exact - (1e-9 * exact if exact > 1 else 1e-9)) if exact > 0 else 0


def micros_to_price(micros: int, rate: float = 1.0) -> float:
    """A price for the response, in a currency worth `rate` USD, to six places."""
    if rate == 1.0:
        return micros / MICROS
    return float((Decimal(micros) / Decimal(str(rate)) / MICROS).quantize(Decimal("0.000001"), ROUND_HALF_EVEN))
