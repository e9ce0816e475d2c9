"""Redis over TLS, by the url's own options. The embedded Valkey speaks none: it stands behind a proxy that does."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis

from campaign_express.adapters.control import ControlStore
from campaign_express.adapters.users import RedisUsers
from campaign_express.control import Switches
from campaign_express.errors import Unavailable
from campaign_express.ports import Hold, UserWant

ANN = UserWant(("ifa:ann",), 1)
NOW = 1_795_600_000_000


def certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "redis.crt", folder / "redis.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


class Proxy:
    """TLS on a free port, plain to `port` behind it. A thread with an event loop of its own."""

    def __init__(self, port: int, public: Path, private: Path) -> None:
        self.accepted = 0  # handshakes that succeeded
        self._behind = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(public, private)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5.0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
def tls(valkey: str, tmp_path: Path) -> Iterator[tuple[Proxy, Path]]:
    """The proxy, and the file of the certificate that it shows."""
    public, private = certificate(tmp_path)
    proxy = Proxy(urlsplit(valkey).port or 0, public, private)
    yield proxy, public
    proxy.close()


def test_people_and_switches_are_read_over_tls(tls: tuple[Proxy, Path], valkey: str) -> None:
    proxy, trusted = tls
    url = f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={trusted}"
    users = RedisUsers(url, hold_ms=60_000, lateness_ms=1000, wait_s=60.0, flush_s=20.0)
    control = ControlStore(url)
    try:
        [state] = users.fetch([ANN], NOW, 60.0)
        assert state is not None
        users.settle(state, [Hold("bid1", ("c:1",), NOW + 60_000)])
        users.flush()
        [state] = users.fetch([ANN], NOW, 60.0)
        assert state is not None
        assert state.held == {"c:1": 1}
        assert control.switches() == Switches()
    finally:
        users.close()
        control.close()
    assert proxy.accepted >= 2
    with Redis.from_url(valkey) as client:
        assert client.dbsize() > 0  # it is that server that was spoken to


def test_a_server_whose_certificate_is_not_trusted_hears_nothing(tls: tuple[Proxy, Path], valkey: str) -> None:
    proxy, _ = tls
    url = f"rediss://127.0.0.1:{proxy.port}/0"
    users = RedisUsers(url, hold_ms=60_000, lateness_ms=1000, wait_s=1.0)
    control = ControlStore(url)
    try:
        assert users.fetch([ANN], NOW, 1.0) == [None]
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            control.switches()
    finally:
        users.close()
        control.close()
    assert proxy.accepted == 0
    with Redis.from_url(valkey) as client:
        assert client.dbsize() == 0
