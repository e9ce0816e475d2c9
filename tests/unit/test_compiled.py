"""Which modules are compiled, and how machine code that is older than its source is found out."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from campaign_express import compiled
from campaign_express.errors import ConfigError
from tests.conftest import ROOT

MODULES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["campaign-express"]["compiled"]
KEYWORDS = {"_thread", "_inline", "_asm"}  # of attributes, with the underscore that the compiler puts before them


@pytest.mark.parametrize("module", MODULES)
def test_what_is_listed_suits_the_compiler(module: str) -> None:
    """mypyc drops what msgspec reads of annotations, without a word: limits of values would no longer hold."""
    source = (ROOT / module).read_text()
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert not names & {"Meta", "Annotated"}
    assert not re.search(r"msgspec\.field\(|forbid_unknown_fields", source)
    assert not attributes & KEYWORDS, "an attribute whose name in C is a keyword"


def build(root: Path, *modules: str) -> None:
    """A tree with a source for each of `modules`, each compiled."""
    (root / compiled.PACKAGE).mkdir()
    for module in modules:
        (root / module).write_text("x = 1\n")
        (root / module).with_suffix(compiled.SUFFIX).write_bytes(b"")
    (root / "campaign_express" / "plain.py").write_text("LIMIT = 3\n")
    compiled.write_stamp(modules, root, root)


A, B = "campaign_express/a.py", "campaign_express/b.py"


def test_plain_python_is_never_stale(tmp_path: Path) -> None:
    build(tmp_path)
    (tmp_path / compiled.STAMP).unlink()
    compiled.check(tmp_path)


def test_what_was_compiled_of_this_source_is_accepted(tmp_path: Path) -> None:
    build(tmp_path, A, B)
    compiled.check(tmp_path)


@pytest.mark.parametrize("changed", [A, "campaign_express/plain.py"])
def test_a_changed_source_is_named_with_the_remedy(tmp_path: Path, changed: str) -> None:
    build(tmp_path, A, B)
    (tmp_path / changed).write_text("x = 2\n")
    with pytest.raises(ConfigError, match="make compile") as error:
        compiled.check(tmp_path)
    assert error.value.problems == (f"{changed}: has changed since",)


def test_a_build_that_was_interrupted_is_refused(tmp_path: Path) -> None:
    build(tmp_path, A)
    (tmp_path / compiled.STAMP).unlink()
    assert "interrupted" in compiled.stale(tmp_path)[0]


def test_missing_and_foreign_machine_code_is_named(tmp_path: Path) -> None:
    build(tmp_path, A, B)
    (tmp_path / B).with_suffix(compiled.SUFFIX).unlink()
    foreign = f"campaign_express/plain{compiled.SUFFIX}"
    (tmp_path / foreign).write_bytes(b"")
    assert compiled.stale(tmp_path) == [f"{B}: its compiled module is missing", f"{foreign}: is not of this build"]
