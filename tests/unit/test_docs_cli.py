"""docs/cli.md has every command with all of its options, at their defaults, and no others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.main import get_command

from campaign_express.cli import app
from tests.conftest import ROOT

SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", (ROOT / "docs" / "cli.md").read_text(), re.M | re.S))


def commands(command: Any, path: str = "") -> dict[str, Any]:
    """`catalog show` -> its command, for all of them."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return {path: command}
    return {name: one for key, sub in inner.items() for name, one in commands(sub, f"{path} {key}".strip()).items()}


COMMANDS = commands(get_command(app))


def documented(name: str) -> str:
    [section] = [text for title, text in SECTIONS.items() if re.sub(r" \[?[A-Z]+\]?$", "", title) == name]
    return section


def test_every_command_has_its_section() -> None:
    assert sorted(re.sub(r" \[?[A-Z]+\]?$", "", title) for title in SECTIONS) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_and_defaults(name: str) -> None:
    rows = dict(re.findall(r"^\| (`--[^|]*) \| ([^|]*) \|", documented(name), re.M))
    options = [p for p in COMMANDS[name].params if p.param_type_name == "option" and p.name != "help"]
    assert sorted(rows) == sorted(", ".join(f"`{opt}`" for opt in option.opts) for option in options)
    for option in options:
        said = rows[", ".join(f"`{opt}`" for opt in option.opts)].strip("`")
        if option.required:
            assert said == "required"
        elif option.is_flag:
            assert said == "off"
        elif option.default not in (None, ""):
            assert said == (f"{option.default:g}" if isinstance(option.default, float) else str(option.default))
