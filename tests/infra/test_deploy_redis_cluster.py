"""deploy/redis as six real servers: how they become one cluster, and stay it, while the product's own ledger works."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator

import pytest
from deployed_redis import CLI, NODES, PASSWORDS, DeployedNode, DeployedRedis, until
from redis.crc import key_slot
from test_ledger_cluster import ADVERTISERS, NOW, SETTLE_S, Log, Traffic, accounts, fenced, reconciled

from campaign_express.adapters.ledger import Ledger, prefix
from campaign_express.bidding.books import broken_invariants, differences, overspent
from campaign_express.bidding.settlement import Tally
from tests.conftest import absent

pytestmark = pytest.mark.timeout(120)
SERVES_S = 40.0  # at most, with node timeouts of 5 s and what else runs here


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedRedis]:
    """Six nodes whose making was broken off once and then done; what runs beside them runs."""
    if CLI is None:
        absent("redis-cli (Debian: redis-tools)")
    made = DeployedRedis(tmp_path_factory.mktemp("redis"))
    try:
        made.start()
        made.keep()
        _break_off(made)
        done = made.script("init")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "begins anew" in done.stdout
        until(made.whole, SERVES_S)
        yield made
    finally:
        made.kill()


def _break_off(cluster: DeployedRedis) -> None:
    """As a Job does that is killed: some slots are somebody's, and two nodes have met."""
    first, second = cluster.nodes[:2]
    assert first.ask("CLUSTER ADDSLOTSRANGE", 0, 5460)
    assert first.ask("CLUSTER MEET", second.host, second.port, second.bus_port)


def _fill(cluster: DeployedRedis) -> dict[str, str]:
    """Keys on every shard, as the product writes them."""
    written = {f"u:{{{number}}}": str(random.Random(number).random()) for number in range(60)}
    for key, value in written.items():
        assert cluster.master_of(key).ask("SET", key, value)
    return written


def _holds(cluster: DeployedRedis, written: dict[str, str]) -> None:
    for key, value in written.items():
        assert cluster.master_of(key).ask("GET", key) == value


def test_made_once_however_often_it_is_asked_for(cluster: DeployedRedis) -> None:
    before = sorted(line[2] for line in cluster.nodes[0].lines())
    written = _fill(cluster)
    done = cluster.script("init")
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert sorted(line[2] for line in cluster.nodes[0].lines()) == before
    _holds(cluster, written)
    roles = [cluster.replica_of(master).address for master in cluster.of("master")]
    assert len(set(roles)) == 3  # each master has a replica of its own


def test_a_moved_replica_and_a_moved_master_are_found_again(cluster: DeployedRedis) -> None:
    written = _fill(cluster)
    until(cluster.whole, SERVES_S)
    for node in (cluster.of("slave")[0], cluster.of("master")[0]):
        _move(cluster, [node])
        until(cluster.whole, SERVES_S)
        assert node.address in {line[0] for other in cluster.nodes for line in other.lines()}
    _holds(cluster, written)


def test_all_nodes_are_moved_at_once(cluster: DeployedRedis) -> None:
    """After which none of them knows where another is."""
    written = _fill(cluster)
    until(cluster.whole, SERVES_S)
    _move(cluster, cluster.nodes)
    until(cluster.whole, SERVES_S)
    _holds(cluster, written)


def _move(cluster: DeployedRedis, nodes: list[DeployedNode]) -> None:
    cluster.stop_keeping()
    for node in nodes:
        node.stop()
    for node in nodes:
        node.move()
        node.start()
    cluster.keep()


def test_a_node_with_a_new_disk_replaces_the_one_that_bore_its_name(cluster: DeployedRedis) -> None:
    written = _fill(cluster)
    until(cluster.whole, SERVES_S)
    node = cluster.of("slave")[0]
    known = {line[2] for line in cluster.nodes[0].lines()}
    node.kill()
    until(lambda: any("fail" in flags for other in cluster.of("master") for _, flags, _ in other.lines()), SERVES_S)
    node.lose_disk()
    node.start()
    until(cluster.whole, SERVES_S)
    for other in cluster.nodes:
        ids = {line[2] for line in other.lines()}
        assert len(ids) == NODES
        assert len(ids - known) == 1
    _holds(cluster, written)


def test_who_is_asked_to_end_hands_its_slots_over_first(cluster: DeployedRedis) -> None:
    until(cluster.whole, SERVES_S)
    master = cluster.of("master")[0]
    replica = cluster.replica_of(master)
    done = cluster.script("leave", master)
    assert "has taken over" in done.stdout, done.stdout + done.stderr
    assert master.role() == "slave"
    assert replica.role() == "master"
    assert cluster.script("leave", master).stdout == ""  # a replica has nothing to hand over
    until(cluster.whole, SERVES_S)
    assert cluster.script("ready", master).returncode == 0


def test_ready_means_that_a_replica_has_its_masters_data(cluster: DeployedRedis) -> None:
    until(cluster.whole, SERVES_S)
    replica = cluster.of("slave")[0]
    assert replica.ask("CONFIG SET", "masterauth", "not-the-password")
    assert replica.ask("CLIENT KILL", "TYPE", "master") is not None
    until(lambda: cluster.script("ready", replica).returncode != 0, 20.0)
    assert replica.ask("CONFIG SET", "masterauth", PASSWORDS["replication-password"])
    until(lambda: cluster.script("ready", replica).returncode == 0, 30.0)


def test_money_moves_while_slots_move_and_a_master_dies(cluster: DeployedRedis) -> None:
    until(cluster.whole, SERVES_S)
    ledger = Ledger(cluster.url, accounts(), settle_s=SETTLE_S, replicas=1)
    until(lambda: fenced(ledger), 30.0)
    log = Log()
    traffic = Traffic(ledger, log)
    traffic.start()
    try:
        until(lambda: len(traffic.granted) > 200, 30.0)
        moved = _reshard(cluster, ADVERTISERS[0])
        until(lambda: all(reconciled(ledger, log, name) for name in ADVERTISERS), 30.0)
        before = len(traffic.granted)
        until(lambda: {to for _, to, _ in traffic.granted[before:]} == set(ADVERTISERS), 30.0)
        assert cluster.master_of(prefix(ADVERTISERS[0])) is moved

        cluster.stop_keeping()
        moved.kill()
        until(lambda: len(cluster.of("master")) == 3, SERVES_S)
        moved.start()
        cluster.keep()
        until(cluster.whole, SERVES_S)
        for name in ADVERTISERS:
            until(lambda name=name: reconciled(ledger, log, name), 30.0)  # type: ignore[misc]
        before = len(traffic.granted)
        until(lambda: {to for _, to, _ in traffic.granted[before:]} == set(ADVERTISERS), 30.0)
    finally:
        traffic.end()
    for name in ADVERTISERS:
        tally = Tally(ledger.accounts)
        for event in log.read(name):
            tally.add(event)
        books = ledger.books(name)
        assert list(differences(books, tally)) == []
        assert list(broken_invariants(books, ledger.accounts, NOW)) == []
        assert list(overspent(books, ledger.accounts, NOW)) == []
        assert books.flows["granted"] >= sum(micros for _, to, micros in traffic.granted if to == name)
    ledger.close()


def _reshard(cluster: DeployedRedis, advertiser: str) -> DeployedNode:
    """Move some slots as an operator does, then the slot of a ledger key by key, as the same program would; where it
    is then."""
    source = cluster.master_of(prefix(advertiser))
    target = next(node for node in cluster.of("master") if node is not source)
    command = [
        *(str(CLI), "--no-auth-warning", "--user", "operator", "--pass", PASSWORDS["operator-password"]),
        *("--cluster", "reshard", source.address, "--cluster-from", _id(source), "--cluster-to", _id(target)),
        *("--cluster-slots", "8", "--cluster-yes"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr
    slot = key_slot(prefix(advertiser).encode())
    assert target.ask("CLUSTER SETSLOT", slot, "IMPORTING", _id(source))
    assert source.ask("CLUSTER SETSLOT", slot, "MIGRATING", _id(target))
    login = ("AUTH2", "operator", PASSWORDS["operator-password"])
    moved = 0
    while keys := source.ask("CLUSTER GETKEYSINSLOT", slot, 1):
        assert source.ask("MIGRATE", target.host, target.port, "", 0, 5000, *login, "KEYS", *keys)
        moved += 1
    assert moved > 3
    for node in (target, source, *(one for one in cluster.of("master") if one not in (target, source))):
        assert node.ask("CLUSTER SETSLOT", slot, "NODE", _id(target))
    return target


def _id(node: DeployedNode) -> str:
    return str(node.ask("CLUSTER MYID"))
