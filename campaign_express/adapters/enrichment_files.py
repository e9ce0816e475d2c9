"""Reading list files: lines with their numbers, comments taken off, a file that cannot be read reported as a
problem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def numbered_lines(path: Path, setting: str, problems: list[str]) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of lines that hold more than a comment. `setting` is named if the file cannot be
    read."""
    text = read_text(path, setting, problems)
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].strip()
        if line:
            yield number, line


def read_text(path: Path, setting: str, problems: list[str]) -> str:
    """The file as UTF-8, a byte order mark taken off; "" and a problem if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        problems.append(f"{setting}: {path}: {reason}")
        return ""
