"""A cell's own HTTP listeners: uvicorn inside the replica's process, on sockets that other cells may share.

How a listener goes without losing a request: answers carry `Connection: close` from the moment of draining; its socket
goes to another cell (`handover.py`). Where there is none, connections that the kernel already holds are accepted until
there is none, and the socket is closed with no await between; a plain close would reset all of them. What was accepted
is served; then the listener waits until no connection is left or the window ends; last comes uvicorn's own stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from campaign_express.gateway.http import ExchangeApp
from campaign_express.gateway.protocol import BidProtocol

logger = logging.getLogger(__name__)

BACKLOG = 2048
STOP_S = 2.0  # for uvicorn's own stop, after the drain window


def shared_socket(host: str, port: int) -> socket.socket:
    """A listening-to-be TCP socket whose port other processes of this user may share. OSError if taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process belongs to Ray."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpListener:
    """An ASGI app on a shared port. `sockets` are those it accepts from: its own first, then adopted ones."""

    def __init__(
        self, app: Any, host: str, port: int, *, keep_alive_s: int, inherited: socket.socket | None = None
    ) -> None:
        """`inherited`: a listening socket of that address, in place of a new one."""
        own = inherited or shared_socket(host, port)
        own.setblocking(False)
        self.sockets = [own]
        self.address: tuple[str, int] = own.getsockname()[:2]
        self.port = self.address[1]
        self._config = uvicorn.Config(
            app,
            http=BidProtocol if isinstance(app, ExchangeApp) else HttpToolsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody here asks who the client is
            backlog=BACKLOG,
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=int(STOP_S),
        )
        # A client's malformed request is no event of ours: nothing is logged per request.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections)

    async def start(self) -> None:
        """Returns when the port listens; raises what uvicorn raises."""
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=self.sockets[:1]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the listener ended while starting")
            await asyncio.sleep(0.005)

    async def adopt(self, sock: socket.socket) -> None:
        """Accept from another listener's socket, too."""
        sock.setblocking(False)
        server = await asyncio.get_running_loop().create_server(self._protocol(), sock=sock, backlog=BACKLOG)
        self.sockets.append(sock)
        self._server.servers.append(server)

    def release(self, sock: socket.socket) -> None:
        """Let go of one of several sockets, which another process accepts from."""
        at = self.sockets.index(sock)
        self._server.servers.pop(at).close()
        self.sockets.pop(at).close()

    def _protocol(self) -> Callable[[], HttpToolsProtocol]:
        made = cast(type[HttpToolsProtocol], self._config.http_protocol_class)
        return functools.partial(made, config=self._config, server_state=self._server.server_state, app_state={})

    async def drain(self, window_s: float, *, handed_over: bool = False) -> None:
        """Stop accepting without losing a connection, and wait for those there are. The app must answer with close.

        `handed_over`: another process accepts from our sockets, so they are only let go of.
        """
        if self._task is None:
            self._close()
            return
        loop = asyncio.get_running_loop()
        accepted = [] if handed_over else self._accept_rest()
        for server in self._server.servers:
            server.close()
        self._close()
        for connection in accepted:
            with contextlib.suppress(OSError):
                connection.setblocking(False)
                await loop.connect_accepted_socket(self._protocol(), connection)
        end = loop.time() + window_s
        while self.connections and loop.time() < end:  # noqa: ASYNC110  # uvicorn keeps a set and tells nobody
            await asyncio.sleep(0.02)

    def _accept_rest(self) -> list[socket.socket]:
        """Connections that the kernel holds. Afterwards our sockets listen no more, whoever else holds them."""
        accepted = []
        for sock in self.sockets:
            accept, leave, both = sock.accept, sock.shutdown, socket.SHUT_RDWR
            try:
                while True:
                    accepted.append(accept()[0])
            except OSError:  # BlockingIOError: the backlog is empty
                # At once, in one system call: what arrives between that error and this is reset. A plain close comes
                # too late by all that the event loop's server does before it.
                with contextlib.suppress(OSError):
                    leave(both)
        return accepted

    def _close(self) -> None:
        for sock in self.sockets:
            sock.close()

    async def stop(self) -> None:
        """Close idle connections, let running requests end for up to STOP_S, and free everything."""
        self._close()
        if self._task is None:
            return
        self._server.should_exit = True
        try:
            await asyncio.wait_for(self._task, STOP_S + 1)
        except (TimeoutError, asyncio.CancelledError):
            self._task.cancel()
        except Exception:
            logger.exception("the listener did not end cleanly")
