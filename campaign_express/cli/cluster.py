"""`cluster`: status, scale, deploy, restart, rollout, logs and doctor of a Campaign Express on Kubernetes."""

from __future__ import annotations

import sys

import msgspec
import typer

from campaign_express.cli import cluster_deploy, cluster_doctor, cluster_logs, cluster_rollout, cluster_scale
from campaign_express.cli.cluster_status import printed
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

app = typer.Typer(
    help="A Campaign Express on Kubernetes: look, deploy, scale, restart, find faults.", no_args_is_help=True
)


@app.command()
def status(
    as_json: JsonOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: TimeoutOption = REQUEST_S,
) -> None:
    """Show cells, nodes, versions and the autoscaler. Exit code 1 while the service is not ready."""
    from campaign_express.cluster.connection import connect
    from campaign_express.cluster.overview import look

    with connect(Target(kubeconfig, context, namespace, timeout)) as connection:
        seen = look(connection)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(seen)).decode() + "\n")
    else:
        printed(seen)
    if not seen.ready:
        raise typer.Exit(1)


app.command()(cluster_deploy.deploy)
app.command()(cluster_scale.scale)
app.add_typer(cluster_rollout.app, name="rollout")
app.command()(cluster_rollout.restart)
app.command()(cluster_logs.logs)
app.command()(cluster_doctor.doctor)
