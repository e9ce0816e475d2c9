"""Urls of ClickHouse, as they are written down; and migrations as one server and as a cluster get them."""

from __future__ import annotations

import re

import pytest

from campaign_express.adapters.clickhouse import ClickHouseWarehouse, parse_url
from campaign_express.analytics.migrate import migrations, rendered
from campaign_express.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "hosts", "tls"),
    [
        ("clickhouse://one", [("one", 9000)], False),
        ("clickhouse://one:9999/x", [("one", 9999)], False),
        ("clickhouses://one", [("one", 9440)], True),
        ("http://one:8123", [("one", 9000)], False),
        ("http://one", [("one", 9000)], False),
        ("http://one:9001", [("one", 9001)], False),
        ("https://one:8443/", [("one", 9440)], True),
        ("https://one", [("one", 9440)], True),
        ("clickhouse://one:8123", [("one", 8123)], False),  # says native, so it is meant
        ("clickhouse://one:9000,two, three:9001/x", [("one", 9000), ("two", 9000), ("three", 9001)], False),
        ("clickhouse://[::1]", [("::1", 9000)], False),
        ("clickhouses://[2001:db8::1]:9441,[::1],one/x", [("2001:db8::1", 9441), ("::1", 9440), ("one", 9440)], True),
        ("clickhouse://127.0.0.1:9000?ca_file=/x", [("127.0.0.1", 9000)], False),
    ],
)
def test_hosts_and_ports(url: str, hosts: list[tuple[str, int]], tls: bool) -> None:
    address = parse_url(url)
    assert (list(address.hosts), address.tls) == (hosts, tls)


def test_who_and_where() -> None:
    address = parse_url("clickhouses://us%40er:p%3Aa%2Fs%40s%5B@one,[::1]:9441/events?ca_file=/etc/ca%20file.pem")
    assert (address.user, address.password) == ("us@er", "p:a/s@s[")
    assert (address.database, address.ca_file) == ("events", "/etc/ca file.pem")
    assert address.shown == "one:9440,[::1]:9441"
    bare = parse_url("clickhouse://one")
    assert (bare.user, bare.password, bare.database, bare.ca_file) == ("default", "", "campaign_express", "")
    assert parse_url("clickhouse://u:p@ss@one").password == "p@ss"  # the last @ ends it
    assert parse_url("clickhouse://u:p[x@one").password == "p[x"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("one:9000", "begins with none of clickhouse, clickhouses, http, https"),
        ("redis://u:s3cret@one", "begins with none of"),
        ("", "begins with none of"),
        ("clickhouse://", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@/x", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@one:0", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@one:65536", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@one:port", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@one:-1", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@one,,two", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@::1", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@[::1", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@[]:9000", "a host or port is missing or wrong"),
        ("clickhouse://u:s3cret@one/x?verify=no&ca_file=/y", "no option verify"),
    ],
)
def test_what_is_no_url_is_told_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        parse_url(url)
    assert "s3cret" not in str(raised.value)


def test_a_warehouse_shows_no_password() -> None:
    warehouse = ClickHouseWarehouse("clickhouse://user:s3cret@one,two/x", "main", quorum=2)
    assert warehouse.where == "ClickHouse at one:9000,two:9000"
    assert warehouse.cluster == "main"


STATEMENTS = [
    pytest.param(statement, id=f"{one.number:04d}-{number}")
    for one in migrations()
    for number, statement in enumerate(one.statements())
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_statement_of_a_migration_is_for_one_server_and_for_a_cluster(statement: str) -> None:
    alone, spread = rendered(statement, ""), rendered(statement, "main")
    assert "$" not in alone + spread
    assert "--" not in alone + spread
    assert "ON CLUSTER" not in alone
    assert "Replicated" not in alone
    assert spread.count("ON CLUSTER 'main'") == 1
    if statement.startswith("CREATE TABLE"):
        assert re.match(r"CREATE TABLE IF NOT EXISTS \w+ ON CLUSTER 'main'", spread)
        [column] = re.findall(r"^ENGINE = \$\{replacing(:\w+)?\}", statement, re.M)
        version = column.lstrip(":")
        assert f"ENGINE = ReplacingMergeTree({version})\n" in alone
        path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
        assert f"ENGINE = ReplicatedReplacingMergeTree({path}{version and ', ' + version})\n" in spread


def test_placeholders_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="no such placeholder"):
        rendered("CREATE TABLE x ${replacng}", "")
