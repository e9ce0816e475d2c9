"""The queue and its batches against agents that the test plays itself, over real Unix sockets but without processes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from campaign_express import frames
from campaign_express.frames import HEADER, Answer, Ask, Batch, Reply, Timings
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.nobids import SILENT
from campaign_express.openrtb.nobid import NoBidReason

LATE, NO_AGENT = SILENT[NoBidReason.TIMEOUT], SILENT[NoBidReason.NO_AGENT]


class Agent:
    """An agent by hand: takes batches when told to, answers when told to, dies when told to."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.batches: asyncio.Queue[Batch] = asyncio.Queue()
        self.greets = True

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        if self.greets:
            self.send(Reply([], Timings(), 3))
        while header := await reader.read(HEADER.size):
            payload = await reader.readexactly(HEADER.unpack(header)[0])
            batch = frames.decode_batch(payload)
            if batch.asks:
                self.batches.put_nowait(batch)
            else:
                self.send(Reply([], Timings(), 3, [b"left"]))

    def send(self, reply: Reply) -> None:
        payload = frames.encode(reply)
        self.writer.write(HEADER.pack(len(payload)) + payload)

    async def take(self) -> list[bytes]:
        """Bodies of the next batch."""
        self.taken = await asyncio.wait_for(self.batches.get(), 60)
        return [ask.body for ask in self.taken.asks]

    def answer(self, batch: Batch | None = None) -> None:
        asks = (batch or self.taken).asks
        self.send(Reply([Answer(200, b"re:" + ask.body) for ask in asks], Timings(10, 5), 4))

    def die(self) -> None:
        self.server.close()
        self.writer.transport.abort()


@asynccontextmanager
async def pool_of(agents: int, **options: int) -> AsyncIterator[tuple[AgentPool, list[Agent], Meters]]:
    chosen = {"max_batch": 4, "batches_in_flight": 1, "max_queue": 8, "timeout_ms": 5000, **options}
    meters = Meters("test")
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as folder:
        made = [Agent(str(Path(folder, f"{n}.sock"))) for n in range(agents)]
        pool = AgentPool(meters, **chosen)
        for agent in made:
            await agent.start()
            pool.connect(agent.path)
            await asyncio.wait_for(pool.wait_live(made.index(agent) + 1), 60)
        try:
            yield pool, made, meters
        finally:
            pool.close()
            for agent in made:
                agent.server.close()


def ask(body: bytes, age_ms: float = 0) -> Ask:
    return Ask("", time.monotonic_ns() - int(age_ms * 1e6), body)


def submit(pool: AgentPool, *bodies: bytes) -> list[asyncio.Future[Answer]]:
    return [pool.submit(ask(body)) for body in bodies]


async def answers(futures: list[asyncio.Future[Answer]]) -> list[bytes]:
    return [answer.body for answer in await asyncio.wait_for(asyncio.gather(*futures), 60)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[Any]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_one_request_is_a_batch_at_once_and_what_queues_meanwhile_is_the_next() -> None:
    async def test() -> None:
        async with pool_of(1) as (pool, (agent,), meters):
            first = submit(pool, b"1")
            assert await agent.take() == [b"1"]  # no timer, no minimum
            more = submit(pool, b"2", b"3", b"4", b"5", b"6")
            await asyncio.sleep(0.01)
            assert agent.batches.empty()  # the agent has its hands full
            assert (pool.queued, pool.in_flight) == (5, 1)
            agent.answer()
            assert await agent.take() == [b"2", b"3", b"4", b"5"]  # at most max_batch
            agent.answer()
            assert await agent.take() == [b"6"]
            agent.answer()
            assert await answers(first + more) == [b"re:%d" % n for n in range(1, 7)]
            assert meters.counters.batches == 3
            assert pool.catalog_version == 4

    run(test)


def test_requests_of_one_turn_of_the_loop_share_a_batch() -> None:
    async def test() -> None:
        async with pool_of(1) as (pool, (agent,), _):
            futures = submit(pool, b"1", b"2", b"3")
            assert await agent.take() == [b"1", b"2", b"3"]
            agent.answer()
            await answers(futures)

    run(test)


def test_the_most_recently_idle_agent_comes_first_and_a_busy_one_last() -> None:
    async def test() -> None:
        async with pool_of(2, batches_in_flight=2) as (pool, (one, two), _):
            futures = submit(pool, b"1")
            assert await two.take() == [b"1"]  # linked last
            futures += submit(pool, b"2")
            assert await one.take() == [b"2"]  # idle before a second batch for the other
            futures += submit(pool, b"3")
            await until(lambda: not (one.batches.empty() and two.batches.empty()))
            second = one if not one.batches.empty() else two
            first_batches = {one: one.taken, two: two.taken}
            assert await second.take() == [b"3"]  # nobody is idle: queued behind a batch
            other = two if second is one else one
            other.answer(first_batches[other])
            await until(futures[1 if other is one else 0].done)
            futures += submit(pool, b"4")
            assert await other.take() == [b"4"]
            second.answer(first_batches[second])
            second.answer()
            other.answer()
            assert await answers(futures) == [b"re:1", b"re:2", b"re:3", b"re:4"]

    run(test)


def test_beyond_its_bound_the_queue_sheds_at_once() -> None:
    async def test() -> None:
        async with pool_of(1, max_queue=2) as (pool, (agent,), meters):
            held = submit(pool, b"1")
            await agent.take()
            waiting = submit(pool, b"2", b"3")
            assert pool.submit(ask(b"4")).result() is SILENT[NoBidReason.SHED]
            assert meters.counters.shed == 1
            assert meters.counters.outcomes[NoBidReason.SHED.index] == 1
            agent.answer()
            await agent.take()
            agent.answer()
            assert len(await answers(held + waiting)) == 3

    run(test)


def test_an_exchange_beyond_its_limit_gets_no_bid_at_once() -> None:
    async def test() -> None:
        async with pool_of(1) as (pool, (agent,), meters):
            pool.limit(lambda exchange, now_ns: exchange != "greedy")
            assert pool.submit(Ask("greedy", time.monotonic_ns(), b"1")).result() is SILENT[NoBidReason.QPS_LIMIT]
            assert meters.counters.outcomes[NoBidReason.QPS_LIMIT.index] == 1
            futures = submit(pool, b"2")
            assert await agent.take() == [b"2"]
            agent.answer()
            await answers(futures)

    run(test)


def test_a_dead_agents_batch_goes_to_another_once() -> None:
    async def test() -> None:
        async with pool_of(2) as (pool, (one, two), meters):
            futures = submit(pool, b"1", b"2")
            assert await two.take() == [b"1", b"2"]
            two.die()
            assert await one.take() == [b"1", b"2"]
            one.answer()
            assert await answers(futures) == [b"re:1", b"re:2"]
            assert meters.counters.retried == 2
            assert pool.live == 1

    run(test)


def test_a_batch_whose_second_agent_dies_too_is_a_no_bid() -> None:
    async def test() -> None:
        async with pool_of(3) as (pool, agents, meters):
            futures = submit(pool, b"1")
            await agents[2].take()
            agents[2].die()
            done, _ = await asyncio.wait(
                [asyncio.ensure_future(agent.take()) for agent in agents[:2]], return_when=asyncio.FIRST_COMPLETED
            )
            assert done.pop().result() == [b"1"]
            next(agent for agent in agents[:2] if hasattr(agent, "taken")).die()
            assert await asyncio.wait_for(futures[0], 60) is NO_AGENT
            assert pool.live == 1
            assert meters.counters.outcomes[NoBidReason.NO_AGENT.index] == 1

    run(test)


def test_no_time_left_means_no_retry() -> None:
    async def test() -> None:
        async with pool_of(2, timeout_ms=300) as (pool, (_, two), meters):
            future = pool.submit(ask(b"1", age_ms=250))
            await two.take()
            await asyncio.sleep(0.06)
            two.die()
            assert await asyncio.wait_for(future, 60) is LATE
            assert meters.counters.late == 1
            assert meters.counters.retried == 0

    run(test)


def test_without_any_agent_everything_is_a_no_bid_at_once_until_one_is_back() -> None:
    async def test() -> None:
        async with pool_of(1) as (pool, (agent,), meters):
            held = submit(pool, b"1")
            await agent.take()
            waiting = submit(pool, b"2")
            agent.die()
            assert [await asyncio.wait_for(f, 60) for f in held + waiting] == [NO_AGENT, NO_AGENT]
            assert pool.submit(ask(b"3")).result() is NO_AGENT
            await agent.start()  # as Ray does: the same path
            await asyncio.wait_for(pool.wait_live(1), 60)
            again = submit(pool, b"4")
            assert await agent.take() == [b"4"]
            agent.answer()
            assert await answers(again) == [b"re:4"]
            assert meters.counters.agent_restarts == 1

    run(test)


def test_an_agent_that_accepts_but_does_not_greet_is_given_no_work() -> None:
    async def test() -> None:
        async with pool_of(1) as (pool, (agent,), _):
            silent = Agent(agent.path + "2")
            silent.greets = False
            await silent.start()
            pool.connect(silent.path)
            await asyncio.sleep(0.05)
            assert pool.live == 1
            silent.server.close()

    run(test)


def test_an_agent_that_does_not_answer_in_time_is_given_up() -> None:
    async def test() -> None:
        async with pool_of(2, timeout_ms=100) as (pool, (one, two), meters):
            future = pool.submit(ask(b"1"))
            await two.take()
            two.greets = False  # it hangs: reconnecting does not help
            assert await asyncio.wait_for(future, 60) is LATE
            assert pool.live == 1
            assert meters.counters.late == 1
            del one

    run(test)


def test_requests_that_wait_too_long_in_the_queue_are_answered() -> None:
    async def test() -> None:
        async with pool_of(1, timeout_ms=100) as (pool, (agent,), _):
            submit(pool, b"1")
            await agent.take()
            late = pool.submit(ask(b"2", age_ms=95))
            assert await asyncio.wait_for(late, 60) is LATE

    run(test)


def test_a_client_that_has_gone_does_not_disturb_its_batch() -> None:
    async def test() -> None:
        async with pool_of(2) as (pool, (one, two), _):
            futures = submit(pool, b"1", b"2", b"3")
            await two.take()
            futures[1].cancel()
            two.die()
            assert await one.take() == [b"1", b"3"]  # not worth a retry any more
            futures[0].cancel()
            one.answer()
            assert await asyncio.wait_for(futures[2], 60) == Answer(200, b"re:3")

    run(test)


@pytest.mark.parametrize("told", [[Answer(200, b"only one")], []], ids=["miscounts", "gives up"])
def test_an_agent_that_miscounts_or_gives_a_batch_up_is_answered_for(told: list[Answer]) -> None:
    async def test() -> None:
        async with pool_of(1) as (pool, (agent,), meters):
            futures = submit(pool, b"1", b"2")
            await agent.take()
            agent.send(Reply(told, Timings()))
            found = await asyncio.wait_for(asyncio.gather(*futures), 60)
            assert [(a.status, a.reason) for a in found] == [(204, NoBidReason.TECHNICAL_ERROR.index)] * 2
            assert meters.counters.outcomes[NoBidReason.TECHNICAL_ERROR.index] == 2

    run(test)


@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_replies_arrive_in_whatever_pieces(pieces: int) -> None:
    async def test() -> None:
        async with pool_of(1, batches_in_flight=2) as (pool, (agent,), _):
            futures = submit(pool, b"1")
            first = await agent.take()
            futures += submit(pool, b"2")
            second = await agent.take()
            assert (first, second) == ([b"1"], [b"2"])
            replies = [frames.encode(Reply([Answer(200, b"x" * 5000)], Timings(1, 1), 9)) for _ in range(2)]
            stream = b"".join(HEADER.pack(len(reply)) + reply for reply in replies)
            link = next(iter(pool._links))  # fed by hand: a socket would join the pieces again
            size = -(-len(stream) // pieces)
            for at in range(0, len(stream), size):
                link.data_received(stream[at : at + size])
            assert [len(body) for body in await answers(futures)] == [5000, 5000]

    run(test)


def test_prices_and_outcomes_are_counted() -> None:
    async def test() -> None:
        async with pool_of(1) as (pool, (agent,), meters):
            futures = submit(pool, b"1", b"2", b"3")
            await agent.take()
            told = [
                Answer(200, b"", -1, False, (1_000_000, 2_000_000)),
                Answer(204, b"", NoBidReason.FLOOR.index),
                Answer(400, b"{}", NoBidReason.INVALID_REQUEST.index, rule="imp-id"),
            ]
            agent.send(Reply(told, Timings(7, 3)))
            await answers(futures)
            counters = meters.counters
            assert counters.outcomes[-1] == 1
            assert counters.outcomes[NoBidReason.FLOOR.index] == 1
            assert (counters.bids, counters.price.total) == (2, 3_000_000)
            assert (counters.busy_ns, counters.inference_time.total) == (7, 3)
            assert sum(counters.queue_time.counts) == 3
            assert counters.rules == {"imp-id": 1}

    run(test)


def test_what_agents_tell_of_their_decisions_is_passed_on_and_asked_for_in_the_end() -> None:
    async def test() -> None:
        async with pool_of(2) as (pool, agents, _):
            told: list[bytes] = []
            await pool.collect(1.0)  # nobody wants it
            pool.publish(told.extend)
            answer = pool.submit(Ask("", time.monotonic_ns(), b"a"))
            await until(lambda: any(not one.batches.empty() for one in agents))
            (agent,) = [one for one in agents if not one.batches.empty()]
            await agent.take()
            agent.send(Reply([Answer(200, b"x")], Timings(), 3, [b"frame"]))
            assert (await answer).status == 200
            assert told == [b"frame"]
            await pool.collect(5.0)
            assert told == [b"frame", b"left", b"left"]
            agent.die()
            await pool.collect(0.1)  # who is dead is not waited for

    run(test)
