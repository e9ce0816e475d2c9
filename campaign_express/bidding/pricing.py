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
    click = pctr.astype(np.float64)
    value = lines.per_mille[line] + click * (lines.per_click[line] + pcvr * lines.per_action[line])
    value = np.floor(np.minimum(value, lines.max_bid[line]))
    bid = np.where(value >= np.maximum(floors, 1)[row], value, BELOW_FLOOR)
    starts = np.cumsum(counts) - counts
    best = np.maximum.reduceat(bid, starts)
    top = (bid == best[row]).nonzero()[0]
    first = top[np.searchsorted(row[top], np.arange(counts.size))]
    return Priced(row, line, pctr, pcvr, value, bid, best, first)
