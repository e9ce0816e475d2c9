"""Clients of Redis: one node or a Redis Cluster, by the url."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from redis import Redis, RedisCluster
from redis.backoff import ConstantBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from campaign_express.errors import ConfigError, Unavailable

# What a client raises where Redis is away, does not answer, or refuses; what a cluster's client adds is no RedisError.
REDIS_ERRORS = (RedisError, RedisClusterException, OSError)

TIMEOUT_S = 1.0  # for connecting, and for each answer


def redact(url: str) -> str:
    """The url's nodes without user, password and options: what may be logged."""
    return ",".join(_node(part.strip()) for part in url.split(","))


def _node(url: str) -> str:
    try:
        split = urlsplit(url)
        port = f":{split.port}" if split.port else ""
    except ValueError:  # a password that was not percent-encoded may have ended up as the port
        return "(unreadable url)"
    return f"{split.scheme}://{split.hostname or ''}{port}{split.path}"


def connect(url: str, retries: int = 1) -> Redis | RedisCluster:
    """A client with short timeouts. Connects when first used; a cluster's client connects here.

    `retries`: how often a command is sent again, 0 where it must not be sent twice.

    `redis://HOST:PORT/DB` or `rediss://` (TLS) is one node; several such urls with commas between them are nodes of one
    Redis Cluster, as is one url with the scheme `redis+cluster://` or `rediss+cluster://`. User, password and TLS
    options (`?ssl_ca_certs=FILE`) are taken from the first. Raises ConfigError for a url that is none of these.
    """
    parts = [part.strip() for part in url.split(",")]
    cluster = len(parts) > 1 or "+cluster://" in parts[0]
    first, *others = [part.replace("+cluster://", "://", 1) for part in parts]
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(ConstantBackoff(0.02), retries),
    }
    try:
        if not cluster:
            return Redis.from_url(first, **options)
        nodes = [urlsplit(other) for other in others]
        cluster_node: Any = ClusterNode  # untyped in redis-py
        startup = [cluster_node(node.hostname or "", node.port or 6379) for node in nodes]
        return RedisCluster(url=first, startup_nodes=startup, **options)
    except ValueError:  # its text may repeat parts of the url
        raise ConfigError(
            "Settings that cannot be used:",
            ["redis_url: is not redis://HOST:PORT, rediss://HOST:PORT, or several with commas between them"],
        ) from None


class Pipelines:
    """A client for a few commands at a time, of one thread. It connects when it is first used."""

    def __init__(self, url: str) -> None:
        self.where = redact(url)
        self._url = url
        self._client: Redis | RedisCluster | None = None

    def run(self, fill: Callable[[Any], object]) -> list[Any]:
        """Replies to the commands that `fill` puts into a pipeline. Raises Unavailable when Redis does not answer."""
        try:
            if self._client is None:
                self._client = connect(self._url)
            pipeline: Any = self._client.pipeline(transaction=False)
            fill(pipeline)
            replies: list[Any] = pipeline.execute()
        except REDIS_ERRORS as error:
            raise Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}") from error
        return replies

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
