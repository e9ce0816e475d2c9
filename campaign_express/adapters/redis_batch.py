"""A batch of commands to one Redis or all masters of a cluster, in one round trip with one deadline.

Commands are grouped by the master that has their key, written to all masters first and their replies read afterwards,
so that the masters work at the same time. Nothing here waits beyond the deadline, and nothing connects: a thread of its
own (the keeper) opens connections and follows the cluster's slots, so that a server which is away costs no time. A
command whose master is away gets UNSENT, one whose slot has moved or whose reply is late UNANSWERED.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis.crc import key_slot

from campaign_express.adapters.redis import REDIS_ERRORS, redact
from campaign_express.adapters.redis_link import UNANSWERED, UNSENT, Link, Node, Target, attempt, pack

log = logging.getLogger(__name__)

SLOTS = 16_384
TICK_S = 0.05  # between tries while a master is away
REFRESH_S = 30.0  # between looks at the slots while all is well
# Errors that say where else, or when, to ask: the keeper looks at the slots again.
_ELSEWHERE = ("MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "READONLY", "LOADING")

Command = tuple[int, bytes, int]  # slot of the key that it is about, one or more commands as RESP, and how many


def slot_of(key: bytes) -> int:
    """Of a cluster, in which a key is; one node does not ask."""
    return key_slot(key)


class RedisBatch:
    """Callers may be several threads: one batch runs at a time."""

    def __init__(self, url: str, scripts: Sequence[bytes] = (), wait_s: float = 0.0) -> None:
        """Waits up to `wait_s` for all masters. Raises ConfigError for a bad url, nothing for a server that is away."""
        self.where = redact(url)
        self.round_trips = 0
        self.timeouts = 0  # batches of which something was sent and not answered
        self.generation = 0  # grows when another server answers for some keys: it may lack what was written last
        self._target = Target(url)
        self._scripts = scripts
        self._lock = threading.Lock()
        self._slots: list[Link | None] = [None] * (SLOTS if self._target.cluster else 1)
        self._links: dict[Node, Link] = {}
        if not self._target.cluster:
            node = self._target.nodes[0]
            self._slots[0] = self._links[node] = Link(self._target, node, scripts)
        self._stale = self._target.cluster
        self._away = self._tried = False
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._ready = threading.Event()
        self._worker = threading.Thread(target=self._keep, name="redis-keeper", daemon=True)
        self._worker.start()
        if wait_s:
            self._ready.wait(wait_s)

    @property
    def breaker_state(self) -> int:
        """0 closed, 1 half open, 2 open: the worst of all masters."""
        return max((link.breaker.state for link in tuple(self._links.values())), default=0)

    @property
    def connected(self) -> bool:
        """Whether every master is."""
        links = tuple(self._links.values())
        return bool(links) and all(link.connected for link in links)

    def run(self, commands: Sequence[Command], timeout_s: float, replicas: int = 0) -> list[Any]:
        """Replies in order: what hiredis makes of them (errors are values), UNSENT or UNANSWERED. Never raises.

        For a command that is several, a list of their replies.
        With `replicas`, what fewer than that many of a master's replicas have got within the time is UNANSWERED.
        """
        replies: list[Any] = [UNSENT] * len(commands)
        if not commands:
            return replies
        with self._lock:
            deadline = monotonic() + timeout_s
            sent: list[tuple[Link, list[int]]] = []
            asked = 0
            for link, places in self._shards(commands):
                data = b"".join([commands[place][1] for place in places])
                asked += 1
                if replicas:
                    data += pack(b"WAIT", b"%d" % replicas, b"%d" % max(int(timeout_s * 500), 1))
                if link.usable(monotonic()) and link.send(data, deadline):
                    sent.append((link, places))
            if sent:
                self.round_trips += 1
            late = False
            for link, places in sent:
                expected = sum([commands[place][2] for place in places]) + (replicas > 0)
                got = link.receive(expected, deadline)
                late = late or len(got) < expected
                whole = not replicas or (len(got) == expected and isinstance(got[-1], int) and got[-1] >= replicas)
                _hand_out(commands, places, got if whole else [], replies)
                if any(isinstance(reply, Exception) for reply in got):
                    self._mend(link, commands, places, replies, deadline)
            self.timeouts += late
            if late or len(sent) < asked:
                self._wake.set()
        return replies

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        self._worker.join(5.0)
        with self._lock:
            for link in self._links.values():
                link.close()

    def _shards(self, commands: Sequence[Command]) -> list[tuple[Link, list[int]]]:
        slots = self._slots
        if len(slots) == 1:
            only = slots[0]
            assert only is not None
            return [(only, list(range(len(commands))))]
        shards: dict[Link, list[int]] = {}
        for place, (slot, _, _) in enumerate(commands):
            link = slots[slot]
            if link is None:
                self._wake.set()
            elif link in shards:
                shards[link].append(place)
            else:
                shards[link] = [place]
        return list(shards.items())

    def _mend(
        self, link: Link, commands: Sequence[Command], places: list[int], replies: list[Any], deadline: float
    ) -> None:
        """See to errors among the replies: load scripts that the server has lost and ask once more, or look anew."""
        again = [p for p in places if isinstance(replies[p], Exception) and str(replies[p]).startswith("NOSCRIPT")]
        if again and link.reload(deadline) and link.send(b"".join([commands[p][1] for p in again]), deadline):
            self.round_trips += 1
            _hand_out(commands, again, link.receive(len(again), deadline), replies)
        for place in places:
            reply = replies[place]
            error = reply
            if isinstance(reply, list) and commands[place][2] > 1:
                error = next((one for one in reply if isinstance(one, Exception)), None)
            if isinstance(error, Exception) and str(error).startswith(_ELSEWHERE):
                replies[place] = UNANSWERED
                self._stale = self._target.cluster
                self._wake.set()

    # The keeper's thread.

    def _keep(self) -> None:
        looked = -REFRESH_S
        while not self._stop.is_set():
            try:
                down = [link for link in self._links.values() if not link.connected]
                if self._target.cluster and (self._stale or down or monotonic() - looked > REFRESH_S):
                    self._stale = not self._look()
                    looked = monotonic()
                for link in tuple(self._links.values()):
                    if link.wants_opening:
                        known = link.run_id
                        if attempt(link) and known and known != link.run_id:
                            self.generation += 1
            except Exception:  # without its keeper the store would never come back
                if not self._away:
                    log.exception("Connecting to Redis at %s fails", self.where)
            whole = self.connected and not self._stale
            self._report(whole)
            if whole:
                self._ready.set()
            self._wake.wait(REFRESH_S if whole else TICK_S)
            self._wake.clear()
            if not whole:  # a caller that finds a master away wakes us at each batch
                self._stop.wait(TICK_S)

    def _look(self) -> bool:
        """Read the slots from any node that answers. False where none does."""
        known = [*self._links, *self._target.nodes]
        for node in dict.fromkeys(known):
            try:
                connection = self._target.connection(node)
                try:
                    connection.send_command("CLUSTER", "SLOTS")
                    answer = connection.read_response(disable_decoding=True)
                finally:
                    connection.disconnect()
            except REDIS_ERRORS:
                continue
            if answer:
                self._adopt(node, answer)
                return True
        return False

    def _adopt(self, asked: Node, answer: Sequence[Any]) -> None:
        """Take the slots over: [[first, last, [host, port, ...], replica ...], ...]; no host means `asked`'s."""
        slots: list[Link | None] = [None] * SLOTS
        links: dict[Node, Link] = {}
        for first, last, master, *_ in answer:
            host = bytes(master[0] or b"").decode() or asked[0]
            node = (host, int(master[1]))
            link = links.get(node) or self._links.get(node) or Link(self._target, node, self._scripts)
            links[node] = link
            slots[first : last + 1] = [link] * (last + 1 - first)
        changed = any(old is not None and new is not old for old, new in zip(self._slots, slots, strict=True))
        gone = [link for node, link in self._links.items() if node not in links]
        # A master that a batch is sent to in its first moments must be connected, or its users are unknown for longer.
        for link in links.values():
            if link.wants_opening:
                attempt(link)
        with self._lock:
            self._slots, self._links = slots, links
            for link in gone:
                link.close()
        self.generation += changed

    def _report(self, whole: bool) -> None:
        links = tuple(self._links.values())
        if whole and self._away:
            log.info("Redis at %s answers again", self.where)
        elif not whole and not self._away and self._tried:
            trouble = [f"{link.node[0]}:{link.node[1]}: {link.trouble}" for link in links if not link.connected]
            log.warning("Redis at %s does not answer, or not for all keys: %s", self.where, "; ".join(trouble))
        self._away = not whole and self._tried
        self._tried = True


def _hand_out(commands: Sequence[Command], places: list[int], got: list[Any], replies: list[Any]) -> None:
    """Put the replies `got` of the commands at `places` where they belong; what has not all come is UNANSWERED."""
    at = 0
    for place in places:
        count = commands[place][2]
        if at + count > len(got):
            replies[place] = UNANSWERED
        else:
            replies[place] = got[at] if count == 1 else got[at : at + count]
        at += count
