"""A bidder pod that is deleted has Serve move its cell first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from campaign_express.serving.leave import leave

HERE = Path(__file__).resolve().parent


def test_a_pod_without_a_cell_is_let_go_at_once() -> None:
    assert leave(1, unlisted_after_s=60.0, deadline_s=60.0, environ={}) == ""


def test_the_cell_is_moved_to_another_node_before_the_pod_ends() -> None:
    # A cluster of its own process: this one's Ray is the one of all e2e tests.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ran = subprocess.run(
        [sys.executable, str(HERE / "leaving_world.py")], capture_output=True, text=True, timeout=120, env=environment
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    told = json.loads(next(line for line in ran.stdout.splitlines() if line.startswith("{")))
    assert told["strangers"] == "no living Ray node is the pod nobody"
    assert told["problem"] == ""
    assert told["took"] < 30
    assert told["after"] == [{"bidder-a": "bidder-b", "bidder-b": "bidder-a"}[told["before"]]]
