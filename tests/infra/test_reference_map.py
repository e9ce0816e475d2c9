"""docs/reference-map.md: every file and program that it names is there, and no item of the reference is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import ROOT, absent

PAGE = ROOT / "docs/reference-map.md"
# Items of each section of the reference, so that none is lost where the reference itself is not at hand.
COUNTS = {1: 16, 2: 16, 3: 31, 4: 22, 5: 9, 6: 32, 7: 11, 8: 11, 9: 9, 10: 12, 11: 12}
HEADING = re.compile(r"^## (\d+)\. .*$", re.MULTILINE)
NAMED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Row:
    section: int
    items: tuple[str, ...]
    files: tuple[str, ...]
    programs: tuple[str, ...]
    departs: str


def sections(text: str) -> dict[int, str]:
    parts = HEADING.split(text)
    return {int(number): body for number, body in zip(parts[1::2], parts[2::2], strict=True)}


def cells(body: str) -> list[list[str]]:
    """Of every table's rows but its head and the line below."""
    lines = body.splitlines()
    found = []
    for index, line in enumerate(lines):
        below = lines[index + 1] if index + 1 < len(lines) else ""
        if line.startswith("|") and not set(line) <= set("|-: ") and not (below and set(below) <= set("|-: ")):
            found.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return found


def rows(text: str) -> list[Row]:
    found = []
    for section, body in sections(text).items():
        for items, files, programs, departs in cells(body):
            named = [tuple(NAMED.findall(cell)) for cell in (files, programs)]
            found.append(Row(section, tuple(items.split("; ")), *named, departs))
    return found


@cache
def known_tests() -> dict[str, Path]:
    return {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}


def problems(found: list[Row]) -> list[str]:
    said = []
    for row in found:
        said += [f"{row.items}: no file {path}" for path in row.files if not (ROOT / path).exists()]
        for name in row.programs:
            there = name in known_tests() if name.startswith("test_") else (ROOT / name).is_file()
            said += [] if there else [f"{row.items}: no program {name}"]
        if not (row.files and row.programs) and len(row.departs) < 40:
            said.append(f"{row.items}: neither realised and run nor explained")
    return said


def test_every_file_and_program_is_there() -> None:
    assert problems(rows(PAGE.read_text())) == []


def test_no_item_is_lost() -> None:
    found = rows(PAGE.read_text())
    counted = {section: sum(len(row.items) for row in found if row.section == section) for section in COUNTS}
    assert counted == COUNTS


def wanted(reference: str) -> set[tuple[int, str]]:
    """(section, item) of every table's row, and of every bullet and paragraph that begins with a name in bold."""
    found = set()
    for section, body in sections(reference).items():
        for row in cells(body):
            alert = len(row) == 4 and row[3] in ("critical", "warning")
            found.add((section, row[1 if alert else 0].strip("`")))
        found |= {(section, name) for name in re.findall(r"^(?:- )?\*\*([^*]+):\*\* ", body, re.MULTILINE)}
        found |= {(section, name) for name in re.findall(r"^- (\w+ alerts) ->", body, re.MULTILINE)}
        tree = re.findall(r"^[├└]── (\w+)/", body, re.MULTILINE)
        found |= {(section, f"deploy/{name}/") for name in tree}
    return found


def test_every_item_of_the_reference_has_a_row(shared: Path) -> None:
    path = shared / "reference/infrastructure.md"
    if not path.exists():
        absent(f"the infrastructure reference at {path}")
    items = wanted(path.read_text())
    assert len(items) > 120
    assert items - {(row.section, item) for row in rows(PAGE.read_text()) for item in row.items} == set()


def test_what_is_missing_is_found() -> None:
    text = PAGE.read_text()
    assert problems(rows(text.replace("`deploy/redis/redis.conf`", "`deploy/redis/redis.cnf`")))
    assert problems(rows(text.replace("`test_haproxy_doors.py`", "`test_haproxy_door.py`")))
    unexplained = Row(11, ("ui-deployment.yaml",), (), (), "optional")
    assert problems([unexplained])
    assert {(1, "x"), (2, "Image")} <= wanted(
        "## 1. A\n\n| Item | What |\n|---|---|\n| `x` | y |\n\n## 2. B\n\n- **Image:** z\n"
    )
