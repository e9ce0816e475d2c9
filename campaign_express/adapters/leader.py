"""One of several treasuries (or owners of anything else) works at a time: a lock in Redis that its owner must renew,
with a number of each owner.

`held` is decided by this machine's own clock, a fifth of the lock's life before Redis would give it to another. A
process that was suspended for longer than that may still finish one step beside its successor. So every step is
harmless when it is done twice: the ledger is idempotent, switches compare versions, and what is simply overwritten
(paces) carries the epoch, of which Redis takes none but the highest.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from redis import Redis, RedisCluster

from campaign_express.adapters.redis import REDIS_ERRORS, connect, redact
from campaign_express.errors import Unavailable

TREASURY = "treasury"
LIFE_S = 5.0
MARGIN = 0.2

# ARGV: owner, life in ms. Returns the epoch of the owner's term, 0 where another one holds the lock. An epoch is higher
# than all before, also where Redis has forgotten those: it is at least the time.
_HOLD = """#!lua flags=allow-oom
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
if not owner then
  local now = redis.call('TIME')
  local epoch = math.max(tonumber(redis.call('GET', KEYS[2]) or 0) + 1, now[1] * 1000 + math.floor(now[2] / 1000))
  redis.call('SET', KEYS[2], string.format('%.0f', epoch))
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', string.format('%.0f', epoch))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGET', KEYS[1], 'epoch')
"""
_LET_GO = "if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class LeaderLock:
    """`owner` tells this process from all others, its predecessor on this machine included."""

    def __init__(self, url: str, owner: str, life_s: float = LIFE_S, work: str = TREASURY) -> None:
        """`work`: what is led; each has a lock of its own."""
        self.owner = owner
        self._keys = f"{{{work}}}:leader", f"{{{work}}}:epoch"
        self.life_s = life_s
        self.epoch = 0  # of our latest term
        self.where = redact(url)
        self._url = url
        self._until = 0.0
        self._client: Redis | RedisCluster | None = None
        self._lock = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether this process may begin a step."""
        return time.monotonic() < self._until

    def hold(self) -> bool:
        """Take the lock, or keep it; False where another one has it. Raises Unavailable."""
        asked_at = time.monotonic()
        epoch = int(self._eval(_HOLD, self._keys, self.owner, str(int(self.life_s * 1000))))
        if epoch:
            self.epoch = epoch
            self._until = asked_at + self.life_s * (1 - MARGIN)
        else:
            self._until = 0.0
        return self.held

    def holder(self) -> str:
        """Who has it just now, "" nobody. Raises Unavailable."""
        owner = self._eval("return redis.call('HGET', KEYS[1], 'owner')", self._keys[:1])
        return owner.decode() if isinstance(owner, bytes) else str(owner or "")

    def let_go(self) -> None:
        """Leave it to another at once. Raises Unavailable."""
        self._until = 0.0
        self._eval(_LET_GO, self._keys[:1], self.owner)

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _eval(self, script: str, keys: tuple[str, ...], *args: str) -> Any:
        try:
            with self._lock:
                if self._client is None:
                    self._client = connect(self._url)
                client: Any = self._client
            return client.eval(script, len(keys), *keys, *args)
        except REDIS_ERRORS as error:
            raise Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}") from error
