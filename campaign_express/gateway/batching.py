"""From single requests to batches for agents and back: the gateway's queue and its links to the agents of the cell.

Rules
- Whatever has queued while the agents were busy goes out as one batch: no timer, no minimum, at most `max_batch`.
- An agent with nothing in hand comes before one with something, and the most recently idle comes first (warm caches,
  larger batches). An agent holds at most `batches_in_flight` batches.
- The queue is bounded: beyond `max_queue` a request is shed at once, so that latency stays bounded under overload.
- A dying agent's batch is sent once more to another agent if time is left. Else its requests get a no-bid.
- Every request is answered within `timeout_ms`, whatever an agent does. `tmax` is the agent's business: it decodes it.
- Nothing here parses a request, only `nobids` reads ids. All of it runs in one event loop; nothing is locked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from campaign_express.frames import Answer, Ask, Reply
from campaign_express.gateway.agent_link import AgentLink, Sent, Waiter, Waiting
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.nobids import NoBids
from campaign_express.openrtb.nobid import NoBidReason
from campaign_express.tracing import BidTrace

logger = logging.getLogger(__name__)

TakeEvents = Callable[[list[bytes]], None]  # encoded frames of decisions
TakeTrace = Callable[[BidTrace], None]  # of a request that was answered
Admit = Callable[[str, int], bool]  # (exchange, arrival_ns): whether one more request of that exchange may pass

_LATE = NoBidReason.TIMEOUT.index

SWEEP_S = 0.05  # how often deadlines are looked at
HEARTBEAT_NS = 1_000_000_000  # an idle agent is asked for its catalogue version this often
BACKOFF_S, BACKOFF_MAX_S = 0.01, 0.25  # between attempts to reach an agent


class AgentPool:
    """The queue before the agents. `submit` is the hot path: about 2 µs a request, batching included."""

    def __init__(
        self, meters: Meters, *, max_batch: int, batches_in_flight: int, max_queue: int, timeout_ms: int
    ) -> None:
        self.no_bids = NoBids()
        self._counters = meters.counters
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._timeout_ns = timeout_ms * 1_000_000
        self._admit: Admit | None = None
        self._take_events: TakeEvents | None = None
        self._take_trace: TakeTrace | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Waiting] = deque()
        self._retries: deque[list[Waiting]] = deque()
        # _idle[n]: links with n batches in hand, the one that came last at the end. Dicts, as ordered sets.
        self._idle: list[dict[AgentLink, None]] = [{} for _ in range(batches_in_flight)]
        self._links: set[AgentLink] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._pump_scheduled = False
        self._closing = False
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    # Life

    def connect(self, path: str) -> None:
        """Keep a link to the agent that listens at the Unix socket `path`, reconnecting for ever."""
        self._keepers.append(self._loop.create_task(self._keep(path)))

    def limit(self, admit: Admit) -> None:
        """Ask `admit` before each request from now on; one that may not pass gets a no-bid at once (`qps-limit`)."""
        self._admit = admit

    def publish(self, take_events: TakeEvents) -> None:
        """Have `take_events` given what agents tell of their decisions, from now on."""
        self._take_events = take_events

    def trace(self, take_trace: TakeTrace) -> None:
        """Have `take_trace` given the way of each request that agents find to be traced, from now on."""
        self._take_trace = take_trace

    async def collect(self, timeout_s: float) -> None:
        """Ask every agent for what it has not told of its decisions yet; returns when all have answered, or in time."""
        if self._take_events is None:
            return
        asked = []
        for link in list(self._links):
            self._withdraw(link)
            link.send(Sent([], time.monotonic_ns(), False))
            self._offer(link)
            asked.append((link, link.pending[-1]))
        end = self._loop.time() + timeout_s
        # Only at the end of a cell, where a few milliseconds are nothing.
        while self._loop.time() < end and any(sent in link.pending for link, sent in asked):  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def close(self) -> None:
        """Let go of the agents. What is still waiting is answered no-bid."""
        self._closing = True
        self._sweeper.cancel()
        for keeper in self._keepers:
            keeper.cancel()
        for link in list(self._links):
            link.close()

    @property
    def live(self) -> int:
        """Agents that can be given work."""
        return len(self._links)

    @property
    def pids(self) -> list[int]:
        """Processes of the live agents."""
        return [link.pid for link in self._links]

    async def wait_live(self, count: int) -> None:
        """Returns when `count` agents can be given work."""
        while self.live < count:  # noqa: ASYNC110  # only at the start, where a few milliseconds are nothing
            await asyncio.sleep(0.005)

    @property
    def queued(self) -> int:
        return len(self._queue) + sum(map(len, self._retries))

    @property
    def in_flight(self) -> int:
        """Requests in agents' hands."""
        return sum(len(sent.waiting) for link in self._links for sent in link.pending)

    @property
    def catalog_version(self) -> int:
        """The oldest version that an agent still bids with; 0 while there is no agent."""
        return min((link.catalog_version for link in self._links), default=0)

    @property
    def open_breakers(self) -> int:
        """Agents that have stopped asking the store of people, or are trying it again."""
        return sum(link.state.breaker > 0 for link in self._links)

    # Requests

    def submit(self, ask: Ask) -> asyncio.Future[Answer]:
        """The answer to come, or already there: a no-bid at once (limit, full queue, no agent)."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self.submit_to(future, ask)
        return future

    def submit_to(self, waiter: Waiter, ask: Ask) -> None:
        """Have `waiter` given the answer, before this returns where it is a no-bid at once."""
        queue = self._queue
        if self._admit is not None and not self._admit(ask.exchange, ask.arrival_ns):
            self._refuse(waiter, ask, NoBidReason.QPS_LIMIT)
        elif not self._links:
            self._refuse(waiter, ask, NoBidReason.NO_AGENT)
        elif len(queue) >= self._max_queue:
            self._counters.shed += 1
            self._refuse(waiter, ask, NoBidReason.SHED)
        else:
            queue.append((ask, waiter))
            if not self._pump_scheduled:
                # Not at once: requests of other connections that are readable in this turn of the loop join the batch.
                self._pump_scheduled = True
                self._loop.call_soon(self._pump)

    def _refuse(self, waiter: Waiter, ask: Ask, reason: NoBidReason) -> None:
        self._counters.outcomes[reason.index] += 1
        waiter.set_result(self.no_bids.answer(ask, reason))

    def _pump(self) -> None:
        self._pump_scheduled = False
        queue, retries, most = self._queue, self._retries, self._max_batch
        while queue or retries:
            link = self._next_link()
            if link is None:
                return
            if retries:
                self._send(link, retries.popleft(), True)
            elif len(queue) <= most:
                batch = list(queue)
                queue.clear()
                self._send(link, batch, False)
            else:
                self._send(link, [queue.popleft() for _ in range(most)], False)

    def _next_link(self) -> AgentLink | None:
        for level in self._idle:
            if level:
                return level.popitem()[0]
        return None

    def _send(self, link: AgentLink, batch: list[Waiting], retried: bool) -> None:
        counters, now = self._counters, time.monotonic_ns()
        counters.batches += 1
        counters.batch_size.observe(len(batch))
        observe = counters.queue_time.observe
        for ask, _ in batch:
            observe(now - ask.arrival_ns)
        link.send(Sent(batch, now, retried))
        self._offer(link)

    def _offer(self, link: AgentLink) -> None:
        """Put a link where it belongs by the batches in its hands."""
        held = len(link.pending)
        if held < len(self._idle):
            self._idle[held][link] = None

    def _withdraw(self, link: AgentLink) -> None:
        for level in self._idle:
            level.pop(link, None)

    # What links tell

    def link_up(self, link: AgentLink) -> None:
        self._links.add(link)
        self._offer(link)
        self._pump()

    def replied(self, link: AgentLink, sent: Sent, reply: Reply) -> None:
        """Give each answer to the one who waits for it, and the agent its next batch."""
        self._withdraw(link)
        self._offer(link)
        waiting, answers = sent.waiting, reply.answers
        if self._queue or self._retries:
            self._pump()  # before the answers are handed out: the agent works meanwhile
        if reply.events and self._take_events is not None:
            self._take_events(reply.events)
        if not waiting:
            return  # a heartbeat
        if len(answers) != len(waiting):
            if answers:  # none: it could not decide the batch, and has said so itself
                told = "agent gave %d answers to %d requests"
                logger.error(told, len(answers), len(waiting), extra={"agent": link.path})
            self._answer_all(waiting, NoBidReason.TECHNICAL_ERROR)
            return
        counters = self._counters
        outcomes, price, rules = counters.outcomes, counters.price, counters.rules
        counters.busy_ns += reply.timings.total
        counters.decision_time.observe(reply.timings.total)
        if reply.timings.inference:
            counters.inference_time.observe(reply.timings.inference)
        if reply.state is not None:
            if reply.timings.state:
                counters.state_time.observe(reply.timings.state)
            counters.add_state(link.state, reply.state)
            link.state = reply.state
        for (_, future), answer in zip(waiting, answers, strict=False):
            outcomes[answer.reason] += 1
            for micros in answer.prices:
                price.observe(micros)
                counters.bids += 1
            if answer.rule:
                rules[answer.rule] = rules.get(answer.rule, 0) + 1
            elif answer.reason == _LATE:
                counters.late += 1
            if not future.done():  # the client may have gone
                future.set_result(answer)
        if reply.traced and self._take_trace is not None:
            self._trace_all(self._take_trace, sent, reply)

    def _trace_all(self, take: TakeTrace, sent: Sent, reply: Reply) -> None:
        now, timings = time.monotonic_ns(), reply.timings
        for traced in reply.traced:
            ask, _ = sent.waiting[traced.at]
            spent = (timings.total, timings.state, timings.inference)
            answer = reply.answers[traced.at]
            times = (ask.arrival_ns, sent.sent_ns, reply.started_ns, *spent, now)
            take(BidTrace(traced.auction, ask.exchange, *times, len(sent.waiting), answer.reason))

    def link_lost(self, link: AgentLink) -> None:
        """Send its batches to another agent, once; answer what cannot be sent again."""
        self._withdraw(link)
        if link in self._links:
            self._links.discard(link)
            if not self._closing:
                logger.warning("agent lost", extra={"agent": link.path, "batches": len(link.pending)})
        for sent in link.pending:
            waiting = [w for w in sent.waiting if not w[1].done()]
            if not waiting:
                continue
            if sent.retried or not self._links:
                self._answer_all(waiting, NoBidReason.NO_AGENT)
            else:
                in_time = time.monotonic_ns() - self._timeout_ns
                self._answer_all([w for w in waiting if w[0].arrival_ns < in_time], NoBidReason.TIMEOUT)
                again = [w for w in waiting if w[0].arrival_ns >= in_time]
                if again:
                    self._counters.retried += len(again)
                    self._retries.append(again)
        link.pending.clear()
        if not self._links:
            self._drop_queue()
        self._pump()

    def _drop_queue(self) -> None:
        for batch in self._retries:
            self._answer_all(batch, NoBidReason.NO_AGENT)
        self._answer_all(list(self._queue), NoBidReason.NO_AGENT)
        self._retries.clear()
        self._queue.clear()

    def _answer_all(self, waiting: list[Waiting], reason: NoBidReason) -> None:
        for ask, waiter in waiting:
            if not waiter.done():
                if reason is NoBidReason.TIMEOUT:
                    self._counters.late += 1
                self._refuse(waiter, ask, reason)

    # Time

    def _sweep(self) -> None:
        """Answer what has waited too long, give up agents that do not answer, and ask idle ones how they are."""
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        now = time.monotonic_ns()
        expired = now - self._timeout_ns
        queue = self._queue
        late: list[Waiting] = []
        while queue and queue[0][0].arrival_ns < expired:
            late.append(queue.popleft())
        while self._retries and all(ask.arrival_ns < expired for ask, _ in self._retries[0]):
            late += self._retries.popleft()
        self._answer_all(late, NoBidReason.TIMEOUT)
        for link in list(self._links):
            if link.pending:
                if link.pending[0].sent_ns < expired:
                    logger.error("agent does not answer", extra={"agent": link.path})
                    link.close()
            elif now - link.heard_ns > HEARTBEAT_NS:
                link.send(Sent([], now, False))
                self._withdraw(link)
                self._offer(link)

    async def _keep(self, path: str) -> None:
        backoff, first = BACKOFF_S, True
        while True:
            try:
                _, link = await self._loop.create_unix_connection(lambda: AgentLink(self, path), path)
            except OSError:
                await asyncio.sleep(backoff)
                backoff = min(backoff * 1.5, BACKOFF_MAX_S)
                continue
            if await link.greeted:
                backoff = BACKOFF_S
                self._counters.agent_restarts += not first
                first = False
            await link.lost
            await asyncio.sleep(BACKOFF_S)
