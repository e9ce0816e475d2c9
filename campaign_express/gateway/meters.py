"""What a cell counts, cheaply: plain integers on the hot path, turned into Prometheus's format only when scraped.

A call into prometheus_client costs 1-2 µs and a request touches a dozen of them, so the hot path adds to lists and
`metrics.py` reads them at scrape time. Everything counted is in one `Snapshot`, which can be added to another: that is
how several cells of a node answer as one. Used from the gateway's event loop only, so nothing is locked.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec
from msgspec import Struct

from campaign_express.frames import StateCounts
from campaign_express.openrtb.nobid import BY_INDEX

# Upper bounds ("le"), in the unit observed on the hot path; `metrics.py` divides by a scale for the exposed unit.
LATENCY_NS = tuple(
    int(ms * 1e6) for ms in (0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 250, 500, 1000)
)
QUEUE_NS = tuple(int(ms * 1e6) for ms in (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 250, 500))
WORK_NS = tuple(int(ms * 1e6) for ms in (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 50, 100))
PUBLISH_NS = tuple(int(ms * 1e6) for ms in (0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 20, 30, 50, 75, 100, 250, 500, 1000))
BATCH_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256)
PRICE_MICROS = tuple(
    int(usd * 1e6) for usd in (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 50)
)

BID = len(BY_INDEX)  # position of bids among the outcomes: `outcomes[-1]`, as `Answer.reason` is -1 for a bid
REFUSALS = (400, 404, 405, 411, 413, 415)  # HTTP statuses that the gateway itself gives

_STATE = tuple(name for name in StateCounts.__struct_fields__ if name != "breaker")


class Histogram(Struct, gc=False):
    """Counts by bucket; the last one is +Inf. `total` is the sum of what was observed."""

    bounds: tuple[int, ...]
    counts: list[int]
    total: int = 0

    @classmethod
    def of(cls, bounds: tuple[int, ...]) -> Histogram:
        return cls(bounds, [0] * (len(bounds) + 1))

    def observe(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, other: Histogram) -> None:
        """Add what another process observed. Other bounds (another version of the program) are left out."""
        if other.bounds == self.bounds:
            self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
            self.total += other.total


class Gauges(Struct):
    """How one cell is now. These are exposed by cell; they mean nothing added up."""

    catalog_version: int = 0
    live_agents: int = 0
    agents: int = 0
    connections: int = 0
    in_flight: int = 0
    queued: int = 0
    draining: bool = False
    compiled: bool = False  # the hot path is machine code
    open_breakers: int = 0
    broker_up: bool = False  # JetStream acknowledges events
    spool_bytes: int = 0
    decision_bytes: int = 0  # of frames that JetStream has not acknowledged
    resident_bytes: int = 0


class Counters(Struct):
    """What has happened since the process started. Added up over the cells of a node."""

    http_requests: int = 0
    grpc_requests: int = 0
    batches: int = 0
    retried: int = 0  # requests sent again to another agent
    late: int = 0  # answered no-bid because their time had passed
    shed: int = 0
    agent_restarts: int = 0
    bids: int = 0
    busy_ns: int = 0  # agents' time spent deciding
    # As frames.StateCounts, of all agents.
    persons: int = 0
    unknown: int = 0
    timeouts: int = 0
    round_trips: int = 0
    profile_hits: int = 0
    profile_misses: int = 0
    granted_micros: int = 0
    lease_failures: int = 0
    outcomes: list[int] = msgspec.field(default_factory=lambda: [0] * (BID + 1))
    rules: dict[str, int] = msgspec.field(default_factory=dict)  # invalid requests by the rule they break
    refusals: list[int] = msgspec.field(default_factory=lambda: [0] * len(REFUSALS))
    notices: dict[str, int] = msgspec.field(default_factory=dict)  # by "kind outcome"
    notice_prices: dict[str, int] = msgspec.field(default_factory=dict)  # of those that are not plainly believed: why
    spooled: int = 0  # events that went to the spool
    drained: int = 0  # and from there to JetStream
    refused_events: int = 0  # that JetStream refused, each time that it did
    spool_damaged: int = 0  # segments that ended in a record that cannot be read
    touches_dropped: int = 0
    decisions_published: int = 0  # events of agents, acknowledged by JetStream
    decisions_dropped: int = 0
    decision_frames_dropped: int = 0
    latency: Histogram = msgspec.field(default_factory=lambda: Histogram.of(LATENCY_NS))
    queue_time: Histogram = msgspec.field(default_factory=lambda: Histogram.of(QUEUE_NS))
    batch_size: Histogram = msgspec.field(default_factory=lambda: Histogram.of(BATCH_SIZES))
    decision_time: Histogram = msgspec.field(default_factory=lambda: Histogram.of(WORK_NS))
    inference_time: Histogram = msgspec.field(default_factory=lambda: Histogram.of(WORK_NS))
    state_time: Histogram = msgspec.field(default_factory=lambda: Histogram.of(WORK_NS))
    price: Histogram = msgspec.field(default_factory=lambda: Histogram.of(PRICE_MICROS))
    publish_time: Histogram = msgspec.field(default_factory=lambda: Histogram.of(PUBLISH_NS))

    def count_notice(self, kind: str, outcome: str) -> None:
        key = f"{kind} {outcome}"
        self.notices[key] = self.notices.get(key, 0) + 1

    def count_price(self, remark: str) -> None:
        self.notice_prices[remark] = self.notice_prices.get(remark, 0) + 1

    def add_state(self, before: StateCounts, now: StateCounts) -> None:
        """Add what an agent did between two of its replies."""
        for name in _STATE:
            setattr(self, name, getattr(self, name) + getattr(now, name) - getattr(before, name))

    def add(self, other: Counters) -> None:
        """Add another cell's counts to these."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Histogram):
                mine.add(theirs)
            elif isinstance(mine, dict):
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + count
            elif isinstance(mine, list):
                if len(mine) == len(theirs):
                    setattr(self, name, [a + b for a, b in zip(mine, theirs, strict=True)])
            else:
                setattr(self, name, mine + theirs)


class Meters:
    """One cell's counters and gauges, written by the listeners and the pool."""

    def __init__(self, cell: str = "") -> None:
        self.cell = cell
        self.counters = Counters()
        self.gauges = Gauges()

    def refuse(self, status: int) -> None:
        """Count a request that the gateway refused by itself (wrong path, method, size or encoding)."""
        self.counters.refusals[REFUSALS.index(status)] += 1

    def snapshot(self) -> Snapshot:
        return Snapshot(self.cell, self.counters, self.gauges)


class Snapshot(Struct):
    """All that one cell counts, as it travels to the cell that was scraped."""

    cell: str
    counters: Counters
    gauges: Gauges


encode_snapshot = msgspec.msgpack.Encoder().encode
decode_snapshot = msgspec.msgpack.Decoder(Snapshot).decode
