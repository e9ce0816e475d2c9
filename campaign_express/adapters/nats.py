"""The connection to NATS JetStream that sinks, queues and logs share: how it is made, streams, acknowledgements.

`Publisher` is what has any number of messages under way at once: each carries a reply subject of its own below one
inbox, and its acknowledgement is told to whoever sent it. That costs half of what a request a message would. The
client's own reconnecting is not used: what it would keep in memory is kept, with a bound, by whoever publishes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

import msgspec
import nats.errors
import nats.js.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, Header, RetentionPolicy, StorageType, StoreCompression, StreamConfig

from campaign_express.errors import ConfigError, Unavailable
from campaign_express.events import STREAM, SUBJECTS

log = logging.getLogger(__name__)

CONNECT_S = 2.0
ACK_S = 2.0  # for what nobody waits for
PING_S = 5
CLOSE_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0  # between attempts while JetStream is away
OLDEST = "2.15 or newer"
EXISTS = 10058  # JetStream's error code: the stream exists with another configuration
TROUBLE = (nats.errors.Error, TimeoutError, OSError, Unavailable)  # what a NATS that is away may raise


class StreamTerms(Struct, frozen=True):
    """How a stream is kept."""

    replicas: int = 1
    max_age_s: int = 0  # 0: for ever
    max_bytes: int = 0  # 0: no limit
    duplicate_window_s: int = 600
    forgets: bool = False  # when it is full: what is oldest. Else it refuses what is new
    compressed: bool = False


class Refusal(Struct):
    """Why JetStream did not store a message."""

    err_code: int = 0
    description: str = ""


class Ack(Struct):
    """JetStream's answer to a message (its API reference, "PubAck")."""

    stream: str = ""
    duplicate: bool = False
    count: int = 0  # messages of the batch that it ends
    error: Refusal | None = None


MESSAGE_ID = Header.MSG_ID.value  # as an enum's member it would be looked up twice a message
_read_ack = msgspec.json.Decoder(Ack).decode


def redact(url: str) -> str:
    """The servers of a NATS url without user, password and options: what may be logged."""
    return ",".join(part.partition("?")[0].strip().rpartition("//")[2].rpartition("@")[2] for part in url.split(","))


def read_url(url: str) -> tuple[list[str], ssl.SSLContext | None]:
    """Servers of a url, and whom to trust for TLS where it says so. Raises ConfigError."""
    parts = [part.strip().partition("?") for part in url.split(",")]
    options = dict(parse_qsl(parts[0][2]))
    ca_file = options.pop("ca_file", "")
    problems = [f"nats_url: no option {name}" for name in options]
    context = None
    if ca_file:
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            problems.append(f"nats_url: ca_file={ca_file}: {error.strerror or error}")
    if problems:
        raise ConfigError("Settings that cannot be used:", problems)
    return [server for server, _, _ in parts], context


async def connect(url: str, name: str, closed: Callable[[], Awaitable[None]] | None = None) -> Client:
    """A connection to one of the servers of `url` (with commas between), which does not reconnect by itself.

    `nats://user:password@host:port`, or `tls://` with TLS; `?ca_file=FILE` behind the first server names the authority
    that is trusted instead of the system's. `closed` is called when it ends. Raises Unavailable.
    """
    try:
        servers, context = read_url(url)
    except ConfigError as error:  # `check-config` tells of it; here a file may yet come
        raise Unavailable("; ".join(error.problems)) from None
    client = Client()
    try:
        await asyncio.wait_for(
            client.connect(
                servers,
                name=name,
                tls=context,
                allow_reconnect=False,
                connect_timeout=int(CONNECT_S),
                max_reconnect_attempts=1,  # or it would try a server that refuses for ever
                reconnect_time_wait=0,
                ping_interval=PING_S,
                max_outstanding_pings=2,
                error_cb=_quiet,
                closed_cb=closed,
            ),
            CONNECT_S + 1.0,
        )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        await close(client)  # it leaves its socket open
        raise Unavailable(f"NATS at {redact(url)} cannot be reached: {error or type(error).__name__}") from None
    return client


async def _quiet(error: Exception) -> None:
    """Whoever uses the connection hears of its errors; the client would print each."""


async def ensure_stream(client: Client, terms: StreamTerms, name: str = STREAM, subjects: str = SUBJECTS) -> None:
    """Make a stream, or give the one that is there these terms.

    Raises nats.js.errors.APIError, and Unavailable where the server is too old.
    """
    config = StreamConfig(
        name=name,
        subjects=[subjects],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        # Of money, better refused than forgotten; of samples, better the new ones.
        discard=DiscardPolicy.OLD if terms.forgets else DiscardPolicy.NEW,
        max_age=terms.max_age_s or None,
        max_bytes=terms.max_bytes or -1,
        duplicate_window=terms.duplicate_window_s,
        num_replicas=terms.replicas,
        compression=StoreCompression.S2 if terms.compressed else StoreCompression.NONE,
        allow_atomic=True,  # see batches.py
    )
    context = client.jetstream(timeout=ACK_S)
    try:
        info = await context.add_stream(config)
    except nats.js.errors.APIError as error:
        if error.err_code != EXISTS:
            raise
        info = await context.update_stream(config)
    if not info.config.allow_atomic:
        raise Unavailable(f"NATS {client.connected_server_version} knows no atomic batches: use nats-server {OLDEST}")


async def close(client: Client) -> None:
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        await asyncio.wait_for(client.close(), CLOSE_S)


class Publisher:
    """One connection that publishes to one stream, until it is lost. Of the event loop that connects it."""

    def __init__(
        self,
        url: str,
        name: str,
        terms: StreamTerms,
        stream: tuple[str, str],
        acked: Callable[[str, Ack | None], None],
        lost: Callable[[], Awaitable[None]],
    ) -> None:
        """`stream`: its name and subjects. `acked` is told a message's token and JetStream's answer; None: nobody has
        the stream. `lost` is called when the connection ends by itself, to `disconnect` in good order."""
        self._url = url
        self._name = name
        self._terms = terms
        self._stream = stream
        self._acked = acked
        self._lost = lost
        self._client: Client | None = None
        self._inbox = ""

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def connect(self) -> None:
        """Connect, and see to the stream. Raises one of TROUBLE."""
        client = await connect(self._url, self._name, self._on_closed)
        try:
            await ensure_stream(client, self._terms, *self._stream)
            self._inbox = client.new_inbox()
            await client.subscribe(f"{self._inbox}.*", cb=self._on_ack)
            await asyncio.wait_for(client.flush(), ACK_S)
        except BaseException:
            await close(client)
            raise
        self._client = client

    async def send(self, token: str, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """Hand one message to the client; without a token nothing is acknowledged. Raises anything: it was not sent."""
        if self._client is None:
            raise Unavailable("the connection was lost")
        await self._client.publish(subject, payload, f"{self._inbox}.{token}" if token else "", headers)

    async def disconnect(self) -> None:
        """Nothing more is acknowledged."""
        client, self._client = self._client, None
        if client is not None:
            await close(client)

    async def _on_ack(self, message: Msg) -> None:
        token = message.subject.rpartition(".")[2]
        try:
            self._acked(token, _read_ack(message.data))
        except msgspec.DecodeError:  # an empty message with status 503
            self._acked(token, None)

    async def _on_closed(self) -> None:
        if self._client is not None and self._client.is_closed:
            await self._lost()


async def keep_up(
    work: Callable[[], Awaitable[None]],
    rest: Callable[[], Awaitable[None]],
    lost: Callable[[], Awaitable[None]],
    *,
    tell: tuple[str, str],
    counts: Callable[[], dict[str, int]],
) -> None:
    """Work, rest, and so on for ever. What `work` or `rest` raise ends in `lost`, and is tried again after a pause.

    `tell`: what is logged once when JetStream goes away, and once, with `counts`, when it is back.
    """
    pause, told = FIRST_PAUSE_S, False
    while True:
        try:
            await work()
            if told:
                log.warning(tell[1], extra=counts())
            pause, told = FIRST_PAUSE_S, False
            await rest()
        except TROUBLE as error:
            if not told:
                log.warning(tell[0], extra={"reason": str(error) or type(error).__name__})
                told = True
            await lost()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        except Exception:
            log.exception("a fault while tending a stream")
            await lost()
            await asyncio.sleep(LONGEST_PAUSE_S)
