"""What the bidder was told of what it won: from this follows what its ledger must have committed, to the micro.

A bid that was won is settled by any one of its win, billing and impression notices. Where its price notice arrived the
clear price was committed, otherwise the most that the bid authorised; of one that nothing was told of, nothing. Only
notices that the bidder answered with success have arrived.
"""

from __future__ import annotations

from typing import NamedTuple

WIN, BILLING, IMPRESSION = 1, 2, 4
FLAG = {"win": WIN, "billing": BILLING, "impression": IMPRESSION}
PRICE = {"nurl": WIN, "burl": BILLING, "impression": IMPRESSION}  # which one sets the price, by `price_notice`


class Sale:
    """One impression that the bidder won. `told` are the flags of the notices that have arrived."""

    __slots__ = ("bid_micros", "campaign", "charged", "clear_micros", "price_flag", "told")

    def __init__(self, campaign: str, bid_micros: int, clear_micros: int, price_flag: int) -> None:
        self.campaign = campaign
        self.bid_micros = bid_micros  # CPM
        self.clear_micros = clear_micros  # CPM
        self.price_flag = price_flag
        self.told = 0
        self.charged = False


class Expected(NamedTuple):
    """What one campaign's ledger must say, micros of USD, and why that is not what was charged."""

    committed: int = 0
    guessed: int = 0  # of which for bids whose price never came: the most they may cost
    unheard_nanos: int = 0  # charged for impressions of which nothing was told
    unpaid: int = 0  # committed for what was won and never charged, since it was not shown


def expect(sales: list[Sale]) -> Expected:
    """Of one campaign's sales."""
    committed = guessed = unheard = unpaid = 0
    for sale in sales:
        if not sale.told:
            if sale.charged:
                unheard += sale.clear_micros
            continue
        cost = cost_micros(sale.clear_micros)
        if not sale.told & sale.price_flag:
            cost = cost_micros(sale.bid_micros)
            guessed += cost
        committed += cost
        if not sale.charged:
            unpaid += cost
    return Expected(committed, guessed, unheard, unpaid)


def cost_micros(cpm_micros: int) -> int:
    """Micros of one impression at a CPM, rounded up."""
    return -(-cpm_micros // 1000)
