"""No-bids that no agent made: said as each exchange wants it, whichever way they come about."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from test_gateway_batching import Agent, pool_of

from campaign_express.frames import BODY_GZIP, JSON, PROTOBUF, Answer, Ask, Reply, Timings
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.nobids import NoBids
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.openrtb.proto import openrtb_pb2
from campaign_express.openrtb.request_id import READ_LIMIT, request_id

BODY = b'{"imp":[{"id":"not this one"}],"id":"auction-1","ext":{"id":7}}'
MESSAGE: bytes = openrtb_pb2.BidRequest(id="auction-1", tmax=50).SerializeToString()


def ask(exchange: str, encoding: int, age_ms: float = 0) -> Ask:
    return Ask(exchange, time.monotonic_ns() - int(age_ms * 1e6), BODY if encoding == JSON else MESSAGE, encoding)


# How each comes about: given a pool with one agent and what to ask, the answer.

Way = Callable[[AgentPool, Agent, Callable[..., Ask]], Awaitable[Answer]]


async def shed(pool: AgentPool, agent: Agent, make: Callable[..., Ask]) -> Answer:
    for _ in range(3):  # one in the agent's hands, two in the queue
        pool.submit(make())
        await asyncio.sleep(0.01)
    return await pool.submit(make())


async def no_agent(pool: AgentPool, agent: Agent, make: Callable[..., Ask]) -> Answer:
    agent.die()
    while pool.live:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.001)
    return await pool.submit(make())


async def agent_died(pool: AgentPool, agent: Agent, make: Callable[..., Ask]) -> Answer:
    future = pool.submit(make())
    await agent.take()
    agent.die()
    return await future


async def waited_too_long(pool: AgentPool, agent: Agent, make: Callable[..., Ask]) -> Answer:
    pool.submit(make())
    await agent.take()
    return await pool.submit(make(age_ms=4990))


async def over_its_limit(pool: AgentPool, agent: Agent, make: Callable[..., Ask]) -> Answer:
    pool.limit(lambda exchange, now_ns: False)
    return await pool.submit(make())


async def not_decided(pool: AgentPool, agent: Agent, make: Callable[..., Ask]) -> Answer:
    future = pool.submit(make())
    await agent.take()
    agent.send(Reply([], Timings()))
    return await future


WAYS: dict[Way, NoBidReason] = {
    shed: NoBidReason.SHED,
    no_agent: NoBidReason.NO_AGENT,
    agent_died: NoBidReason.NO_AGENT,
    waited_too_long: NoBidReason.TIMEOUT,
    over_its_limit: NoBidReason.QPS_LIMIT,
    not_decided: NoBidReason.TECHNICAL_ERROR,
}


@pytest.mark.parametrize(("way", "reason"), WAYS.items(), ids=[way.__name__ for way in WAYS])
@pytest.mark.parametrize("encoding", [JSON, PROTOBUF], ids=["json", "protobuf"])
@pytest.mark.parametrize("exchange", ["spoken", "silent"])
def test_every_no_bid_is_said_as_the_exchange_wants(
    way: Way, reason: NoBidReason, encoding: int, exchange: str
) -> None:
    async def test() -> Answer:
        async with pool_of(1, max_queue=2) as (pool, (agent,), meters):
            pool.no_bids.speak(["spoken", "another"])
            found = await asyncio.wait_for(way(pool, agent, lambda **age: ask(exchange, encoding, **age)), 60)
            assert meters.counters.outcomes[reason.index] == 1
            return found

    found = asyncio.run(test())
    assert found.reason == reason.index
    assert found.prices == ()
    if encoding == PROTOBUF:
        response = openrtb_pb2.BidResponse.FromString(found.body)
        assert (found.status, response.id, response.nbr) == (200, "auction-1", reason.nbr)
        assert not response.seatbid
    elif exchange == "spoken":
        assert (found.status, json.loads(found.body)) == (200, {"id": "auction-1", "nbr": reason.nbr})
    else:
        assert (found.status, found.body) == (204, b"")


@pytest.mark.parametrize(
    "unreadable",
    [
        Ask("spoken", 0, b""),
        Ask("spoken", 0, b"{"),
        Ask("spoken", 0, b"[]"),
        Ask("spoken", 0, b'{"id":7}'),
        Ask("spoken", 0, b'{"id":""}'),
        Ask("spoken", 0, b'{"id":"\xff"}'),
        Ask("spoken", 0, b'{"id":"1","x":' + b"[" * 5000),
        Ask("spoken", 0, b'{"id":"1"}', JSON, BODY_GZIP),
        Ask("spoken", 0, gzip.compress(b" " * 10_000_000), JSON, BODY_GZIP),
        Ask("spoken", 0, b'{"id":"1"}' + b" " * READ_LIMIT),
        Ask("", 0, b"\xff\xff", PROTOBUF),
        Ask("", 0, b"", PROTOBUF),
        Ask("", 0, MESSAGE * (READ_LIMIT // len(MESSAGE) + 1), PROTOBUF),
    ],
)
def test_without_an_id_there_is_no_response(unreadable: Ask) -> None:
    made = NoBids()
    made.speak(["spoken"])
    assert made.answer(unreadable, NoBidReason.SHED) == Answer(204, b"", NoBidReason.SHED.index)


def test_ids_are_read_whatever_is_around_them() -> None:
    assert request_id(BODY) == "auction-1"
    assert request_id(gzip.compress(BODY), gzipped=True) == "auction-1"
    assert request_id(b'{"id":"\\u00e9\\n","imp":"of any type"}') == "é\n"
    assert request_id(b'{"id":"1"}'.ljust(READ_LIMIT)) == "1"
    assert request_id(MESSAGE, protobuf=True) == "auction-1"
    assert request_id(MESSAGE + b"\xfa\x3e\x01x", protobuf=True) == "auction-1"  # field 1007, unknown, one byte


def test_the_default_exchange_speaks_by_its_key() -> None:
    made = NoBids()
    made.speak([""])
    assert made.answer(Ask("", 0, BODY), NoBidReason.SHED).status == 200
    assert made.answer(Ask("nobody-we-know", 0, BODY), NoBidReason.SHED).status == 204
