"""The example catalogue against the real requests: a fresh start has to bid, and to be refused by nobody's parser."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from campaign_express import frames
from campaign_express.bidder import Bidder
from campaign_express.bootstrap import build_bidder
from campaign_express.config import Secret, Settings

NOW_MS = 1_795_000_000_000  # within every flight of the examples that is not paused


@pytest.fixture(scope="module")
def bidder() -> Bidder:
    return build_bidder(Settings(notice_keys=Secret("k1:" + "ab" * 32)))


def test_most_real_requests_get_a_bid(bidder: Bidder, shared: Path) -> None:
    bodies = (shared / "openrtb" / "requests.jsonl").read_bytes().splitlines()
    now = time.monotonic_ns()
    asks = [frames.Ask("", now, body) for body in bodies]
    answers = [bidder.answer([ask], now, NOW_MS).answers[0] for ask in asks]
    outcomes = Counter(answer.status for answer in answers)
    assert set(outcomes) <= {200, 204}
    assert outcomes[200] >= 0.6 * len(bodies), outcomes
    winners = {
        bid["cid"]
        for answer in answers
        if answer.status == 200
        for seat in json.loads(answer.body)["seatbid"]
        for bid in seat["bid"]
    }
    assert len(winners) >= 10  # not one campaign taking it all
