"""No interleaving passes a cap: agents, notices and the clock in any order, on a real server.

Two agents decide requests of two persons, slot by slot, and answer before their counts are settled, or die before.
Bids are lost, won, shown, or never heard of again; notices come late (within the lateness), twice, in any order, and
one of the two that tell of an impression may be lost. The truth is kept apart: every impression at its own time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis import Redis

from campaign_express.adapters.users import RedisUsers
from campaign_express.adapters.users_counts import UserCounts
from campaign_express.adapters.users_keys import token_of
from campaign_express.adapters.users_links import UserLinks
from campaign_express.bidding.frequency import CapTable, CountedEntities
from campaign_express.bidding.lines import Line, Lines
from campaign_express.bidding.model import CapPeriod, FrequencyCap
from campaign_express.bidding.windows import period_start
from campaign_express.events import MoneyEvent, bid_key, event_id
from campaign_express.ports import Hold, UserState, UserWant
from tests.support.bidders import banner, campaign, catalog

HOUR = 3_600_000
EXP, LATENESS = HOUR, 10 * 60_000
ZONE = "Europe/Berlin"
# 80 minutes before midnight of a Sunday, so that hours, days and weeks all change soon.
START = int(datetime(2026, 7, 5, 22, 40, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)


def cap(limit: int, per: str, window: str) -> FrequencyCap:
    return FrequencyCap(limit=limit, per=CapPeriod(per), window=window)


CAMPAIGNS = (
    campaign("s", caps=(cap(2, "hour", "sliding"), cap(5, "day", "sliding")), time_zone=ZONE),
    campaign("d", banner("1", caps=(cap(1, "hour", "calendar"),)), caps=(cap(3, "day", "calendar"),), time_zone=ZONE),
    campaign("w", caps=(cap(4, "week", "calendar"), cap(1, "hour", "calendar")), time_zone=ZONE),
    campaign("l", caps=(cap(3, "lifetime", "sliding"),), cap_confirm="win", time_zone=ZONE),
)
CATALOG = catalog(*CAMPAIGNS)
LINES = Lines(CATALOG)
CAPS: dict[str, tuple[FrequencyCap, ...]] = {
    **{f"c:{one.id}": one.caps for one in CAMPAIGNS},
    **{f"k:{creative.id}": creative.caps for one in CAMPAIGNS for creative in one.creatives if creative.caps},
}
PERSONS = (("ifa:ann", "buyeruid@x:1"), ("ifa:bob",))


class Bid:
    """One bid as the world sees it."""

    def __init__(self, person: int, token: str, line: Line, entities: tuple[str, ...], at: int, serial: int) -> None:
        self.person, self.token, self.line, self.entities, self.at = person, token, line, entities, at
        self.key = bid_key("x", f"auction{serial}", "1", "1")

    def event(self, kind: str, received_ms: int) -> MoneyEvent:
        return MoneyEvent(
            id=event_id(kind, self.key),
            bid_key=self.key,
            kind=kind,
            exchange="x",
            auction="a",
            imp="1",
            bid="1",
            advertiser="brand",
            campaign=self.line.campaign.id,
            creative=self.line.creative.id,
            authorised_micros=1,
            user=self.token,
            bid_ms=self.at,
            received_ms=received_ms,
        )


class World:
    """Two agents, the consumer of notices, and what really happened."""

    def __init__(self, url: str) -> None:
        with Redis.from_url(url) as client:
            client.flushall()
        self.now = START
        options: dict[str, Any] = {"hold_ms": EXP + LATENESS, "lateness_ms": LATENESS}
        self.agents = [RedisUsers(url, wait_s=60.0, flush_s=20.0, **options) for _ in range(2)]
        self.counts = UserCounts(url, CountedEntities(CATALOG), wait_s=60.0, timeout_s=20.0, **options)
        self.caps = CapTable(LINES)
        links = UserLinks(url, 86_400)
        links.link([token_of(name) for name in PERSONS[0]], START)  # that her ids are one person's is known
        links.close()
        self.open: list[tuple[int, int, int, UserState]] = []  # agent, person, slots, state: being decided
        self.bids: list[Bid] = []
        self.under_way: list[tuple[int, Bid, str]] = []  # notices: when they must have arrived, of what, which
        self.shown: list[tuple[int, Bid]] = []
        self.serial = 0

    def close(self) -> None:
        for one in (*self.agents, self.counts):
            one.close()

    def fetch(self, agent: int, person: int, slots: int, half: bool) -> None:
        """`half`: the request tells only the last of the person's ids."""
        ids = PERSONS[person][-1:] if half else PERSONS[person]
        [state] = self.agents[agent].fetch([UserWant(ids, slots)], self.now, 60.0)
        if state is not None:
            self.open.append((agent, person, slots, state))

    def decide(self, which: int, first: int, dies: bool) -> None:
        """What the pipeline does, lines from `first` on; `dies`: the agent has answered and does not settle."""
        if not self.open:
            return
        agent, person, slots, state = self.open.pop(which % len(self.open))
        free = ~self.caps.blocked(state, self.now)
        taken: dict[str, int] = {}
        made: list[Bid] = []
        for at in range(2 * LINES.count):
            line = LINES.lines[(first + at) % LINES.count]
            if len(made) < slots and free >> line.bit & 1 and self.caps.room(line, state, taken, self.now):
                entities = self.caps.entities(line)
                for entity in entities:
                    taken[entity] = taken.get(entity, 0) + 1
                self.serial += 1
                made.append(Bid(person, state.key, line, entities, self.now, self.serial))
        self.bids += made
        if not dies:
            ends = self.now + EXP + LATENESS
            self.agents[agent].settle(state, [Hold(bid.key, bid.entities, ends) for bid in made])

    def flush(self, agent: int) -> None:
        self.agents[agent].flush()

    def lose(self, which: int) -> None:
        if self.bids:
            self._notice(self.bids.pop(which % len(self.bids)), "loss")

    def win_unseen(self, which: int) -> None:
        if self.bids:
            self._notice(self.bids.pop(which % len(self.bids)), "win")

    def show(self, which: int, notices: int) -> None:
        """An impression now; of win and impression notice at least one is sent (bits of `notices`)."""
        if not self.bids:
            return
        bid = self.bids.pop(which % len(self.bids))
        if self.now > bid.at + EXP:
            return
        self.shown.append((self.now, bid))
        if notices & 1:
            self._notice(bid, "win")
        if notices & 2:
            self._notice(bid, "impression")

    def _notice(self, bid: Bid, kind: str) -> None:
        self.under_way.append((bid.at + EXP + LATENESS - 1, bid, kind))

    def deliver(self, which: int, again: bool) -> None:
        if self.under_way:
            at = which % len(self.under_way)
            _, bid, kind = self.under_way[at] if again else self.under_way.pop(at)
            assert self.counts.apply([bid.event(kind, self.now)]) == []

    def wait(self, ms: int) -> None:
        """Notices that would be later than they may be arrive on the way. No request is decided for longer than 1 s."""
        while self.open and ms > 1000:
            self.decide(0, 0, False)
        until = self.now + ms
        for late in sorted([one for one in self.under_way if one[0] <= until], key=lambda one: one[0]):
            self.now = max(self.now, late[0])
            self.under_way.remove(late)
            assert self.counts.apply([late[1].event(late[2], self.now)]) == []
        self.now = until

    def check(self) -> None:
        for person in range(len(PERSONS)):
            for entity, caps in CAPS.items():
                times = sorted(at for at, bid in self.shown if bid.person == person and entity in bid.entities)
                for one in caps:
                    assert most_in_a_window(one, times) <= one.limit, (entity, one, times)


def most_in_a_window(one: FrequencyCap, times: list[int]) -> int:
    """Impressions in the fullest window that there is."""
    if one.per is CapPeriod.LIFETIME:
        return len(times)
    if one.window == "calendar":
        starts = [period_start(one.per, ZoneInfo(ZONE), time) for time in times]
        return max(map(starts.count, starts), default=0)
    length = {"hour": HOUR, "day": 24 * HOUR, "week": 168 * HOUR}[one.per.value]
    return max((sum(end - length < time <= end for time in times) for end in times), default=0)


WHICH = st.integers(0, 1000)
WAITS = (1, 30_000, 5 * 60_000, 20 * 60_000, 61 * 60_000)


class Interleavings(RuleBasedStateMachine):
    """The world's moves in an order that hypothesis finds, and makes short when it fails."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.url)

    def teardown(self) -> None:
        self.world.close()

    @rule(agent=st.integers(0, 1), person=st.integers(0, 1), slots=st.integers(1, 3), half=st.booleans())
    def fetch(self, agent: int, person: int, slots: int, half: bool) -> None:
        self.world.fetch(agent, person, slots, half)

    @rule(which=WHICH, first=st.integers(0, LINES.count - 1), dies=st.booleans())
    def decide(self, which: int, first: int, dies: bool) -> None:
        self.world.decide(which, first, dies)

    @rule(agent=st.integers(0, 1))
    def flush(self, agent: int) -> None:
        self.world.flush(agent)

    @rule(which=WHICH, notices=st.integers(1, 3))
    def show(self, which: int, notices: int) -> None:
        self.world.show(which, notices)

    @rule(which=WHICH, won=st.booleans())
    def not_shown(self, which: int, won: bool) -> None:
        if won:
            self.world.win_unseen(which)
        else:
            self.world.lose(which)

    @rule(which=WHICH, again=st.booleans())
    def deliver(self, which: int, again: bool) -> None:
        self.world.deliver(which, again)

    @rule(ms=st.sampled_from(WAITS))
    def wait(self, ms: int) -> None:
        self.world.wait(ms)

    @invariant()
    def no_cap_is_passed(self) -> None:
        self.world.check()


def test_no_interleaving_passes_a_cap(valkey: str) -> None:
    machine = type("OnThisServer", (Interleavings,), {"url": valkey})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_week_of_many_requests_passes_no_cap(valkey: str, seed: int) -> None:
    """Long enough for holds to end, lists of impressions to be cut, and every window to be filled and left."""
    random = Random(seed)
    world = World(valkey)
    moves: list[tuple[int, Callable[[], None]]] = [
        (
            30,
            lambda: world.fetch(
                random.randrange(2), random.randrange(2), random.choice((1, 1, 2)), random.random() < 0.3
            ),
        ),
        (30, lambda: world.decide(random.randrange(99), random.randrange(LINES.count), random.random() < 0.02)),
        (5, lambda: world.flush(random.randrange(2))),
        (20, lambda: world.show(random.randrange(99), random.randrange(1, 4))),
        (8, lambda: world.lose(random.randrange(99))),
        (2, lambda: world.win_unseen(random.randrange(99))),
        (25, lambda: world.deliver(random.randrange(99), random.random() < 0.2)),
        (15, lambda: world.wait(random.choice(WAITS))),
    ]
    weights, calls = zip(*moves, strict=True)
    try:
        for call in random.choices(calls, weights, k=1500):
            call()
            if call is calls[3]:
                world.check()
        assert len(world.shown) > 25  # about what the caps leave in this time, or this proves nothing
    finally:
        world.close()
