"""The one format of Terraform's source, as `terraform fmt` has it, for a machine without Terraform.

Covers indentation, and the alignment of `=` in neighbouring lines. Not covered: blanks inside expressions, remarks at
the end of a line, heredocs; our modules have none of the latter two.
"""

from __future__ import annotations

import re

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[=!<>]=|=>|=|[\[({]|[\])}]|#.*|[^"=!<>\[\](){}#]+|.')
OPEN, CLOSE = set("[({"), set("])}")


def formatted(text: str) -> str:
    lines = [_indented(line, depth) for line, depth in _depths(text)]
    chain: list[int] = []
    for index, line in enumerate([*lines, ""]):
        if _assigned(line) is not None:
            chain.append(index)
            continue
        longest = max((len(_parts(lines[each])[0]) for each in chain), default=0)
        for each in chain:
            lead, rest = _parts(lines[each])
            lines[each] = f"{lead:{longest}} {rest}"
        chain = []
    return "\n".join(lines).rstrip("\n") + "\n"


def _depths(text: str) -> list[tuple[str, int]]:
    """Brackets that one line opens together are one step, which is taken back once all of them are closed."""
    found, steps = [], list[int]()
    for line in text.splitlines():
        change = _change(line)
        if change > 0:
            found.append((line, len(steps)))
            steps.append(change)
            continue
        while change < 0 and steps:
            taken = min(-change, steps[-1])
            steps[-1] -= taken
            change += taken
            if not steps[-1]:
                steps.pop()
        found.append((line, len(steps)))
    return found


def _tokens(line: str) -> list[str]:
    return [token for token in TOKEN.findall(line) if not token.startswith("#")]


def _change(line: str) -> int:
    tokens = _tokens(line)
    return sum(token in OPEN for token in tokens) - sum(token in CLOSE for token in tokens)


def _indented(line: str, depth: int) -> str:
    return "  " * depth + line.strip() if line.strip() else ""


def _assigned(line: str) -> int | None:
    """Where the first `=` of a line stands that is a whole assignment."""
    place = 0
    tokens = _tokens(line)
    for index, token in enumerate(tokens):
        if token == "=" and index:
            rest = tokens[index:]
            return place if sum(t in OPEN for t in rest) == sum(t in CLOSE for t in rest) else None
        place += len(token)
    return None


def _parts(line: str) -> tuple[str, str]:
    place = _assigned(line)
    assert place is not None
    return line[:place].rstrip(), line[place:]
