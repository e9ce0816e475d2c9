"""The steps of deploy/docker/Dockerfile, done in a scratch directory: no engine is needed to know that they work.

The lock's packages are those of this environment, compared with the lock one by one, in place of 700 MB of downloads.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import dockerfile
from tests.support.manifests import ROOT

STEPS = dockerfile.steps(ROOT / "deploy/docker/Dockerfile")
PORTS = ("http", "grpc", "metrics", "serve", "dashboard", "embedded_redis", "embedded_nats")
UP_S = 120.0


def copied() -> list[str]:
    """Sources of the builder's COPY steps."""
    return [word for step in STEPS if step.word == "COPY" for word in step.rest.split()[:-1]]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What COPY brings into the builder."""
    made = tmp_path_factory.mktemp("build")
    for pattern in copied():
        for source in ROOT.glob(pattern):
            if source.is_dir():
                shutil.copytree(source, made / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            else:
                shutil.copy(source, made / source.name)
    return made


@pytest.fixture(scope="module")
def python(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel that the Dockerfile builds, installed as the Dockerfile does it."""
    wheels, home = build / "wheels", tmp_path_factory.mktemp("python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    made = dockerfile.command(STEPS, "pip", "wheel")
    options = [str(wheels) if word == "/wheels" else word for word in made[1:]]
    subprocess.run([*pip, *options], cwd=build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (elsewhere,) = Path(sys.prefix).glob("lib/python*/site-packages")
    (packages / "locked.pth").write_text(f"{elsewhere}\n")
    installed = dockerfile.command(STEPS, "pip", "install", "--no-cache-dir")
    options = [str(wheels) if word == "/wheels" else word for word in installed[1:]]
    lock = options.index("-r")
    del options[lock : lock + 2]
    target = ["--python", str(home / "bin/python"), "--ignore-installed"]
    subprocess.run([*pip, *target[:2], *options, *target[2:]], cwd=build, check=True, capture_output=True)
    for script in ("nats-server",):  # of the lock's packages, where the product looks for them: beside its Python
        (home / "bin" / script).symlink_to(Path(sys.prefix, "bin", script))
    return home


def test_the_lock_is_whole() -> None:
    """What `pip install --no-deps -r requirements.lock` brings has all that it needs, at these versions."""
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line[:1].isalnum()]
    wanted = [Requirement(line) for line in lines]
    for requirement in wanted:
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)
    locked = {re.sub(r"[-_.]+", "-", requirement.name).lower() for requirement in wanted}
    for line in importlib.metadata.requires("campaign-express") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            assert re.sub(r"[-_.]+", "-", requirement.name).lower() in locked


def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc" / name).touch()
    for program in ("groupadd", "useradd"):
        words = dockerfile.command(STEPS, program)
        found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") or program
        ran = subprocess.run([found, "--prefix", str(tmp_path), *words[1:]], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    assert "campaign:x:10001:10001:" in (tmp_path / "etc/passwd").read_text()


def test_the_wheel_brings_all_that_is_not_python(python: Path) -> None:
    here = ROOT / "campaign_express"
    (there,) = python.glob("lib/python*/site-packages/campaign_express")
    assert not there.is_symlink()
    missing = [
        str(path.relative_to(here))
        for path in here.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so") and not (there / path.relative_to(here)).exists()
    ]
    assert missing == []


@pytest.mark.timeout(240)
def test_the_entry_point_starts_a_bidder_that_is_healthy(python: Path, build: Path, tmp_path: Path) -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = {name: listener.getsockname()[1] for name, listener in zip(PORTS, sockets, strict=True)}
    for listener in sockets:
        listener.close()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CAMPAIGN_EXPRESS_")}
    environ |= {name: value for name, value in dockerfile.variables(STEPS).items() if not name.startswith("PIP_")}
    environ |= {f"CAMPAIGN_EXPRESS_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    environ |= {"CAMPAIGN_EXPRESS_AGENTS_PER_CELL": "1", "CAMPAIGN_EXPRESS_DATA_DIR": str(tmp_path / "data")}
    environ |= {"PATH": f"{python}/bin:{os.environ['PATH']}"}
    (home := tmp_path / "home").mkdir()
    shutil.copy(build / "serve_config.yaml", home)
    check = dockerfile.exec_form(dockerfile.last(STEPS, "HEALTHCHECK"))

    def healthy() -> bool:
        return not subprocess.run(check, env=environ, cwd=home, capture_output=True).returncode

    assert not healthy()
    command = dockerfile.exec_form(dockerfile.last(STEPS, "CMD"))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        give_up = time.monotonic() + UP_S
        while not healthy():
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            assert time.monotonic() < give_up
            time.sleep(0.5)
    finally:
        process.send_signal(getattr(signal, dockerfile.last(STEPS, "STOPSIGNAL")))
        process.wait(60)
    assert process.returncode == 0
    assert not healthy()
