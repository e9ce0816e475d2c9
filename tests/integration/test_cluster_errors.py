"""What a real cluster may answer, or not: a message, its remedy, an exit code, never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.kube_api import KubeApi
from tests.support.kube_cli import Operated

COMMANDS = [
    ("status",),
    ("scale", "--min", "12"),
    ("rollout", "status"),
    ("restart",),
    ("logs",),
    ("doctor",),
]


@contextmanager
def free_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_nobody_listens(kube: Operated, command: tuple[str, ...]) -> None:
    with free_port() as port:  # bound, and not listening
        kube.api.kubeconfig(kube.kubeconfig, server=f"http://127.0.0.1:{port}")
        said = kube.refused(*command)
    assert f"http://127.0.0.1:{port} refuses connections" in said
    assert "remedy: check --context, network and VPN" in said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_credentials_that_are_not_accepted(kube: Operated, command: tuple[str, ...]) -> None:
    kube.api.kubeconfig(kube.kubeconfig, token="old")
    said = kube.refused(*command)
    assert "does not accept these credentials (401)" in said
    assert "az aks get-credentials" in said


@pytest.mark.parametrize("command", COMMANDS[:-1], ids=lambda command: command[0])
def test_no_right_to_read(kube: Operated, command: tuple[str, ...]) -> None:
    kube.api.forbidden.add(("get", "rayservices"))
    said = kube.refused(*command)
    assert 'User "ops@example.com" cannot get resource "rayservices"' in said
    assert "kubectl auth can-i --list" in said


@pytest.mark.parametrize("command", COMMANDS[:-1], ids=lambda command: command[0])
def test_no_service_in_this_namespace(kube: Operated, command: tuple[str, ...]) -> None:
    said = kube.refused(*command, "--namespace", "elsewhere")
    assert "no RayService campaign-express in namespace elsewhere" in said
    assert "check --context and --namespace, or deploy one" in said


@pytest.mark.parametrize("command", COMMANDS[:-1], ids=lambda command: command[0])
def test_no_kuberay_at_all(shared: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    with KubeApi.running(shared) as api:
        said = Operated(api, api.kubeconfig(tmp_path / "kubeconfig")).refused(*command)
    assert "does not know this kind of object (404)" in said
    assert "the KubeRay operator" in said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_no_answer_in_time(kube: Operated, command: tuple[str, ...]) -> None:
    kube.api.trouble("GET", "", stall_s=20)
    said = kube.refused(*command, "--timeout", "0.2")
    assert "did not answer in time" in said
    assert "--timeout" in said


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (400, "refuses the object (400): what is this"),
        (409, "changed by somebody else meanwhile (409): what is this"),
        (422, "refuses the object (422): what is this"),
        (429, "allows no more for the moment (429)"),
        (500, "has failed (500): what is this"),
        (503, "has failed (503): what is this"),
        (418, "answered 418: what is this"),
    ],
)
def test_other_refusals(kube: Operated, code: int, says: str) -> None:
    kube.api.trouble("PATCH", "/rayservices/", code=code, message="what is this")
    said = kube.refused("restart", "--no-wait")
    assert "cannot patch RayService campaign-express in namespace campaign-express" in said
    assert says in said


def test_no_kubeconfig(kube: Operated, tmp_path: Path) -> None:
    kube.kubeconfig = tmp_path / "none"
    said = kube.refused("status", code=2)
    assert f"there is no kubeconfig {kube.kubeconfig}" in said
    assert "or name one with --kubeconfig" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "cannot be read"),
        ("just text", "cannot be read"),
        ("apiVersion: v1\nkind: Config\n", "No cluster to talk to"),
        (
            "apiVersion: v1\nkind: Config\ncontexts: []\nclusters: []\nusers: []\ncurrent-context: gone\n",
            "No cluster to talk to",
        ),
    ],
)
def test_a_damaged_kubeconfig(kube: Operated, text: str, says: str) -> None:
    kube.kubeconfig.write_text(text)
    said = kube.refused("status", code=2)
    assert says in said
    assert str(kube.kubeconfig) in said


def test_contexts_are_offered(kube: Operated) -> None:
    said = kube.refused("status", "--context", "prod", code=2)
    assert "has no such context; it has production, staging" in said
    assert kube.run("status", "--context", "staging").exit_code == 0


def test_another_kubeconfig_by_option(kube: Operated, tmp_path: Path) -> None:
    given, kube.kubeconfig = kube.kubeconfig, tmp_path / "none"
    assert kube.run("status", "--kubeconfig", str(given)).exit_code == 0


def test_a_token_is_never_told(kube: Operated) -> None:
    for command in COMMANDS:
        kube.api.forbidden = {("*", "rayservices")}
        assert "secret-token" not in kube.run(*command).output
