"""Which bids are traced, and what is told of one. Pure: `adapters/otlp.py` makes spans of it, in the gateway alone.

A trace belongs to an auction: its id, and whether it is sampled at all, follow from the auction's id. So an agent, the
gateway and, hours later, the cell that takes a win agree without a word on the wire, and whoever has an event has the
id of its trace. Times are CLOCK_MONOTONIC in nanoseconds.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple
from zlib import crc32

_SPREAD, _WORD = 0x85EBCA6B, 0xFFFFFFFF  # another hash than decision_log's: other requests than its own sample


def is_traced(auction: str, share: float) -> bool:
    """Whether this auction is among the `share` (0 to 1) of which traces are kept."""
    return ((crc32(auction.encode()) * _SPREAD) & _WORD) < share * (_WORD + 1)


def trace_of(auction: str) -> tuple[int, int]:
    """(trace id of 128 bits, id of 64 bits of its root span) of an auction."""
    digest = sha256(b"trace " + auction.encode()).digest()
    return int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")


def trace_id(auction: str) -> str:
    """As logs have it: 32 hexadecimal digits."""
    return f"{trace_of(auction)[0]:032x}"


class BidTrace(NamedTuple):
    """A bid request's way: arrival, departure of its batch, the agent's work, the answer."""

    auction: str
    exchange: str
    arrival_ns: int
    sent_ns: int
    started_ns: int  # the agent's
    total_ns: int
    state_ns: int  # of it, waiting for the store of people
    inference_ns: int  # of it, in the model
    answered_ns: int
    batch: int  # requests in it
    reason: int  # `NoBidReason.index`, -1: a bid


class NoticeTrace(NamedTuple):
    """A notice's way to its event."""

    auction: str
    kind: str
    exchange: str
    campaign: str
    event: str  # id of the event
    started_ns: int
    kept_ns: int  # durable
    kept: str  # published, duplicate, spooled
