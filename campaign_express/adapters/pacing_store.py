"""What pacing remembers, in Redis: one document, `{pacing}:state`, so that another process can go on with it."""

from __future__ import annotations

from typing import Any

from redis import Redis, RedisCluster
from redis.exceptions import RedisError

from campaign_express.adapters.redis import connect, redact
from campaign_express.errors import Unavailable

STATE_KEY = "{pacing}:state"


class PacingStore:
    """Methods raise Unavailable when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self.where = redact(url)
        self._url = url
        self._client: Redis | RedisCluster | None = None

    def load(self) -> bytes:
        """The document that was saved last, empty where there is none."""
        return bytes(self._run("get", STATE_KEY) or b"")

    def save(self, blob: bytes) -> None:
        self._run("set", STATE_KEY, blob)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _run(self, command: str, *args: Any) -> Any:
        try:
            if self._client is None:
                self._client = connect(self._url)
            return getattr(self._client, command)(*args)
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}") from error
