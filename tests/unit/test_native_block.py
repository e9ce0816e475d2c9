"""Blocks of ClickHouse's Native format, written and read without a server."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
from campaign_express.adapters.native_block import decode_blocks, encode_block
columns = [("plain", "DateTime"), ("finer", "DateTime64(3)"), ("zoned", "DateTime('UTC')")]
block = encode_block(columns, {"plain": [1_795_867_200], "finer": [1_795_867_200_250], "zoned": [1_795_867_200]})
print(*(time.isoformat() for time in decode_blocks(block).rows[0]))
"""


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_times_without_a_zone_are_utc_wherever_they_are_read(zone: str) -> None:
    """In a process of its own: the zone of this machine is read once."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2026-11-28T12:00:00", "2026-11-28T12:00:00.250000", "2026-11-28T12:00:00+00:00"]
