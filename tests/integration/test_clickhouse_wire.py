"""`ClickHouseWarehouse` over the native protocol of a real server: what is stored comes back, whatever breaks between.

The server is Debian's 18.16: it binds no parameters (the driver escapes them), has no deduplication tokens, and what it
does not know of today's SQL is reworded in clickhouse_server.py. chDB stands for today's SQL in the other tests.
"""

from __future__ import annotations

import datetime
import ipaddress
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from clickhouse_server import BINARY, PASSWORD, ClickHouseProcess, OldWarehouse
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from server_process import free_port

from campaign_express.adapters.chdb import ChdbWarehouse
from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import applied, migrate, migrations
from campaign_express.errors import Unavailable, WarehouseError
from campaign_express.events import (
    CHANGES,
    DECISIONS,
    STREAM,
    ChangeEvent,
    DecisionFrame,
    MoneyEvent,
    encode_change,
    encode_event,
    encode_frame,
    subject,
)
from campaign_express.pipeline.loader import LOADERS, mark_dirty
from campaign_express.ports import Message, Warehouse
from tests.conftest import absent
from tests.support.stored import decision, money

TABLES = ("events", "decisions", "requests", "changes", "rollup_minute", "rollup_hour", "rollup_day", "rollup_marks")
AWKWARD = ["it's", "back\\slash", "new\nline\ttab", "'); DROP TABLE events; --", "100 % %(one)s", "ü\r\b", '"', "\0"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    if BINARY is None:
        absent("clickhouse-server")
    process = ClickHouseProcess(tmp_path_factory.mktemp("clickhouse"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def store(server: ClickHouseProcess) -> Iterator[OldWarehouse]:
    warehouse = OldWarehouse(server.url)
    migrate(warehouse)
    for table in TABLES:
        warehouse.run(f"TRUNCATE TABLE {table}")
    yield warehouse
    warehouse.close()


def messages(events: list[MoneyEvent], first_seq: int = 1) -> list[Message]:
    return [Message(first_seq + n, subject(one), encode_event(one)) for n, one in enumerate(events)]


def frame(first: int, count: int) -> Message:
    return Message(1, "decisions.0", encode_frame(DecisionFrame(1, "f", [decision(first + n) for n in range(count)])))


@pytest.mark.parametrize("name", ["fresh", "it's `named` \\\\ badly"])
def test_a_server_that_is_new_gets_its_database(server: ClickHouseProcess, name: str) -> None:
    warehouse = OldWarehouse(f"{server.url}/{quote(name)}")
    with pytest.raises(WarehouseError, match="code 81"):
        warehouse.query("SELECT 1")
    assert len(migrate(warehouse)) == len(migrations())
    assert migrate(warehouse) == []
    assert warehouse.query("SELECT currentDatabase()").rows == [(name,)]
    assert warehouse.query("SELECT count() FROM events").rows == [(0,)]
    warehouse.run("DROP TABLE events")
    warehouse.close()
    others = OldWarehouse(f"{server.url}/default")
    assert others.query(
        "SELECT count() FROM system.tables WHERE name = 'migrations' AND database = 'default'"
    ).rows == [(0,)]
    others.close()


def test_a_cluster_gets_its_database_on_all_servers(server: ClickHouseProcess) -> None:
    """This one has no coordinator, and says that it was to do it for a cluster."""
    warehouse = OldWarehouse(f"{server.url}/everywhere", cluster="of two")
    with pytest.raises(WarehouseError, match="Requested cluster 'of two' not found"):
        warehouse.make_database()
    warehouse.close()


def test_migrations_apply_once(store: OldWarehouse) -> None:
    assert applied(store) == {one.number: one.checksum for one in migrations()}
    assert migrate(store) == []
    names = {name for (name,) in store.query("SELECT name FROM system.tables WHERE database = 'campaign_express'").rows}
    assert names == {*TABLES, "migrations"}


def test_money_events_come_back_as_they_were(store: OldWarehouse) -> None:
    events = [
        money(n, authorised_micros=2**40 + n, clear_micros=n - 1, received_ms=0, macros={"a": AWKWARD[n % 8]}, user="ü")
        for n in range(3000)
    ]
    assert LOADERS[STREAM].load(store, messages(events), "one").events == 3000
    rows = store.query(
        "SELECT toUInt64(toUnixTimestamp(time)) AS time, advertiser, campaign, creative, exchange, bid_key, kind, "
        "auction, imp, bid, authorised_micros, clear_micros, user, macros, seq, rank FROM events FINAL ORDER BY seq"
    ).rows
    assert rows == [
        (
            *(e.bid_ms // 1000, e.advertiser, e.campaign, e.creative, e.exchange, e.bid_key, e.kind, e.auction, e.imp),
            *(e.bid, e.authorised_micros, e.clear_micros, e.user, msgspec.json.encode(e.macros).decode()),
            *(1 + n, 2**63 - 1 - n),
        )
        for n, e in enumerate(events)
    ]


def test_frames_of_decisions_and_changes_come_back(store: OldWarehouse) -> None:
    assert LOADERS[DECISIONS].load(store, [frame(0, 500)], "frames").events == 500
    assert LOADERS[DECISIONS].load(store, [frame(0, 500)], "again").events == 500  # replaced: one row each
    columns = [name for name in msgspec.structs.asdict(decision(0)) if name != "time_ms"]
    rows = store.query(f"SELECT {', '.join(columns)} FROM decisions FINAL ORDER BY time").rows
    assert rows == [tuple(getattr(decision(n), name) for name in columns) for n in range(500)]

    change = ChangeEvent(
        id="c1", kind="switch", time_ms=1_795_867_200_000, actor=AWKWARD[0], catalog=7, after=AWKWARD[1]
    )
    LOADERS[CHANGES].load(store, [Message(1, "changes.switch", encode_change(change))], "changes")
    assert store.query("SELECT id, kind, actor, catalog, before, after FROM changes FINAL").rows == [
        ("c1", "switch", AWKWARD[0], 7, "", AWKWARD[1])
    ]


def test_of_duplicates_the_first_in_the_stream_stays(store: OldWarehouse) -> None:
    told = [money(1, clear_micros=600), money(2, clear_micros=500)]
    LOADERS[STREAM].load(store, messages([told[0]], 5), "one")
    LOADERS[STREAM].load(store, messages([msgspec.structs.replace(told[0], clear_micros=800), told[1]], 90), "two")
    LOADERS[STREAM].load(store, messages([told[0]], 5), "one")
    assert store.query("SELECT count() FROM events").rows[0][0] >= 3
    assert store.query("SELECT seq, clear_micros FROM events FINAL ORDER BY seq").rows == [(5, 600), (91, 500)]


def test_a_conversion_that_is_stored_already_is_no_other(store: OldWarehouse) -> None:
    LOADERS[STREAM].load(store, messages([money(1, "conversion", id="it's\\one")]), "one")
    again = LOADERS[STREAM].load(store, messages([money(2, "conversion", id="it's\\one")], 10), "two")
    assert again.duplicates == 1
    assert store.query("SELECT detail, seq FROM events FINAL").rows == [("it's\\one", 1)]


@pytest.mark.parametrize("text", AWKWARD)
def test_parameters_are_values_and_never_sql(store: OldWarehouse, text: str) -> None:
    many = store.query(
        "SELECT {one:String} AS a, {many:Array(String)} AS b, '%' AS c", {"one": text, "many": [text, "x"]}
    )
    assert [(a, list(b), c) for a, b, c in many.rows] == [(text, [text, "x"], "%")]


def test_blocks_are_compressed(server: ClickHouseProcess, store: OldWarehouse) -> None:
    """Ten megabytes of one letter arrive whole, and are some kilobytes on the wire."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        relay = _Relay(door, server.port)
        relay.start()
        warehouse = OldWarehouse(f"clickhouse://127.0.0.1:{door.getsockname()[1]}")
        warehouse.insert("requests", {"time": [1_795_867_200_000] * 10, "body": ["x" * 1_000_000] * 10}, "")
        warehouse.close()
        relay.join(60)
    assert 100 < relay.sent < 500_000
    assert store.query("SELECT sum(length(body)), uniqExact(body) FROM requests").rows == [(10_000_000, 1)]


class _Relay(threading.Thread):
    """One connection to a server, passed on, with what goes there counted."""

    def __init__(self, door: socket.socket, port: int) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._door = door
        self._port = port

    def run(self) -> None:
        client, _ = self._door.accept()
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(65_536)
                    if not data:
                        return
                    if one is client:
                        self.sent += len(data)
                    (server if one is client else client).sendall(data)


def test_a_server_that_was_killed_is_found_again_by_the_next_call(
    server: ClickHouseProcess, store: OldWarehouse
) -> None:
    LOADERS[STREAM].load(store, messages([money(n) for n in range(10)]), "before")
    server.kill()
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match=f"ClickHouse at 127.0.0.1:{server.port}"):
                LOADERS[STREAM].load(store, messages([money(n) for n in range(10, 20)], 11), "between")
    finally:
        server.start()
    LOADERS[STREAM].load(store, messages([money(n) for n in range(10, 20)], 11), "between")
    assert store.query("SELECT count(), max(seq) FROM events FINAL").rows == [(20, 20)]


def test_a_host_that_refuses_is_passed_over(server: ClickHouseProcess, store: OldWarehouse) -> None:
    warehouse = OldWarehouse(f"clickhouse://127.0.0.1:{free_port()},127.0.0.1:{server.port}")
    LOADERS[STREAM].load(warehouse, messages([money(1)]), "one")
    warehouse.close()
    assert store.query("SELECT count() FROM events").rows == [(1,)]


def test_nobody_answers(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    warehouse = OldWarehouse(f"clickhouse://u:{quote(PASSWORD)}@127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}")
    with pytest.raises(Unavailable) as raised:
        warehouse.query("SELECT 1")
    assert "refused" in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_passwords_are_quoted_in_urls_and_never_shown(server: ClickHouseProcess) -> None:
    right = OldWarehouse(f"clickhouse://loader:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}")
    assert right.query("SELECT user FROM system.processes").rows == [("loader",)]
    right.close()
    wrong = OldWarehouse(f"clickhouse://loader:{quote('not' + PASSWORD)}@127.0.0.1:{server.port}")
    with pytest.raises(WarehouseError, match=r"(?i)wrong password") as raised:
        wrong.query("SELECT 1")
    assert PASSWORD not in str(raised.value)
    assert PASSWORD not in wrong.where


def test_wrong_sql_is_no_outage_and_the_connection_goes_on(store: OldWarehouse) -> None:
    with pytest.raises(WarehouseError, match="code 62"):
        store.query("SELECT FROM WHERE")
    with pytest.raises(WarehouseError, match="code 60"):
        store.query("SELECT * FROM nothing_of_the_kind")
    with pytest.raises(WarehouseError):
        store.insert("changes", {"time": [1_795_867_200_000], "catalog": ["no number"]}, "")
    assert store.query("SELECT 1").rows == [(1,)]


# TLS


def certificate(directory: Path) -> Path:
    """Of an authority that is its own server: the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (directory / "server.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "server.key").write_bytes(plain)
    return directory / "server.crt"


def test_tls(tmp_path: Path) -> None:
    if BINARY is None:
        absent("clickhouse-server")
    trusted = certificate(tmp_path)
    server = ClickHouseProcess(tmp_path, tls=True)
    server.start()
    try:
        url = f"clickhouses://127.0.0.1:{server.tls_port}/default"
        warehouse = OldWarehouse(f"{url}?ca_file={trusted}")
        assert warehouse.query("SELECT {text:String}", {"text": AWKWARD[0]}).rows == [(AWKWARD[0],)]
        warehouse.close()
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            OldWarehouse(url).query("SELECT 1")  # by an authority that nobody has named
    finally:
        server.kill()


# Sums


def test_sums_are_those_of_chdb(store: OldWarehouse, server: ClickHouseProcess, tmp_path: Path) -> None:
    store.run("CREATE DATABASE sums")
    plain, embedded = OldWarehouse(f"{server.url}/sums", low_cardinality=False), ChdbWarehouse(tmp_path / "chdb")
    try:
        migrate(plain)
        migrate(embedded)
        found = _sums(embedded)
        assert _sums(plain) == found
        assert len(found) > 50
    finally:
        plain.close()
        embedded.close()


def _sums(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Of the same events, some of them late and twice, with all that a row says but when it was made."""
    wins = [money(n, sets_price=True, clear_micros=1000 + n) for n in range(0, 300, 2)]
    shown = [money(n, "impression", user=f"u{n % 5}") for n in range(0, 300, 4)]
    bought = [money(n, "conversion", id=f"order-{n}", value_micros=-n * 1000) for n in range(0, 300, 30)]
    LOADERS[DECISIONS].load(warehouse, [frame(0, 300)], "frames")
    for number, events in enumerate([wins, shown, bought, wins[:20]]):
        found = LOADERS[STREAM].load(warehouse, messages(events, 1 + 1000 * number), f"m{number}")
        mark_dirty(warehouse, found.minutes)
        if number != 1:
            rollups.catch_up(warehouse, everything=True)
    rows = []
    for table in ("rollup_minute", "rollup_hour", "rollup_day"):
        names = ", ".join(f"sum({name}) AS of_{name}" for name in rollups.MEASURES)
        rows += warehouse.query(
            f"SELECT '{table}', toUnixTimestamp(start) AS at, advertiser, campaign, dimension, value, part, {names}, "
            f"uniqCombinedMerge(14)(users) AS persons FROM {table} FINAL "
            "GROUP BY at, advertiser, campaign, dimension, value, part "
            "ORDER BY at, advertiser, campaign, dimension, value, part"
        ).rows
    return rows
