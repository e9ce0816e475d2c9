"""HAProxy, as it is deployed: who is let in, how fast, over what, and who is refused and how."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import grpc
import pytest

from benchmarks.balancer import CONFIG, FOLDER, INSIDE, binary
from campaign_express import config
from campaign_express.gateway.grpc import SERVICE
from tests.support.haproxy_cell import MAX_BODY
from tests.support.haproxy_world import HOST, World, until

CELL = "127.0.0.2"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("haproxy")) as made:
        made.start_cells(CELL)
        yield made


def read_to_end(sock: socket.socket) -> bytes:
    parts = []
    try:
        while part := sock.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def closed(sock: socket.socket) -> bool:
    """Whether the other side has answered or gone."""
    try:
        sock.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def answer(world: World, sent: bytes, frontend: str = "http", seconds: float = 10) -> tuple[bytes, float]:
    """(what came back until the connection was closed, seconds that it took)."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", world.ports[frontend]), timeout=seconds) as sock:
        sock.sendall(sent)
        return read_to_end(sock), time.monotonic() - began


def test_the_file_is_valid_as_it_stands(world: World) -> None:
    ran = subprocess.run([binary(), "-c", "-f", str(world.config)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    world.config.with_name("broken.cfg").write_text(world.config.read_text().replace("balance leastconn", "balance x"))
    broken = [binary(), "-c", "-f", str(world.config.with_name("broken.cfg"))]
    assert subprocess.run(broken, capture_output=True).returncode


def test_it_is_valid_with_the_resolver_of_its_machine(world: World) -> None:
    ran = subprocess.run([binary(), "-c", "-f", str(world.config)], capture_output=True, text=True, env={})
    assert ran.returncode == 0, ran.stderr


def test_ten_thousand_requests_in_ten_seconds_and_no_more(world: World) -> None:
    greedy = "127.0.0.77"
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", world.ports["http"]), 10, (greedy, 0)) as sock:
        served = b""
        for _ in range(100):
            sock.sendall(request * 100)
            wanted = served.count(b"HTTP/1.1 200") + 100
            while served.count(b"HTTP/1.1 200") < wanted:
                more = sock.recv(65536)
                assert more, served[-300:]
                served += more
        assert b"HTTP/1.1 429" not in served
    status, headers, body = world.get("/health", source=greedy)
    assert (status, headers["content-type"], headers["retry-after"]) == (429, "application/json", "1")
    assert b"more than 10000 requests in 10 s" in body
    assert world.bid(source=greedy)[0] == 429, "over all paths together"
    assert world.bid(source="127.0.0.78")[0] == 200, "others are not meant"
    (figure,) = [
        line
        for line in world.get("/metrics", "stats")[2].decode().splitlines()
        if line.startswith('haproxy_frontend_requests_denied_total{proxy="ft_http"}')
    ]
    assert int(figure.split()[-1]) >= 2


def test_grpc_over_the_limit_is_resource_exhausted(world: World) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{world.ports['grpc']}") as channel:
        bid = channel.unary_unary(f"/{SERVICE}/Bid")
        assert bid(b"x", timeout=5) == f"{CELL} x".encode()
        world.admin("set table per_source key ::ffff:127.0.0.1 data.http_req_rate 10001")
        try:
            with pytest.raises(grpc.RpcError) as refused:
                bid(b"x", timeout=5)
        finally:
            world.admin("clear table per_source key ::ffff:127.0.0.1")
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]
        assert bid(b"x", timeout=5) == f"{CELL} x".encode()


def test_named_exchanges_have_no_limit(world: World) -> None:
    world.admin(f"add acl {world.directory}/unlimited.lst 127.0.0.79/32")
    world.admin("set table per_source key ::ffff:127.0.0.79 data.http_req_rate 20000")
    assert world.bid(source="127.0.0.79")[0] == 200
    world.admin("set table per_source key ::ffff:127.0.0.80 data.http_req_rate 20000")
    assert world.bid(source="127.0.0.80")[0] == 429


def context(world: World, *protocols: str) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(world.directory / "ca.crt"))
    made.set_alpn_protocols(list(protocols))
    return made


def handshake(world: World, chosen: ssl.SSLContext) -> tuple[str, str]:
    """(version, cipher)"""
    with (
        socket.create_connection(("127.0.0.1", world.ports["https"]), 5) as plain,
        chosen.wrap_socket(plain, server_hostname=HOST) as sock,
    ):
        cipher = sock.cipher()
        assert cipher is not None
        return sock.version() or "", cipher[0]


def over_tls(world: World, sent: bytes) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", world.ports["https"]), 5) as plain,
        context(world, "http/1.1").wrap_socket(plain, server_hostname=HOST) as sock,
    ):
        sock.sendall(sent)
        return read_to_end(sock)


def test_bids_over_tls(world: World) -> None:
    got = over_tls(world, b"POST /v1/bid HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
    assert got.startswith(b"HTTP/1.1 200")
    assert got.endswith(CELL.encode())
    assert b"strict-transport" not in got.lower(), "a bid's answer has no byte too many"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")  # which is what must be refused
def test_tls_is_of_today(world: World) -> None:
    assert handshake(world, context(world))[0] == "TLSv1.3"
    older = context(world)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(world, older) == ("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")
    weak = context(world)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA256")
    with pytest.raises(ssl.SSLError):
        handshake(world, weak)
    oldest = context(world)
    oldest.set_ciphers("ALL:@SECLEVEL=0")
    oldest.minimum_version = oldest.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(world, oldest)


def test_grpc_over_tls_on_443(world: World) -> None:
    credentials = grpc.ssl_channel_credentials((world.directory / "ca.crt").read_bytes())
    options = [("grpc.ssl_target_name_override", HOST)]
    with grpc.secure_channel(f"127.0.0.1:{world.ports['https']}", credentials, options) as channel:
        assert channel.unary_unary(f"/{SERVICE}/Bid")(b"x", timeout=5) == f"{CELL} x".encode()


def test_a_renewed_certificate_is_shown_after_a_reload(world: World) -> None:
    def serial() -> str:
        with (
            socket.create_connection(("127.0.0.1", world.ports["https"]), 5) as plain,
            context(world).wrap_socket(plain, server_hostname=HOST) as sock,
        ):
            return str((sock.getpeercert() or {})["serialNumber"])

    before = serial()
    world.renew_certificate()
    assert serial() == before
    environ = {**os.environ, "PID_FILE": f"{world.directory}/haproxy.pid", "TLS_DIR": str(world.directory)}
    watcher = subprocess.Popen(["sh", str(FOLDER / "reload.sh")], env={**environ, "PERIOD": "0.1"})
    try:
        time.sleep(0.5)
        assert serial() == before, "nothing has changed since it began to look"
        world.renew_certificate()
        until(lambda: serial() != before, "the new certificate is shown", 5)
    finally:
        watcher.kill()
        watcher.wait()
    assert world.bid()[0] == 200


def test_people_are_led_to_tls_and_exchanges_are_not(world: World) -> None:
    for path in ("/v1/click?v=1", "/v1/imp?v=1", "/v1/sync?x=1"):
        status, headers, _ = world.get(path, Host=HOST)
        assert (status, headers["location"]) == (301, f"https://{HOST}{path}")
    for path in ("/v1/win", "/v1/loss", "/v1/billing"):
        assert world.get(path)[::2] == (200, CELL.encode())
    assert world.bid() == (200, CELL.encode())
    assert world.ask("POST", "/v1/conversion", b"{}")[0] == 200
    got = over_tls(world, b"GET /v1/click HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200")
    assert b"strict-transport-security: max-age=31536000" in got.lower()


def test_figures_are_for_the_inside(world: World) -> None:
    status, _, body = world.get("/metrics")
    assert (status, b"not from here" in body) == (403, True)
    status, _, body = world.get("/metrics", source=INSIDE)
    assert (status, b"campaign_express_requests_total" in body) == (200, True)
    assert world.get("/metrics", source=INSIDE, X_Forwarded_For="10.0.0.1")[0] == 403
    assert world.get("/metrics/", source=INSIDE)[0] == 404


def test_only_what_is_published_is_reached(world: World) -> None:
    for path in ("/", "/ready", "/stats", "/v1", "/-/routes", "/metricsx"):
        status, headers, _ = world.get(path)
        assert (status, headers["content-type"]) == (404, "application/json"), path
    assert world.get("/health")[::2] == (200, b'{"status":"ok"}')


def head(length: int) -> bytes:
    return b"POST /v1/bid HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length


def test_bodies_have_a_limit(world: World) -> None:
    assert config.load({}, {}).max_body_bytes == MAX_BODY
    assert f"req.body_size gt {MAX_BODY} " in CONFIG.read_text()
    assert world.bid(body=b"x" * MAX_BODY)[0] == 200
    got, _ = answer(world, head(MAX_BODY + 1) + b"x" * (MAX_BODY + 1))
    assert got.startswith(b"HTTP/1.1 413")
    assert b'"rule":"body-size"' in got
    chunk = b"%x\r\n" % (MAX_BODY + 1) + b"x" * (MAX_BODY + 1) + b"\r\n0\r\n\r\n"
    got, _ = answer(world, b"POST /v1/bid HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
    assert got.startswith(b"HTTP/1.1 413"), "counted by the cell"


def test_whoever_is_slow_is_cut_off(world: World) -> None:
    """Slowloris: headers that never end, and a body that never comes; the cell hears of neither."""
    got, took = answer(world, b"POST /v1/bid HTTP/1.1\r\nHost: x\r\nX-A: ")
    assert got.startswith(b"HTTP/1.1 408")
    assert 1.5 < took < 4
    got, took = answer(world, head(100) + b"{")
    assert got.startswith(b"HTTP/1.1 408")
    assert 0.5 < took < 3
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", world.ports["http"]), 10) as sock:
        sock.sendall(b"POST /v1/bid HTTP/1.1\r\n")
        sock.setblocking(False)
        number = 0
        while not closed(sock):  # a header every 100 ms does not help
            sock.sendall(b"X-%d: x\r\n" % (number := number + 1))
            time.sleep(0.1)
    assert time.monotonic() - began < 4
    assert world.bid()[0] == 200


def test_what_cannot_be_read_is_refused_here(world: World) -> None:
    got, _ = answer(world, b"POST /v1/bid HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}")
    assert got.startswith(b"HTTP/1.1 400")
    got, _ = answer(world, b"\x00\x01\x02\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400")


def test_a_cell_that_takes_too_long_is_not_waited_for(world: World) -> None:
    world.signal_cell(CELL, signal.SIGSTOP)
    try:
        status, _, body = world.ask("POST", "/v1/bid", b"{}")
    finally:
        world.signal_cell(CELL, signal.SIGCONT)
    assert status in (503, 504)
    assert b"no bidder" in body


def test_prometheus_finds_figures_of_every_part(world: World) -> None:
    body = world.get("/metrics", "stats")[2].decode()
    for proxy in ("ft_http", "ft_grpc"):
        assert f'haproxy_frontend_http_requests_total{{proxy="{proxy}"}}' in body
    for proxy in ("bk_campaign_express", "bk_grpc"):
        assert f'haproxy_backend_active_servers{{proxy="{proxy}"}}' in body
    assert world.get("/stats", "stats")[0] == 200
