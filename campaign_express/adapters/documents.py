"""Small documents in Redis that many processes follow: the published catalogue, kill switches, paces.

A document is one hash (`version`, `digest`, `blob`, `published_ms`) and a channel of the same hash tag on which its new
version is announced. Whoever changes one compares the version first, in a script, so that of two writers at once none
is lost unseen. Followers hear by pub/sub for speed, and look at the version twice a second because pub/sub forgets who
was away. While Redis is away, or has lost a document, they keep what they have.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from redis import Redis, RedisCluster
from redis.client import PubSub

from campaign_express.adapters.redis import REDIS_ERRORS, connect, redact
from campaign_express.errors import CampaignExpressError, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 0.8  # between attempts while Redis is away

# Writes only if the version is still the one that was read: versions grow by one, and nothing is overwritten unseen.
_SWAP = """#!lua flags=allow-oom
if (redis.call('HGET', KEYS[1], 'version') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'digest', ARGV[3], 'blob', ARGV[4], 'published_ms', ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[2])
return 1
"""
# Writes unless a later leader has: one that was replaced and does not know it yet changes nothing.
_PUT = """#!lua flags=allow-oom
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') > tonumber(ARGV[1]) then return 0 end
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'digest', ARGV[2], 'blob', ARGV[3], 'published_ms', ARGV[4])
redis.call('PUBLISH', ARGV[5], version)
return version
"""


class Document(NamedTuple):
    """Where a document is; `name` is what messages call it."""

    name: str
    key: str
    channel: str


class Stored(NamedTuple):
    """A document as it was read, in one step and so of one version."""

    version: int
    digest: str
    blob: bytes

    @property
    def intact(self) -> bool:
        """Whether the blob is the one that was written."""
        return digest_of(self.blob) == self.digest


def digest_of(blob: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(blob).hexdigest()


class DocumentStore:
    """Documents of one Redis or Redis Cluster. All methods but `watch` raise Unavailable when it does not answer."""

    def __init__(self, url: str) -> None:
        self.where = redact(url)
        self._url = url
        self._client: Redis | RedisCluster | None = None
        self._lock = threading.Lock()

    def version(self, document: Document) -> int:
        """Version of a document, 0 where there is none."""
        stamp = self._guarded(lambda client: stamp_of(client, document))
        return stamp[0] if stamp else 0

    def read(self, document: Document) -> Stored | None:
        """None where there is none."""
        return self._guarded(lambda client: read(client, document))

    def swap(self, document: Document, base: int, blob: bytes) -> bool:
        """Replace version `base` (0: none) by `blob`, as version `base + 1`. False where another is there by now."""
        arguments = (str(base), str(base + 1), digest_of(blob), blob, str(_now_ms()), document.channel)
        return bool(self._guarded(lambda client: client.eval(_SWAP, 1, document.key, *arguments)))

    def put(self, document: Document, blob: bytes, epoch: int) -> int:
        """Replace whatever is there, for the only writer of a document; returns the version.

        `epoch` grows with each writer (`adapters/leader.py`); 0 where a later one has written, and nothing was done.
        """
        arguments = (str(epoch), digest_of(blob), blob, str(_now_ms()), document.channel)
        answer: Any = self._guarded(lambda client: client.eval(_PUT, 1, document.key, *arguments))
        return int(answer)

    def watch(
        self,
        takers: Mapping[Document, Callable[[Stored], None]],
        stop: threading.Event,
        known: Mapping[Document, int] | None = None,
    ) -> threading.Thread:
        """Start a thread that gives every new version of each document to its taker until `stop` is set; returns it.

        `known`: versions that the caller has already, so that the first call is for another one. Redis may be away, at
        the start too: that is logged once and tried again. What a taker refuses by raising is logged once and left
        alone until another version comes.
        """
        watch = _Watch(self, takers, stop, known or {})
        thread = threading.Thread(target=watch.run, name=f"{watch.names}-watch", daemon=True)
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
        except REDIS_ERRORS as error:
            raise Unavailable(f"Redis at {self.where} does not answer: {type(error).__name__}: {error}") from error


def stamp_of(client: Redis | RedisCluster, document: Document) -> tuple[int, str] | None:
    """(version, digest): cheap enough to ask for twice a second from every agent."""
    version, digest = _fields(client, document, "version", "digest")
    return None if version is None else (_number(version), _text(digest))


def read(client: Redis | RedisCluster, document: Document) -> Stored | None:
    version, digest, blob = _fields(client, document, "version", "digest", "blob")
    return None if version is None else Stored(_number(version), _text(digest), blob or b"")


def _fields(client: Redis | RedisCluster, document: Document, *names: str) -> list[bytes | None]:
    values: Any = client.hmget(document.key, list(names))
    return list(values)


def _number(value: bytes) -> int:
    return int(value) if value.isdigit() else 0


def _text(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Watch:
    """The thread of `DocumentStore.watch`. Nothing that happens in it reaches the caller as an exception."""

    def __init__(
        self,
        store: DocumentStore,
        takers: Mapping[Document, Callable[[Stored], None]],
        stop: threading.Event,
        known: Mapping[Document, int],
    ) -> None:
        self.store = store
        self.takers = takers
        self.stop = stop
        # Version and digest of what was seen last; the digest is unknown as long as only `known` is.
        self.seen: dict[Document, tuple[int, str]] = {one: (known.get(one, 0), "") for one in takers}
        self.names = "-".join(document.name for document in takers)
        self.away = False

    def run(self) -> None:
        pubsub: PubSub | None = None
        pause = FIRST_PAUSE_S
        while not self.stop.is_set():
            try:
                client = self.store.client()
                if pubsub is None:
                    pubsub = _subscribe(client, [document.channel for document in self.takers])
                for document in self.takers:
                    self._look(client, document)
                if self.away:
                    self.away = False
                    log.info("Redis at %s answers again", self.store.where)
                pause = FIRST_PAUSE_S
                pubsub.get_message(timeout=POLL_S)
            except Exception as error:  # whoever is without news goes on with what it has
                self._report(error)
                _close(pubsub)
                pubsub = None
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        _close(pubsub)

    def _look(self, client: Redis | RedisCluster, document: Document) -> None:
        stamp = stamp_of(client, document)
        if stamp is None:
            return
        version, digest = self.seen[document]
        if stamp[0] == version and digest in ("", stamp[1]):
            self.seen[document] = stamp
            return
        found = read(client, document)
        if found is None:
            return
        # Seen, whatever comes of it: what is refused once would be refused again. Another version, even a lower one
        # (Redis was restored from an old copy), is a change.
        self.seen[document] = found.version, found.digest
        try:
            self.takers[document](found)
        except CampaignExpressError as error:
            log.error("%s", error)
        except Exception:
            log.exception(
                "The %s of version %d could not be put to use; the last good one stays", document.name, found.version
            )

    def _report(self, error: Exception) -> None:
        if self.away:
            return
        self.away = True
        if isinstance(error, REDIS_ERRORS):
            log.warning("Redis at %s does not answer: %s: %s", self.store.where, type(error).__name__, error)
        else:
            log.error("Watching %s in Redis at %s fails", self.names, self.store.where, exc_info=error)


def _subscribe(client: Any, channels: list[str]) -> PubSub:
    pubsub: PubSub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(*channels)
    return pubsub


def _close(pubsub: PubSub | None) -> None:
    if pubsub is not None:
        try:
            pubsub.close()
        except Exception as error:
            log.debug("closing a subscription: %s", error)
