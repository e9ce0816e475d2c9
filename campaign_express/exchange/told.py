"""What the bidder was told of what it won: from this follows what its ledger must have committed, to the micro.

A bid that was won is settled by any one of its win, billing and impression notices. Where its price notice arrived the
clear price was committed, otherwise the most that the bid authorised; of one that nothing was told of, nothing. A
notice has arrived when the bidder answered it with success, and has not when it was refused. Of one that was not
answered in time, or whose connection broke, nobody can say: then what the ledger must say is a range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

WIN, BILLING, IMPRESSION = 1, 2, 4
FLAG = {"win": WIN, "billing": BILLING, "impression": IMPRESSION}
PRICE = {"nurl": WIN, "burl": BILLING, "impression": IMPRESSION}  # which one sets the price, by `price_notice`


class Sale:
    """One impression that the bidder won. `told` are the flags of the notices that have arrived, `doubtful` those of
    notices that may have."""

    __slots__ = ("bid_micros", "campaign", "charged", "clear_micros", "doubtful", "price_flag", "told")

    def __init__(self, campaign: str, bid_micros: int, clear_micros: int, price_flag: int) -> None:
        self.campaign = campaign
        self.bid_micros = bid_micros  # CPM
        self.clear_micros = clear_micros  # CPM
        self.price_flag = price_flag
        self.told = 0
        self.doubtful = 0
        self.charged = False


class Expected(NamedTuple):
    """What one campaign's ledger must say, micros of USD, and why that is not what was charged."""

    committed: int = 0  # where nothing is in doubt; otherwise the least,
    most: int = 0  # and the most
    guessed: int = 0  # of which for bids whose price never came: the most they may cost
    unheard_nanos: int = 0  # charged for impressions of which nothing was told
    unpaid: int = 0  # committed for what was won and never charged, since it was not shown


def expect(sales: list[Sale]) -> Expected:
    """Of one campaign's sales."""
    committed = most = guessed = unheard = unpaid = 0
    for sale in sales:
        possible = [_committed(sale, sale.told)]
        if sale.doubtful & ~sale.told:
            possible += [_committed(sale, sale.told | some) for some in _subsets(sale.doubtful & ~sale.told)]
        committed += min(possible)
        most += max(possible)
        cost = possible[0]
        if not sale.told and sale.charged:
            unheard += sale.clear_micros
        if sale.told and not sale.told & sale.price_flag:
            guessed += cost
        if not sale.charged:
            unpaid += cost
    return Expected(committed, most, guessed, unheard, unpaid)


def _committed(sale: Sale, told: int) -> int:
    if not told:
        return 0
    return cost_micros(sale.clear_micros if told & sale.price_flag else sale.bid_micros)


def _subsets(flags: int) -> Iterator[int]:
    """All combinations of some of these flags but none."""
    some = flags
    while some:
        yield some
        some = (some - 1) & flags


def cost_micros(cpm_micros: int) -> int:
    """Micros of one impression at a CPM, rounded up."""
    return -(-cpm_micros // 1000)
