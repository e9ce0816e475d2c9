"""Files to objects: a manifest, a folder of them, a kustomization, or what is piped in.

A kustomization is rendered by `kubectl kustomize` (or `kustomize build`), which has to be installed for it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from campaign_express.cluster.connection import Object
from campaign_express.errors import ClusterError, ConfigError

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
RENDER_TIMEOUT_S = 60
# What others need comes first; what is not named goes before the RayService, which comes last.
ORDER = (
    "CustomResourceDefinition",
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ClusterIssuer",
    "SecretStore",
    "ExternalSecret",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "NetworkPolicy",
    "Service",
)
LAST = ("Job", "RayService")


def read(sources: Sequence[str]) -> list[Object]:
    """Objects of all sources in the order in which they are applied. Raises ConfigError with every problem."""
    objects: list[Object] = []
    problems: list[str] = []
    for source in sources:
        for where, body in _documents(source, problems):
            if not isinstance(body, dict):
                problems.append(f"{where}: is no object")
            elif body.get("kind") == "List":
                objects += body.get("items") or []
            else:
                objects.append(body)
                problems += [f"{where}: {one}" for one in _lacks(body)]
    seen: set[tuple[str, str, str]] = set()
    for body in objects:
        key = (str(body.get("kind")), str(meta(body).get("namespace", "")), str(meta(body).get("name")))
        if key in seen:
            problems.append(f"{key[0]} {key[2]}: is there twice")
        seen.add(key)
    if problems:
        raise ConfigError("Manifests that cannot be applied:", problems)
    if not objects:
        raise ConfigError("Manifests that cannot be applied:", [f"{', '.join(sources)}: no objects in it"])
    return sorted(objects, key=_place)


def meta(body: Object) -> Object:
    found = body.get("metadata")
    return found if isinstance(found, dict) else {}


def _place(body: Object) -> int:
    kind = body["kind"]
    if kind in LAST:
        return len(ORDER) + 1 + LAST.index(kind)
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _lacks(body: Object) -> list[str]:
    lacking = [key for key in ("apiVersion", "kind") if not isinstance(body.get(key), str)]
    if not meta(body).get("name"):
        lacking.append("metadata.name")
    return [f"lacks {key}" for key in lacking]


def _documents(source: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """(where, document) of each that is not empty."""
    path = Path(source)
    if source == "-":
        texts = [("standard input", sys.stdin.read())]
    elif path.is_dir() and any((path / name).exists() for name in KUSTOMIZATIONS):
        texts = [(source, _rendered(path))]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json"))
        texts = [(str(file), file.read_text()) for file in files]
        if not files:
            problems.append(f"{source}: no kustomization.yaml and no manifest in it")
    elif path.exists():
        texts = [(source, path.read_text())]
    else:
        problems.append(f"{source}: is not there")
        texts = []
    for where, text in texts:
        try:
            for number, body in enumerate(yaml.safe_load_all(text), 1):
                if body is not None:
                    yield f"{where}, document {number}", body
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problems.append(f"{where}{line}: no YAML: {getattr(error, 'problem', error)}")


def _rendered(folder: Path) -> str:
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if kubectl:
        command = [kubectl, "kustomize", str(folder)]
    elif kustomize:
        command = [kustomize, "build", str(folder)]
    else:
        raise ClusterError(
            f"{folder} is a kustomization, and neither kubectl nor kustomize is installed",
            f"install kubectl, or pipe it in: `kubectl kustomize {folder} | campaign-express cluster deploy -`",
        )
    try:
        ended = subprocess.run(  # noqa: S603  # a program that PATH names, with a folder that exists
            command, capture_output=True, text=True, timeout=RENDER_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(command)} took longer than {RENDER_TIMEOUT_S} s", "run it by hand") from None
    if ended.returncode:
        raise ConfigError("A kustomization that cannot be rendered:", [ended.stderr.strip() or str(folder)])
    return ended.stdout
