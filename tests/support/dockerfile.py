"""Dockerfiles as tests read them: instructions in order, and commands of RUN steps by what they begin with."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    word: str  # FROM, RUN, ...
    rest: str


def steps(path: Path) -> list[Step]:
    """Continued lines are one; comments are left out."""
    text = "".join(line for line in path.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [Step(*line.split(None, 1)) for line in lines if line.strip()]


def commands(found: list[Step]) -> list[list[str]]:
    """What RUN steps run, one list of words each; mounts and `&&` are taken apart."""
    out = []
    for step in found:
        if step.word == "RUN":
            plain = re.sub(r"--mount=\S+\s*", "", step.rest)
            out += [shlex.split(part) for part in plain.split("&&")]
    return out


def command(found: list[Step], *words: str) -> list[str]:
    """The one command that has these words in this order, from its beginning on (variables before it are left out)."""
    (chosen,) = [
        line[at:] for line in commands(found) for at in range(len(line)) if tuple(line[at : at + len(words)]) == words
    ]
    return chosen


def variables(found: list[Step]) -> dict[str, str]:
    """Of all ENV steps."""
    return dict(
        word.split("=", 1) for step in found if step.word == "ENV" for word in shlex.split(step.rest) if "=" in word
    )


def last(found: list[Step], word: str) -> str:
    return [step.rest for step in found if step.word == word][-1]


def exec_form(rest: str) -> list[str]:
    """Words of a CMD in the form of a JSON list, whatever options stand before it."""
    words: list[str] = json.loads(rest[rest.index("[") :])
    return words
