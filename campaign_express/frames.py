"""The gateway's mail to its agents: batches of raw requests one way, answers the other, over a Unix socket.

A message is a 4-byte little-endian length and that many bytes of MessagePack. One batch is answered by one reply, in
order. `arrival_ns` is CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import struct

import msgspec
from msgspec import Struct

JSON, PROTOBUF = 0, 1
# Bits of Ask.flags.
BODY_GZIP = 1  # the body is gzip-compressed
ACCEPT_GZIP = 2  # the answer may be

HEADER = struct.Struct("<I")


class Ask(Struct, array_like=True, gc=False):
    """One request as it came: nothing in it has been parsed."""

    exchange: str  # from the path or gRPC metadata, "" = default exchange
    arrival_ns: int
    body: bytes
    encoding: int = JSON
    flags: int = 0


class Answer(Struct, array_like=True, gc=False):
    """What to send back.

    For gRPC `status` is mapped (200, 204 → OK; 400, 413 → INVALID_ARGUMENT; 503 → UNAVAILABLE).
    """

    status: int  # HTTP status: 200, 204, 400, 404 (unknown exchange), 413, 500
    body: bytes
    reason: int = -1  # NoBidReason.index of a no-bid or refusal, -1 for a bid
    gzip: bool = False  # body is compressed
    prices: tuple[int, ...] = ()  # CPM micros of each bid, for the price histogram
    rule: str = ""  # of a refusal: the row of docs/validation.md, for metrics


class Timings(Struct, array_like=True, gc=False):
    """Where the batch's time went, in nanoseconds."""

    total: int = 0
    inference: int = 0
    state: int = 0  # waiting for the store of people; 0: it was not asked


class StateCounts(Struct, array_like=True, gc=False):
    """What an agent has done with its store of people and its leases, since it started."""

    persons: int = 0  # asked for
    unknown: int = 0  # of which nothing was known in time
    timeouts: int = 0  # round trips that were not answered whole in time
    round_trips: int = 0
    profile_hits: int = 0  # remembered by the agent
    profile_misses: int = 0
    granted_micros: int = 0  # leases
    lease_failures: int = 0  # calls that the ledger did not answer
    breaker: int = 0  # now: 0 closed, 1 half open, 2 open


class Traced(Struct, array_like=True, gc=False):
    """A request of the batch that is among those that are traced."""

    at: int  # its place in the batch
    auction: str


class Reply(Struct, array_like=True, gc=False):
    answers: list[Answer]
    timings: Timings
    catalog_version: int = 0
    events: list[bytes] = []  # encoded `events.DecisionFrame`s that are due, for JetStream
    state: StateCounts | None = None  # where the agent keeps state
    traced: list[Traced] = []
    started_ns: int = 0  # where something is traced: when the agent began


class Batch(Struct, array_like=True, gc=False):
    asks: list[Ask]


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode  # Batch | Reply -> bytes, without the length header
decode_batch = msgspec.msgpack.Decoder(Batch).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
