"""Frequency caps: which lines may still be shown to a person.

What is counted is an *entity*: `c:<campaign>` for the caps of a campaign, `k:<creative>` for those of one creative. A
bid for it is allowed when for each of its caps

    impressions in the window + bids that may still become impressions + other requests being decided + own wins < limit

which keeps the cap for any interleaving: bids under way (`held`) and requests under way (`pending`) count in full
whatever the window, and an impression is never earlier than its bid. Take the last bid of any limit + 1 impressions in
one window: at its time each of the others had been shown within the window or was still held, so it was not allowed.

An entity's times need only be kept as many as its largest limit: whether a window holds `n` impressions is whether the
n-th last lies within it, for every kind of window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from campaign_express.bidding.lines import Line, Lines
from campaign_express.bidding.model import Campaign, CapPeriod, Catalog, FrequencyCap
from campaign_express.bidding.windows import EVER_MS, LENGTH_MS, CalendarWindow
from campaign_express.ports import UserState

_Cap = tuple[int, "int | CalendarWindow"]  # limit, and a sliding window's length in ms or the calendar's


class _Rule(NamedTuple):
    """Caps of one entity and its lines, which are neighbours. The mask is made when needed: it may be wide."""

    caps: tuple[_Cap, ...]
    first: int
    lines: int

    @property
    def mask(self) -> int:
        return ((1 << self.lines) - 1) << self.first


class CapTable:
    """The caps of one catalogue, compiled. Immutable; `UserState` tells everything that changes.

    `capped`: lines that cannot bid where a request tells no user. `unknown`: lines that cannot bid while the store does
    not answer; these are all with caps, also those of campaigns with `cap_without_user`, which only means requests that
    tell no user: a person who might be at the cap is not shown more because Redis is slow.
    """

    def __init__(self, lines: Lines) -> None:
        self.capped = 0
        self.unknown = 0
        self._rules: dict[str, _Rule] = {}
        self._entities: dict[int, tuple[str, ...]] = {}  # by line, where it has any
        self._least: list[tuple[int, _Rule]] = []  # smallest limit of an entity
        self._tight: dict[int, int] = {}  # by pending weight: lines that have a limit that low
        windows: dict[tuple[CapPeriod, str], CalendarWindow] = {}
        for campaign, _, first, count in lines.spans:
            shared: tuple[str, ...] = ()
            if campaign.caps:
                shared = (f"c:{campaign.id}",)
                self._add(shared[0], campaign.caps, campaign, first, count, windows)
            for bit in range(first, first + count):
                creative = lines.lines[bit].creative
                own: tuple[str, ...] = ()
                if creative.caps:
                    own = (f"k:{creative.id}",)
                    self._add(own[0], creative.caps, campaign, bit, 1, windows)
                if shared or own:
                    self._entities[bit] = shared + own
        self._most = max((limit for rule in self._rules.values() for limit, _ in rule.caps), default=0)

    def _add(
        self,
        entity: str,
        caps: tuple[FrequencyCap, ...],
        campaign: Campaign,
        first: int,
        count: int,
        windows: dict[tuple[CapPeriod, str], CalendarWindow],
    ) -> None:
        made: list[_Cap] = []
        for cap in caps:
            if cap.per is CapPeriod.LIFETIME:
                made.append((cap.limit, EVER_MS))
            elif cap.window == "sliding":
                made.append((cap.limit, LENGTH_MS[cap.per]))
            else:
                name = (cap.per, campaign.time_zone)
                made.append((cap.limit, windows.get(name) or windows.setdefault(name, CalendarWindow(*name))))
        rule = self._rules[entity] = _Rule(tuple(made), first, count)
        self._least.append((min(limit for limit, _ in made), rule))
        self.unknown |= rule.mask
        if not campaign.cap_without_user:
            self.capped |= rule.mask

    def blocked(self, state: UserState | None, wall_ms: int) -> int:
        """Mask of the lines whose caps leave no room for one more bid; `unknown` where there is no state."""
        if state is None:
            return self.unknown
        pending = state.pending
        mask = self._too_tight(pending) if pending else 0
        shown, held = state.shown, state.held
        rules = self._rules
        if shown:
            for entity, times in shown.items():
                rule = rules.get(entity)
                if rule is not None and _full(rule.caps, times, held.get(entity, 0) + pending, wall_ms):
                    mask |= rule.mask
        if held:
            for entity, count in held.items():
                rule = rules.get(entity)
                if rule is not None and entity not in shown and _full(rule.caps, (), count + pending, wall_ms):
                    mask |= rule.mask
        return mask

    def entities(self, line: Line) -> tuple[str, ...]:
        """What a bid with `line` counts for; empty where nothing caps it."""
        return self._entities.get(line.bit, ())

    def room(self, line: Line, state: UserState, taken: Mapping[str, int], wall_ms: int) -> bool:
        """Whether one more bid is allowed beside `taken`, the wins of each entity in the same request so far."""
        for entity in self._entities.get(line.bit, ()):
            used = state.held.get(entity, 0) + state.pending + taken.get(entity, 0)
            if _full(self._rules[entity].caps, state.shown.get(entity, ()), used, wall_ms):
                return False
        return True

    def _too_tight(self, pending: int) -> int:
        """Lines that other requests of the person alone may fill."""
        pending = min(pending, self._most)
        mask = self._tight.get(pending)
        if mask is None:
            mask = 0
            for least, rule in self._least:
                if least <= pending:
                    mask |= rule.mask
            self._tight[pending] = mask
        return mask


def _full(caps: tuple[_Cap, ...], times: tuple[int, ...], used: int, wall_ms: int) -> bool:
    """Whether any of `caps` has no room beside impressions at `times` (oldest first) and `used` that always count."""
    for limit, window in caps:
        left = limit - used
        if left <= 0:
            return True
        if len(times) >= left:
            since = wall_ms - window if isinstance(window, int) else window.since(wall_ms)
            if times[-left] > since:
                return True
    return False


class Counted(NamedTuple):
    """What a bid counts for, as the writer of counts needs it."""

    entities: tuple[tuple[str, int], ...]  # each with how many of its last impressions are kept
    on_win: bool  # a win counts already


class CountedEntities:
    """What the bids of a catalogue count for, by campaign and creative: for who applies events, not bids."""

    def __init__(self, catalog: Catalog) -> None:
        self._campaigns = {
            campaign.id: (_keep(campaign.caps), campaign.cap_confirm == "win") for campaign in catalog.campaigns
        }
        self._creatives = {
            creative.id: _keep(creative.caps)
            for campaign in catalog.campaigns
            for creative in campaign.creatives
            if creative.caps
        }

    def __call__(self, campaign: str, creative: str) -> Counted:
        """No entities where neither is capped, or known any longer."""
        keep, on_win = self._campaigns.get(campaign, (0, False))
        found = [(f"c:{campaign}", keep)] if keep else []
        if keep := self._creatives.get(creative, 0):
            found.append((f"k:{creative}", keep))
        return Counted(tuple(found), on_win)


def _keep(caps: tuple[FrequencyCap, ...]) -> int:
    return max((cap.limit for cap in caps), default=0)
