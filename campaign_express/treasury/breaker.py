"""Stops by itself who spends far faster than its budget allows: a fault, a wrong bid or fraud, before it costs a day.

What is watched is money that events have committed, by the time of the bids, not of their notices: notices that waited
for a broker arrive all at once, and mean nothing. A campaign or account whose bids of some `window_ms` cost more than
`factor` times what its budget allows in that time, and more than `floor_micros`, is stopped by a switch (`control.py`).
It stays stopped until an operator resumes it.

What a budget allows: an hourly budget, in an hour. A daily one, in a day, where the campaign is paced evenly; one that
spends as fast as it can may spend it within `ASAP_MS`. A total one, by the end of the flight, or within `ASAP_MS`. The
tightest of them counts.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import NamedTuple, Protocol

from campaign_express.adapters.ledger_terms import Applied
from campaign_express.bidding.changes import switch_change
from campaign_express.bidding.model import Budget, Campaign, Catalog, Pacing
from campaign_express.clock import Clock
from campaign_express.control import Stop, Switched, Switches, stops, with_stop
from campaign_express.errors import Unavailable
from campaign_express.events import ChangeEvent

log = logging.getLogger(__name__)

BY = "velocity-breaker"
PERIOD_S = 0.5
PARTS = 6  # of a window: how finely time is cut
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ASAP_MS = HOUR_MS


class Trip(NamedTuple):
    """Who spent too fast."""

    what: Switched
    spent_micros: int
    allowed_micros: int  # in the window, by its budget
    window_ms: int

    @property
    def reason(self) -> str:
        """For people."""
        return (
            f"{self.spent_micros / 1e6:.2f} USD in {self.window_ms / 1000:.0f} s,"
            f" where its budget allows {self.allowed_micros / 1e6:.2f}"
        )


def allowed_rate(budget: Budget, even: bool, flight_ms: int | None) -> float | None:
    """Micros a millisecond that a budget allows, None where it sets no limit. `flight_ms`: length of the flight."""
    fastest = ASAP_MS
    rates = []
    if budget.hourly is not None:
        rates.append(budget.hourly / HOUR_MS)
    if budget.daily is not None:
        rates.append(budget.daily / (DAY_MS if even else fastest))
    if budget.total is not None:
        rates.append(budget.total / (max(flight_ms, HOUR_MS) if even and flight_ms else fastest))
    return min(rates, default=None)


def allowed_rates(catalog: Catalog) -> dict[Switched, float]:
    """Of all campaigns and accounts with a budget. An account is even where all of its campaigns are."""
    found: dict[Switched, float] = {}
    campaigns: dict[str, list[Campaign]] = defaultdict(list)
    for campaign in catalog.campaigns:
        campaigns[campaign.advertiser].append(campaign)
        start, end = campaign.flight.start, campaign.flight.end
        flight_ms = None if end is None else int((end - start).total_seconds() * 1000)
        rate = allowed_rate(campaign.budget, campaign.pacing is Pacing.EVEN, flight_ms)
        if rate is not None:
            found[Switched("campaign", campaign.id)] = rate
    for advertiser in catalog.advertisers:
        even = all(campaign.pacing is Pacing.EVEN for campaign in campaigns[advertiser.id])
        rate = allowed_rate(advertiser.budget, even, None)
        if rate is not None:
            found[Switched("advertiser", advertiser.id)] = rate
    return found


class Velocity:
    """What was spent lately, by the time of bids, and by whom too fast. Pure; see the module's docstring."""

    def __init__(self, factor: float, window_ms: int, floor_micros: int) -> None:
        """`factor` 0: nothing is too fast."""
        self.factor = factor
        self.window_ms = window_ms
        self.floor_micros = floor_micros
        self.rates: Mapping[Switched, float] = {}
        self._part_ms = max(window_ms // PARTS, 1)
        self._spent: dict[Switched, dict[int, int]] = {}  # by part of time: its number -> micros
        self._newest = 0
        self._touched: set[Switched] = set()  # since they were looked at
        self._judged_from: dict[Switched, int] = {}  # bids before are not counted any more

    def add(self, what: Switched, bid_ms: int, micros: int) -> None:
        """What a bid of that time has cost, or has cost less or more than was thought."""
        part = bid_ms // self._part_ms
        if not self.factor or what not in self.rates or part <= self._judged_from.get(what, -1):
            return
        self._newest = max(self._newest, part)
        spent = self._spent.setdefault(what, {})
        spent[part] = spent.get(part, 0) + micros
        self._touched.add(what)
        if len(spent) > 3 * PARTS:
            oldest = self._newest - 2 * PARTS
            self._spent[what] = {number: amount for number, amount in spent.items() if number > oldest}

    def trips(self) -> Iterator[Trip]:
        """Who has spent too fast in some window that is still remembered, of those with news since the last call."""
        touched, self._touched = self._touched, set()
        for what in touched:
            spent, rate = self._spent.get(what, {}), self.rates.get(what)
            if rate is None:
                continue
            allowed = rate * self.window_ms
            limit = max(self.factor * allowed, self.floor_micros)
            most = max((self._window(spent, last) for last in spent), default=0)
            if most > limit:
                yield Trip(what, most, int(allowed), self.window_ms)

    def touch(self, what: Switched) -> None:
        """Look at it again with the next `trips`."""
        self._touched.add(what)

    def forgive(self, what: Switched, wall_ms: int) -> None:
        """Begin anew: what was bid up to now is not held against it when it is resumed."""
        self._spent.pop(what, None)
        self._judged_from[what] = wall_ms // self._part_ms

    def _window(self, spent: Mapping[int, int], last: int) -> int:
        return sum(spent.get(number, 0) for number in range(last - PARTS + 1, last + 1))


class Control(Protocol):
    """What of `adapters.control.ControlStore` the breaker uses."""

    def update(self, change: Callable[[Switches], Switches]) -> Switches: ...


class VelocityBreaker:
    """A `Loop`, and a listener of the consumer (`take`). Never resumes anybody."""

    name = "velocity breaker"
    period_s = PERIOD_S

    def __init__(
        self,
        velocity: Velocity,
        control: Control,
        clock: Clock,
        tell: Callable[[Sequence[ChangeEvent]], object] = lambda changes: None,
    ) -> None:
        """`tell`: puts changes into the event log; may raise Unavailable."""
        self.trips = 0
        self._log_change = tell
        self._velocity = velocity
        self._control = control
        self._clock = clock
        self._lock = Lock()  # events come in the consumer's thread

    def follow(self, catalog: Catalog) -> None:
        rates = allowed_rates(catalog)
        with self._lock:
            self._velocity.rates = rates

    def take(self, applied: Sequence[Applied]) -> None:
        with self._lock:
            for event, _, committed in applied:
                if committed:
                    self._velocity.add(Switched("campaign", event.campaign), event.bid_ms, committed)
                    self._velocity.add(Switched("advertiser", event.advertiser), event.bid_ms, committed)

    def run_once(self) -> None:
        with self._lock:
            found = list(self._velocity.trips())
        waiting = list(found)
        try:
            while waiting:
                self._trip(waiting[0])
                del waiting[0]
        finally:
            with self._lock:
                for trip in waiting:  # Redis is away: they are looked at again
                    self._velocity.touch(trip.what)

    def _trip(self, trip: Trip) -> None:
        wall_ms = self._clock.now_ms()
        stop = Stop(trip.reason, BY, wall_ms)
        after = self._control.update(lambda switches: with_stop(switches, trip.what, stop))
        with self._lock:
            self._velocity.forgive(trip.what, wall_ms)
        if stops(after)[trip.what] == stop:
            self.trips += 1
            log.error("spending was stopped", extra={trip.what.kind: trip.what.name, "reason": trip.reason})
            try:
                self._log_change([switch_change(trip.what, None, stop, wall_ms, BY)])
            except Unavailable as error:
                log.warning("a stop is not in the event log", extra={"reason": str(error)})
