"""Patches as an API server applies them: JSON patch (RFC 6902), merge patch (RFC 7386), server-side apply."""

from __future__ import annotations

import copy
from typing import Any

Path = tuple[str, ...]
Owner = tuple[str, str]  # manager, operation


class TestFailed(Exception):
    """A JSON patch that cannot be applied."""

    __test__ = False


class Conflicts(Exception):
    """Fields of a server-side apply that others own with another value."""

    def __init__(self, fields: dict[Path, Owner]) -> None:
        super().__init__(f"{len(fields)} conflicts")
        self.fields = fields


def json_patch(before: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    after = copy.deepcopy(before)
    for operation in operations:
        parts = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:]]
        *way, last = parts
        at: Any = after
        try:
            for part in way:
                at = at[int(part)] if isinstance(at, list) else at[part]
            key: Any = last if not isinstance(at, list) else len(at) if last == "-" else int(last)
            match operation["op"]:
                case "test":
                    if at[key] != operation["value"]:
                        raise TestFailed(operation["path"])
                case "add" if isinstance(at, list):
                    at.insert(key, operation["value"])
                case "add":
                    at[key] = operation["value"]
                case "replace":
                    at[key] = (at[key], operation["value"])[1]
                case "remove":
                    del at[key]
                case other:
                    raise TestFailed(f"unknown operation {other}")
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise TestFailed(operation["path"]) from error
    return after


def merge_patch(before: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    after = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        else:
            after[key] = merge_patch(after.get(key), value)
    return after


def leaves(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Fields of an object. Lists are atomic, as the CRDs of KubeRay have them."""
    if isinstance(value, dict) and value:
        found: dict[Path, Any] = {}
        for key, inner in value.items():
            found |= leaves(inner, (*path, key))
        return found
    return {path: value}


def owned_leaves(body: dict[str, Any]) -> dict[Path, Any]:
    """Those that a manager can own: not the object's identity, and not what the server writes."""
    identity = {("apiVersion",), ("kind",)}
    return {
        path: value
        for path, value in leaves(body).items()
        if path not in identity and not (path[0] == "metadata" and path[1:2] not in (("labels",), ("annotations",)))
    }


def apply(
    live: dict[str, Any], body: dict[str, Any], owners: dict[Path, set[Owner]], manager: str, force: bool
) -> tuple[dict[str, Any], dict[Path, set[Owner]]]:
    """Object and owners after a server-side apply. Raises Conflicts."""
    me = (manager, "Apply")
    after, now = copy.deepcopy(live), {path: set(who) for path, who in owners.items()}
    wanted, there = owned_leaves(body), owned_leaves(live)
    foreign: dict[Path, Owner] = {}
    for path, value in wanted.items():
        others = {who for who in now.get(path, set()) if who != me}
        if others and there.get(path, value) != value:
            foreign[path] = min(others)
    if foreign and not force:
        raise Conflicts(foreign)
    for path, who in list(now.items()):  # what this manager applied before and does not now
        if me in who and path not in wanted:
            who.discard(me)
            if not who:
                _drop(after, path)
                del now[path]
    for path, value in wanted.items():
        _put(after, path, value)
        now[path] = {me} if path in foreign else now.get(path, set()) | {me}
    return after, now


def updated_owners(
    before: dict[str, Any], after: dict[str, Any], owners: dict[Path, set[Owner]], manager: str
) -> dict[Path, set[Owner]]:
    """After an update that is no apply: what changed belongs to the manager alone."""
    old, new = owned_leaves(before), owned_leaves(after)
    now = {path: set(who) for path, who in owners.items() if path in new}
    for path, value in new.items():
        if path not in old or old[path] != value:
            now[path] = {(manager, "Update")}
    return now


def _put(body: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        if not isinstance(body.get(part), dict):
            body[part] = {}
        body = body[part]
    body[path[-1]] = copy.deepcopy(value)


def _drop(body: dict[str, Any], path: Path) -> None:
    """With the maps that are empty then."""
    if len(path) > 1 and isinstance(body.get(path[0]), dict):
        _drop(body[path[0]], path[1:])
        if not body[path[0]]:
            del body[path[0]]
    elif len(path) == 1:
        body.pop(path[0], None)
