"""A cell of one process for tests of what stands before cells: the gateway's own listeners over a stand-in for agents.

    python -m tests.support.haproxy_cell HOST HTTP_PORT GRPC_PORT METRICS_PORT

A bid is answered with HOST. An exchange's name tells otherwise: `slow` waits 300 ms, `die` ends this process with
nothing said. Notices are answered with HOST too; a conversion whose query is `die` ends it. SIGUSR1: not ready.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from campaign_express.frames import PROTOBUF, Answer, Ask
from campaign_express.gateway.grpc import GrpcListener
from campaign_express.gateway.http import ExchangeApp, ReplyWaiter
from campaign_express.gateway.listeners import HttpListener
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.node import NodeMetrics
from campaign_express.gateway.replies import json_reply

MAX_BODY = 262_144
SLOW_S = 0.3


class Pool:
    """Stands where AgentPool does."""

    live = 1

    def __init__(self, host: str) -> None:
        self._host = host.encode()

    def submit(self, ask: Ask) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.submit_to(future, ask)
        return future

    def submit_to(self, waiter: Any, ask: Ask) -> None:
        if ask.exchange == "die":
            os._exit(1)
        body = self._host + b" " + ask.body if ask.encoding == PROTOBUF else self._host
        answer = Answer(200, body, -1, False, (1,))
        if ask.exchange == "slow":
            asyncio.get_running_loop().call_later(SLOW_S, waiter.set_result, answer)
        else:
            waiter.set_result(answer)


class Desk:
    """Stands where NoticeDesk does."""

    def __init__(self, host: str) -> None:
        self._host = host.encode()

    def submit_to(self, waiter: ReplyWaiter, path: str, query: bytes) -> None:
        waiter.set_result(json_reply(200, self._host))

    async def handle(self, scope: Any, receive: Any, send: Any, close: bool = False) -> bool:
        if scope["path"] not in ("/v1/click", "/v1/conversion", "/v1/sync", "/v1/win"):
            return False
        if scope["query_string"] == b"die":
            os._exit(1)
        await json_reply(200, self._host).send(send, close)
        return True


async def serve(host: str, http_port: int, grpc_port: int, metrics_port: int) -> None:
    meters = Meters(host)
    pool: Any = Pool(host)
    app = ExchangeApp(pool, meters, max_body_bytes=MAX_BODY)
    app.notices = Desk(host)
    node = NodeMetrics(meters, Path(tempfile.mkdtemp(prefix="cell-", dir=os.getcwd())), lambda: None)
    await node.start()
    listeners = (  # held, or gRPC's goes with its last reference
        HttpListener(node, host, metrics_port, keep_alive_s=75),
        GrpcListener(pool, meters, host, grpc_port, max_body_bytes=MAX_BODY),
        HttpListener(app, host, http_port, keep_alive_s=75),
    )
    for listener in listeners:
        await listener.start()

    def leave() -> None:
        app.draining = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, leave)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], *map(int, sys.argv[2:5])))
