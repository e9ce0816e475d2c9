"""The exchange's gRPC service: protobuf bytes in and out, through the same queue and agents as HTTP.

Service `campaign_express.openrtb.v2.BidService` (see openrtb/proto/openrtb.proto): `Bid`, and `BidStream` whose answers
come in the order of its requests. The exchange is named by the metadata key `exchange`. Messages are not parsed here.

    agent's answer      Bid                          BidStream
    200                 BidResponse                  BidResponse
    204 (no-bid)        empty BidResponse            empty BidResponse
    400, 413            INVALID_ARGUMENT             BidResponse with nbr 2 (invalid request): the stream goes on
    404                 NOT_FOUND                    the same, ends the stream (no other exchange would follow)
    else                INTERNAL                     BidResponse with nbr 1 (technical error)

Compression is gRPC's own (the client's choice of `grpc-encoding`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer  # `health.aio`, which type checkers do not see
from grpc_reflection.v1alpha import reflection

from campaign_express.frames import PROTOBUF, Answer, Ask
from campaign_express.gateway.batching import AgentPool
from campaign_express.gateway.meters import Meters
from campaign_express.openrtb.codec import body_too_large, error_body

SERVICE = "campaign_express.openrtb.v2.BidService"
STREAM_WINDOW = 64  # requests of one stream that may be under way; beyond it gRPC's flow control holds the sender

# BidResponse { nbr }: field 6, varint.
NBR_TECHNICAL_ERROR = b"\x30\x01"
NBR_INVALID_REQUEST = b"\x30\x02"

_Context = Any  # grpc.aio.ServicerContext[bytes, bytes]


class BidServicer:
    """Handlers of the service. `close` ends running streams once the requests they have taken in are answered."""

    def __init__(self, pool: AgentPool, meters: Meters, max_body_bytes: int) -> None:
        self._pool = pool
        self._max_body = max_body_bytes
        self._meters = meters
        self._counters = meters.counters
        self._closing = asyncio.Event()

    def close(self) -> None:
        self._closing.set()

    def _submit(self, exchange: str, body: bytes) -> tuple[int, asyncio.Future[Answer] | None]:
        self._counters.grpc_requests += 1
        arrival_ns = time.monotonic_ns()
        return arrival_ns, self._pool.submit(Ask(exchange, arrival_ns, body, PROTOBUF))

    async def bid(self, body: bytes, context: _Context) -> bytes:
        if len(body) > self._max_body:
            self._meters.refuse(413)
            error = error_body(body_too_large(self._max_body)).decode()
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error)
        arrival_ns, future = self._submit(_exchange(context), body)
        answer = None if future is None else await future
        self._counters.latency.observe(time.monotonic_ns() - arrival_ns)
        if answer is None or answer.status == 204:
            return b""
        if answer.status != 200:
            await context.abort(status_of(answer.status), _message(answer))
        return answer.body

    async def bid_stream(self, bodies: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
        exchange = _exchange(context)
        under_way: asyncio.Queue[tuple[int, asyncio.Future[Answer] | None] | None] = asyncio.Queue(STREAM_WINDOW)
        reader = asyncio.create_task(self._read(bodies, exchange, under_way))
        try:
            while (item := await under_way.get()) is not None:
                arrival_ns, future = item
                answer = None if future is None else await future
                self._counters.latency.observe(time.monotonic_ns() - arrival_ns)
                if answer is None or answer.status == 204:
                    yield b""
                elif answer.status == 200:
                    yield answer.body
                elif answer.status == 404:
                    await context.abort(grpc.StatusCode.NOT_FOUND, _message(answer))
                else:
                    yield NBR_INVALID_REQUEST if answer.status < 500 else NBR_TECHNICAL_ERROR
        finally:
            reader.cancel()

    async def _read(self, bodies: AsyncIterator[bytes], exchange: str, under_way: asyncio.Queue[Any]) -> None:
        """Take requests in until the client has no more or we are closing; then None."""
        closing = asyncio.ensure_future(self._closing.wait())
        upcoming = aiter(bodies)
        try:
            while not self._closing.is_set():
                arriving = asyncio.ensure_future(anext(upcoming, None))
                await asyncio.wait((arriving, closing), return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done():
                    arriving.cancel()
                    break
                body = arriving.result()
                if body is None or len(body) > self._max_body:
                    break  # the client's end, or a message that no bidder reads: the stream ends
                await under_way.put(self._submit(exchange, body))
        except grpc.RpcError:
            pass  # the client has gone
        finally:
            closing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await under_way.put(None)


class GrpcListener:
    """The service, health and reflection on a port that other cells of the node may share."""

    def __init__(self, pool: AgentPool, meters: Meters, host: str, port: int, *, max_body_bytes: int) -> None:
        self._servicer = BidServicer(pool, meters, max_body_bytes)
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 1),
                # Beyond the limit by this much we refuse in our own words, beyond that gRPC does (RESOURCE_EXHAUSTED).
                ("grpc.max_receive_message_length", max_body_bytes + (1 << 20)),
                ("grpc.max_send_message_length", -1),
            ]
        )
        handler = grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Bid": grpc.unary_unary_rpc_method_handler(self._servicer.bid),
                "BidStream": grpc.stream_stream_rpc_method_handler(self._servicer.bid_stream),
            },
        )
        self._server.add_generic_rpc_handlers((handler,))
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        # Reflection finds the service in protobuf's default pool, where importing the generated module has put it.
        from campaign_express.openrtb.proto import openrtb_pb2  # noqa: F401

        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.port: int = self._server.add_insecure_port(address)

    async def start(self) -> None:
        await self._server.start()
        await self.set_serving(True)

    async def set_serving(self, serving: bool) -> None:
        """What grpc.health.v1 says, of the service and of the whole server."""
        status = health_pb2.HealthCheckResponse
        for name in ("", SERVICE):
            await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def drain(self, window_s: float) -> None:
        """Take no new call (connections get GOAWAY), answer what was taken in, end streams, and free the port."""
        await self._health.enter_graceful_shutdown()
        self._servicer.close()
        await self._server.stop(window_s)


def status_of(http_status: int) -> grpc.StatusCode:
    """The gRPC status for an answer that is no bid and no no-bid."""
    if http_status in (400, 413):
        return grpc.StatusCode.INVALID_ARGUMENT
    if http_status == 404:
        return grpc.StatusCode.NOT_FOUND
    return grpc.StatusCode.UNAVAILABLE if http_status == 503 else grpc.StatusCode.INTERNAL


def _exchange(context: _Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "exchange":
            return value if isinstance(value, str) else ""
    return ""


def _message(answer: Answer) -> str:
    """The agent's JSON error as it is: it names field and rule."""
    return answer.body.decode("utf-8", "replace")[:1024]
