"""`cluster doctor`."""

from __future__ import annotations

import sys

import msgspec
import typer
from rich import box
from rich.table import Table
from rich.text import Text

from campaign_express.cli.cluster_target import (
    NAMESPACE,
    REQUEST_S,
    ContextOption,
    JsonOption,
    KubeconfigOption,
    NamespaceOption,
    Target,
    TimeoutOption,
)
from campaign_express.cli.common import stdout

STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red", "unknown": "dim"}


def doctor(
    as_json: JsonOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: TimeoutOption = REQUEST_S,
) -> None:
    """Check everything that bids depend on, each with its remedy, changing nothing. Exit code 1: something is bad."""
    from campaign_express.cluster.connection import connect
    from campaign_express.cluster.doctor import Verdict, examine

    with connect(Target(kubeconfig, context, namespace, timeout)) as connection:
        findings = list(examine(connection))
    numbers = {verdict: sum(one.verdict is verdict for one in findings) for verdict in Verdict}
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(findings)).decode() + "\n")
    else:
        table = Table(box=box.SIMPLE_HEAD)
        for heading in ("", "check", "found"):
            table.add_column(heading, overflow="fold")
        for one in findings:
            found = Text(one.found)
            if one.remedy:
                found.append(f"\n→ {one.remedy}", "cyan")
            table.add_row(Text(one.verdict, STYLES[one.verdict]), Text(one.about), found)
        stdout.print(table)
        typer.echo(", ".join(f"{number} {verdict}" for verdict, number in numbers.items() if number))
    if numbers[Verdict.BAD]:
        raise typer.Exit(1)
