"""Plain values to typed structs, reporting everything that is wrong instead of the first thing.

msgspec stops at the first error. A person who writes a catalogue wants them all, each with its key path, so a value
that msgspec refuses is walked again here, part by part. The good parts are kept by path, so that rules beyond types can
still look at them.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from enum import EnumMeta
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

T = TypeVar("T")


class Problem(Exception):
    """One thing that is wrong; raised by small converters and collected by their callers."""


def show(value: Any) -> str:
    """A value in an error line: scalars as JSON, cut short; of containers only the kind."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else "null" if value is None else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "..."


def join(path: str, key: str | int) -> str:
    """`a` and `b` give `a.b`, `a` and 1 give `a[1]`, the empty path and `b` give `b`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def convert(
    kind: type[T], value: Any, path: str, problems: list[tuple[str, str]], parts: dict[str, Any] | None = None
) -> T | None:
    """`value` as `kind`; or None, having added (path, what is wrong) to `problems` for every fault below it.

    With `parts`, every struct below that is whole is kept there by its path.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        before = len(problems)
        _walk(kind, value, path, problems, {} if parts is None else parts)
        if len(problems) == before:  # the walk knows the kinds of model.py; never let an error pass unreported
            problems.append((path, "has a wrong type"))
        return None


@cache
def _fields(kind: type) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _walk(kind: Any, value: Any, path: str, problems: list[tuple[str, str]], parts: dict[str, Any]) -> None:
    bare = _bare(kind)
    if get_origin(bare) in (Union, types.UnionType):
        options = [option for option in get_args(bare) if option is not type(None)]
        if value is None and len(options) < len(get_args(bare)):
            return
        if len(options) == 1:
            _walk(options[0], value, path, problems, parts)
            return
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        _walk_struct(bare, value, path, problems, parts)
    elif get_origin(bare) is tuple and isinstance(value, list | tuple):
        before = len(problems)
        for index, item in enumerate(value):
            _walk(get_args(bare)[0], item, join(path, index), problems, parts)
        if len(problems) == before:
            _leaf(kind, value, path, problems)  # the rules of the list itself, such as its length
    else:
        _leaf(kind, value, path, problems)


def _walk_struct(kind: Any, value: Any, path: str, problems: list[tuple[str, str]], parts: dict[str, Any]) -> None:
    if not isinstance(value, Mapping):
        problems.append((path, f"must be an object with keys, and is {show(value)}"))
        return
    try:
        parts[path] = msgspec.convert(value, kind)
        return
    except msgspec.ValidationError:
        pass
    fields = _fields(kind)
    for key, item in value.items():
        if key in fields:
            _walk(fields[key].type, item, join(path, key), problems, parts)
        else:
            problems.append((join(path, str(key)), "no such key" + _suggestion(str(key), list(fields))))
    for name, field in fields.items():
        if field.required and name not in value:
            problems.append((join(path, name), "is missing"))


def _leaf(kind: Any, value: Any, path: str, problems: list[tuple[str, str]]) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append((path, _explain(kind, value, str(error).split(" - at `$")[0])))


def _explain(kind: Any, value: Any, message: str) -> str:
    bare = _bare(kind)
    if isinstance(bare, EnumMeta):
        members: Any = bare
        names = [str(member.value) for member in members]
        return f"{show(value)} is not one of {', '.join(names)}{_suggestion(str(value), names)}"
    if bare is str and isinstance(value, bool | int | float):
        return f"must be text, and is {show(value)}: write it in quotes"
    if get_origin(bare) is tuple and not isinstance(value, list | tuple):
        return f"must be a list, and is {show(value)}"
    return f"{show(value)}: {message[0].lower()}{message[1:]}"


def _suggestion(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""
