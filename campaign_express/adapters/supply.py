"""Counts of requests in Redis: agents add to them, pacing and the watch over silent exchanges read them.

Three hashes of one hash tag, all by `HINCRBY` or `HSET`, so that any number of agents may write: `{supply}:hours`
(Unix hour -> requests), `{supply}:exchanges` (exchange -> requests since ever), `{supply}:asked` (exchange -> wall
clock of its last request, Unix ms). A count that may have reached Redis when the connection broke is sent again: a
few requests too many do no harm.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, NamedTuple

from campaign_express.adapters.redis import Pipelines
from campaign_express.errors import Unavailable

log = logging.getLogger(__name__)

HOURS_KEY, EXCHANGES_KEY, ASKED_KEY = "{supply}:hours", "{supply}:exchanges", "{supply}:asked"
FLUSH_S = 0.5  # real time: pacing answers a spike no sooner than it hears of it
HOUR_MS = 3_600_000


class SupplyMeter:
    """One agent's counts. `count` is for the thread that decides; `start` sends them from a thread of its own."""

    def __init__(self, url: str) -> None:
        self._redis = Pipelines(url)
        self._counted: dict[str, list[int]] = {}  # exchange -> [requests since the start, wall clock of the last]
        self._sent: dict[str, int] = {}
        self._away = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def count(self, exchange: str, wall_ms: int, requests: int = 1) -> None:
        """Requests of an exchange at this moment. Two look-ups in memory."""
        entry = self._counted.get(exchange)
        if entry is None:
            entry = self._counted[exchange] = [0, 0]
        entry[0] += requests
        entry[1] = wall_ms

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="supply-meter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and send what is left, if Redis answers."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.flush()
        self._redis.close()

    def flush(self) -> bool:
        """Send what has been counted since the last time. False where Redis is away: it is kept for the next time."""
        new = {
            exchange: (total - self._sent.get(exchange, 0), total, last_ms)
            for exchange, (total, last_ms) in list(self._counted.items())
            if total > self._sent.get(exchange, 0)
        }
        if not new:
            return True

        def fill(pipeline: Any) -> None:
            for exchange, (requests, _, last_ms) in new.items():
                pipeline.hincrby(HOURS_KEY, str(last_ms // HOUR_MS), requests)
                pipeline.hincrby(EXCHANGES_KEY, exchange, requests)
                pipeline.hset(ASKED_KEY, exchange, last_ms)

        try:
            self._redis.run(fill)
        except Unavailable as error:
            if not self._away:
                log.warning("Requests are not counted: %s", error)
            self._away = True
            return False
        self._away = False
        self._sent.update({exchange: total for exchange, (_, total, _) in new.items()})
        return True

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_S):
            try:
                self.flush()
            except Exception:  # counting must not end
                log.exception("a fault while counting requests")


class Supply(NamedTuple):
    """All counts at one moment."""

    hours: dict[int, int]  # Unix hour -> requests
    requests: dict[str, int]  # exchange -> requests since ever
    asked_ms: dict[str, int]  # exchange -> wall clock of its last request

    def of(self, exchanges: tuple[str, ...]) -> int:
        """Requests on these exchanges, on all where none is named."""
        if not exchanges:
            return sum(self.requests.values())
        return sum(self.requests.get(exchange, 0) for exchange in exchanges)


class SupplyStore:
    """For readers. Methods raise Unavailable when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self._redis = Pipelines(url)

    def read(self) -> Supply:
        hours, requests, asked = self._redis.run(lambda pipeline: [pipeline.hgetall(key) for key in _KEYS])
        return Supply(
            {int(hour): int(count) for hour, count in hours.items()},
            {name.decode(): int(count) for name, count in requests.items()},
            {name.decode(): int(at_ms) for name, at_ms in asked.items()},
        )

    def forget(self, hours: list[int]) -> None:
        """Drop the counts of these hours: they are learned."""
        if hours:
            self._redis.run(lambda pipeline: pipeline.hdel(HOURS_KEY, *(str(hour) for hour in hours)))

    def close(self) -> None:
        self._redis.close()


_KEYS = (HOURS_KEY, EXCHANGES_KEY, ASKED_KEY)
