"""Edits of `serveConfigV2`, which is YAML inside of a string.

What is changed is replaced where it stands, so that comments, order and quoting stay and a patch shows no more than
what it changes. Numbers are replaced by numbers; a mapping in the flow style (`{a: 1}`) keeps its style.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from campaign_express.cluster.names import APPLICATION, DEPLOYMENT
from campaign_express.errors import ClusterError

RESTARTED_AT = "CAMPAIGN_EXPRESS_RESTARTED_AT"
_REMEDY = "deploy manifests of this release; `campaign-express cluster deploy` checks them before anything is changed"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Replicas of something that scales by itself: at least, at most, and with how many it begins."""

    low: int
    high: int
    initial: int

    def moved(self, low: int | None, high: int | None) -> Bounds:
        """With other ends, and the beginning moved between them."""
        new_low, new_high = self.low if low is None else low, self.high if high is None else high
        return Bounds(new_low, new_high, min(max(self.initial, new_low), new_high))


def cell_bounds(text: str) -> Bounds:
    """The cells' `autoscaling_config`. Raises ClusterError where there is none."""
    scaling = _value(_autoscaling(text))
    try:
        low, high = int(scaling.get("min_replicas", 1)), int(scaling.get("max_replicas", 100))
        return Bounds(low, high, int(scaling.get("initial_replicas") or low))
    except (TypeError, ValueError):
        raise ClusterError(f"serveConfigV2 bounds the cells of {DEPLOYMENT} by what is no number", _REMEDY) from None


def with_cell_bounds(text: str, bounds: Bounds) -> str:
    """The same with `min_replicas`, `max_replicas` and, where it is written, `initial_replicas` changed."""
    before = cell_bounds(text)
    wanted = {"min_replicas": bounds.low, "max_replicas": bounds.high}
    if "initial_replicas" in _value(_autoscaling(text)) or bounds.initial != before.initial:
        wanted["initial_replicas"] = bounds.initial
    for key, number in wanted.items():
        text = _with(text, _autoscaling(text), key, str(number))
    return text


def with_running(text: str, running: int) -> str:
    """The same with `running` cells to begin with, within its bounds; as it is where none run or they do not scale.

    Serve sets a deployment whose settings have changed to that number, however many there were.
    """
    try:
        before = cell_bounds(text)
    except ClusterError:
        return text
    initial = min(max(running, before.low), before.high)
    if not running or initial == before.initial:
        return text
    return _with(text, _autoscaling(text), "initial_replicas", str(initial))


def same_ends(text: str, other: str) -> bool:
    """Whether both bound the cells alike."""
    try:
        one, two = cell_bounds(text), cell_bounds(other)
    except ClusterError:
        return False
    return (one.low, one.high) == (two.low, two.high)


def with_restart(text: str, moment: str) -> str:
    """The same with another environment of the application, at which Serve replaces its replicas one after another."""
    application = _application(text)
    environment = _child(application, "runtime_env")
    if environment is None:
        return _with(text, application, "runtime_env", f'{{env_vars: {{{RESTARTED_AT}: "{moment}"}}}}')
    variables = _child(environment, "env_vars")
    if variables is None:
        return _with(text, environment, "env_vars", f'{{{RESTARTED_AT}: "{moment}"}}')
    return _with(text, variables, RESTARTED_AT, f'"{moment}"')


def _with(text: str, mapping: yaml.MappingNode, key: str, written: str) -> str:
    """`key: written` in the mapping, in the place of what is there or as its last entry."""
    old = _child(mapping, key)
    if old is not None:
        return text[: old.start_mark.index] + written + text[_end(old) :]
    if not mapping.value:
        raise ClusterError(f"serveConfigV2 has an empty mapping where {key} belongs", _REMEDY)
    last = _end(mapping.value[-1][1])
    if mapping.flow_style:
        return f"{text[:last]}, {key}: {written}{text[last:]}"
    return f"{text[:last].rstrip()}\n{' ' * mapping.start_mark.column}{key}: {written}{_gap(text, last)}"


def _gap(text: str, end: int) -> str:
    """What follows an entry that another is put behind."""
    rest = text[end:]
    return rest if rest.startswith("\n") or not rest else "\n" + rest


def _end(node: yaml.Node) -> int:
    """Behind the last character of a node's value: a block's own mark stands before the next key, comments included."""
    while isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _application(text: str) -> yaml.MappingNode:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ClusterError(f"serveConfigV2 is no YAML: {str(error).splitlines()[0]}", _REMEDY) from None
    application = _named(_child(root, "applications"), APPLICATION)
    if application is None:
        raise ClusterError(f"serveConfigV2 has no application {APPLICATION}", _REMEDY)
    found: yaml.MappingNode = application
    return found


def _autoscaling(text: str) -> yaml.MappingNode:
    deployment = _named(_child(_application(text), "deployments"), DEPLOYMENT)
    scaling = _child(deployment, "autoscaling_config")
    if not isinstance(scaling, yaml.MappingNode):
        raise ClusterError(f"serveConfigV2 has no autoscaling_config of {DEPLOYMENT}: its cells do not scale", _REMEDY)
    return scaling


def _child(node: yaml.Node | None, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _named(nodes: yaml.Node | None, name: str) -> Any:
    listed = nodes.value if isinstance(nodes, yaml.SequenceNode) else []
    return next((one for one in listed if getattr(_child(one, "name"), "value", None) == name), None)


def _value(node: yaml.Node) -> dict[str, Any]:
    loader = yaml.SafeLoader("")
    try:
        built: dict[str, Any] = loader.construct_document(node)
    finally:
        loader.dispose()
    return built
