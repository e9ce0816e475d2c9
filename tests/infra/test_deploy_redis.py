"""deploy/redis: who may do what (users.acl, prepare.sh), and its manifests."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed_redis import FOLDER, NODES, PASSWORDS, DeployedNode, prepare, until, write_secrets
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from tests.support.manifests import (
    container,
    files_of,
    hardened,
    image,
    images_of,
    names,
    one,
    pod,
    ports,
    resources,
    size,
    valid,
    variables,
)

# What the product sends (its own parts run as this user in the other tests of this folder).
NEEDED = [
    *("GET k", "SET k v PX 9 NX", "DEL k", "UNLINK k", "EXISTS k", "SCAN 0", "MGET k", "PTTL k", "PEXPIRE k 9 GT"),
    *("HGET k f", "HSET k f v", "HSETNX k f v", "HMGET k f", "HGETALL k", "HDEL k f", "HINCRBY k f 1", "HLEN k"),
    *("SADD k m", "SMEMBERS k", "ZADD k 1 m", "ZRANGE k 0 1", "ZRANGEBYSCORE k 0 1", "ZREM k m", "TIME", "WAIT 1 9"),
    *("EVAL s 1 k", "EVALSHA s 1 k", "SCRIPT LOAD s", "PUBLISH {control}:switches 1", "SUBSCRIBE {catalog}:changed"),
    *(
        "INFO server",
        "CLUSTER SLOTS",
        "CLUSTER SHARDS",
        "CLUSTER NODES",
        "COMMAND",
        "CLIENT SETINFO lib-name x",
        "PING",
    ),
    *("MULTI", "EXEC", "ASKING", "READONLY", "SELECT 0", "HELLO 3"),
]
FORBIDDEN = [
    *("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "CONFIG SET maxmemory 1", "ACL LIST", "ACL SETUSER x on"),
    *("SHUTDOWN", "DEBUG SLEEP 1", "MONITOR", "SAVE", "BGSAVE", "BGREWRITEAOF", "REPLICAOF h 1", "FAILOVER", "SYNC"),
    *("CLUSTER RESET", "CLUSTER FORGET x", "CLUSTER FAILOVER", "CLUSTER MEET h 1", "CLUSTER DELSLOTS 1", "SWAPDB 0 1"),
    *(
        "SCRIPT FLUSH",
        "SCRIPT KILL",
        "FUNCTION FLUSH",
        "CLIENT KILL ID 1",
        "CLIENT LIST",
        "MIGRATE h 1 k 0 9",
        "SORT k",
    ),
    *(
        "RESTORE k 0 v",
        "MODULE LIST",
        "LATENCY RESET",
        "SLOWLOG RESET",
        "PSYNC x 1",
        "BLPOP k 0",
        "SUBSCRIBE elsewhere",
    ),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedNode]:
    folder = tmp_path_factory.mktemp("redis")
    made = DeployedNode(folder / "node", 0, write_secrets(folder / "secrets"))
    made.start()
    assert made.ask("CLUSTER ADDSLOTSRANGE", 0, 16383)
    until(lambda: made.ask("CLUSTER INFO")["cluster_state"] == "ok", 10.0)
    yield made
    made.kill()


def _may(node: DeployedNode, user: str, command: str) -> bool:
    return bool(node.ask("ACL DRYRUN", user, *command.split()) in ("OK", True, b"OK"))


@pytest.mark.parametrize("command", NEEDED)
def test_the_product_may(node: DeployedNode, command: str) -> None:
    assert _may(node, "campaign-express", command)


@pytest.mark.parametrize("command", FORBIDDEN)
def test_the_product_may_not(node: DeployedNode, command: str) -> None:
    assert not _may(node, "campaign-express", command)


def test_flushing_is_refused_and_nothing_is_gone(node: DeployedNode) -> None:
    with node.client("campaign-express") as client:
        client.set("{brand}:total", "1")
        for word in ("FLUSHALL", "FLUSHDB"):
            with pytest.raises(NoPermissionError):
                client.execute_command(word)
        with pytest.raises(ResponseError, match="no permissions"):
            client.eval("return redis.call('FLUSHALL')", 0)  # nor by way of a script
        assert client.get("{brand}:total") == "1"


def test_the_exporter_reads_figures_and_no_data(node: DeployedNode) -> None:
    with node.client("exporter") as client:
        assert client.info("memory")["maxmemory"] == 8 * 2**30
        assert client.info("memory")["maxmemory_policy"] == "noeviction"
        client.slowlog_len()
        client.execute_command("LATENCY LATEST")
    for command in ("GET k", "SCAN 0", "CONFIG GET *", "SET k v", "HGETALL k"):
        assert not _may(node, "exporter", command)
    assert not _may(node, "replication", "GET k")
    assert _may(node, "replication", "PSYNC x 1")


@pytest.mark.parametrize(
    ("user", "password"),
    [("campaign-express", "wrong"), ("default", ""), ("default", "x"), ("nobody", PASSWORDS["app-password"])],
)
def test_who_does_not_know_a_password_is_nobody(node: DeployedNode, user: str, password: str) -> None:
    with node.client(user, password or "none") as client, pytest.raises((AuthenticationError, ResponseError)):
        client.ping()


def test_passwords_are_kept_as_digests_and_only_for_the_server(node: DeployedNode) -> None:
    users = (node.run / "users.acl").read_text()
    assert "@" not in users.replace("+@", "").replace("-@", "")  # every placeholder was filled
    assert not [password for password in PASSWORDS.values() if password in users]
    for path in node.run.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("password", "said"),
    [("", "no password"), ("short", "shorter than"), ("sixteen/and/more/&", "letters, digits"), (None, "app-password")],
)
def test_a_password_that_cannot_be_used_stops_the_pod(tmp_path: Path, password: str | None, said: str) -> None:
    secrets = write_secrets(tmp_path / "secrets")
    if password is None:
        (secrets / "app-password").unlink()
    else:
        (secrets / "app-password").write_text(password)
    done = prepare(FOLDER, secrets, tmp_path / "run")
    assert done.returncode != 0
    assert said in done.stderr
    assert not (tmp_path / "run" / "users.acl").exists()


# Manifests


def test_manifests_are_valid_and_agree_with_the_table() -> None:
    found = resources(FOLDER)
    for manifest in found:
        valid(manifest)
    hardened(found)
    table = names()["components"]
    assert images_of(found) == {image("redis"), image("redis-exporter")}
    for service, wanted in (
        (table["redis"]["service"], {"redis": ports("redis")["redis"]}),
        (table["redis"]["headless"], ports("redis")),
        (table["redis-exporter"]["service"], ports("redis-exporter")),
    ):
        listed = one(found, "Service", service)["spec"]["ports"]
        assert {port["name"]: port["port"] for port in listed} == wanted
    config = _config()
    assert config["port"] == str(ports("redis")["redis"])
    assert config["cluster-port"] == str(ports("redis")["bus"])
    assert files_of(FOLDER, "redis-config") == {"redis.conf", "users.acl", "prepare.sh", "cluster.sh"}


def test_six_nodes_apart_one_of_which_may_be_away() -> None:
    found = resources(FOLDER)
    nodes = one(found, "StatefulSet", "redis")
    assert nodes["spec"]["replicas"] == NODES
    space = f"{nodes['spec']['serviceName']}.{names()['namespace']}.svc.{names()['cluster_domain']}"
    listed = " ".join(f"redis-{number}.{space}:{ports('redis')['redis']}" for number in range(NODES))
    for name in ("redis", "membership"):
        assert variables(container(nodes, name))["NODES"] == listed
    assert variables(container(one(found, "Job", "redis-cluster-init"), "init"))["NODES"] == listed
    assert f"$(POD_NAME).{space}" in container(nodes, "redis")["command"]
    (apart,) = pod(nodes)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    budget = one(found, "PodDisruptionBudget", "redis")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == nodes["spec"]["selector"]


def test_memory_and_disk_hold_a_full_node() -> None:
    """While a snapshot is written a page that is changed is there twice, at worst all of them."""
    nodes = one(resources(FOLDER), "StatefulSet", "redis")
    limits = container(nodes, "redis")["resources"]
    full = size(_config()["maxmemory"].replace("gb", "Gi"))
    assert full == 8 * 2**30
    assert size(limits["requests"]["memory"]) >= full * 1.2
    assert size(limits["limits"]["memory"]) >= 2 * full + 2**30  # and the buffer of a replica that is behind
    (claim,) = nodes["spec"]["volumeClaimTemplates"]
    # An append-only file that is rewritten is there twice and may have doubled before; and the snapshot.
    assert size(claim["spec"]["resources"]["requests"]["storage"]) >= 5 * full


def test_nothing_is_evicted_and_everything_is_written_down() -> None:
    config = _config()
    assert config["maxmemory-policy"] == "noeviction"
    assert (config["appendonly"], config["save"]) == ("yes", "60 10000")
    assert config["cluster-enabled"] == "yes"


def _config() -> dict[str, str]:
    lines = (FOLDER / "redis.conf").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
