"""A client of `redis.asyncio`, for what the gateway itself keeps in Redis. Urls as for `redis.connect`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from campaign_express.adapters.redis import TIMEOUT_S
from campaign_express.errors import ConfigError


def connect(url: str) -> Any:
    """A client with short timeouts and one retry, of one node or a cluster; connects when first used.

    Raises ConfigError. (Any: the two kinds of client share their commands, but no type.)
    """
    parts = [part.strip() for part in url.split(",")]
    cluster = len(parts) > 1 or "+cluster://" in parts[0]
    first, *others = [part.replace("+cluster://", "://", 1) for part in parts]
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "retry": Retry(ConstantBackoff(0.02), 1),
    }
    try:
        if not cluster:
            return Redis.from_url(first, **options)
        nodes = [urlsplit(part) for part in others]
        startup = [ClusterNode(node.hostname or "", node.port or 6379) for node in nodes]
        return RedisCluster.from_url(first, startup_nodes=startup, **options)
    except ValueError:  # its text may repeat parts of the url
        raise ConfigError(
            "Settings that cannot be used:",
            ["redis_url: is not redis://HOST:PORT, rediss://HOST:PORT, or several with commas between them"],
        ) from None
