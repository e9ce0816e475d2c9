"""A run of the simulated exchanges against a bidder: requests at their times, auctions, notices, and the truth.

One event loop, which looks at the clock every few milliseconds and sends what is due. Arrivals never wait for answers.
Request times, exp, delays of notices and their lateness are times of the plan's clock, which a simulation may run
faster; tmax and timeouts are real time.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice

import msgspec
import uvloop
from msgspec import Struct

from campaign_express.exchange.people import People
from campaign_express.exchange.plan import Plan
from campaign_express.exchange.sale import Sales, Send
from campaign_express.exchange.shapes import Shapes
from campaign_express.exchange.stream import Call, RequestStream
from campaign_express.exchange.wire import Connections
from campaign_express.openrtb.response import BidResponse

TICK_S = 0.002
SWEEP_S = 0.1
COLLECT_S = 5.0
BURST = 200  # requests, and as many notices, that one tick sends at most

_decode = msgspec.json.Decoder(BidResponse).decode


class Progress(Struct):
    """Where a run is; given to `on_tick` a few times a second."""

    now_ms: int = 0
    sent: int = 0
    requests: int = 0
    notices_waiting: int = 0


class Results(Struct):
    """What happened, beside the truth in `sales`."""

    sales: Sales
    counts: Counter[str]
    latency_us: list[int]  # of answered requests
    notice_latency_us: list[int]
    lag_ms: list[int]  # how late requests were sent, by the plan's clock: the simulator's own fault
    real_s: float = 0.0
    cpu_s: float = 0.0


class Simulation:
    """`await Simulation(plan, shapes).run()`; or `run(plan, shapes)` outside an event loop."""

    def __init__(self, plan: Plan, shapes: Shapes, on_tick: Callable[[Progress], None] | None = None) -> None:
        self._plan = plan
        self._stream = RequestStream(plan.seed, People(plan.crowd, plan.seed), shapes, plan.venues)
        self._times = plan.traffic.arrivals(plan.requests, plan.start_ms, plan.end_ms, plan.seed).tolist()
        campaigns = plan.catalog.campaigns if plan.catalog is not None else ()
        self.sales = Sales(plan, {campaign.id: campaign.advertiser for campaign in campaigns})
        self._bids = Connections(plan.host, plan.port, plan.bid_connections, plan.timeout_s)
        self._notices = Connections(plan.host, plan.port, plan.notice_connections, plan.timeout_s)
        self._on_tick = on_tick
        self._next = 0
        self._counts = self.sales.counts
        self._latency: list[int] = []
        self._notice_latency: list[int] = []
        self._lag: list[int] = []
        host = f"\r\nHost: {plan.host}:{plan.port}\r\n"
        self._heads = {
            venue.name: f"POST /v1/bid/{venue.name} HTTP/1.1{host}Content-Type: application/json\r\nContent-Length: "
            for venue in plan.venues
        }
        self._get = "GET {} HTTP/1.1" + host + "\r\n"

    async def run(self) -> Results:
        """Raises OSError where nobody listens."""
        started, cpu = time.monotonic(), time.thread_time()
        await self._bids.open()
        await self._notices.open()
        gc.freeze()
        gc.disable()  # in between, and at times of our own choice
        try:
            await self._serve()
        finally:
            gc.enable()
            await self._bids.close()
            await self._notices.close()
        return Results(
            sales=self.sales,
            counts=self._counts,
            latency_us=self._latency,
            notice_latency_us=self._notice_latency,
            lag_ms=self._lag,
            real_s=time.monotonic() - started,
            cpu_s=time.thread_time() - cpu,
        )

    async def _serve(self) -> None:
        clock, total = self._plan.clock, self._plan.requests
        swept = collected = 0.0
        deadline = 0.0
        while True:
            now_ms = clock.now_ms()
            self._ask(now_ms)
            if not deadline or time.monotonic() < deadline:
                for send in islice(self.sales.due(now_ms), BURST):
                    self._notify(send)
            now = time.monotonic()
            if now - swept > SWEEP_S:
                swept = now
                self._bids.sweep()
                self._notices.sweep()
                if now - collected > COLLECT_S:
                    collected = now
                    gc.collect(0)
                if self._on_tick is not None:
                    self._on_tick(Progress(now_ms, self._next, total, self.sales.outstanding))
            if self._next == total and self._bids.quiet:
                deadline = deadline or now + self._plan.linger_s
                if (not self.sales.outstanding or now > deadline) and self._notices.quiet:
                    self._counts["notices cut off"] = self.sales.outstanding
                    return
            await asyncio.sleep(TICK_S)

    def _ask(self, now_ms: int) -> None:
        for _ in range(BURST):
            if self._next >= len(self._times) or self._times[self._next] > now_ms:
                return
            self._lag.append(now_ms - self._times[self._next])
            call = self._stream.call(self._next)
            self._next += 1
            head = self._heads[call.venue.name]
            request = f"{head}{len(call.body)}\r\n\r\n".encode() + call.body
            self._bids.send(request, _Ask(self, call, now_ms))

    def answered(self, call: Call, sent_ms: int, status: int, body: bytes, taken_ns: int) -> None:
        """What the bidder said to a request, or status 0 where it said nothing."""
        counts = self._counts
        counts["requests"] += 1
        if status == 0:
            counts["unanswered"] += 1
            return
        self._latency.append(taken_ns // 1000)
        if status not in (200, 204):
            counts["refused"] += 1
            return
        if status == 204 or b'"seatbid"' not in body:
            counts["no-bids"] += 1
            return
        counts["answers with bids"] += 1
        if taken_ns > (call.venue.exchange.tmax + self._plan.grace_ms) * 1_000_000:
            counts["late"] += 1  # the auction was held without it; nobody tells the bidder
            return
        try:
            response = _decode(body)
        except msgspec.DecodeError:
            counts["unreadable"] += 1
            return
        self.sales.hold(call, response, sent_ms, self._plan.clock.now_ms())

    def _notify(self, send: Send) -> None:
        self._counts["notices sent"] += 1
        self._notices.send(self._get.format(send.target).encode(), _Told(self, send))

    def noted(self, send: Send, status: int, head: bytes, taken_ns: int) -> None:
        """What the bidder said to a notice."""
        self._notice_latency.append(taken_ns // 1000)
        if status == 0:
            self._counts["notices unanswered"] += 1
            self.sales.in_doubt(send)
            return
        if not 200 <= status < 400:
            self._counts["notices refused"] += 1
            return
        self.sales.arrived(send)
        if send.conversion is not None and send.copy == 0:
            self.sales.convert(send.conversion[0], head, send.conversion[1], f"o{send.order}")


class _Ask:
    """What a bid request's answer goes to; lighter than a closure."""

    __slots__ = ("call", "sent_ms", "simulation")

    def __init__(self, simulation: Simulation, call: Call, sent_ms: int) -> None:
        self.simulation, self.call, self.sent_ms = simulation, call, sent_ms

    def __call__(self, status: int, head: bytes, body: bytes, taken_ns: int) -> None:
        self.simulation.answered(self.call, self.sent_ms, status, body, taken_ns)


class _Told:
    """Likewise, of a notice."""

    __slots__ = ("send", "simulation")

    def __init__(self, simulation: Simulation, send: Send) -> None:
        self.simulation, self.send = simulation, send

    def __call__(self, status: int, head: bytes, body: bytes, taken_ns: int) -> None:
        self.simulation.noted(self.send, status, head, taken_ns)


def run(plan: Plan, shapes: Shapes, on_tick: Callable[[Progress], None] | None = None) -> Results:
    return uvloop.run(Simulation(plan, shapes, on_tick).run())
