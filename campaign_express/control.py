"""What is told to every agent while it bids: kill switches and pacing. Small documents in Redis, read twice a second.

Two documents, so that neither overwrites the other: `{control}:switches` (operators and the velocity breaker, each of
which compares the version before it writes) and `{control}:paces` (the pacing controller alone). Each is a hash with
`version` and `blob`; a change is announced on the channel of the same name. Read and written by `adapters/control.py`.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Switched(NamedTuple):
    """What one switch is about: `kind` is campaign, advertiser or exchange, or ALL with the name ""."""

    kind: str
    name: str = ""


ALL = Switched("all")
_FIELDS = {"campaign": "campaigns", "advertiser": "advertisers", "exchange": "exchanges"}


def stops(switches: Switches) -> dict[Switched, Stop]:
    """All switches that are off."""
    found = {} if switches.everything is None else {ALL: switches.everything}
    for kind, field in _FIELDS.items():
        found.update({Switched(kind, name): stop for name, stop in getattr(switches, field).items()})
    return found


def with_stop(switches: Switches, what: Switched, stop: Stop) -> Switches:
    """The switches with this one off. What is off already keeps its reason: the first is the one to be cleared up."""
    return switches if what in stops(switches) else _with(switches, what, stop)


def without_stop(switches: Switches, what: Switched) -> Switches:
    """The switches with this one on again."""
    return _with(switches, what, None)


def _with(switches: Switches, what: Switched, stop: Stop | None) -> Switches:
    if what == ALL:
        return msgspec.structs.replace(switches, everything=stop)
    field = _FIELDS[what.kind]
    others = {name: one for name, one in getattr(switches, field).items() if name != what.name}
    return msgspec.structs.replace(switches, **{field: others if stop is None else {**others, what.name: stop}})
