"""The embedded servers, run for real: they start once, keep their data, end with their last holder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest
import redis

from campaign_express import embedded, supervise
from campaign_express.config import Settings
from campaign_express.errors import PortTaken, Unavailable

# A process of its own that holds the servers: prints their urls, then lives until its stdin ends.
HOLDER = """
import sys
from campaign_express import embedded
from campaign_express.config import Settings
settings = embedded.ensure(Settings(data_dir=sys.argv[1], embedded_redis_port=0, embedded_nats_port=0))
print(settings.redis_url, settings.nats_url, settings.notice_keys + "", flush=True)
sys.stdin.read()
"""


def settings_for(data_dir: Path, **changes: int | str | bool) -> Settings:
    return Settings(data_dir=str(data_dir), **{"embedded_redis_port": 0, "embedded_nats_port": 0, **changes})


def server_pids(data_dir: Path) -> list[int]:
    """Every process, whoever started it, that names this directory in its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(data_dir).encode() in command and (b"supervise" in command or b"-server" in command):
                found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


async def messages_after_one_more(url: str) -> int:
    """Publishes a message to a JetStream stream kept in files, and counts what the stream then holds."""
    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    await jetstream.add_stream(name="probe", subjects=["probe.>"])
    await jetstream.publish("probe.one", b"x")
    messages = (await jetstream.stream_info("probe")).state.messages
    await connection.close()
    return messages


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "var"
    embedded.release(settings_for(tmp_path / "var"))
    assert eventually(lambda: not server_pids(tmp_path / "var")), "servers outlived their last holder"


@pytest.fixture
def holder(data_dir: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(data_dir)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_both_servers_serve(data_dir: Path) -> None:
    settings = embedded.ensure(settings_for(data_dir))
    with redis.Redis.from_url(settings.redis_url) as client:
        assert client.config_get("maxmemory-policy", "appendonly", "bind") == {
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "bind": "127.0.0.1",
        }
    assert asyncio.run(messages_after_one_more(settings.nats_url)) == 1


def test_a_second_start_finds_its_data(data_dir: Path) -> None:
    settings = embedded.ensure(settings_for(data_dir))
    with redis.Redis.from_url(settings.redis_url) as client:
        client.set("kept", "yes")
    assert asyncio.run(messages_after_one_more(settings.nats_url)) == 1
    assert embedded.release(settings_for(data_dir))
    assert embedded.running(settings_for(data_dir)) == {}

    again = embedded.ensure(settings_for(data_dir))
    with redis.Redis.from_url(again.redis_url) as client:
        assert client.get("kept") == b"yes"
    assert asyncio.run(messages_after_one_more(again.nats_url)) == 2
    assert again.notice_keys == settings.notice_keys


def test_messages_are_synced_before_they_are_acknowledged(data_dir: Path) -> None:
    settings = settings_for(data_dir)
    embedded.ensure(settings)
    state = embedded._state(data_dir / "nats")
    assert state is not None
    assert embedded._command_of(state["pid"]) == state["command"]  # what `_sweep` knows it by
    assert embedded.release(settings)
    monitor = embedded._free_port()  # the same server once more, with a door to ask it how it understood that
    server = subprocess.Popen([*state["command"], "-m", str(monitor)], stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: embedded.nats_answers(state["port"]))
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/varz", timeout=5) as answer:
            found = json.load(answer)["jetstream"]["config"]
        assert found["sync_always"]
        assert found["store_dir"].startswith(str(data_dir / "nats"))
    finally:
        server.kill()
        server.wait()


def test_given_urls_are_used_and_nothing_starts(data_dir: Path) -> None:
    given = settings_for(data_dir, redis_url="redis://r:1", nats_url="nats://n:2", notice_keys="a:00")
    assert embedded.ensure(given) == given
    assert not data_dir.exists()


def test_notice_key_is_private_and_random(tmp_path: Path) -> None:
    urls = {"redis_url": "redis://r:1", "nats_url": "nats://n:2"}
    first = embedded.ensure(Settings(data_dir=str(tmp_path / "a"), **urls)).notice_keys
    second = embedded.ensure(Settings(data_dir=str(tmp_path / "b"), **urls)).notice_keys
    assert first != second
    assert len(bytes.fromhex(first.partition(":")[2])) == 32
    assert stat.S_IMODE((tmp_path / "a" / embedded.NOTICE_KEY_FILE).stat().st_mode) == 0o600


def test_processes_that_start_at_once_share_the_servers(
    data_dir: Path, holder: Callable[[], subprocess.Popen[str]]
) -> None:
    processes = [holder() for _ in range(4)]
    said = {process.stdout.readline() for process in processes if process.stdout}
    assert len(said) == 1
    assert len(said.pop().split()) == 3
    assert len(server_pids(data_dir)) == 4  # two servers, two supervisors


def test_servers_outlive_their_starter_while_another_holds_them(
    data_dir: Path, holder: Callable[[], subprocess.Popen[str]]
) -> None:
    starter = holder()
    assert starter.stdout
    url = starter.stdout.readline().split()[0]
    assert embedded.ensure(settings_for(data_dir)).redis_url == url
    starter.kill()
    starter.wait()
    time.sleep(supervise.POLL_S * 3)
    with redis.Redis.from_url(url) as client:
        assert client.ping()


def test_kill_9_of_the_only_holder_leaves_nothing(data_dir: Path, holder: Callable[[], subprocess.Popen[str]]) -> None:
    only = holder()
    assert only.stdout
    only.stdout.readline()
    assert server_pids(data_dir)
    only.send_signal(signal.SIGKILL)
    assert eventually(lambda: not server_pids(data_dir))


def test_a_server_that_dies_is_started_again_on_its_port(data_dir: Path) -> None:
    settings = embedded.ensure(settings_for(data_dir))
    port = embedded.running(settings)["redis"]
    with redis.Redis.from_url(settings.redis_url) as client:
        first = client.info("server")["process_id"]
        os.kill(first, signal.SIGKILL)
    assert eventually(lambda: (embedded._state(data_dir / "redis") or {}).get("pid", first) != first)
    assert eventually(lambda: embedded.valkey_answers(port))


def test_kill_9_of_a_supervisor_takes_its_server_along_and_the_next_start_recovers(data_dir: Path) -> None:
    settings = embedded.ensure(settings_for(data_dir))
    state = embedded._state(data_dir / "redis")
    assert state is not None
    with redis.Redis.from_url(settings.redis_url) as client:
        client.set("kept", "yes")
    os.kill(state["supervisor"], signal.SIGKILL)
    assert eventually(lambda: not embedded._supervised(data_dir / "redis"))
    again = embedded.ensure(settings_for(data_dir))  # the state file of the killed one is still there
    with redis.Redis.from_url(again.redis_url) as client:
        assert client.get("kept") == b"yes"
        assert client.info("server")["process_id"] != state["pid"]


def test_a_stale_state_file_of_another_program_kills_nobody(data_dir: Path) -> None:
    directory = data_dir / "redis"
    directory.mkdir(parents=True)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (directory / supervise.STATE).write_text(
            f'{{"pid": {bystander.pid}, "port": 1, "supervisor": 1, "command": ["valkey-server", "--port", "1"]}}'
        )
        embedded.ensure(settings_for(data_dir))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_taken_port_is_named_with_its_setting(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"embedded_redis_port = {port}: .*CAMPAIGN_EXPRESS_EMBEDDED_REDIS_PORT"):
            embedded.ensure(settings_for(data_dir, embedded_redis_port=port))
    assert not server_pids(data_dir)


def test_a_server_that_cannot_start_shows_its_log(data_dir: Path) -> None:
    directory = data_dir / "redis" / "appendonlydir"
    directory.mkdir(parents=True)
    (directory / "appendonly.aof.manifest").write_text("not a manifest\n")
    with pytest.raises(Unavailable, match=r"(?s)redis server did not start.*manifest"):
        embedded.ensure(settings_for(data_dir))
