"""What becomes of a call whose node does not know its script. Scripts on real servers: the ledger's tests."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import NoScriptError, RedisClusterException, ResponseError

from campaign_express.adapters.scripts import Call, Script, ScriptRunner, is_away

CALL = Call(Script("x", "return 1", "0" * 40), "k", ())


class Node:
    """A node that does not know any script, and is taught none that it keeps: `refuses` is what it says to teaching."""

    def __init__(self, refuses: Exception | None = None) -> None:
        self.refuses = refuses
        self.asked = self.taught = 0

    def pipeline(self, transaction: bool) -> Node:
        return self

    def evalsha(self, *call: object) -> None:
        self.asked += 1

    def execute(self, raise_on_error: bool) -> list[Any]:
        return [NoScriptError("NOSCRIPT No matching script.")]

    def script_load(self, source: str) -> None:
        self.taught += 1
        if self.refuses is not None:
            raise self.refuses


def run(monkeypatch: pytest.MonkeyPatch, node: Node) -> Exception | None:
    runner = ScriptRunner("redis://127.0.0.1:1")
    monkeypatch.setattr(runner, "_node", lambda key: node)
    (answer,) = runner.run([CALL])
    return answer.error


def test_where_slots_and_masters_move_faster_than_scripts_follow_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ran: the caller is told to come again, and not that its script is wrong."""
    node = Node()
    error = run(monkeypatch, node)
    assert isinstance(error, NoScriptError)
    assert is_away(error)
    assert node.asked == node.taught == 3


def test_a_node_that_dies_while_it_is_taught_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(refuses=ConnectionResetError("gone"))
    error = run(monkeypatch, node)
    assert error is not None
    assert is_away(error)
    assert node.asked == 3


def test_a_script_that_redis_does_not_take_is_told_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(refuses=ResponseError("ERR Error compiling script (new function)"))
    error = run(monkeypatch, node)
    assert error is node.refuses
    assert not is_away(error)
    assert node.asked == 1


def test_a_cluster_that_cannot_be_reached_is_away_although_its_error_is_no_redis_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = ScriptRunner("redis://127.0.0.1:1")

    def nowhere(key: str) -> Node:
        raise RedisClusterException("Redis Cluster cannot be connected")

    monkeypatch.setattr(runner, "_node", nowhere)
    (answer,) = runner.run([CALL])
    assert isinstance(answer.error, RedisClusterException)
    assert is_away(answer.error)
