"""What pacing remembers, in Redis: one document, `{pacing}:state`, so that another process can go on with it."""

from __future__ import annotations

from campaign_express.adapters.redis import Pipelines

STATE_KEY = "{pacing}:state"


class PacingStore:
    """Methods raise Unavailable when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self._redis = Pipelines(url)

    def load(self) -> bytes:
        """The document that was saved last, empty where there is none."""
        (blob,) = self._redis.run(lambda pipeline: pipeline.get(STATE_KEY))
        return bytes(blob or b"")

    def save(self, blob: bytes) -> None:
        self._redis.run(lambda pipeline: pipeline.set(STATE_KEY, blob))

    def close(self) -> None:
        self._redis.close()
