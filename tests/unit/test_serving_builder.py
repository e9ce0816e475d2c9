"""From settings to a Serve deployment: bundles, secrets, logs, sockets."""

from __future__ import annotations

import json
import logging
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from campaign_express import config, frames
from campaign_express.config import Secret, Settings
from campaign_express.errors import ConfigError
from campaign_express.frames import HEADER, Answer, Ask, Batch, Reply, Timings
from campaign_express.serving import agent_socket, builder, environment
from campaign_express.serving.agent_socket import AgentSocket
from campaign_express.serving.cell import LONGEST_NAME, UNIX_PATH_MAX, socket_dir
from campaign_express.serving.logs import JsonFormatter

ROOT = Path(__file__).resolve().parents[2]


def bound(application: Any) -> Any:
    return application._bound_deployment


def test_a_cell_is_a_gateway_and_its_agents_on_one_node() -> None:
    deployment = bound(builder.build(Settings(agents_per_cell=20, npu_per_agent=1)))
    assert deployment.name == "BidGateway"
    bundles = deployment._replica_config.placement_group_bundles
    assert len(bundles) == 21
    assert [bundle.get("npu", 0) for bundle in bundles] == [0] + [1] * 20  # whole slots
    assert sum(bundle["CPU"] for bundle in bundles) < 2
    assert deployment._replica_config.placement_group_strategy == "STRICT_PACK"
    local = bound(builder.build(Settings()))._replica_config.placement_group_bundles
    assert not any("npu" in bundle for bundle in local)


def test_the_file_that_ships_is_what_the_application_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml
    from ray.serve.schema import ServeDeploySchema

    raw = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    ServeDeploySchema.model_validate(raw)
    (application,) = raw["applications"]
    deployment = bound(builder.app(application["args"]))
    assert {d["name"] for d in application["deployments"]} == {deployment.name}
    assert raw["http_options"]["host"] == "127.0.0.1"
    assert raw["http_options"]["port"] == Settings().serve_port


def test_a_treasury_runs_beside_the_cell() -> None:
    treasury = bound(bound(builder.app({"agents_per_cell": 1})).init_kwargs["treasury"])
    assert treasury.name == "Treasury"
    assert treasury._deployment_config.num_replicas == 1
    assert treasury.init_kwargs == {"start_embedded": True}
    both = Settings(redis_url="redis://127.0.0.1:1/0", nats_url="nats://127.0.0.1:1")
    assert "treasury" in bound(builder.build(both)).init_kwargs
    assert bound(builder.build(both, treasury=False)).init_kwargs == {}
    assert bound(builder.build(Settings())).init_kwargs == {}  # it needs both


def test_secrets_are_not_in_what_serve_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPAIGN_EXPRESS_OPERATOR_TOKEN", "s3cret")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_REDIS_URL", "rediss://:pa55word@cache.example:6380/0")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_NATS_URL", "nats://bus.example:4222")
    deployment = bound(builder.app({"agents_per_cell": 1}))
    (kept,) = deployment.init_args
    assert bound(deployment.init_kwargs["treasury"]).init_args == (kept,)
    assert kept["nats_url"] == "nats://bus.example:4222"
    assert Path(kept["data_dir"]).is_absolute()
    assert "s3cret" not in repr(kept)
    assert "pa55word" not in repr(kept)
    assert config.load(kept).redis_url.endswith("cache.example:6380/0")  # completed where it is used


@pytest.mark.parametrize(
    ("args", "names"),
    [
        ({"operator_token": "x", "notice_keys": "y"}, ["OPERATOR_TOKEN", "NOTICE_KEYS"]),
        ({"redis_url": "redis://user:pw@h:1"}, ["REDIS_URL"]),
        ({"nats_url": "nats://a:1,nats://token@b:1"}, ["NATS_URL"]),
    ],
)
def test_secrets_in_args_are_refused_by_name(args: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        builder.app(args)
    assert [f"CAMPAIGN_EXPRESS_{name}" in str(error.value) for name in names] == [True] * len(names)
    assert "pw" not in str(error.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        builder.app({"agents_per_cell": 0, "http_prot": 1})
    assert len(error.value.problems) == 2


def test_rays_environment_is_set_where_it_is_not() -> None:
    environ = {"RAY_USAGE_STATS_ENABLED": "1"}
    environment.prepare(environ)
    assert environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert environ["RAY_SERVE_ENABLE_DIRECT_INGRESS"] == "0"


def test_socket_files_have_short_paths_of_our_own(tmp_path: Path) -> None:
    made = socket_dir(Settings(data_dir=str(tmp_path / ("d" * 90))))
    assert len(str(made)) + LONGEST_NAME <= UNIX_PATH_MAX
    assert made == socket_dir(Settings(data_dir=str(tmp_path / ("d" * 90))))
    assert made.stat().st_mode & 0o777 == 0o700
    made.rmdir()
    with pytest.raises(ConfigError, match="socket_dir"):
        socket_dir(Settings(socket_dir="/tmp/" + "x" * 90))


def test_a_log_line_is_one_json_object_and_shows_no_secret() -> None:
    record = logging.LogRecord("campaign_express.x", logging.WARNING, "f", 1, "lost %s", ("it",), None)
    record.agent = "a-1"
    record.token = Secret("s3cret")
    found = JsonFormatter(component="gateway").format(record)
    told = json.loads(found)
    assert (told["level"], told["message"], told["component"], told["agent"]) == (
        "warning",
        "lost it",
        "gateway",
        "a-1",
    )
    assert told["time"].endswith("+00:00")
    try:
        raise ValueError("broken\nin two lines")
    except ValueError:
        import sys

        record.exc_info = sys.exc_info()
    found = JsonFormatter().format(record)
    assert "\n" not in found
    assert "ValueError: broken" in json.loads(found)["exception"]


class Bidder:
    catalog_version = 5

    def __init__(self) -> None:
        self.done: list[str] = []

    def events(self) -> list[bytes]:
        return [b"told"]

    def idle(self) -> None:
        self.done.append("idle")

    def answer(self, asks: list[Ask], now_ns: int, wall_ms: int) -> Reply:
        if asks[0].body == b"bad":
            raise RuntimeError("broken")
        self.done.append("answer")
        return Reply([Answer(200, ask.body) for ask in asks], Timings(1, 1), 5)

    def explain(self, body: bytes, exchange: str, wall_ms: int) -> dict[str, Any]:
        return {"exchange": exchange}


def test_an_agents_socket_greets_answers_in_order_and_survives_a_fault() -> None:
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as folder:
        path = str(Path(folder, "a.sock"))
        Path(path).touch()  # a predecessor's file
        served = AgentSocket(Bidder(), path)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(path)
            stream = client.makefile("rb")

            def reply() -> Reply:
                return frames.decode_reply(stream.read(HEADER.unpack(stream.read(HEADER.size))[0]))

            def send(*bodies: bytes) -> None:
                payload = frames.encode(Batch([Ask("", 1, body) for body in bodies]))
                client.sendall(HEADER.pack(len(payload)) + payload)

            assert reply() == Reply([], Timings(), 5)  # the greeting
            send(b"1", b"2")
            send(b"bad")
            send()
            send(b"3")
            assert [answer.body for answer in reply().answers] == [b"1", b"2"]
            assert reply().answers == []  # the gateway answers for it
            heartbeat = reply()
            assert (heartbeat.answers, heartbeat.events) == ([], [b"told"])
            assert [answer.body for answer in reply().answers] == [b"3"]
        assert (served.batches, served.requests, served.failures) == (3, 4, 1)
        assert served.explain(b"{}", "acme") == {"exchange": "acme"}
        served.close()
        assert not list(Path(folder).iterdir())


def test_what_was_put_off_is_done_when_no_further_batch_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_socket, "QUIET_S", 0.5)
    with tempfile.TemporaryDirectory(prefix="ce-", dir="/tmp") as folder:
        bidder, path = Bidder(), str(Path(folder, "a.sock"))
        served = AgentSocket(bidder, path)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(path)
            payload = frames.encode(Batch([Ask("", 1, b"1")]))
            message = HEADER.pack(len(payload)) + payload
            client.sendall(message * 2)  # the second is there when the first is answered
            deadline = time.monotonic() + 60
            while bidder.done != ["answer", "answer"] and time.monotonic() < deadline:
                time.sleep(0.002)
            client.sendall(message)  # and the third comes soon after
            while len(bidder.done) < 4 and time.monotonic() < deadline:
                time.sleep(0.002)
        served.close()
        assert bidder.done == ["answer", "answer", "answer", "idle"]
