"""How long scoring takes, measured around any scorer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from campaign_express.ports import Scorer


class TimedScorer:
    """A scorer that adds up the time it took; the bidder reads and resets it once a batch."""

    def __init__(self, scorer: Scorer, clock_ns: Callable[[], int]) -> None:
        self.version = scorer.version
        self.spent_ns = 0
        self._scorer = scorer
        self._clock_ns = clock_ns

    def embed(self, creative_cat: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._scorer.embed(creative_cat)

    def score(
        self,
        request_cat: NDArray[np.int64],
        request_num: NDArray[np.float32],
        creative: NDArray[np.float32],
        row: NDArray[np.int64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        start = self._clock_ns()
        scores = self._scorer.score(request_cat, request_num, creative, row)
        self.spent_ns += self._clock_ns() - start
        return scores
