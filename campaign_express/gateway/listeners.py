"""A cell's own HTTP listeners: uvicorn inside the replica's process, on sockets that other cells may share.

How a listener goes without losing a request: answers carry `Connection: close` from the moment of draining; connections
that the kernel already holds are accepted until there is none, and the socket is closed with no await between, so that
none can arrive unseen; what was accepted is served; then the listener waits until no connection is left or the window
ends; last comes uvicorn's own stop. A plain close would reset the connections in the backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Iterator
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
    """An ASGI app on a shared port."""

    def __init__(self, app: Any, host: str, port: int, *, keep_alive_s: int) -> None:
        self._socket = shared_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
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
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the listener ended while starting")
            await asyncio.sleep(0.005)

    async def drain(self, window_s: float) -> None:
        """Stop accepting without losing a connection, and wait for those there are. The app must answer with close."""
        if self._task is None:
            self._socket.close()
            return
        loop = asyncio.get_running_loop()
        accepted = self._accept_rest_and_close()
        protocol = functools.partial(
            cast(type[HttpToolsProtocol], self._config.http_protocol_class),
            config=self._config,
            server_state=self._server.server_state,
            app_state={},
        )
        for connection in accepted:
            with contextlib.suppress(OSError):
                connection.setblocking(False)
                await loop.connect_accepted_socket(protocol, connection)
        end = loop.time() + window_s
        while self.connections and loop.time() < end:  # noqa: ASYNC110  # uvicorn keeps a set and tells nobody
            await asyncio.sleep(0.02)

    def _accept_rest_and_close(self) -> list[socket.socket]:
        accepted = []
        accept, leave, both = self._socket.accept, self._socket.shutdown, socket.SHUT_RDWR
        try:
            while True:
                accepted.append(accept()[0])
        except OSError:  # BlockingIOError: the backlog is empty
            # At once, in one system call: what arrives between that error and this is reset. A plain close comes too
            # late by all that the event loop's server does before it.
            with contextlib.suppress(OSError):
                leave(both)
        for server in self._server.servers:
            server.close()
        self._socket.close()
        return accepted

    async def stop(self) -> None:
        """Close idle connections, let running requests end for up to STOP_S, and free everything."""
        self._socket.close()
        if self._task is None:
            return
        self._server.should_exit = True
        try:
            await asyncio.wait_for(self._task, STOP_S + 1)
        except (TimeoutError, asyncio.CancelledError):
            self._task.cancel()
        except Exception:
            logger.exception("the listener did not end cleanly")
