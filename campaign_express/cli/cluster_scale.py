"""`cluster scale`: the bounds of the autoscaling, in every place that holds them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from campaign_express.cli.cluster_target import (
    NAMESPACE,
    REQUEST_S,
    ContextOption,
    DryRunOption,
    KubeconfigOption,
    NamespaceOption,
    Target,
    TimeoutOption,
)

if TYPE_CHECKING:
    from campaign_express.cluster.connection import Object
    from campaign_express.cluster.scale import Plan


def scale(
    low: Annotated[int | None, typer.Option("--min", help="Cells and nodes at least.", show_default="as it is")] = None,
    high: Annotated[int | None, typer.Option("--max", help="Cells and nodes at most.", show_default="as it is")] = None,
    dry_run: DryRunOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: TimeoutOption = REQUEST_S,
) -> None:
    """Set how many cells and nodes there may be, and how many a drain has to leave. All of it, or nothing.

    Without --min and --max only the disruption budget is put right: 80 % of the bidders wanted now.
    """
    from campaign_express.cluster.connection import connect
    from campaign_express.cluster.scale import scale as scaled

    with connect(Target(kubeconfig, context, namespace, timeout)) as connection:
        planned = scaled(connection, low, high, dry_run)
    if dry_run:
        for step in planned.steps:
            typer.echo(f"{step.what}:")
            typer.echo("\n".join(f"  {line}" for line in told(step.forth)))
    _say(planned, dry_run)


def _say(planned: Plan, dry_run: bool) -> None:
    if not planned.steps:
        typer.echo(f"nothing to do: {planned.after.low} to {planned.after.high} cells, {planned.kept_after} kept")
        return
    before, after = planned.before, planned.after
    typer.echo(f"cells and nodes: {before.low} to {before.high} → {after.low} to {after.high}")
    kept = "none" if planned.kept_before is None else planned.kept_before
    typer.echo(f"kept at a drain: {kept} → {planned.kept_after} of {planned.wanted}")
    typer.echo("nothing was changed: --dry-run" if dry_run else f"changed {', '.join(s.what for s in planned.steps)}")


def told(operations: list[Object]) -> list[str]:
    """A JSON patch for a person: paths with old and new values; of long texts the lines that differ."""
    lines: list[str] = []
    before: dict[str, object] = {}
    for operation in operations:
        path, value = operation["path"], operation.get("value")
        if operation["op"] == "test":
            before[path] = value
        elif isinstance(value, str) and "\n" in value:
            lines.append(f"{path}:")
            old = str(before.get(path, "")).splitlines()
            diff = list(difflib.unified_diff(old, value.splitlines(), n=1, lineterm=""))[2:]
            lines += [f"  {line}" for line in diff]
        elif operation["op"] == "remove":
            lines.append(f"{path}: {before.get(path, '')} → removed")
        else:
            lines.append(f"{path}: {before.get(path, 'not set')} → {value}")
    return lines
