"""Batches against real servers: one round trip, one deadline, and no reply that belongs to another batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from valkey_server import ValkeyCluster, ValkeyProcess

from campaign_express.adapters.redis_batch import Command, RedisBatch, slot_of
from campaign_express.adapters.redis_link import UNANSWERED, UNSENT, pack
from campaign_express.adapters.users_lua import Script
from campaign_express.errors import ConfigError

Eventually = Callable[[Callable[[], bool]], None]
ECHO = Script("return ARGV[1]")


def command(*parts: bytes) -> Command:
    return slot_of(parts[1]), pack(*parts), 1


def is_master(node: ValkeyProcess) -> bool:
    with Redis(port=node.port, decode_responses=True) as client:
        found: Any = client.info("replication")
        return bool(found["role"] == "master")


def get(key: bytes) -> Command:
    return command(b"GET", key)


@pytest.fixture
def batch(valkey_process: ValkeyProcess) -> Iterator[RedisBatch]:
    made = RedisBatch(valkey_process.url, [ECHO.text], wait_s=60.0)
    yield made
    made.close()


def test_replies_are_in_order_and_errors_are_values(batch: RedisBatch) -> None:
    several = (slot_of(b"a"), pack(b"INCR", b"a") + pack(b"INCR", b"a") + pack(b"HGET", b"a", b"x"), 3)
    replies = batch.run([command(b"SET", b"a", b"1"), several, get(b"a"), get(b"none")], 20.0)
    assert replies[0] == b"OK"
    assert replies[1][:2] == [2, 3]
    assert str(replies[1][2]).startswith("WRONGTYPE")
    assert replies[2:] == [b"3", None]
    assert batch.round_trips == 1
    assert batch.run([], 20.0) == []
    assert batch.round_trips == 1


def test_a_script_that_the_server_has_lost_is_loaded_within_the_batch(batch: RedisBatch, valkey_process: Any) -> None:
    call = (slot_of(b"k"), ECHO.call((b"k",), b"hello"), 1)
    assert batch.run([call], 20.0) == [b"hello"]  # loaded with the connection
    with Redis.from_url(valkey_process.url) as client:
        client.script_flush()
    assert batch.run([get(b"none"), call, call], 20.0) == [None, b"hello", b"hello"]


def test_a_late_reply_is_nobodys(batch: RedisBatch, valkey_process: ValkeyProcess, eventually: Eventually) -> None:
    batch.run([command(b"SET", b"a", b"first"), command(b"SET", b"b", b"second")], 20.0)
    valkey_process.freeze()
    started = time.monotonic()
    assert batch.run([get(b"a")], 0.05) == [UNANSWERED]
    assert batch.timeouts == 1
    # While it is silent nobody waits: what there is no connection for is not sent.
    assert [batch.run([get(b"a")], 60.0) for _ in range(50)] == [[UNSENT]] * 50
    assert time.monotonic() - started < 55.0
    valkey_process.thaw()
    eventually(lambda: batch.run([get(b"b")], 20.0) == [b"second"])
    assert [batch.run([get(b"a")], 20.0), batch.run([get(b"b")], 20.0)] == [[b"first"], [b"second"]]


def test_the_breaker_opens_while_the_server_is_away_and_closes_by_itself(
    batch: RedisBatch, valkey_process: ValkeyProcess, eventually: Eventually
) -> None:
    valkey_process.kill()
    assert batch.run([get(b"a")], 1.0) in ([UNSENT], [UNANSWERED])
    eventually(lambda: batch.breaker_state == 2)
    generation = batch.generation
    valkey_process.start()
    eventually(lambda: batch.run([get(b"a")], 20.0) == [None])
    assert batch.breaker_state == 0
    assert batch.generation > generation  # another process: what was written last may be gone


def test_a_server_may_be_away_at_the_start(valkey_process: ValkeyProcess, eventually: Eventually) -> None:
    valkey_process.stop()
    batch = RedisBatch(valkey_process.url, [ECHO.text])
    try:
        assert batch.run([get(b"a")], 20.0) == [UNSENT]
        valkey_process.start()
        eventually(lambda: batch.run([get(b"a")], 20.0) == [None])
    finally:
        batch.close()


def test_replicas_that_are_not_there_have_nothing(batch: RedisBatch) -> None:
    assert batch.run([command(b"SET", b"a", b"1")], 1.0, replicas=1) == [UNANSWERED]
    assert batch.run([get(b"a")], 20.0) == [b"1"]


def test_user_and_password_are_used(valkey_process: ValkeyProcess) -> None:
    with Redis.from_url(valkey_process.url) as client:
        client.execute_command("ACL", "SETUSER", "bidder", "on", ">secret", "~*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
    batch = RedisBatch(f"redis://bidder:secret@127.0.0.1:{valkey_process.port}/0", wait_s=60.0)
    try:
        assert batch.run([get(b"a")], 20.0) == [None]
        assert "secret" not in batch.where
    finally:
        batch.close()


def test_a_url_that_is_none_is_told_without_its_password() -> None:
    with pytest.raises(ConfigError) as told:
        RedisBatch("http://user:secret@host")
    assert "secret" not in str(told.value)


def test_a_cluster_is_asked_at_once_and_survives_a_master(
    valkey_cluster: ValkeyCluster, eventually: Eventually
) -> None:
    batch = RedisBatch(valkey_cluster.url, [ECHO.text], wait_s=60.0)
    keys = [b"key%d" % number for number in range(30)]
    looks = [get(key) for key in keys]
    try:
        replies = batch.run([command(b"SET", key, key) for key in keys], 20.0, replicas=1)
        assert replies == [b"OK"] * 30
        trips = batch.round_trips
        assert batch.run(looks, 20.0) == keys
        assert batch.round_trips == trips + 1

        generation = batch.generation
        owned = [valkey_cluster.master_of(key.decode()) == 0 for key in keys]
        valkey_cluster.nodes[0].kill()
        first = batch.run(looks, 20.0)
        lost = [reply in (UNSENT, UNANSWERED) for reply in first]
        assert lost == owned  # the other masters' keys are told as before
        assert any(owned)
        eventually(lambda: batch.run(looks, 20.0) == keys)
        assert is_master(valkey_cluster.nodes[3])
        assert batch.generation > generation
        call = [(slot_of(key), ECHO.call((key,), key), 1) for key in keys]
        assert batch.run(call, 20.0) == keys  # the new master knows the scripts
    finally:
        batch.close()


def test_slots_that_move_are_followed(valkey_cluster: ValkeyCluster, eventually: Eventually) -> None:
    batch = RedisBatch(valkey_cluster.url, wait_s=60.0)
    try:
        batch.run([command(b"SET", b"foo", b"bar")], 20.0, replicas=1)
        master = valkey_cluster.nodes[valkey_cluster.master_of("foo")]
        replica = valkey_cluster.nodes[valkey_cluster.master_of("foo") + 3]
        with Redis(port=replica.port) as client:
            client.execute_command("CLUSTER FAILOVER")
        eventually(lambda: is_master(replica) and not is_master(master))
        assert batch.run([get(b"foo")], 20.0) == [UNANSWERED]  # the old master says that the slot has moved
        eventually(lambda: batch.run([get(b"foo")], 20.0) == [b"bar"])
    finally:
        batch.close()
