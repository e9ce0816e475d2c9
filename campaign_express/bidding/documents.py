"""YAML and JSON text to plain Python values, strictly: what a person is likely to get wrong is an error with its place.

YAML is read with the safe loader and the scalars of YAML 1.2's core schema, because those of 1.1 surprise: there `NO`
(a country) is false, `12:30` is 750 and `2026-01-01` a date object. Here only `true` and `false` are booleans, and a
date stays the text that it is in JSON too. A key that is written twice is an error in both formats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # a PyYAML built without libyaml: the same grammar, ten times slower
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

Tell = Callable[[float], None]

MAX_DEPTH = 32  # a catalogue needs 8; libyaml's parser recurses in C, where too deep means a crash and no exception


class DocumentError(ValueError):
    """Text that is not the document it claims to be. The message starts with line and column where they are known."""


class _Loader(_Base):
    """Safe loader with YAML 1.2 scalars and without duplicate keys."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)  # "0123" is 123, as in YAML 1.2, and not octal


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> Any:
    seen: set[str] = set()
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None:
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key.start_mark)
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f'the key "{name}" is written twice', key.start_mark)
        seen.add(name)
    return (yield from loader.construct_yaml_map(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


class _Told:
    """Text as a stream that tells how far it has been read, as a share of all the reading that there is."""

    def __init__(self, text: str, tell: Tell, start: float, share: float) -> None:
        self._text, self._tell, self._start, self._share = text, tell, start, share
        self._at = 0

    def read(self, length: int = 1 << 14, /) -> str:
        piece = self._text[self._at : self._at + length]
        self._at += len(piece)
        self._tell(self._start + self._share * self._at / len(self._text))
        return piece


def read_document(path: Path, max_bytes: int, tell: Tell | None = None) -> Any:
    """The value in a .yaml, .yml or .json file. Raises DocumentError, also when it is larger than that.

    `tell` hears now and then how much of the work is done, 0 to 1; JSON is too fast to tell.
    """
    suffix = path.suffix.lower()
    if suffix not in (".yaml", ".yml", ".json"):
        raise DocumentError(f'the name ends in "{suffix}"; .yaml, .yml and .json are understood')
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror}") from None
    if len(data) > max_bytes:
        raise DocumentError(f"is larger than {max_bytes:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"line {line}: is not UTF-8 text") from None
    return parse_json(text) if suffix == ".json" else parse_yaml(text, tell)


def parse_yaml(text: str, tell: Tell | None = None) -> Any:
    """The one YAML document in `text`. Raises DocumentError naming line and column (from 1)."""
    try:
        # Two passes over the text, the second of which takes twice as long, and then the making of values.
        _refuse_depth(_Told(text, tell, 0.0, 0.25) if tell and text else text)
        source = _Told(text, tell, 0.25, 0.5) if tell and text else text
        return yaml.load(source, Loader=_Loader)  # noqa: S506 (a subclass of the safe loader)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        context = f" ({error.context})" if error.context else ""
        raise DocumentError(f"{where}{error.problem or 'is not YAML'}{context}") from None
    except yaml.YAMLError as error:
        raise DocumentError(f"is not YAML: {str(error).splitlines()[0]}") from None


def _refuse_depth(source: str | _Told) -> None:
    depth = 0
    for event in yaml.parse(source, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels deep", problem_mark=mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def parse_json(text: str) -> Any:
    """The JSON value in `text`. Raises DocumentError naming line and column, or a key that is written twice."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise DocumentError("is nested too deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DocumentError(
            f'the key "{twice}" is written twice in one object (beside {", ".join(sorted(made))[:100]})'
        )
    return made


def _no_constant(name: str) -> Any:
    raise DocumentError(f"{name} is not JSON")
