"""What may bid just now: kill switches, money, frequency and pace, as masks over the lines of a catalogue.

All of it changes while bidding goes on and none of it needs a network call here: the purse is filled by its keeper,
switches and paces are handed over by whoever watches them, and what is known of a person was fetched for the whole
batch. `able` is asked before candidates are scored, `take` for each winner: it authorises the money and sees to it that
several impressions of one request stay within a cap together.

A person is a UserState, or one of: None, the store did not answer (whatever has a cap does not bid); NOBODY, the
request tells no user; ANYBODY, frequency is not kept at all (a file replayed offline).

Pacing draws lots: a campaign with participation 0.3 bids on three of ten requests that it could bid on. The lots are
drawn once for 256 numbers when paces change, and a request's number is a hash of its id, so its fate is the same in
every agent that got the same paces. Each campaign's share of the 256 is exact to one: its lots are a golden-ratio
sequence (a Weyl sequence of the most even spread) from a random start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from campaign_express.bidding.bitmaps import mask_of_flags
from campaign_express.bidding.context import Context
from campaign_express.bidding.lines import Line, Lines
from campaign_express.bidding.model import Advertiser, Campaign
from campaign_express.control import Pace, Paces, Switches
from campaign_express.events import impression_cost
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.ports import Purse, UserState

ANYBODY = UserState("*")
NOBODY = UserState("")
LOTS = 256
_GOLDEN = 0.6180339887498949  # (sqrt(5) - 1) / 2


class Caps(Protocol):
    """`frequency.CapTable`."""

    capped: int
    unknown: int

    def blocked(self, state: UserState, wall_ms: int) -> int: ...

    def entities(self, line: Line) -> tuple[str, ...]: ...

    def room(self, line: Line, state: UserState, taken: dict[str, int], wall_ms: int) -> bool: ...


class Winning(Protocol):
    """What `take` reads and writes of a `pipeline.Win`."""

    line: Line
    price_micros: int
    lease: int
    entities: tuple[str, ...]


class Deciding(Protocol):
    """What `take` reads of a `pipeline.Decision`."""

    context: Context
    person: UserState | None

    @property
    def wins(self) -> Sequence[Winning]: ...


class Standing:
    """For one catalogue in one agent. `tell_*` may be called from another thread: each ends in one assignment."""

    def __init__(self, lines: Lines, purse: Purse | None = None, caps: Caps | None = None) -> None:
        self.lines = lines
        self.purse = purse
        self.caps = caps
        self.paces = Paces()
        self.switches = Switches()
        self.multiplier: NDArray[np.float64] | None = None  # [lines], of the bid; None: 1 for all
        self._lots: Sequence[int] | None = None  # masks of the lines that take part, by lot; None: all do
        self._running = lines.everything
        self._running_at: dict[str, int] = {}  # by exchange that is stopped
        self._limited = [  # those whose money can run out
            (campaign.id, first, count)
            for campaign, advertiser, first, count in lines.spans
            if campaign.budget.limited or advertiser.budget.limited
        ]
        self._funded = lines.everything
        self._version = -1  # of the purse that `_funded` was made from

    def able(self, context: Context, person: UserState | None) -> int:
        """Lines that may bid on this request, as far as they fit."""
        able = self.running(context.exchange_name) & self.funded()
        if person is not ANYBODY and self.caps is not None:
            able ^= able & self.capped(person, context.wall_ms)
        if self._lots is not None:
            able &= self.drawn(context.request.id)
        return able

    def why_not(self, context: Context, person: UserState | None, mask: int) -> NoBidReason:
        """What stops the last of `mask`."""
        for reason, allowed in self.conditions(context, person):
            mask &= allowed
            if not mask:
                return reason
        raise AssertionError("something of the mask is able")

    def conditions(self, context: Context, person: UserState | None) -> Iterator[tuple[NoBidReason, int]]:
        """Each reason with the lines that it lets pass, in order; `able` is all of them together."""
        yield NoBidReason.STOPPED, self.running(context.exchange_name)
        yield NoBidReason.BUDGET, self.funded()
        if person is not ANYBODY and self.caps is not None:
            reason = NoBidReason.FREQUENCY if person is not None else NoBidReason.STATE_UNKNOWN
            yield reason, ~self.capped(person, context.wall_ms)
        yield NoBidReason.PACING, self.drawn(context.request.id)

    def take(self, decision: Deciding, win: Winning) -> NoBidReason | None:
        """Count the impression and authorise its cost: sets `entities` and `lease` of `win`, or says what stops it.

        Nothing is kept of what is refused.
        """
        person, line = decision.person, win.line
        if person is not None and person.key and person is not ANYBODY and self.caps is not None:
            entities = self.caps.entities(line)
            if entities:
                if decision.wins:
                    taken: dict[str, int] = {}
                    for other in decision.wins:
                        for entity in other.entities:
                            taken[entity] = taken.get(entity, 0) + 1
                    if taken and not self.caps.room(line, person, taken, decision.context.wall_ms):
                        return NoBidReason.FREQUENCY
                win.entities = entities
        if self.purse is not None:
            lease = self.purse.authorise(line.campaign.id, impression_cost(win.price_micros), decision.context.wall_ms)
            if lease < 0:
                return NoBidReason.BUDGET
            win.lease = lease
        return None

    def capped(self, person: UserState | None, wall_ms: int) -> int:
        """Lines whose caps leave no room for this person."""
        assert self.caps is not None
        if person is None:
            return self.caps.unknown
        return self.caps.blocked(person, wall_ms) if person.key else self.caps.capped

    def funded(self) -> int:
        """Lines whose campaign has money for a bid, as far as the purse knows."""
        purse = self.purse
        if purse is None:
            return self._funded
        if purse.version != self._version:
            version = purse.version  # before it is read: a change while reading is seen next time
            flags = np.ones(self.lines.count, dtype=np.bool_)
            for campaign, first, count in self._limited:
                if not purse.funded(campaign):
                    flags[first : first + count] = False
            self._funded, self._version = mask_of_flags(flags), version
        return self._funded

    def running(self, exchange: str) -> int:
        """Lines that no switch stops on this exchange."""
        return self._running_at.get(exchange, self._running) if self._running_at else self._running

    def drawn(self, request_id: str) -> int:
        """Lines whose campaign takes part in this request."""
        if self._lots is None:
            return self.lines.everything
        return self._lots[crc32(request_id.encode("utf-8", "surrogatepass")) % LOTS]

    def tell_switches(self, switches: Switches) -> None:
        """From now on nothing bids that a switch stops."""
        self.switches = switches
        stopped = self._mask(
            lambda campaign, advertiser: campaign.id in switches.campaigns or advertiser.id in switches.advertisers
        )
        running = 0 if switches.everything is not None else self.lines.everything & ~stopped
        self._running_at = dict.fromkeys(switches.exchanges, 0)
        self._running = running

    def tell_paces(self, paces: Paces) -> None:
        """From now on campaigns take part and bid as `paces` says.

        Its time seeds the lots: each time others, so that a share between two numbers of lots is met on average.
        """
        self.paces = paces
        known = [
            (paces.campaigns[campaign.id], first, count)
            for campaign, _, first, count in self.lines.spans
            if campaign.id in paces.campaigns
        ]
        self.multiplier = self._multipliers(known)
        self._lots = self._draw(known, paces.at_ms) if any(pace.participation < 1.0 for pace, _, _ in known) else None

    def _multipliers(self, known: Sequence[tuple[Pace, int, int]]) -> NDArray[np.float64] | None:
        if all(pace.multiplier == 1.0 for pace, _, _ in known):
            return None
        multiplier = np.ones(self.lines.count, dtype=np.float64)
        for pace, first, count in known:
            multiplier[first : first + count] = pace.multiplier
        return multiplier

    def _draw(self, known: Sequence[tuple[Pace, int, int]], seed: int) -> list[int]:
        participation = np.ones(self.lines.count, dtype=np.float64)
        start = np.zeros(self.lines.count, dtype=np.float64)
        rng = np.random.default_rng(seed)
        for pace, first, count in known:
            participation[first : first + count] = pace.participation
            start[first : first + count] = rng.random()  # one lot for all creatives of a campaign
        lots = np.arange(LOTS, dtype=np.float64)[:, None] * _GOLDEN
        return [mask_of_flags(row) for row in (lots + start) % 1.0 < participation]

    def _mask(self, holds: Callable[[Campaign, Advertiser], bool]) -> int:
        flags = np.zeros(self.lines.count, dtype=np.bool_)
        for campaign, advertiser, first, count in self.lines.spans:
            if holds(campaign, advertiser):
                flags[first : first + count] = True
        return mask_of_flags(flags)
