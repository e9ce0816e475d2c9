"""The screens of `cluster status`."""

from __future__ import annotations

from datetime import UTC, datetime

from rich import box
from rich.table import Table
from rich.text import Text

from campaign_express.cli.common import stdout
from campaign_express.cluster.cells import Cell
from campaign_express.cluster.overview import Overview


def printed(seen: Overview) -> None:
    stdout.print(_summary(seen))
    stdout.print(_deployments(seen))
    stdout.print(_cells(seen))


def _summary(seen: Overview) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    ready = Text("ready", "green") if seen.ready else Text("not ready: ", "red").append(seen.ready_message, "default")
    table.add_row("service", ready)
    if seen.upgrading:
        table.add_row("upgrade", Text("in progress: ", "yellow").append(seen.upgrade_message, "default"))
    for one in seen.clusters:
        table.add_row(f"{one.role} cluster", f"{one.name}, {one.state}: {one.ready} of {one.desired} bidders ready")
    if seen.head is not None:
        table.add_row("head", f"{seen.head.pod}, {seen.head.state}, {age(seen.head.since)}")
    for one in seen.clusters[:1]:
        table.add_row("nodes scale", f"{one.low} to {one.high}; autoscaler {seen.autoscaler}")
    if seen.scaling is not None:
        table.add_row(
            "cells scale", f"{seen.scaling.low} to {seen.scaling.high}, beginning with {seen.scaling.initial}"
        )
    table.add_row("NPU nodes", "not known: no right to list nodes" if seen.nodes is None else _nodes(*seen.nodes))
    if seen.budget is None:
        table.add_row("disruptions", Text("no disruption budget: a drain may take all cells at once", "yellow"))
    else:
        table.add_row("disruptions", f"{seen.budget.may_leave} cells may leave now; {seen.budget.kept} have to stay")
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in seen.versions.items()))
    return table


def _nodes(ready: int, known: int) -> str:
    return f"{ready} ready" if ready == known else f"{ready} of {known} ready"


def _deployments(seen: Overview) -> Table:
    table = Table(
        "application", "deployment", "state", "message", title="Serve", title_justify="left", box=box.SIMPLE_HEAD
    )
    for one in seen.deployments:
        style = "green" if one.status == "HEALTHY" else "yellow" if one.status == "UPDATING" else "red"
        whole = seen.applications.get(one.application, "")
        name = one.application if whole == "RUNNING" else f"{one.application} ({whole})"
        table.add_row(name, one.name, Text(one.status, style), Text(one.message))
    if not seen.deployments:
        table.add_row("none is known yet", "", "", "")
    return table


def _cells(seen: Overview) -> Table:
    """Those that are not ready come first."""
    ready = sum(cell.ready for cell in seen.cells)
    table = Table(title=f"Cells: {ready} of {len(seen.cells)} ready", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("node", "pod", "address"):
        table.add_column(heading, no_wrap=heading != "pod", overflow="fold")
    table.add_column("age", justify="right")
    table.add_column("restarts", justify="right")
    table.add_column("state", overflow="fold")
    for cell in seen.cells:
        restarts = Text(str(cell.restarts), "yellow" if cell.restarts else "")
        table.add_row(cell.node or "-", cell.pod, cell.address or "-", age(cell.since), restarts, _state(cell))
    return table


def _state(cell: Cell) -> Text:
    return Text(cell.state, "green" if cell.ready else "red")


def age(since: str) -> str:
    """Of a Kubernetes timestamp: `37s`, `5m`, `3h`, `12d`."""
    if not since:
        return "-"
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.0f}s"
