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

if TYPE_CHECKING:
    from campaign_express.cluster.apply import Applied
    from campaign_express.cluster.connection import Object


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
    dry_run: DryRunOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: TimeoutOption = REQUEST_S,
) -> None:
    """Apply manifests server-side. Every object is tried first; with a problem in one, none is changed."""
    from campaign_express.cluster import apply, manifests
    from campaign_express.cluster.connection import connect

    objects = manifests.read(sources)
    with connect(Target(kubeconfig, context, namespace, timeout)) as connection:
        if dry_run:
            typer.echo(yaml.safe_dump_all([_shown(body) for body in objects], sort_keys=False, width=1000), nl=False)
        done = apply.deploy(connection, objects, force_conflicts, dry_run, _told)
    changed = sum(one.how != "unchanged" for one in done)
    what = "would change" if dry_run else "changed"
    typer.echo(f"{what} {changed} of {len(done)} objects", err=True)


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
