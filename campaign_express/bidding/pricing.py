"""What a bid is worth, for all candidates of a batch at once.

Expected value of a thousand impressions by goal: CPM the bid itself; CPC 1000 x pCTR x bid; CPA 1000 x pCTR x pCVR x
bid; times the campaign's margin and pacing's multiplier, capped at its max bid, rounded down to whole micros once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from campaign_express.bidding.lines import Lines


class Priced(NamedTuple):
    """Columns over candidates [N], which stand in the order of the offers."""

    counts: list[int]  # candidates of each offer [R], at least one
    row: NDArray[np.int64]  # offer
    line: NDArray[np.int64]  # line, ascending within an offer
    pctr: NDArray[np.float32]
    pcvr: NDArray[np.float32]
    value: NDArray[np.float64]  # CPM micros of USD, whole numbers (exact below 2^53): what it would bid without a floor


def price(
    lines: Lines,
    line: NDArray[np.int64],
    pctr: NDArray[np.float32],
    pcvr: NDArray[np.float32],
    multiplier: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Value [N] of the candidates `line` [N] at these probabilities [N]; `multiplier` [lines] is pacing's."""
    worth = lines.worth.take(line, axis=0)  # several times faster than indexing
    value: NDArray[np.float64] = worth[:, 2] * pcvr
    value += worth[:, 1]
    value *= pctr
    value += worth[:, 0]
    if multiplier is not None:
        value *= multiplier.take(line)
    np.minimum(value, worth[:, 3], out=value)
    return np.floor(value, out=value)
