"""The spool keeps what it acknowledged: over crashes, torn writes, full disks, and several cells on one node."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from campaign_express.adapters import spool as module
from campaign_express.adapters.spool import MAGIC, Spool, read_records
from campaign_express.errors import Unavailable


def make(directory: Path, owner: str = "cell", **options: Any) -> Spool:
    return Spool(directory, owner, **{"max_bytes": 1_000_000, **options})


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


class Delivered(list[bytes]):
    async def __call__(self, payloads: Sequence[bytes]) -> None:
        self.extend(payloads)


def files(directory: Path) -> list[str]:
    return sorted(path.suffix for path in directory.iterdir())


def only(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def add(path: Path, tail: bytes) -> None:
    path.write_bytes(path.read_bytes() + tail)


def cut_off(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:-size])


def abandon(spool: Spool) -> None:
    """As a killed process leaves it: its locks are gone, its files stay as they are."""
    for segment in [*spool._closed, *([spool._current] if spool._current else [])]:
        os.close(segment.descriptor)


def test_records_come_out_in_order_and_their_file_goes(tmp_path: Path) -> None:
    async def test() -> None:
        spool, delivered = make(tmp_path / "spool"), Delivered()
        await spool.open()
        assert spool.empty
        for number in range(1000):
            await spool.append(b"%d" % number)
        assert spool.records == 1000
        assert spool.bytes == os.stat(only(tmp_path / "spool")).st_size
        assert await spool.drain(delivered) == 1000
        assert delivered == [b"%d" % number for number in range(1000)]
        assert (spool.bytes, spool.records, files(tmp_path / "spool")) == (0, 0, [])
        await spool.close()

    run(test)


def test_many_at_once_share_an_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(module.os, "fdatasync", fdatasync)

    async def test() -> None:
        spool = make(tmp_path)
        await spool.open()
        await asyncio.gather(*[spool.append(b"%d" % number) for number in range(500)])
        assert 1 <= len(synced) <= 5
        assert spool.records == 500
        assert synced[-1] == spool.bytes  # nothing was acknowledged that was not synced
        await spool.close()

    run(test)


def test_the_dead_are_drained_by_the_living(tmp_path: Path) -> None:
    async def test() -> None:
        dead = make(tmp_path, "dead")
        await dead.open()
        await dead.append(b"first")
        await dead.append(b"second")
        alive, delivered = make(tmp_path, "alive"), Delivered()
        await alive.open()
        assert alive.empty  # the other one lives: its file is locked
        await alive.append(b"own")
        abandon(dead)
        assert await alive.adopt() == 1
        assert await alive.adopt() == 0
        assert await alive.drain(delivered) == 3
        assert delivered == [b"first", b"second", b"own"]
        assert files(tmp_path) == []
        await alive.close()

    run(test)


def test_a_process_that_ended_in_order_leaves_its_records(tmp_path: Path) -> None:
    async def test() -> None:
        first = make(tmp_path)
        await first.open()
        await first.append(b"kept")
        await first.close()
        second, delivered = make(tmp_path), Delivered()
        await second.open()
        await second.drain(delivered)
        assert delivered == [b"kept"]
        await second.close()

    run(test)


@pytest.mark.parametrize("cut", range(1, 8 + len(b"second")))
def test_a_torn_end_is_ignored_and_counted(tmp_path: Path, cut: int) -> None:
    async def test() -> None:
        first = make(tmp_path)
        await first.open()
        await first.append(b"first")
        await first.append(b"second")
        await first.close()
        cut_off(only(tmp_path), cut)
        second, delivered = make(tmp_path), Delivered()
        await second.open()
        await second.drain(delivered)
        assert delivered == [b"first"]
        assert (second.torn, second.damaged, second.bytes, second.records) == (1, 0, 0, 0)
        assert files(tmp_path) == []
        await second.close()

    run(test)


@pytest.mark.parametrize(
    ("tail", "torn"),
    [
        (bytes(4096), 1),  # a block that was never written
        (b"\x05\0\0\0abcdxx", 1),  # longer than what is there
        (b"\x01\0\0\0abcdx", 1),  # the last one, with a check that does not fit
        (b"\x01\0\0\0abcdx" + b"\x01\0\0\0abcdx", 0),  # something behind it: no crash leaves that
    ],
)
def test_what_a_crash_leaves_is_told_from_damage(tmp_path: Path, tail: bytes, torn: int) -> None:
    async def test() -> None:
        first = make(tmp_path)
        await first.open()
        await first.append(b"first")
        await first.close()
        add(only(tmp_path), tail)
        second, delivered = make(tmp_path), Delivered()
        await second.open()
        await second.drain(delivered)
        assert delivered == [b"first"]
        assert (second.torn, second.damaged) == (torn, 1 - torn)
        assert files(tmp_path) == ([] if torn else [".damaged"])
        await second.adopt()
        assert second.empty  # what is kept aside is not taken up again
        await second.close()

    run(test)


@pytest.mark.parametrize("content", [b"", b"CXSP", MAGIC, b"something else"])
def test_files_without_records(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1-x.spool").write_bytes(content)
    (tmp_path / "2-x.new").write_bytes(content)
    (tmp_path / "README").write_bytes(b"not ours")

    async def test() -> None:
        spool, delivered = make(tmp_path), Delivered()
        await spool.open()
        assert await spool.drain(delivered) == 0
        assert delivered == []
        assert spool.bytes == 0
        await spool.close()

    run(test)
    assert files(tmp_path) == (["", ".damaged"] if content == b"something else" else [""])


def test_what_is_not_delivered_stays(tmp_path: Path) -> None:
    async def test() -> None:
        spool, delivered = make(tmp_path), Delivered()
        await spool.open()
        for number in range(600):
            await spool.append(b"%d" % number)

        async def breaks(payloads: Sequence[bytes]) -> None:
            if len(delivered) >= 2 * module.BATCH:
                raise Unavailable("gone")
            await delivered(payloads)

        with pytest.raises(Unavailable):
            await spool.drain(breaks)
        assert spool.records == 600
        await spool.append(b"600")
        delivered.clear()
        assert await spool.drain(delivered) == 601
        assert delivered == [b"%d" % number for number in range(601)]
        await spool.close()

    run(test)


def test_segments_are_closed_at_their_size_and_removed_one_by_one(tmp_path: Path) -> None:
    async def test() -> None:
        spool, delivered = make(tmp_path, segment_bytes=100), Delivered()
        await spool.open()
        for _ in range(10):
            await spool.append(b"x" * 50)
        assert len(files(tmp_path)) == 5
        left: list[int] = []

        async def watch(payloads: Sequence[bytes]) -> None:
            left.append(len(files(tmp_path)))
            await delivered(payloads)

        await spool.drain(watch)
        assert left == [5, 4, 3, 2, 1]
        assert len(delivered) == 10
        await spool.close()

    run(test)


def test_a_full_spool_refuses(tmp_path: Path) -> None:
    async def test() -> None:
        spool, delivered = make(tmp_path, max_bytes=100), Delivered()
        await spool.open()
        await spool.append(b"x" * 60)
        with pytest.raises(Unavailable, match="full"):
            await spool.append(b"x" * 60)
        await spool.append(b"x" * 10)
        await spool.drain(delivered)
        await spool.append(b"y" * 60)
        assert [len(one) for one in delivered] == [60, 10]
        await spool.close()

    run(test)


def test_what_waits_for_the_disk_counts_towards_the_bound(tmp_path: Path) -> None:
    async def test() -> None:
        spool = make(tmp_path, max_bytes=1000)
        await spool.open()
        results = await asyncio.gather(*[spool.append(b"x" * 92) for _ in range(50)], return_exceptions=True)
        assert results.count(None) == 10 or results.count(None) == 9
        assert spool.bytes <= 1000 + len(MAGIC)
        await spool.close()

    run(test)


def test_a_disk_that_fails_is_no_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failing = os.fdatasync, [False]

    def fdatasync(descriptor: int) -> None:
        if failing[0]:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(module.os, "fdatasync", fdatasync)

    async def test() -> None:
        spool, delivered = make(tmp_path), Delivered()
        await spool.open()
        await spool.append(b"good")
        failing[0] = True
        with pytest.raises(Unavailable, match="Input/output error"):
            await spool.append(b"bad")
        failing[0] = False
        await spool.append(b"good again")
        assert len(files(tmp_path)) == 2  # the file whose fsync failed is not trusted with more
        await spool.drain(delivered)
        assert delivered == [b"good", b"good again"]
        await spool.close()

    run(test)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def test() -> None:
        with pytest.raises(Unavailable, match="spool cannot be opened"):
            await make(tmp_path / "file" / "spool").open()

    run(test)


def test_an_owner_may_have_any_name(tmp_path: Path) -> None:
    async def test() -> None:
        spool = make(tmp_path, "../x/y:" + "z" * 200)
        await spool.open()
        await spool.append(b"1")
        assert files(tmp_path) == [".spool"]
        assert os.stat(only(tmp_path)).st_mode & 0o777 == 0o600
        await spool.close()

    run(test)


def test_records_may_hold_anything() -> None:
    assert list(read_records(b"")) == []
    assert list(read_records(MAGIC)) == []
