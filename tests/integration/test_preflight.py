"""What is checked before a start, with real sockets and a real disk."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from campaign_express import embedded, preflight
from campaign_express.config import Settings
from campaign_express.errors import ConfigError, PortTaken

SETTINGS = ("http_port", "grpc_port", "metrics_port", "serve_port", "dashboard_port", "embedded_redis_port")
ALL = (*SETTINGS, "embedded_nats_port")


@pytest.fixture
def busy() -> Iterator[dict[str, int]]:
    """A port for each setting, with somebody else listening on all of them."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in ALL}
        yield {name: listener.getsockname()[1] for name, listener in sockets.items()}


def any_ports(data_dir: Path, **changes: int | str) -> Settings:
    return Settings(data_dir=str(data_dir), **{**dict.fromkeys(ALL, 0), **changes})


def test_every_taken_port_is_named_at_once(tmp_path: Path, busy: dict[str, int]) -> None:
    with pytest.raises(PortTaken) as error:
        preflight.check(any_ports(tmp_path, **busy), environ={})
    assert len(error.value.problems) == len(ALL)
    for problem, name in zip(error.value.problems, ALL, strict=True):
        assert f"{name} = {busy[name]}" in problem
        assert f"CAMPAIGN_EXPRESS_{name.upper()}" in problem
    assert embedded.running(any_ports(tmp_path)) == {}


def test_a_listener_with_reuse_port_counts_as_another_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other, pytest.raises(PortTaken, match="http_port"):
        preflight.check(any_ports(tmp_path, http_port=other.getsockname()[1]), environ={})


def test_free_ports_and_a_writable_disk_pass(tmp_path: Path) -> None:
    preflight.check(any_ports(tmp_path / "deep" / "var"), environ={})


def test_external_servers_need_no_port_of_ours(tmp_path: Path, busy: dict[str, int]) -> None:
    taken = {name: busy[name] for name in ("embedded_redis_port", "embedded_nats_port")}
    preflight.check(any_ports(tmp_path, redis_url="redis://r", nats_url="nats://n", **taken), environ={})


def test_own_embedded_servers_that_run_already_are_no_clash(tmp_path: Path) -> None:
    settings = any_ports(tmp_path)
    embedded.ensure(settings)
    try:
        running = embedded.running(settings)
        again = any_ports(tmp_path, embedded_redis_port=running["redis"], embedded_nats_port=running["nats"])
        preflight.check(again, environ={})
    finally:
        embedded.release(settings)


def test_a_fixed_port_of_ray_is_checked(tmp_path: Path, busy: dict[str, int]) -> None:
    with pytest.raises(PortTaken, match="RAY_GCS_SERVER_PORT"):
        preflight.check(any_ports(tmp_path), environ={"RAY_GCS_SERVER_PORT": str(busy["http_port"])})


def test_two_settings_with_one_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    with pytest.raises(ConfigError, match=r"grpc_port = .*http_port has the same port"):
        preflight.check(any_ports(tmp_path, http_port=free, grpc_port=free), environ={})


def test_a_disk_that_cannot_be_written_and_ports_are_told_together(tmp_path: Path, busy: dict[str, int]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as error:
        preflight.check(any_ports(tmp_path / "file" / "var", http_port=busy["http_port"]), environ={})
    assert [problem.split(":")[0].split(" ")[0] for problem in error.value.problems] == ["data_dir", "http_port"]
