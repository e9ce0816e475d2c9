"""`ports.IdentityStore` on the persons of `users.py`: for user sync, and for conversions that come with our cookie."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from campaign_express.adapters.redis import REDIS_ERRORS
from campaign_express.adapters.users_keys import counts_key, token_of, tokens_of
from campaign_express.adapters.users_links import UserLinks
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable

_HOPS = 4  # an alias points to the canonical token, or to one that has become an alias since


class RedisIdentities:
    """Used from one event loop. `make_client` as for `RedisTouches`."""

    def __init__(self, url: str, make_client: Callable[[], Any], clock: Clock, ttl_s: int) -> None:
        self._links = UserLinks(url, ttl_s)
        self._make_client = make_client
        self._client: Any = None
        self._clock = clock

    async def link(self, ids: list[str]) -> str:
        """See `ports.IdentityStore`. Moves what is known of them together, which takes a while: in a thread."""
        return await asyncio.to_thread(self._links.link, tokens_of(ids), self._clock.now_ms())

    async def find(self, user_id: str) -> str:
        """See `ports.IdentityStore`. A stranger has a canonical id, too, under which nothing is known."""
        if self._client is None:
            self._client = self._make_client()
        token = token_of(user_id)
        try:
            for _ in range(_HOPS):
                pointer = await self._client.hget(counts_key(token), "@")
                if not pointer:
                    break
                token = pointer.decode()
        except REDIS_ERRORS as error:
            raise Unavailable(f"persons cannot be looked up: {type(error).__name__}") from None
        return token

    async def close(self) -> None:
        await asyncio.to_thread(self._links.close)
        if self._client is not None:
            await self._client.aclose()
