"""One impression is sold: our bid against those of simulated competitors.

Competitors bid log-normally around the slot's median (a usual model of bid landscapes: Cui, Zhang, Li, Mao, "Bid
Landscape Forecasting in Online Ad Exchange Marketplace", KDD 2011), from a stream of their own, so that what they bid
does not depend on what we do. Prices are CPM in integer micros of USD.
"""

from __future__ import annotations

from typing import NamedTuple

from campaign_express.exchange.draws import COMPETITORS, Draws
from campaign_express.exchange.shapes import Slot

INCREMENT = 10_000  # a second price is this much above the second bid
SIGMA = 0.6
MOST = 4  # competitors of one impression
# Loss reasons of OpenRTB, AdCOM list "Loss Reason Codes".
LOST_TO_HIGHER_BID = 102
BELOW_FLOOR = 100
INVALID_RESPONSE = 3


class Outcome(NamedTuple):
    """`clear_micros`: what the winner pays, whoever that is. `min_to_win_micros`: what it would have taken."""

    won: bool
    clear_micros: int
    min_to_win_micros: int
    loss: int  # reason, 0 where we won


def competitors(seed: int, request: int, slot: Slot) -> tuple[int, int]:
    """The two highest bids of others for this impression, 0 where there is none."""
    draws = Draws(seed, request * 64 + hash_of(slot.id), COMPETITORS)
    highest = second = 0
    for _ in range(draws.below(MOST + 1)):
        bid = int(draws.lognormal(slot.median_micros, SIGMA))
        if bid > highest:
            highest, second = bid, highest
        elif bid > second:
            second = bid
    return highest, second


def hash_of(imp: str) -> int:
    """A small number for an impression's id."""
    return int.from_bytes(imp.encode()[-8:], "big") % 61


def sell(bid_micros: int, others: tuple[int, int], floor_micros: int, second_price: bool) -> Outcome:
    """The auction. On equal bids the others win."""
    highest, second = others
    if bid_micros < floor_micros:
        return Outcome(False, highest, max(floor_micros, highest + INCREMENT), BELOW_FLOOR)
    if bid_micros <= highest:
        clear = min(highest, max(second, bid_micros) + INCREMENT) if second_price else highest
        return Outcome(False, clear, highest + INCREMENT, LOST_TO_HIGHER_BID)
    needed = max(highest, floor_micros)
    clear = min(bid_micros, needed + INCREMENT) if second_price else bid_micros
    return Outcome(True, clear, max(highest + INCREMENT, floor_micros), 0)
