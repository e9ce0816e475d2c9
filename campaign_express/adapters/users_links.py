"""One person under several ids: the others become aliases of the smallest token, and their counts move there.

Rare, so it runs apart from bidding, on a client of its own. At no moment are counts in neither place: they are copied,
the alias is made, and what came in between is copied too. Copying twice changes nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from typing import Any

from campaign_express.adapters import users_lua
from campaign_express.adapters.redis import REDIS_ERRORS, connect
from campaign_express.adapters.users_keys import counts_key, profile_key
from campaign_express.adapters.users_state import profile_arguments, profile_of
from campaign_express.errors import Unavailable

log = logging.getLogger(__name__)

_ATTEMPTS = 8  # others may link the same persons at the same time
_WAITING = 10_000  # links asked for; beyond it they are dropped, and asked for again when the person is next seen


class UserLinks:
    """Links tokens. `link` at once, `ask` by a thread."""

    def __init__(self, url: str, ttl_s: int) -> None:
        self._url = url
        self._ttl_ms = ttl_s * 1000
        self._client: Any = None
        self._lock = threading.Lock()
        self._asked: queue.Queue[tuple[frozenset[str], int] | None] = queue.Queue(_WAITING)
        self._under_way: set[frozenset[str]] = set()
        self._thread: threading.Thread | None = None

    def link(self, tokens: Iterable[str], wall_ms: int) -> str:
        """Make `tokens` one person; returns the canonical token. Raises Unavailable."""
        try:
            with self._lock:
                if self._client is None:
                    self._client = connect(self._url)
                return self._link(set(tokens), wall_ms)
        except REDIS_ERRORS as error:
            raise Unavailable(f"Redis does not answer: {type(error).__name__}: {error}") from error

    def ask(self, tokens: Iterable[str], wall_ms: int) -> None:
        """The same, soon. What cannot be done is tried again when the person is next seen."""
        wanted = frozenset(tokens)
        if wanted in self._under_way:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="user-links", daemon=True)
            self._thread.start()
        try:
            self._asked.put_nowait((wanted, wall_ms))
            self._under_way.add(wanted)
        except queue.Full:
            pass

    def close(self) -> None:
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(5.0)
        if self._client is not None:
            self._client.close()

    def _run(self) -> None:
        while (wanted := self._asked.get()) is not None:
            try:
                self.link(*wanted)
            except Unavailable as error:
                log.debug("ids are not linked: %s", error)
            except Exception:
                log.exception("Linking ids of a person fails")
            finally:
                self._under_way.discard(wanted[0])

    def _link(self, tokens: set[str], wall_ms: int) -> str:
        for _ in range(_ATTEMPTS):
            pointers = self._pointers(tokens)
            canonical = min(pointers)
            moved = self._gather(canonical, pointers, wall_ms)
            if moved is None:
                return canonical
            tokens = {*pointers, moved}
        raise Unavailable("others link the same persons over and over")

    def _pointers(self, tokens: set[str]) -> dict[str, str]:
        """Where each token leads ("" to itself), for all tokens that these lead to as well."""
        pointers: dict[str, str] = {}
        waiting = set(tokens)
        while waiting:
            token = waiting.pop()
            pointer = self._client.hget(counts_key(token), "@")
            pointers[token] = pointer.decode() if pointer else ""
            if pointer and pointers[token] not in pointers:
                waiting.add(pointers[token])
        return pointers

    def _gather(self, canonical: str, pointers: dict[str, str], wall_ms: int) -> str | None:
        """Make all of `pointers` lead to `canonical`. Returns where that leads itself by now, None when nowhere."""
        for token, pointer in pointers.items():
            if token == canonical or pointer == canonical:
                continue
            moved = self._merge(canonical, self._client.execute_command("HGETALL", counts_key(token)))
            if moved is None:
                state = self._eval(users_lua.alias, (counts_key(token),), canonical.encode(), b"%d" % self._ttl_ms)
                moved = self._merge(canonical, state) or self._move_profile(token, canonical, wall_ms)
            if moved is not None:
                return moved
        return None

    def _merge(self, canonical: str, state: Any) -> str | None:
        """Add the fields of a hash to those of `canonical`; returns where that leads."""
        fields: list[bytes] = [part for pair in state.items() for part in pair] if isinstance(state, dict) else state
        if not fields or b"@" in fields[::2]:
            return None
        reply = self._eval(users_lua.merge, (counts_key(canonical),), b"%d" % self._ttl_ms, *fields)
        return reply.decode() if isinstance(reply, bytes) else None

    def _move_profile(self, token: str, canonical: str, wall_ms: int) -> str | None:
        found = profile_of(self._client.get(profile_key(token)))
        if found.valid_until_ms > wall_ms:
            ttl_ms = self._client.pttl(profile_key(token))
            arguments = profile_arguments(
                *(wall_ms, ttl_ms, found.valid_until_ms, found.first_seen_ms, found.segments, found.interests)
            )
            reply = self._eval(users_lua.profile, (counts_key(canonical), profile_key(canonical)), *arguments)
            if isinstance(reply, bytes):
                return reply.decode()
        self._client.delete(profile_key(token))
        return None

    def _eval(self, script: users_lua.Script, keys: tuple[bytes, ...], *arguments: bytes) -> Any:
        return self._client.eval(script.text, len(keys), *keys, *arguments)
