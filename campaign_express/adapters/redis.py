"""Redis: where a published catalogue lives and how every agent hears of a change. Keys: docs/catalogue.md, "In Redis".

One Redis Cluster or one node, by the url. The store is written by `publish` alone, as one hash under one hash tag, in a
script that compares the version first: of two publishers at once each gets a version of its own, and none is lost
unseen. Agents follow it with `watch`: pub/sub for speed, and a look at the version twice a second because pub/sub
forgets who was away.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from redis import Redis, RedisCluster
from redis.backoff import ConstantBackoff
from redis.client import PubSub
from redis.cluster import ClusterNode
from redis.exceptions import RedisError
from redis.retry import Retry

from campaign_express.bidding.catalog import decode_catalog, encode_catalog
from campaign_express.bidding.model import Catalog
from campaign_express.errors import CatalogError, ConfigError, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

KEY = "{catalog}:current"
CHANNEL = "{catalog}:changed"
POLL_S = 0.5
TIMEOUT_S = 1.0  # for connecting, and for each answer
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 0.8  # between attempts while Redis is away
PUBLISH_ATTEMPTS = 100

# Writes only if the version is still the one that was read: versions grow by one, and nothing is overwritten unseen.
_PUBLISH = """
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'digest', ARGV[3], 'blob', ARGV[4], 'published_ms', ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[2])
return 1
"""


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
    """A client with short timeouts and one retry (or `retries`; 0 where a command must not be sent twice). Connects when first used; a cluster's client connects here.

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


class CatalogStore:
    """The published catalogue in Redis. All methods but `watch` raise Unavailable when Redis does not answer."""

    def __init__(self, url: str) -> None:
        self.where = redact(url)
        self._url = url
        self._client: Redis | RedisCluster | None = None
        self._lock = threading.Lock()

    def publish(self, catalog: Catalog, base: int | None = None) -> int:
        """Make `catalog` the current one everywhere; returns its new version, one above the last.

        The catalogue's own `version` is not looked at. With `base`, the version that a change was made from, what
        somebody else has published since is not overwritten: raises CatalogError.
        """
        return self._guarded(lambda client: self._publish(client, catalog, base))

    def latest(self) -> Catalog | None:
        """The current catalogue; None where none was ever published. Raises CatalogError when it does not decode."""
        found = self._guarded(_read)
        return None if found is None else _decode(*found)

    def version(self) -> int:
        """Version of the current catalogue, 0 where none was ever published."""
        stamp = self._guarded(_stamp)
        return stamp[0] if stamp else 0

    def watch(self, on_change: Callable[[Catalog], None], stop: threading.Event, known: int = 0) -> threading.Thread:
        """Start a thread that calls `on_change` with every newly published catalogue until `stop` is set; returns it.

        `known` is the version that the caller got from `latest` (0: none), so that the first call is for another one.
        Redis may be away, at the start too: that is logged once and tried again. A catalogue that does not decode, or
        that `on_change` refuses by raising, is logged once and left alone until another one is published.
        """
        thread = threading.Thread(target=_Watch(self, on_change, stop, known).run, name="catalogue-watch", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def client(self) -> Redis | RedisCluster:
        """The client, connected when first asked for. Raises RedisError or OSError when a cluster is away."""
        with self._lock:
            if self._client is None:
                self._client = connect(self._url)
            return self._client

    def _guarded(self, work: Callable[[Redis | RedisCluster], T]) -> T:
        try:
            return work(self.client())
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}") from error

    def _publish(self, client: Redis | RedisCluster, catalog: Catalog, base: int | None) -> int:
        for _ in range(PUBLISH_ATTEMPTS):
            stamp = _stamp(client)
            current = stamp[0] if stamp else 0
            if base is not None and base != current:
                raise CatalogError(
                    "The catalogue is not published:",
                    [f"version: the change is based on {base}, and {current} is published"],
                )
            blob = encode_catalog(msgspec.structs.replace(catalog, version=current + 1))
            now = str(time.time_ns() // 1_000_000)
            arguments = (str(current), str(current + 1), _digest(blob), blob, now, CHANNEL)
            if client.eval(_PUBLISH, 1, KEY, *arguments):
                return current + 1
        raise Unavailable(f"other publishers were faster {PUBLISH_ATTEMPTS} times in a row")


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _stamp(client: Redis | RedisCluster) -> tuple[int, str] | None:
    """(version, digest) of the current catalogue: cheap enough to ask for twice a second from every agent."""
    version, digest = _fields(client, "version", "digest")
    if version is None:
        return None
    return (int(version) if version.isdigit() else 0), (digest or b"").decode("ascii", "replace")


def _read(client: Redis | RedisCluster) -> tuple[tuple[int, str], bytes] | None:
    """Stamp and blob, read at once and so of one version."""
    version, digest, blob = _fields(client, "version", "digest", "blob")
    if version is None:
        return None
    return ((int(version) if version.isdigit() else 0), (digest or b"").decode("ascii", "replace")), blob or b""


def _fields(client: Redis | RedisCluster, *names: str) -> list[bytes | None]:
    values: Any = client.hmget(KEY, list(names))
    return list(values)


def _decode(stamp: tuple[int, str], blob: bytes) -> Catalog:
    version, digest = stamp
    title = f"The catalogue in Redis, version {version}, is refused, and the last good one stays:"
    if _digest(blob) != digest:
        raise CatalogError(title, [f"{KEY}: the blob is not the one that was published (its SHA-256 differs)"])
    catalog = decode_catalog(blob)
    if catalog.version != version:
        raise CatalogError(title, [f"{KEY}: the blob says version {catalog.version}"])
    return catalog


class _Watch:
    """The thread of `CatalogStore.watch`. Nothing that happens in it reaches the caller as an exception."""

    def __init__(
        self, store: CatalogStore, on_change: Callable[[Catalog], None], stop: threading.Event, known: int
    ) -> None:
        self.store = store
        self.on_change = on_change
        self.stop = stop
        self.version = known
        self.digest = ""  # of the catalogue seen last; unknown as long as only `known` is
        self.away = False

    def run(self) -> None:
        pubsub: PubSub | None = None
        pause = FIRST_PAUSE_S
        while not self.stop.is_set():
            try:
                client = self.store.client()
                if pubsub is None:
                    pubsub = _subscribe(client)
                self._look(client)
                if self.away:
                    self.away = False
                    log.info("Redis at %s answers again", self.store.where)
                pause = FIRST_PAUSE_S
                pubsub.get_message(timeout=POLL_S)
            except Exception as error:  # an agent without news goes on bidding with what it has
                self._report(error)
                _close(pubsub)
                pubsub = None
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        _close(pubsub)

    def _look(self, client: Redis | RedisCluster) -> None:
        stamp = _stamp(client)
        if stamp is None:
            return
        if stamp[0] == self.version and self.digest in ("", stamp[1]):
            self.digest = stamp[1]
            return
        found = _read(client)
        if found is None:
            return
        # Seen, whatever comes of it: what is refused once would be refused again. Another version, even a lower one
        # (Redis was restored from an old copy), is a change.
        (self.version, self.digest), blob = found
        try:
            self.on_change(_decode((self.version, self.digest), blob))
        except CatalogError as error:
            log.error("%s", error)
        except Exception:
            log.exception("Catalogue version %d could not be put to use; the last good one stays", self.version)

    def _report(self, error: Exception) -> None:
        if self.away:
            return
        self.away = True
        if isinstance(error, RedisError | OSError):
            log.warning("Redis at %s does not answer: %s: %s", self.store.where, type(error).__name__, error)
        else:
            log.error("Watching the catalogue in Redis at %s fails", self.store.where, exc_info=error)


def _subscribe(client: Any) -> PubSub:
    pubsub: PubSub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(CHANNEL)
    return pubsub


def _close(pubsub: PubSub | None) -> None:
    if pubsub is not None:
        try:
            pubsub.close()
        except Exception as error:
            log.debug("closing a subscription: %s", error)
