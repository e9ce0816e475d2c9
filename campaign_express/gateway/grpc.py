"""The exchange's gRPC service: protobuf bytes in and out, through the same queue and agents as HTTP.

Service `campaign_express.openrtb.v2.BidService` (see openrtb/proto/openrtb.proto): `Bid`, and `BidStream` whose answers
come in the order of its requests. The exchange is named by the metadata key `exchange`. Messages are not parsed here.

    agent's answer      Bid                          BidStream
    200                 BidResponse, a no-bid's has id and nbr
    204                 empty BidResponse: a no-bid to a request whose id could not be read
    400, 413            INVALID_ARGUMENT             BidResponse with nbr 2 (invalid request): the stream goes on
    404                 NOT_FOUND                    the same, ends the stream (no other exchange would follow)
    else                INTERNAL                     BidResponse with nbr 1 (technical error)

A message over the body limit is refused as a 413 is. One that is over it by more than a megabyte gRPC does not take in:
it ends the call, or the stream, with RESOURCE_EXHAUSTED.

Compression is gRPC's own (the client's choice of `grpc-encoding`).
"""

from __future__ import annotations

import asyncio
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
OWN_WORDS = 1 << 20  # bytes over the limit that are received, so that the refusal can say what is wrong
STREAM_WINDOW = 64  # requests of one stream that may be under way; beyond it gRPC's flow control holds the sender

# BidResponse { nbr }: field 6, varint.
NBR_TECHNICAL_ERROR = b"\x30\x01"
NBR_INVALID_REQUEST = b"\x30\x02"

TOO_LARGE = Answer(413, b"")

_Context = Any  # grpc.aio.ServicerContext[bytes, bytes]
_UnderWay = tuple[int, asyncio.Future[Answer]]  # arrival (CLOCK_MONOTONIC, ns), answer


class _TakenIn:
    """Requests of one stream that are not answered yet, in order; None follows the last one.

    What bounds them is `room`, not the queue, so that putting never waits: whoever takes from it may have gone.
    """

    def __init__(self) -> None:
        self.requests: asyncio.Queue[_UnderWay | Answer | None] = asyncio.Queue()
        self.room = asyncio.Semaphore(STREAM_WINDOW)


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

    def _submit(self, exchange: str, body: bytes) -> _UnderWay:
        self._counters.grpc_requests += 1
        arrival_ns = time.monotonic_ns()
        return arrival_ns, self._pool.submit(Ask(exchange, arrival_ns, body, PROTOBUF))

    async def _answer(self, under_way: _UnderWay) -> Answer:
        arrival_ns, future = under_way
        answer = await future
        self._counters.latency.observe(time.monotonic_ns() - arrival_ns)
        return answer

    async def bid(self, body: bytes, context: _Context) -> bytes:
        if len(body) > self._max_body:
            self._meters.refuse(413)
            error = error_body(body_too_large(self._max_body)).decode()
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error)
        answer = await self._answer(self._submit(_exchange(context), body))
        if answer.status == 204:
            return b""
        if answer.status != 200:
            await context.abort(status_of(answer.status), _message(answer))
        return answer.body

    async def bid_stream(self, bodies: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
        taken = _TakenIn()
        reader = asyncio.create_task(self._read(bodies, _exchange(context), taken))
        try:
            while (item := await taken.requests.get()) is not None:
                answer = item if isinstance(item, Answer) else await self._answer(item)
                if answer.status == 204:
                    yield b""
                elif answer.status == 200:
                    yield answer.body
                elif answer.status == 404:
                    await context.abort(grpc.StatusCode.NOT_FOUND, _message(answer))
                else:
                    yield NBR_INVALID_REQUEST if answer.status < 500 else NBR_TECHNICAL_ERROR
                taken.room.release()
        finally:
            reader.cancel()

    async def _read(self, bodies: AsyncIterator[bytes], exchange: str, taken: _TakenIn) -> None:
        """Take requests in until the client has no more or we are closing; the last word is None, however it ends."""
        closing = asyncio.ensure_future(self._closing.wait())
        upcoming = aiter(bodies)
        arriving: asyncio.Future[bytes | None] | None = None
        try:
            while not closing.done():
                await taken.room.acquire()
                arriving = asyncio.ensure_future(anext(upcoming, None))
                await asyncio.wait((arriving, closing), return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done() or (body := arriving.result()) is None:
                    break
                if len(body) > self._max_body:
                    self._meters.refuse(413)
                    taken.requests.put_nowait(TOO_LARGE)
                else:
                    taken.requests.put_nowait(self._submit(exchange, body))
        except grpc.RpcError:
            pass  # the client has gone
        finally:
            closing.cancel()
            if arriving is not None:
                arriving.cancel()
            taken.requests.put_nowait(None)


class GrpcListener:
    """The service, health and reflection on a port that other cells of the node may share."""

    def __init__(self, pool: AgentPool, meters: Meters, host: str, port: int, *, max_body_bytes: int) -> None:
        self._servicer = BidServicer(pool, meters, max_body_bytes)
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 1),
                # Beyond the limit by this much we refuse in our own words, beyond that gRPC does, to save the memory.
                ("grpc.max_receive_message_length", max_body_bytes + OWN_WORDS),
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
        """Take no new call (connections get GOAWAY), answer what was taken in, end streams, and free the port.

        A call that crosses the GOAWAY on its way here is cancelled by gRPC's core, which can send none earlier.
        """
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
