"""One connection to one Redis node, on which replies belong to their batch or to nobody.

redis-py makes the connection (TLS, ACL user, database) and reads replies of the handshake; batches are then written and
read on its socket directly, at a tenth of the cost a reply. A link that has failed or was late is thrown away with
whatever may still arrive on it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from time import monotonic
from typing import Any

import hiredis
from redis import connection as redis_py

from campaign_express.adapters.breaker import OPEN, Breaker
from campaign_express.adapters.redis import REDIS_ERRORS
from campaign_express.errors import ConfigError

CONNECT_S = 0.5  # for connecting, and for each answer of the handshake
RECEIVE_BYTES = 65_536
Node = tuple[str, int]

_redis_py: Any = redis_py  # its connections are untyped


class NoReply:
    """What stands in the place of a reply that there is none of."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


UNSENT = NoReply("UNSENT")  # the server was away: the command was not carried out
UNANSWERED = NoReply("UNANSWERED")  # it may have been, or may yet be
_MORE: Any = object()  # what the reader says when a reply is not whole yet


class Target:
    """What a url tells: the nodes to begin with, and how to speak to any node of theirs."""

    def __init__(self, url: str) -> None:
        """The urls of `adapters.redis.connect`. Raises ConfigError."""
        parts = [part.strip() for part in url.split(",")]
        self.cluster = len(parts) > 1 or "+cluster://" in parts[0]
        try:
            told = [_redis_py.parse_url(part.replace("+cluster://", "://", 1)) for part in parts]
            self.nodes: list[Node] = [(one.get("host") or "localhost", int(one.get("port") or 6379)) for one in told]
        except ValueError:  # its text may repeat parts of the url
            raise ConfigError(
                "Settings that cannot be used:",
                ["redis_url: is not redis://HOST:PORT, rediss://HOST:PORT, or several with commas between them"],
            ) from None
        self._options: dict[str, Any] = dict(told[0])
        self._kind: Any = self._options.pop("connection_class", redis_py.Connection)
        self._options.update(socket_timeout=CONNECT_S, socket_connect_timeout=CONNECT_S, protocol=2)

    def connection(self, node: Node) -> Any:
        """A connection of redis-py's, connected and authenticated. Raises RedisError or OSError."""
        options = dict(self._options)
        if not issubclass(self._kind, redis_py.UnixDomainSocketConnection):
            options.update(host=node[0], port=node[1])
        made = self._kind(**options)
        made.connect()
        return made


class Link:
    """The connection to one master. `open` runs in the keeper's thread, the rest in the caller's."""

    def __init__(self, target: Target, node: Node, scripts: Sequence[bytes]) -> None:
        self.node = node
        self.breaker = Breaker()
        self.run_id = b""  # of the server that answers; another one may have lost what was written last
        self.trouble = ""  # why it could not be opened
        self._target = target
        self._load = b"".join(pack(b"SCRIPT", b"LOAD", script) for script in scripts)
        self._scripts = len(scripts)
        self._io: tuple[socket.socket, hiredis.Reader, Any] | None = None

    @property
    def connected(self) -> bool:
        return self._io is not None

    def open(self) -> None:
        """Connect and load the scripts. Raises RedisError or OSError."""
        made = self._target.connection(self.node)
        try:
            made.send_command("INFO", "server")
            info = made.read_response(disable_decoding=True)
            made.send_packed_command([self._load])
            for _ in range(self._scripts):
                made.read_response()
        except BaseException:
            made.disconnect()
            raise
        self.run_id = next((line[7:] for line in bytes(info).split(b"\r\n") if line.startswith(b"run_id:")), b"")
        self._io = (made._sock, hiredis.Reader(notEnoughData=_MORE), made)  # redis-py offers no other way to its socket

    def usable(self, now: float) -> bool:
        return self._io is not None and self.breaker.allows(now)

    def send(self, data: bytes, deadline: float) -> bool:
        """Write a whole batch. False where that failed, and the link is gone."""
        io = self._io
        if io is None:
            return False
        try:
            io[0].settimeout(max(deadline - monotonic(), 0.001))
            io[0].sendall(data)
        except OSError:
            self.fail()
            return False
        return True

    def receive(self, count: int, deadline: float) -> list[Any]:
        """The next `count` replies; fewer where they did not all come in time, and the link is gone.

        What has arrived already is taken even after the deadline: another link may have used the time up.
        """
        io = self._io
        replies: list[Any] = []
        if io is None:
            return replies
        sock, reader, _ = io
        take = reader.gets
        try:
            while True:
                sock.settimeout(max(deadline - monotonic(), 0.0))
                data = sock.recv(RECEIVE_BYTES)
                if not data:
                    break
                reader.feed(data)
                while (reply := take()) is not _MORE:
                    replies.append(reply)
                if len(replies) == count:
                    self.breaker.succeeded()
                    return replies
                if len(replies) > count:  # not ours: then none of them can be trusted
                    replies.clear()
                    break
        except (OSError, hiredis.HiredisError):
            pass
        self.fail()
        return replies

    def reload(self, deadline: float) -> bool:
        """Load the scripts again, where the server has lost them."""
        return self.send(self._load, deadline) and len(self.receive(self._scripts, deadline)) == self._scripts

    def fail(self) -> None:
        """Throw the connection away, and count it."""
        self.breaker.failed(monotonic())
        self.close()

    def close(self) -> None:
        io, self._io = self._io, None
        if io is not None:
            io[2].disconnect()

    @property
    def wants_opening(self) -> bool:
        """Whether it is time to try, for who sees to connections."""
        return self._io is None and (self.breaker.state != OPEN or self.breaker.allows(monotonic()))


def attempt(link: Link) -> bool:
    """Open `link`; False where its server does not answer, and that is counted."""
    try:
        link.open()
    except REDIS_ERRORS as error:
        link.trouble = f"{type(error).__name__}: {error}"
        link.breaker.failed(monotonic())
        return False
    return True


def pack(*parts: bytes) -> bytes:
    """One command as RESP."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
