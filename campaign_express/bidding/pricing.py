"""What a bid is worth, for all candidates of a batch at once.

Expected value of a thousand impressions by goal: CPM the bid itself; CPC 1000 x pCTR x bid; CPA 1000 x pCTR x pCVR x
bid; times the campaign's margin, capped at its max bid, rounded down to whole micros once. What is below the floor is
no bid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from campaign_express.bidding.lines import Lines

BELOW_FLOOR = -1.0


class Priced(NamedTuple):
    """Columns over candidates [N] and offers [R]; prices are CPM micros of USD held in float64 (exact below 2^53)."""

    row: NDArray[np.int64]  # [N] offer
    line: NDArray[np.int64]  # [N] line
    pctr: NDArray[np.float32]  # [N]
    pcvr: NDArray[np.float32]  # [N]
    value: NDArray[np.float64]  # [N] what the candidate would bid without a floor
    bid: NDArray[np.float64]  # [N] the same, or BELOW_FLOOR
    best: NDArray[np.float64]  # [R] highest bid, BELOW_FLOOR when none reaches the floor
    first: NDArray[np.int64]  # [R] the candidate that has it, the first in line order on a tie


def price(
    lines: Lines,
    row: NDArray[np.int64],
    line: NDArray[np.int64],
    counts: NDArray[np.int64],
    pctr: NDArray[np.float32],
    pcvr: NDArray[np.float32],
    floors: NDArray[np.int64],
) -> Priced:
    """Price candidates and find the best of each offer. Every offer has at least one candidate; rows are in order."""
    value = lines.per_action.take(line)
    value *= pcvr
    value += lines.per_click.take(line)
    value *= pctr
    value += lines.per_mille.take(line)
    np.minimum(value, lines.max_bid.take(line), out=value)
    np.floor(value, out=value)
    bid = np.where(value >= np.maximum(floors, 1).take(row), value, BELOW_FLOOR)
    starts = counts.cumsum() - counts
    best = np.maximum.reduceat(bid, starts)
    top = (bid == best.take(row)).nonzero()[0]
    first = top[row[top].searchsorted(np.arange(counts.size))]
    return Priced(row, line, pctr, pcvr, value, bid, best, first)
