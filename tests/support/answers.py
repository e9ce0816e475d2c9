"""What the core answers to the benchmark's requests at a fixed time, as one hash: `python -m tests.support.answers`.

Prints whether the core is compiled, how many it answered with a bid, and the hash of all answers.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from benchmarks import bodies, workload
from campaign_express import frames
from campaign_express.compiled import is_compiled
from campaign_express.frames import Ask

COUNT, BATCH = 2000, 16
NOON_MS = 1_782_907_200_000  # 2026-07-01T12:00:00Z
NOW_NS = 10**12


def main() -> None:
    workload.environment()
    with tempfile.TemporaryDirectory() as folder:
        core = workload.bidder(workload.settings(Path(folder), 300))
    hashed, bids = hashlib.sha256(), 0
    made = bodies.generate(COUNT, seed=7)
    for at in range(0, COUNT, BATCH):
        asks = [Ask("", NOW_NS, body) for body in made[at : at + BATCH]]
        answers = core.answer(asks, NOW_NS, NOON_MS + at).answers
        hashed.update(frames.encode(answers))
        bids += sum(answer.status == 200 for answer in answers)
    print(json.dumps({"compiled": is_compiled(), "bids": bids, "hash": hashed.hexdigest()}))


if __name__ == "__main__":
    main()
