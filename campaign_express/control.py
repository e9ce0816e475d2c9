"""What is told to every agent while it bids: kill switches and pacing. Small documents in Redis, read twice a second.

Two documents with a writer each, so that neither overwrites the other: `{control}:switches` (operators and the
velocity breaker) and `{control}:paces` (the pacing controller). Each is a hash with `version` and `blob`; a change is
announced on the channel of the same name.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

SWITCHES_KEY = "{control}:switches"
PACES_KEY = "{control}:paces"


class Stop(Struct, frozen=True, omit_defaults=True):
    """One switch that is off, by whom and why."""

    reason: str = ""
    by: str = ""  # "operator", "velocity-breaker", ...
    at_ms: int = 0


class Switches(Struct, frozen=True, omit_defaults=True):
    """What must not bid. `everything` stops all."""

    everything: Stop | None = None
    exchanges: dict[str, Stop] = {}
    advertisers: dict[str, Stop] = {}
    campaigns: dict[str, Stop] = {}


class Pace(Struct, frozen=True, array_like=True):
    """How much of what a campaign could bid on it does bid on, and how its bids are scaled."""

    participation: float = 1.0  # probability, 0..1
    multiplier: float = 1.0  # of the bid; the max bid still holds


class Paces(Struct, frozen=True, omit_defaults=True):
    """By campaign id; a campaign that is not named bids on everything. `at_ms`: when the controller made it."""

    at_ms: int = 0
    campaigns: dict[str, Pace] = {}


encode = msgspec.json.encode
decode_switches = msgspec.json.Decoder(Switches).decode
decode_paces = msgspec.json.Decoder(Paces).decode
