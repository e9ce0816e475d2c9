"""Writes what the manifests under kuberay/ hold of other files: `make manifests`, or `python -m tools.kuberay`.

serveConfigV2 is a string inside a manifest. Its one source is serve_config.yaml, with what kuberay/serve.yaml (and a
smaller file for an overlay) changes in it. `--check` writes nothing and fails when a manifest differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "serve_config.yaml"
BASE_CHANGES = ROOT / "kuberay/serve.yaml"
# manifest: the files whose changes it has, in order
TARGETS: dict[str, tuple[str, ...]] = {
    "kuberay/base/rayservice.yaml": ("kuberay/serve.yaml",),
    "kuberay/overlays/staging/serve-config-patch.yaml": ("kuberay/serve.yaml", "kuberay/overlays/staging/serve.yaml"),
}
# What the Helm chart reads, from whole manifests
CHART_FILES = ROOT / "deploy/helm/campaign-express/files"
_MADE = "# Written by `make manifests`; made of {source}.\n"
_BLOCK = re.compile(r"^(?P<indent> *)serveConfigV2: \|\n(?:(?P=indent)  .*\n| *\n)+", re.MULTILINE)


def merged(base: Any, changes: Any) -> Any:
    """`changes` laid over `base`: objects key by key, lists of named objects by name; null removes."""
    if isinstance(base, dict) and isinstance(changes, dict):
        result = dict(base)
        for key, value in changes.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merged(result.get(key), value)
        return result
    if _named(base) and _named(changes):
        by_name = {item["name"]: item for item in base}
        for item in changes:
            by_name[item["name"]] = merged(by_name.get(item["name"]), item)
        return list(by_name.values())
    if isinstance(changes, dict):  # onto nothing: its nulls have nothing to remove
        return {key: merged(None, value) for key, value in changes.items() if value is not None}
    return changes


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "name" in item for item in value)


def serve_config(changes: Sequence[str | Path] = (BASE_CHANGES,)) -> dict[str, Any]:
    """The Serve configuration of a manifest: serve_config.yaml with the changes of these files, in order."""
    config: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    for path in changes:
        config = merged(config, yaml.safe_load((ROOT / path).read_text()))
    return config


def with_serve_config(manifest: str, config: dict[str, Any]) -> str:
    """The manifest's text with `config` as its serveConfigV2. Raises ValueError where it has no such block, or two."""
    text = yaml.safe_dump(config, sort_keys=False, width=1000)

    def block(match: re.Match[str]) -> str:
        indent = match["indent"]
        return f"{indent}serveConfigV2: |\n" + "".join(f"{indent}  {line}\n" for line in text.splitlines())

    result, count = _BLOCK.subn(block, manifest)
    if count != 1:
        raise ValueError(f"{count} blocks of serveConfigV2, and 1 is wanted")
    return result


def wanted() -> dict[Path, str]:
    """Every file that is made here, with its text."""
    texts = {
        ROOT / name: with_serve_config((ROOT / name).read_text(), serve_config(changes))
        for name, changes in TARGETS.items()
    }
    environment = yaml.safe_load((ROOT / "kuberay/base/configmap.yaml").read_text())["data"]
    for name, source, content in (
        ("serve-config.yaml", "serve_config.yaml and kuberay/serve.yaml", serve_config()),
        ("environment.yaml", "kuberay/base/configmap.yaml", environment),
    ):
        texts[CHART_FILES / name] = _MADE.format(source=source) + yaml.safe_dump(content, sort_keys=False, width=1000)
    return texts


def main(arguments: Sequence[str]) -> int:
    stale = []
    for path, text in wanted().items():
        name = str(path.relative_to(ROOT))
        if path.exists() and path.read_text() == text:
            continue
        if "--check" in arguments:
            stale.append(name)
        else:
            path.write_text(text)
            print(f"written: {name}")
    if stale:
        print(f"not as serve_config.yaml has it: {', '.join(stale)}; run make manifests", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
