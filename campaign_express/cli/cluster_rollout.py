"""`cluster rollout status` and `cluster restart`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from campaign_express.cli.cluster_scale import told
from campaign_express.cli.cluster_target import (
    NAMESPACE,
    REQUEST_S,
    ContextOption,
    DryRunOption,
    KubeconfigOption,
    NamespaceOption,
    Target,
    WaitOption,
)
from campaign_express.cli.common import stderr

if TYPE_CHECKING:
    from campaign_express.cluster.connection import Connection
    from campaign_express.cluster.rollout import Progress as Now

ROLLOUT_S = 900.0
SETTLE_S = 10.0

app = typer.Typer(help="A change on its way through the cells.", no_args_is_help=True)

SettleOption = Annotated[
    float, typer.Option("--settle", min=0, help="Seconds for which all has to be well before it counts as done.")
]


@app.callback()
def _group() -> None:
    """A change on its way through the cells."""  # or its only command would stand for the group


@app.command("status")
def rollout_status(
    settle: SettleOption = SETTLE_S,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: WaitOption = ROLLOUT_S,
) -> None:
    """Wait until what was deployed or scaled is live, showing what it waits for. Exit code 1 when it fails or lasts."""
    from campaign_express.cluster.connection import connect

    with connect(Target(kubeconfig, context, namespace, min(REQUEST_S, timeout))) as connection:
        _wait(connection, timeout, settle)


def restart(
    pod: Annotated[
        str, typer.Option("--pod", help="Evict this pod instead, whole; KubeRay makes it anew.", show_default=False)
    ] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until all cells are new.")] = False,
    dry_run: DryRunOption = False,
    settle: SettleOption = SETTLE_S,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: WaitOption = ROLLOUT_S,
) -> None:
    """Replace the processes of all cells one after another, each draining before it goes; pods and nodes stay."""
    from campaign_express.cluster.connection import connect
    from campaign_express.cluster.restart import evict
    from campaign_express.cluster.restart import restart as restarted

    with connect(Target(kubeconfig, context, namespace, min(REQUEST_S, timeout))) as connection:
        if pod:
            body = evict(connection, pod, dry_run)
            typer.echo(yaml.safe_dump(body, sort_keys=False).rstrip() if dry_run else f"evicted {pod}")
        else:
            operations = restarted(connection, dry_run)
            if dry_run:
                typer.echo("RayService campaign-express:")
            typer.echo("\n".join(f"  {line}" for line in told(operations)) if dry_run else "restarting all cells")
        if dry_run:
            typer.echo("nothing was changed: --dry-run")
        elif not no_wait:
            _wait(connection, timeout, settle)


def _wait(connection: Connection, timeout: float, settle: float) -> None:
    from campaign_express.cluster.rollout import wait

    began = time.monotonic()
    with _Shown() as shown:
        now = wait(connection, timeout, settle, shown)
    typer.echo(f"done: {now.ready} of {now.desired} bidders ready, after {time.monotonic() - began:.0f} s")


class _Shown:
    """A bar for a person; elsewhere a line whenever something else is waited for."""

    def __init__(self) -> None:
        columns = (BarColumn(20), TextColumn("{task.completed}/{task.total} ready"), TimeElapsedColumn())
        self._bar = Progress(
            *columns, TextColumn("{task.description}", markup=False), console=stderr, disable=not stderr.is_terminal
        )
        self._task = self._bar.add_task("", total=None, visible=False)
        self._last = ""

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, now: Now) -> None:
        text = f"waiting for {'; '.join(now.waiting_for)}" if now.waiting_for else "all is well, staying a moment"
        self._bar.update(self._task, completed=now.ready, total=now.desired or None, description=text, visible=True)
        if not stderr.is_terminal and text != self._last:
            typer.echo(text, err=True)
        self._last = text
