"""The order of the consumer's steps, and what becomes of events when one of them fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, cast

from campaign_express.adapters.event_queue import Delivery, Progress
from campaign_express.adapters.ledger_terms import Applied, Outcome
from campaign_express.bidding.settlement import problem_of
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent
from campaign_express.treasury.consumer import Consumer
from campaign_express.treasury.loops import Health


def event(name: str, **more: Any) -> MoneyEvent:
    fields: dict[str, Any] = {
        "id": name,
        "bid_key": name,
        "kind": "win",
        "exchange": "x",
        "auction": "a",
        "imp": "1",
        "bid": "1",
        "advertiser": "acme",
        "campaign": "c",
        "creative": "k",
        "authorised_micros": 5,
        "bid_ms": 1,
    }
    return MoneyEvent(**{**fields, **more})


class World:
    """Queue, counts and ledger in one, which write down what happens."""

    def __init__(self, *batches: Sequence[MoneyEvent | None]) -> None:
        self.batches = [[Delivery(e, "" if e else "rubbish", cast(Any, None)) for e in batch] for batch in batches]
        self.log: list[str] = []
        self.counts_fail: list[set[str]] = []  # by call
        self.ledger_away: list[set[str]] = []  # by call: advertisers
        self.wrong: set[str] = set()  # the ledger never takes these
        self.connected_at = 0.0
        self.behind_ms = 0
        self.returns = 0
        self.asked_in_vain = False  # so what was fetched before is done with

    async def fetch(self, most: int, wait_s: float) -> list[Delivery]:
        await asyncio.sleep(0.001)
        self.asked_in_vain = not self.batches
        return self.batches.pop(0) if self.batches else []

    async def confirm(self, deliveries: Iterable[Delivery]) -> None:
        self.log += [f"ack {d.event.id}" for d in deliveries if d.event is not None]

    async def put_back(self, deliveries: Iterable[Delivery]) -> None:
        again = list(deliveries)
        self.log += [f"back {d.event.id}" for d in again if d.event is not None]
        self.returns += 1
        if again and self.returns < 6:
            self.batches.append(again)

    async def bury(self, delivery: Delivery) -> None:
        self.log.append("bury")

    async def progress(self) -> Progress:
        return Progress(3, 0, 1, time.time_ns() // 1_000_000 - self.behind_ms)

    async def close(self) -> None:
        self.log.append("close")


class Counts:
    def __init__(self, world: World) -> None:
        self.world = world

    def apply(self, events: Sequence[MoneyEvent]) -> list[MoneyEvent]:
        failing = self.world.counts_fail.pop(0) if self.world.counts_fail else set()
        self.world.log += [f"count {e.id}" for e in events if e.id not in failing]
        return [e for e in events if e.id in failing]


class Ledger:
    def __init__(self, world: World) -> None:
        self.world = world

    def settle(self, events: Sequence[MoneyEvent]) -> list[Applied | Exception]:
        """Each advertiser's together, as the real one does."""
        away = self.world.ledger_away.pop(0) if self.world.ledger_away else set()
        wrong = {e.advertiser for e in events if e.id in self.world.wrong}
        results: list[Applied | Exception] = []
        for e in events:
            if e.advertiser in away:
                results.append(Unavailable("away"))
            elif e.advertiser in wrong:
                results.append(ValueError("a script of ours is wrong"))
            else:
                self.world.log.append(f"settle {e.id}")
                results.append(Applied(e, Outcome.APPLIED, e.authorised_micros))
        return results


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.002)


def consume(world: World, listeners: Sequence[Callable[[Sequence[Applied]], None]] = ()) -> Consumer:
    """Let a consumer work until the queue is empty."""
    made: list[Consumer] = []

    async def work() -> None:
        consumer = Consumer(world, Counts(world), Ledger(world), Clock(), Health(), listeners, 0.0)
        made.append(consumer)
        stop = asyncio.Event()
        running = asyncio.ensure_future(consumer.run(stop))
        await until(lambda: world.asked_in_vain)
        stop.set()
        await running
        consumer.close()

    asyncio.run(asyncio.wait_for(cast(Coroutine[Any, Any, None], work()), 90))
    assert world.log.pop() == "close"
    return made[0]


def test_persons_then_ledger_then_acknowledgement() -> None:
    world = World([event("a"), event("b")])
    told: list[str] = []
    consumer = consume(world, [lambda applied: told.extend(one.event.id for one in applied)])
    assert world.log == ["count a", "count b", "settle a", "settle b", "ack a", "ack b"]
    assert told == ["a", "b"]
    assert consumer.tallies.outcomes == {"applied": 2}
    assert consumer.tallies.committed_micros == 10


def test_what_cannot_be_read_is_buried_and_holds_up_nothing() -> None:
    world = World([None, event("a")])
    consumer = consume(world)
    assert world.log == ["bury", "count a", "settle a", "ack a"]
    assert consumer.tallies.buried == 1


def test_what_is_not_applied_goes_back_and_is_not_acknowledged() -> None:
    world = World([event("a"), event("b")])
    world.ledger_away = [{"acme"}, {"acme"}]
    consume(world)
    assert world.log == [*["count a", "count b", "back a", "back b"] * 2, *APPLIED_A_AND_B]


APPLIED_A_AND_B = ["count a", "count b", "settle a", "settle b", "ack a", "ack b"]


def test_a_master_that_is_away_holds_up_nobody_else() -> None:
    world = World([event("a"), event("b", advertiser="other")], [event("c", advertiser="other")])
    world.ledger_away = [{"acme"}]
    consume(world)
    assert [line for line in world.log if "count" not in line] == [
        *("settle b", "ack b", "back a"),
        *("settle c", "ack c"),
        *("settle a", "ack a"),
    ]


def test_events_that_the_counts_did_not_take_come_again_alone() -> None:
    world = World([event("a"), event("b")])
    world.counts_fail = [{"b"}, {"b"}]
    consume(world)
    assert world.log == ["count a", "settle a", "ack a", "back b", "back b", "count b", "settle b", "ack b"]


def test_one_event_that_cannot_be_applied_holds_up_only_itself_and_is_never_acknowledged() -> None:
    world = World([event("a"), event("bad"), event("b")], [event("c")])
    world.wrong = {"bad"}
    consumer = consume(world)
    assert [line for line in world.log if "ack" in line and "back" not in line] == ["ack a", "ack b", "ack c"]
    assert set(world.log) >= {"back bad"}
    assert "bury" not in world.log  # it is money
    assert len(consumer.tallies.stuck) == 1  # though the last batch was a good one


def test_an_event_that_was_stuck_and_is_applied_is_stuck_no_more() -> None:
    world = World([event("bad")])
    world.wrong = {"bad"}
    consumer = consume(world)
    consumer.tallies.stuck.add("b")
    consumer._settle([event("b")])
    assert consumer.tallies.stuck == {"bad"}


def test_a_listener_that_fails_changes_nothing() -> None:
    def listener(applied: Sequence[Applied]) -> None:
        raise RuntimeError("ours")

    world = World([event("a")])
    consume(world, [listener])
    assert world.log == ["count a", "settle a", "ack a"]


def test_how_far_it_has_come_is_told_in_wall_clock_and_only_while_it_runs() -> None:
    world = World()
    world.behind_ms = 5000
    seen: list[int] = []

    async def work() -> None:
        clock = Clock(real_ms=time.time_ns() // 1_000_000, start_ms=1_000_000_000_000, speed=100.0)
        consumer = Consumer(world, Counts(world), Ledger(world), clock, Health(), (), 0.0)
        stop = asyncio.Event()
        assert consumer.applied_ms == 0
        running = asyncio.ensure_future(consumer.run(stop))
        await until(lambda: consumer.applied_ms > 0)
        seen.append(clock.now_ms() - consumer.applied_ms)
        assert consumer.tallies.lag_events == 3
        stop.set()
        await running
        assert consumer.applied_ms == 0
        consumer.close()

    asyncio.run(asyncio.wait_for(cast(Coroutine[Any, Any, None], work()), 90))
    assert 500_000 <= seen[0] < 1_500_000  # 5 s behind at a hundredfold speed, and some time to look


def test_a_conversion_that_is_due_to_nothing_of_ours_is_an_event_like_others() -> None:
    assert problem_of(event("a", kind="conversion", campaign="", bid_key="")) == ""


def test_events_that_can_be_applied_nowhere() -> None:
    assert problem_of(event("a")) == ""
    assert problem_of(event("a", lease=60, clear_micros=3)) == ""
    for fields in (
        {"advertiser": ""},
        {"campaign": ""},
        {"bid_key": ""},
        {"advertiser": "a}{b"},
        {"authorised_micros": -1},
        {"authorised_micros": 2**53},
        {"clear_micros": 2**60},
        {"lease": -5},
        {"bid_ms": -1},
        {"bid_ms": 10**17},
        {"received_ms": 10**17},
        {"lease": 10**15},
    ):
        assert problem_of(event("a", **fields)), fields
