"""`cluster deploy`: manifests into the cluster, all of them checked before the first is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
import yaml

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
from campaign_express.cluster.names import RAY_SERVICE

if TYPE_CHECKING:
    from campaign_express.cluster.apply import Applied
    from campaign_express.cluster.connection import Object
    from campaign_express.cluster.keeping import Kept


def deploy(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Kustomization, manifest or folder of manifests; - for what is piped in.",
            show_default=False,
        ),
    ],
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Overwrite fields that others (`scale`, kubectl) have set.")
    ] = False,
    cells_as_written: Annotated[
        bool,
        typer.Option(
            "--cells-as-written", help="Leave initial_replicas as the manifest has it, however many cells run now."
        ),
    ] = False,
    dry_run: DryRunOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: TimeoutOption = REQUEST_S,
) -> None:
    """Apply manifests server-side. Every object is tried first; with a problem in one, none is changed.

    The cells that run now are written into initial_replicas, to which Serve would set them back otherwise.
    """
    from campaign_express.cluster import apply, manifests
    from campaign_express.cluster.connection import connect
    from campaign_express.cluster.keeping import keep_cells

    objects = manifests.read(sources)
    with connect(Target(kubeconfig, context, namespace, timeout)) as connection:
        if not cells_as_written:
            objects = keep_cells(connection, objects, _kept)
        if dry_run:
            typer.echo(yaml.safe_dump_all([_shown(body) for body in objects], sort_keys=False, width=1000), nl=False)
        done = apply.deploy(connection, objects, force_conflicts, dry_run, _told)
    changed = sum(one.how != "unchanged" for one in done)
    what = "would change" if dry_run else "changed"
    typer.echo(f"{what} {changed} of {len(done)} objects", err=True)


def _kept(one: Kept) -> None:
    ready = "1 cell runs" if one.running == 1 else f"{one.running} cells run"
    what = f"initial_replicas of RayService {one.namespace}/{RAY_SERVICE} {one.before} → {one.after}"
    typer.echo(f"{ready}: {what} (--cells-as-written leaves it)", err=True)


def _told(one: Applied) -> None:
    where = f"{one.namespace}/" if one.namespace else ""
    typer.echo(f"{one.how:9} {one.kind} {where}{one.name}", err=True)


def _shown(body: Object) -> Object:
    """Secrets are named, not shown."""
    if body["kind"] != "Secret":
        return body
    return {
        key: dict.fromkeys(value, "(not shown)") if key in ("data", "stringData") and value else value
        for key, value in body.items()
    }
