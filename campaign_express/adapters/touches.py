"""Clicks and views in Redis, for as long as a conversion may be due to them. Keys: docs/events.md.

    touch:{<bid key>}                a click, as MessagePack (ports.Touch)
    touch:u:{<canonical id>}:<adv.>  hash of a person's last click `c` and last view `v` of an advertiser, likewise, and
                                     the times of their bids, `ct` and `vt`

Each expires with its window, which counts from the bid, and what is newer is told by the bid's time, too: that is
signed, so the same notice again changes nothing. Writes are queued and go out in pipelines, since nobody waits for
them; while Redis is away they wait in a bounded queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from campaign_express.adapters.redis import REDIS_ERRORS
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable
from campaign_express.ports import Touch

log = logging.getLogger(__name__)

MAX_QUEUE = 20_000
BATCH = 200
GATHER_S = 0.02  # for more to come: a pipeline costs much, a command in it little
PAUSE_S = 0.5  # between attempts while Redis is away
CLOSE_S = 2.0

# KEYS[1] the person's hash; ARGV: field, time of the bid, touch, life in ms.
_NEWER = """
local at = redis.call('HGET', KEYS[1], ARGV[1] .. 't')
if at and tonumber(at) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3], ARGV[1] .. 't', ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
"""

_write = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(Touch).decode
_FIELDS = {"click": "c", "impression": "v"}


class RedisTouches:
    """`ports.TouchStore`. Used from one event loop; `make_client` gives a client of `redis.asyncio`, one node's or a
    cluster's, when it is first needed."""

    def __init__(
        self, make_client: Callable[[], Any], clock: Clock, *, click_window_ms: int, view_window_ms: int
    ) -> None:
        self._make_client = make_client
        self._client: Any = None
        self._clock = clock
        self._windows = {"click": click_window_ms, "impression": view_window_ms}
        self._queue: deque[Touch] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self.dropped = 0  # touches that found the queue full

    def record(self, touch: Touch) -> None:
        """See `ports.TouchStore`."""
        if touch.kind not in _FIELDS or (touch.kind == "impression" and not touch.user):
            return
        if len(self._queue) >= MAX_QUEUE:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(touch)
        if self._writer is None and not self._closing:
            self._writer = asyncio.get_running_loop().create_task(self._write_queue())

    async def find(self, advertiser: str, click_id: str, user: str) -> list[Touch]:
        """See `ports.TouchStore`."""
        if not click_id and not user:
            return []
        try:
            pipeline = self._connected().pipeline(transaction=False)
            if click_id:
                pipeline.get(_key(click_id))
            if user:
                pipeline.hmget(_person(user, advertiser), "c", "v")
            found = await pipeline.execute()
        except REDIS_ERRORS as error:
            raise Unavailable(f"clicks and views cannot be looked up: {type(error).__name__}") from None
        flat = [*(found[:1] if click_id else ()), *(found[-1] if user else ())]
        return [_read(raw) for raw in dict.fromkeys(flat) if raw]

    async def close(self) -> None:
        """Write what is queued, for a little while."""
        self._closing = True
        writer = self._writer  # it ends by forgetting itself
        if writer is not None:
            await asyncio.wait([writer], timeout=CLOSE_S)
            writer.cancel()
        if self._client is not None:
            await self._client.aclose()

    def _connected(self) -> Any:
        if self._client is None:
            self._client = self._make_client()
        return self._client

    async def _write_queue(self) -> None:
        told = False
        while self._queue:
            if not self._closing:
                await asyncio.sleep(GATHER_S)
            batch = [self._queue[n] for n in range(min(BATCH, len(self._queue)))]
            try:
                await self._write(batch)
            except REDIS_ERRORS as error:
                if not told:
                    log.warning("clicks and views cannot be stored", extra={"reason": type(error).__name__})
                    told = True
                await asyncio.sleep(PAUSE_S)
                continue
            for touch in batch:
                if self._queue and self._queue[0] is touch:  # else it was dropped meanwhile
                    self._queue.popleft()
        self._writer = None

    async def _write(self, touches: list[Touch]) -> None:
        pipeline = self._connected().pipeline(transaction=False)
        now_ms = self._clock.now_ms()
        commands = 0
        for touch in touches:
            life_ms = int(self._clock.real_s(touch.bid_ms + self._windows[touch.kind] - now_ms) * 1000)
            if life_ms <= 0:
                continue
            commands += 1
            content = _write(touch)
            if touch.kind == "click":
                pipeline.set(_key(touch.bid_key), content, px=life_ms, nx=True)
            if touch.user:
                person = _person(touch.user, touch.advertiser)
                pipeline.eval(_NEWER, 1, person, _FIELDS[touch.kind], touch.bid_ms, content, life_ms)
        if commands:
            await pipeline.execute()


def _key(click_id: str) -> str:
    return f"touch:{{{click_id}}}"


def _person(user: str, advertiser: str) -> str:
    return f"touch:u:{{{user}}}:{advertiser}"
