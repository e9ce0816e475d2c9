"""Lua scripts on the masters that hold their keys: many calls in one round trip a master, each answered on its own.

One Redis or a Redis Cluster, by the url. Scripts go by their digest; a node that does not know one is taught it. What a
node refuses without running it (moved slots, a master that has become a replica) is sent again to the right node. What
may have run is never sent again: a connection that breaks is an error of all that was on its way. `WAIT` follows on the
same connection, so that the caller knows whether a replica has what was written.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from redis import Redis, RedisCluster
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)

from campaign_express.adapters.redis import REDIS_ERRORS, connect, redact

_NOT_RUN = (
    *(AskError, MovedError, ReadOnlyError, ClusterDownError, TryAgainError, SlotNotCoveredError),
    NoScriptError,  # a node that has just come to be the right one was not taught it yet
)
# A master that takes no writes just now: it is full, cannot save, lacks replicas, or runs another script.
_NOT_SERVED = ("OOM", "MISCONF", "NOREPLICAS", "BUSY")
_ATTEMPTS = 3
_REFRESH_S = 0.2  # at most so often is a cluster asked for its shape, whatever fails


class Script(NamedTuple):
    name: str
    source: str
    sha: str


def load(name: str, common: str = "") -> Script:
    """The packaged file `lua/<name>.lua`, behind `lua/<common>.lua` where one is named."""
    folder = files("campaign_express.adapters").joinpath("lua")
    parts = [folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in (common, name) if part]
    source = "\n".join(parts)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class Call(NamedTuple):
    """One run of a script; `key` decides on the master."""

    script: Script
    key: str
    args: Sequence[str | int]


class Answer(NamedTuple):
    """What came of a call: a value, or the error that it met. `durable`: enough replicas have what it wrote."""

    value: Any = None
    error: Exception | None = None
    durable: bool = False


class ScriptRunner:
    """Runs calls; never raises for a Redis that is away. May be used from several threads."""

    def __init__(self, url: str, replicas: int = 0, wait_ms: int = 500) -> None:
        self.where = redact(url)
        self.replicas = replicas
        self.wait_ms = wait_ms
        self._url = url
        self._client: Redis | RedisCluster | None = None
        self._lock = threading.Lock()
        self._refreshed_at = 0.0

    def run(self, calls: Sequence[Call], wait: bool = True) -> list[Answer]:
        """Answers in the order of `calls`; those for one master run there in that order."""
        answers: list[Answer] = [Answer()] * len(calls)
        waiting = list(range(len(calls)))
        for attempt in range(_ATTEMPTS):
            again: list[int] = []
            for node, group in self._by_node(calls, waiting, answers):
                again += self._on_node(node, calls, group, answers, wait)
            if not again or attempt == _ATTEMPTS - 1:
                break
            self._refresh()
            waiting = sorted(again)
        return answers

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> Redis | RedisCluster:
        with self._lock:
            if self._client is None:
                self._client = connect(self._url, retries=0)
            return self._client

    def _node(self, key: str) -> Redis:
        client = self._connected()
        if isinstance(client, Redis):
            return client
        cluster: Any = client  # untyped in redis-py
        node: Redis = cluster.get_redis_connection(cluster.get_node_from_key(key))
        return node

    def _by_node(
        self, calls: Sequence[Call], waiting: list[int], answers: list[Answer]
    ) -> list[tuple[Redis, list[int]]]:
        groups: dict[int, tuple[Redis, list[int]]] = {}
        for at in waiting:
            try:
                node = self._node(calls[at].key)
            except REDIS_ERRORS as error:
                answers[at] = Answer(error=error)
                self._refresh()
                continue
            groups.setdefault(id(node), (node, []))[1].append(at)
        return list(groups.values())

    def _on_node(
        self, node: Redis, calls: Sequence[Call], group: list[int], answers: list[Answer], wait: bool
    ) -> list[int]:
        """Run a group on its node; returns which calls were not run there and may run elsewhere."""
        results, reached, error = self._send(node, [calls[at] for at in group], wait)
        unknown = [at for at, result in zip(group, results, strict=False) if isinstance(result, NoScriptError)]
        again: list[int] = []
        for at, result in zip(group, results or [error] * len(group), strict=True):
            failed = result if isinstance(result, Exception) else None
            answers[at] = Answer(None if failed else result, failed, reached and failed is None)
            if isinstance(failed, _NOT_RUN):
                again.append(at)
        if error is not None:
            self._refresh()
        if unknown:
            try:
                for script in {calls[at].script for at in unknown}:
                    node.script_load(script.source)
            except REDIS_ERRORS as refused:
                if not is_away(refused):  # it is no script that Redis takes: nowhere and never
                    for at in unknown:
                        answers[at] = Answer(error=refused)
                    again = [at for at in again if at not in unknown]
        return again

    def _send(self, node: Redis, calls: list[Call], wait: bool) -> tuple[list[Any], bool, Exception | None]:
        """(results, whether the replicas have them, None), or ([], False, what broke)."""
        wanted = self.replicas if wait else 0
        try:
            pipeline: Any = node.pipeline(transaction=False)
            for call in calls:
                pipeline.evalsha(call.script.sha, 1, call.key, *call.args)
            if wanted:
                pipeline.wait(wanted, self.wait_ms)
            results = pipeline.execute(raise_on_error=False)
        except REDIS_ERRORS as error:
            return [], False, error
        if not wanted:
            return results, True, None
        *results, reached = results
        return results, isinstance(reached, int) and reached >= wanted, None

    def _refresh(self) -> None:
        """Ask a cluster for its shape again, but not all threads at once: they meet the same failure."""
        with self._lock:
            client = self._client
            now = time.monotonic()
            if not isinstance(client, RedisCluster) or now - self._refreshed_at < _REFRESH_S:
                return
            self._refreshed_at = now
        try:
            cluster: Any = client
            cluster.nodes_manager.initialize()
        except REDIS_ERRORS:
            pass  # the next call fails by itself, and says so


def is_away(error: Exception) -> bool:
    """Whether an error says that Redis cannot be reached or does not serve, rather than that a script is wrong."""
    if not isinstance(error, ResponseError) or isinstance(error, (*_NOT_RUN, OutOfMemoryError)):
        return True
    return str(error).startswith(_NOT_SERVED)
