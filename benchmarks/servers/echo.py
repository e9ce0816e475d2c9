"""The ceiling: uvicorn reads the body and answers the same bytes every time, as many as a real answer has."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

App = Callable[[Any, Any, Any], Awaitable[None]]
JSON = (b"content-type", b"application/json")


async def read_body(receive: Any) -> bytes:
    """The whole body of an ASGI request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def respond(send: Any, status: int, body: bytes) -> None:
    await send(
        {"type": "http.response.start", "status": status, "headers": [JSON, (b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


def echo(size: int) -> App:
    answer = b'{"id":"1","seatbid":[]}'.ljust(size)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await respond(send, 200, answer)

    return app


def serve(app: App, port: int) -> None:
    """uvicorn at its fastest: C parser, C event loop, no logs."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,
        backlog=1024,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--size", type=int, default=2048, help="bytes of the answer")
    options = parser.parse_args()
    serve(echo(options.size), options.port)
