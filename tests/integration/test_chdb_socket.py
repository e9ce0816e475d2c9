"""Tables that one process owns and others ask: the same answers, the same errors, and nobody hangs when either dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaign_express import bootstrap_warehouse
from campaign_express.adapters.chdb import ChdbWarehouse, Taken
from campaign_express.adapters.chdb_socket import SOCKET, AskedChdb, OwnedChdb
from campaign_express.analytics.migrate import migrate
from campaign_express.bootstrap_warehouse import open_warehouse, own_warehouse
from campaign_express.config import Settings
from campaign_express.errors import Unavailable, WarehouseError
from campaign_express.events import STREAM, encode_event, subject
from campaign_express.pipeline.loader import LOADERS
from campaign_express.ports import Message, Warehouse
from tests.support.stored import money

AWKWARD = ["it's", "back\\slash", "new\nline\ttab", "'); DROP TABLE events; --", "100 % %(one)s", "ü\r\b", "\0"]
_spawned = multiprocessing.get_context("spawn")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """In a directory whose name is too long for a socket's address."""
    return Settings(data_dir=str(tmp_path / ("long" * 30)))


@pytest.fixture
def owner(settings: Settings) -> Iterator[Warehouse]:
    warehouse = own_warehouse(settings)
    migrate(warehouse)
    yield warehouse
    warehouse.close()


@pytest.fixture
def asked(owner: Warehouse, settings: Settings) -> Iterator[Warehouse]:
    warehouse = open_warehouse(settings)
    assert isinstance(warehouse, AskedChdb)
    yield warehouse
    warehouse.close()


def test_what_is_asked_is_what_the_owner_has(owner: Warehouse, asked: Warehouse) -> None:
    assert f"asked of the bidder that runs (process {os.getpid()})" in asked.where
    messages = [Message(n, subject(one), encode_event(one)) for n, one in enumerate(map(money, range(3000)))]
    assert LOADERS[STREAM].load(asked, messages, "one").events == 3000
    LOADERS[STREAM].load(asked, messages, "one")  # by its token the same insert
    sql = "SELECT * FROM events ORDER BY seq"
    found = asked.query(sql)
    assert found == owner.query(sql)
    assert len(found.rows) == 3000
    for text in AWKWARD:
        assert asked.query("SELECT {text:String}", {"text": text}).rows == [(text,)]
    assert asked.query("SELECT {many:Array(String)}", {"many": AWKWARD}).rows == [(AWKWARD,)]
    assert migrate(asked) == []


def test_errors_are_of_the_same_kind(asked: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="Code: 60"):
        asked.query("SELECT * FROM nothing_like_it")
    with pytest.raises(Unavailable, match="Code: 241"):
        asked.query("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000")
    assert asked.query("SELECT 1").rows == [(1,)], "and it goes on"


def test_many_ask_at_once_while_the_owner_inserts(owner: Warehouse, settings: Settings) -> None:
    counts: list[int] = []

    def ask() -> None:
        warehouse = open_warehouse(settings)
        counts.extend(int(warehouse.query("SELECT count() FROM events").rows[0][0]) for _ in range(20))
        warehouse.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for batch in range(10):
        LOADERS[STREAM].load(
            owner,
            [Message(n, "m", encode_event(money(n))) for n in range(batch * 100, batch * 100 + 100)],
            f"b{batch}",
        )
    for thread in threads:
        thread.join(60)
    assert len(counts) == 80
    assert set(counts) <= set(range(0, 1001, 100))


def test_only_this_user_may_ask(owner: Warehouse, settings: Settings) -> None:
    directory = bootstrap_warehouse.chdb_directory(settings)
    mode = (directory / SOCKET).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) & 0o077 == 0
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_pipeline_never_works_on_what_another_has(owner: Warehouse, settings: Settings) -> None:
    with pytest.raises(Taken, match=f"another process has it \\({os.getpid()}\\)"):
        own_warehouse(settings)


def test_an_owner_that_ends_while_it_is_asked(
    settings: Settings, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """The answer that does not come is an error; the next owner is asked next; nothing stays behind."""
    first = own_warehouse(settings)
    asked = open_warehouse(settings)
    problems: list[str] = []

    def ask() -> None:
        try:
            asked.query("SELECT sleepEachRow(0.5) FROM numbers(2) SETTINGS max_block_size = 1")
        except Unavailable as error:
            problems.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    first.close()
    thread.join(60)
    [problem] = problems
    assert "has ended meanwhile" in problem
    with pytest.raises(Unavailable, match="its owner does not answer"):
        asked.query("SELECT 1")
    assert not (bootstrap_warehouse.chdb_directory(settings) / SOCKET).exists()
    with pytest.raises(Unavailable, match="is closed"):
        first.query("SELECT 1")
    second = own_warehouse(settings)
    try:
        assert asked.query("SELECT 1").rows == [(1,)]
    finally:
        asked.close()
        second.close()


def own_until_killed(data_dir: str) -> None:
    own_warehouse(Settings(data_dir=data_dir))
    time.sleep(60)


def test_an_owner_that_is_killed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it leaves, a socket that nobody listens on, is in nobody's way."""
    process = _spawned.Process(target=own_until_killed, args=(settings.data_dir,))
    process.start()
    directory = bootstrap_warehouse.chdb_directory(settings)
    monkeypatch.setattr(bootstrap_warehouse, "PATIENCE_S", 30.0)
    while not (directory / SOCKET).exists():
        time.sleep(0.05)
    asked = open_warehouse(settings)
    assert f"(process {process.pid})" in asked.where
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    with pytest.raises(Unavailable):
        asked.query("SELECT 1")
    asked.close()
    assert (directory / SOCKET).exists()
    own = open_warehouse(settings)
    assert isinstance(own, ChdbWarehouse)
    assert "opened by this process" in own.where
    own.close()
    owned = own_warehouse(settings)
    assert isinstance(owned, OwnedChdb)
    owned.close()


def test_a_command_that_has_them_is_waited_for_and_then_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ChdbWarehouse(bootstrap_warehouse.chdb_directory(settings))
    monkeypatch.setattr(bootstrap_warehouse, "PATIENCE_S", 0.3)
    with pytest.raises(Unavailable, match=rf"another process has it \({os.getpid()}\), and does not answer"):
        open_warehouse(settings)
    monkeypatch.setattr(bootstrap_warehouse, "PATIENCE_S", 10.0)
    timer = threading.Timer(0.4, command.close)
    timer.start()
    mine = open_warehouse(settings)
    timer.join()
    mine.close()
