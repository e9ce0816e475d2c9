"""serve_config.yaml as the command line sees it: the application's `args`, and the ports that Serve itself listens on.

`serve run serve_config.yaml` reads the same file without us. What is read here is only what has to be known before Ray
runs: to check settings and ports, and to run on other ports than the file's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from campaign_express import config
from campaign_express.bidding.documents import DocumentError, read_document
from campaign_express.config import Settings
from campaign_express.errors import ConfigError

IMPORT_PATH = "campaign_express.serving.builder:app"
DEFAULT = Path("serve_config.yaml")
MAX_BYTES = 1_048_576
_TITLE = "A Serve configuration that cannot be used:"


def read(path: Path) -> dict[str, Any]:
    """The file's plain values. Raises ConfigError when it is not YAML, or does not run our application exactly once."""
    try:
        raw = read_document(path, MAX_BYTES)
    except DocumentError as error:
        raise ConfigError(_TITLE, [f"{path}: {error}"]) from None
    if not isinstance(raw, dict):
        raise ConfigError(_TITLE, [f"{path}: must be an object with `applications`"])
    _application(raw, path)
    return raw


def settings(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings as the application of `path` will have them. None: environment and defaults alone."""
    return config.load(arguments(read(path), path) if path else None, environ)


def arguments(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    args = _application(raw, path).get("args") or {}
    if not isinstance(args, dict):
        raise ConfigError(_TITLE, [f"{path}: args must be an object"])
    return args


def with_ports(raw: dict[str, Any], settings: Settings) -> str:
    """YAML text of the file with Serve's own port as the setting `serve_port` says."""
    http = {"host": "127.0.0.1", **(raw.get("http_options") or {}), "port": settings.serve_port}
    return yaml.safe_dump({**raw, "http_options": http}, sort_keys=False)


def serve_host(raw: dict[str, Any]) -> str:
    return str((raw.get("http_options") or {}).get("host", "127.0.0.1"))


def _application(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    applications = raw.get("applications")
    ours = [
        application
        for application in (applications if isinstance(applications, list) else ())
        if isinstance(application, dict) and application.get("import_path") == IMPORT_PATH
    ]
    if len(ours) != 1:
        raise ConfigError(_TITLE, [f"{path}: {len(ours)} applications with import_path {IMPORT_PATH}, and 1 is wanted"])
    return ours[0]
