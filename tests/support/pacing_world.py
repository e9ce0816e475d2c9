"""A world to try the pacing controller in: traffic over a day, campaigns that win by chance, notices that come late.

Everything is seeded. A campaign is a chance to win a request that it takes part in, and what that costs; its ledger
shows an impression only when the notice of it has come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from campaign_express.bidding import pacing
from campaign_express.bidding.model import Budget, Campaign, Creative, Flight, Goal, GoalType, Media
from campaign_express.bidding.plan import Plan, plan
from campaign_express.bidding.supply import FLAT, WeekCurve
from campaign_express.exchange.traffic import DIURNAL, Spike, Traffic

DAY_MS = 86_400_000
START_MS = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp() * 1000)  # a Wednesday
DAY = (START_MS, START_MS + DAY_MS)
TRUE_CURVE = WeekCurve.of_hours(np.array(DIURNAL * 7) / np.mean(DIURNAL))


def campaign(name: str = "c", **fields: object) -> Campaign:
    """A campaign that bids 2 USD CPM on everything from before the day on."""
    made: dict[str, object] = {
        "id": name,
        "advertiser": "a",
        "flight": Flight(start=datetime(2026, 1, 1, tzinfo=UTC)),
        "goal": Goal(type=GoalType.CPM, bid=2_000_000),
        "max_bid": 2_000_000,
        "creatives": (Creative(id="k", media=Media.BANNER, w=300, h=250, landing="https://example.com/"),),
    }
    return Campaign(**{**made, **fields})  # type: ignore[arg-type]


@dataclass
class Player:
    """A campaign as the world treats it. `plenty`: how many times over the day's supply could spend its budget."""

    budget: float
    plenty: float
    chance: float  # of winning a request that it takes part in
    cost: float = 2000.0  # the most that an impression may cost; it costs 0.5 to 1 of that
    win: Callable[[float], float] | None = None  # factor of the chance, by the multiplier of bids
    able: Callable[[float], bool] = lambda at_ms: True
    plan: Plan | None = None
    course: pacing.Course = field(default_factory=pacing.Course)
    least_multiplier: float = 1.0
    spent: float = 0.0  # truth, whenever its notice comes
    arrivals: dict[int, float] = field(default_factory=dict)  # step -> money that the ledger sees then
    committed: float = 0.0
    deviation: float = 0.0  # the largest from the plan, of the budget
    participations: list[float] = field(default_factory=list)
    trace: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class World:
    """`steps` control steps a day. `delay_ms`: mean of exponential delays of notices; `flush` of a step's requests are
    counted with the next one, by chance (agents report when they come to it)."""

    steps: int
    seed: int = 1
    curve: WeekCurve = TRUE_CURVE  # what the controller believes
    traffic: Traffic = field(default_factory=lambda: Traffic(DIURNAL))
    delay_ms: float = 180_000.0
    told_delay_ms: float | None = None  # what the controller believes, if not the truth
    flush: float = 0.5
    requests: int = 500_000  # of a day
    restart: Callable[[int, Player], None] = lambda number, player: None
    on_step: Callable[[int, Player], None] = lambda number, player: None
    start_ms: int = START_MS

    def run(self, players: list[Player]) -> None:
        rng = np.random.default_rng(self.seed)
        edges = self.start_ms + np.arange(self.steps + 1) * (DAY_MS / self.steps)
        arriving = self._requests(rng, edges)
        counted = uncounted = 0
        for player in players:
            if player.plan is None:
                player.plan = plan(campaign(), self.curve, (self.start_ms, self.start_ms + DAY_MS), player.budget)
        for number in range(self.steps):
            at_ms = float(edges[number])
            shown = uncounted - int(uncounted * self.flush * rng.random())
            counted, uncounted = counted + shown, uncounted - shown
            for player in players:
                self.on_step(number, player)
                self.restart(number, player)
                self._control(player, number, at_ms, counted)
                self._bid(player, number, int(arriving[number]), at_ms, float(edges[number + 1]), rng)
            uncounted += int(arriving[number])

    def _requests(self, rng: np.random.Generator, edges: NDArray[np.float64]) -> NDArray[np.int64]:
        weights = np.array([self.traffic.usual(int(a), int(b)) for a, b in pairwise(edges)])
        for spike in self.traffic.spikes:
            inside = (edges[:-1] >= spike.start_ms) & (edges[:-1] < spike.start_ms + spike.length_ms)
            weights = np.where(inside, weights * spike.factor, weights)
        return rng.poisson(weights * (self.requests / self.traffic.usual(int(edges[0]), int(edges[-1]))))

    def _control(self, player: Player, number: int, at_ms: float, counted: int) -> None:
        assert player.plan is not None
        player.committed += player.arrivals.pop(number, 0.0)
        delay = self.delay_ms if self.told_delay_ms is None else self.told_delay_ms
        seen = pacing.Seen(at_ms, player.committed, counted, delay, player.cost, player.able(at_ms))
        pacing.step(player.course, player.plan, seen, player.least_multiplier)
        player.participations.append(player.course.participation)
        player.trace.append((player.course.supply, player.course.unit))
        gap = abs(player.spent - player.plan.due(at_ms)) / player.budget
        player.deviation = max(player.deviation, gap)

    def _bid(
        self, player: Player, number: int, requests: int, at_ms: float, end_ms: float, rng: np.random.Generator
    ) -> None:
        if not player.able(at_ms):
            return
        factor = 1.0 if player.win is None else player.win(player.course.multiplier)
        won = int(rng.binomial(requests, min(player.course.participation * player.chance * factor, 1.0)))
        for _ in range(won) if won < 64 else range(1):
            price = player.cost * (0.5 + 0.5 * rng.random()) * (1 if won < 64 else won)
            price = min(price, player.budget - player.spent)  # the ledger's own limit
            player.spent += price
            late = rng.exponential(self.delay_ms) if self.delay_ms else 0.0
            bid_ms = at_ms + rng.random() * (end_ms - at_ms)
            seen = max(number + 1, number + 1 + int((bid_ms + late - end_ms) // (end_ms - at_ms)) + 1)
            player.arrivals[seen] = player.arrivals.get(seen, 0.0) + price


def spike_at(hour: float, hours: float = 1.0, factor: float = 5.0) -> Traffic:
    return Traffic(DIURNAL, (Spike(START_MS + int(hour * 3_600_000), int(hours * 3_600_000), factor),))


def players(
    world: World, count: int, plenty: tuple[float, float] = (1.3, 30.0), impressions: int = 300
) -> list[Player]:
    """Campaigns of random sizes (with at least so many impressions), with `plenty` times the supply that they need."""
    rng = np.random.default_rng(world.seed)
    made: list[Player] = []
    while len(made) < count:
        chance = float(np.exp(rng.uniform(np.log(0.004), np.log(0.3))))
        over = float(np.exp(rng.uniform(*np.log(plenty))))
        budget = world.requests * chance * 1500.0 / over
        if budget >= impressions * 1500.0:
            made.append(Player(budget=budget, plenty=over, chance=chance))
    return made


__all__ = ["DAY", "DIURNAL", "FLAT", "START_MS", "TRUE_CURVE", "Budget", "Player", "World", "campaign", "players"]
