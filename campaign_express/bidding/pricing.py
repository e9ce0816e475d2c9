"""What a bid is worth, for all candidates of a batch at once.

Expected value of a thousand impressions by goal: CPM the bid itself; CPC 1000 x pCTR x bid; CPA 1000 x pCTR x pCVR x
bid; times the campaign's margin, capped at its max bid, rounded down to whole micros once. What is below the floor is
no bid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from campaign_express.bidding.lines import Lines

BELOW_FLOOR = -1.0


class Priced(NamedTuple):
    """Columns over candidates [N]; prices are CPM micros of USD held in float64 (exact below 2^53)."""

    row: NDArray[np.int64]  # offer
    line: NDArray[np.int64]  # line
    pctr: NDArray[np.float32]
    pcvr: NDArray[np.float32]
    value: NDArray[np.float64]  # what the candidate would bid without a floor
    bid: NDArray[np.float64]  # the same, or BELOW_FLOOR
    first: list[int]  # of each offer [R]: its best candidate, the first in line order on a tie


def price(
    lines: Lines,
    row: NDArray[np.int64],
    line: NDArray[np.int64],
    counts: Sequence[int],
    pctr: NDArray[np.float32],
    pcvr: NDArray[np.float32],
    floors: Sequence[int],
) -> Priced:
    """Price candidates and find the best of each offer.

    `counts` [R]: candidates of each offer, at least one; they stand in the order of the offers. `floors` [R]: micros.
    """
    worth = lines.worth.take(line, axis=0)
    value = worth[:, 2] * pcvr
    value += worth[:, 1]
    value *= pctr
    value += worth[:, 0]
    np.minimum(value, worth[:, 3], out=value)
    np.floor(value, out=value)
    least = np.array([floor or 1 for floor in floors], dtype=np.float64).repeat(counts)
    bid = np.where(value >= least, value, BELOW_FLOOR)
    first = []
    start = 0
    for count in counts:
        end = start + count
        first.append(start + int(bid[start:end].argmax()))
        start = end
    return Priced(row, line, pctr, pcvr, value, bid, first)
