"""deploy/clickhouse as two real servers and three keepers: the product's migrations and loaders on replicas."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clickhouse_driver import errors as driver_errors
from deployed_clickhouse import CLUSTER, SECRETS, DeployedClickHouse, Replica, present

from campaign_express.analytics.migrate import applied, migrate, migrations
from campaign_express.errors import Unavailable, WarehouseError
from campaign_express.events import STREAM, encode_event, subject
from campaign_express.pipeline.loader import LOADERS
from campaign_express.ports import Message
from tests.conftest import absent
from tests.support.stored import money

pytestmark = pytest.mark.timeout(120)
TABLES = {
    *("events", "decisions", "requests", "changes", "migrations"),
    *("rollup_minute", "rollup_hour", "rollup_day", "rollup_marks"),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedClickHouse]:
    """Migrated by the product, whose database was not there."""
    if lacking := present():
        absent(lacking)
    made = DeployedClickHouse(tmp_path_factory.mktemp("clickhouse"))
    try:
        for keeper in made.keepers:
            keeper.start()
        until(lambda: all(keeper.serves() for keeper in made.keepers))
        for replica in made.replicas:
            replica.start()
        warehouse = made.warehouse()
        assert migrate(warehouse) == migrations()
        assert migrate(warehouse) == []
        assert applied(warehouse) == {one.number: one.checksum for one in migrations()}
        warehouse.close()
        yield made
    finally:
        made.kill()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def asked(replica: Replica, sql: str) -> list[tuple[Any, ...]]:
    with replica.client(database="campaign_express") as client:
        found: list[tuple[Any, ...]] = client.execute(sql)
    return found


def load(warehouse: Any, first: int, count: int, token: str) -> None:
    events = [money(number) for number in range(first, first + count)]
    messages = [Message(1 + first + n, subject(one), encode_event(one)) for n, one in enumerate(events)]
    LOADERS[STREAM].load(warehouse, messages, token)


def events_of(replica: Replica) -> int:
    return int(asked(replica, "SELECT count() FROM events FINAL")[0][0])


def test_migrations_make_the_database_and_replicated_tables_on_both(cluster: DeployedClickHouse) -> None:
    for number, replica in enumerate(cluster.replicas):
        assert {name for (name,) in asked(replica, "SHOW TABLES")} == TABLES
        macros = dict(asked(replica, "SELECT macro, substitution FROM system.macros"))
        assert macros == {"cluster": CLUSTER, "shard": "01", "replica": f"clickhouse-{number}"}
        replicas = asked(replica, "SELECT table, zookeeper_path, replica_name, total_replicas FROM system.replicas")
        assert {(table, path) for table, path, _, _ in replicas} == {
            (name, f"/clickhouse/tables/{macros['shard']}/campaign_express/{name}") for name in TABLES
        }
        assert {(name, total) for _, _, name, total in replicas} == {(f"clickhouse-{number}", 2)}


def test_what_one_replica_takes_the_other_has(cluster: DeployedClickHouse) -> None:
    first, second = cluster.replicas
    before = events_of(first)
    warehouse = cluster.warehouse()
    load(warehouse, 0, 500, "one")
    load(warehouse, 0, 500, "one")  # a pipeline that died and says it again
    warehouse.close()
    for replica in (first, second):
        until(lambda replica=replica: events_of(replica) == before + 500)  # type: ignore[misc]


def test_a_replica_that_dies_is_passed_over_and_catches_up(cluster: DeployedClickHouse) -> None:
    first, second = cluster.replicas
    before = events_of(second)
    first.kill()
    warehouse = cluster.warehouse()  # its first host does not answer
    try:
        load(warehouse, 10_000, 300, "two")
        assert events_of(second) == before + 300
    finally:
        first.start()
        warehouse.close()
    until(lambda: events_of(first) == before + 300)


def test_two_keepers_of_three_suffice_and_one_does_not(cluster: DeployedClickHouse) -> None:
    first, second = cluster.replicas
    before = events_of(second)
    warehouse = cluster.warehouse()

    def stored(number: int) -> bool:
        try:
            load(warehouse, 20_000, 10, f"three-{number}")
        except (Unavailable, WarehouseError):
            return False
        return True

    cluster.keepers[0].kill()
    until(lambda: stored(1))
    until(lambda: events_of(second) == before + 10)
    cluster.keepers[1].kill()
    try:
        until(lambda: not stored(2), 30.0)
        assert events_of(first) == before + 10  # what is there can be read
    finally:
        for keeper in cluster.keepers[:2]:
            keeper.start()
    until(lambda: stored(3), 60.0)
    warehouse.close()


def test_users_are_who_they_say_and_get_what_is_theirs(cluster: DeployedClickHouse) -> None:
    replica = cluster.replicas[0]
    limits = {"max_memory_usage": "10000000000", "max_threads": "8"}
    named = ", ".join(f"'{name}'" for name in limits)
    assert dict(asked(replica, f"SELECT name, value FROM system.settings WHERE name IN ({named})")) == limits
    reader = {"user": "reader", "password": SECRETS["CLICKHOUSE_READER_PASSWORD"]}
    with replica.client(**reader, database="campaign_express") as client:
        assert client.execute("SELECT count() FROM events")
        with pytest.raises(driver_errors.ServerException, match="readonly"):
            client.execute("INSERT INTO changes (id) VALUES", [("x",)])
        with pytest.raises(driver_errors.ServerException, match="readonly"):
            client.execute("DROP TABLE events")
    for user, password in (("campaign_express", "wrong"), ("default", ""), ("nobody", "x")):
        with replica.client(user, password) as client, pytest.raises(driver_errors.ServerException):
            client.execute("SELECT 1")
