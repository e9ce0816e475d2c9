"""docs/configuration.md says what config.py does, and every setting is read by something."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec
import pytest

import campaign_express
from campaign_express.config import PREFIX, Secret, Settings

PACKAGE = Path(campaign_express.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "configuration.md"
FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}
ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
ROWS = {name: (variable, default, meaning) for name, variable, default, meaning in ROW.findall(DOCUMENT.read_text())}


def shown(default: object) -> str:
    """A default as the document writes it."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if default != "" else "empty"


def words_of_the_package() -> set[str]:
    """Attributes that are read, and strings (`getattr` by name), everywhere but in config.py."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name == "config.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert set(ROWS) == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_variable_and_default_are_those_of_the_code(name: str) -> None:
    variable, default, meaning = ROWS[name]
    field = FIELDS[name]
    assert variable == PREFIX + name.upper()
    assert default == ("secret, empty" if field.type is Secret else shown(field.default))
    assert len(meaning) > 10


def test_every_setting_is_read_somewhere() -> None:
    assert set(FIELDS) - words_of_the_package() == set()
