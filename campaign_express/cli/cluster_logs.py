"""`cluster logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from campaign_express.cli.cluster_target import (
    NAMESPACE,
    REQUEST_S,
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    Target,
    TimeoutOption,
)
from campaign_express.cluster.names import Part


def logs(
    part: Annotated[Part, typer.Option("--of", help="Whose.")] = Part.CELLS,
    pod: Annotated[str, typer.Option("--pod", help="Only of this pod.", show_default="all")] = "",
    tail: Annotated[int, typer.Option("--tail", min=0, help="So many of the last lines of each pod; 0: all.")] = 100,
    since: Annotated[int, typer.Option("--since", min=0, help="Only of so many seconds back; 0: no limit.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    previous: Annotated[bool, typer.Option("--previous", help="Of the container before the last restart.")] = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    namespace: NamespaceOption = NAMESPACE,
    timeout: TimeoutOption = REQUEST_S,
) -> None:
    """Print logs of the cells, the head, the autoscaler or the operator; of several pods, each line with its pod."""
    from campaign_express.cluster.connection import connect
    from campaign_express.cluster.pod_logs import Wanted, lines, sources, together

    with connect(Target(kubeconfig, context, namespace, timeout)) as connection:
        chosen = sources(connection, part, pod)
        wanted = Wanted(tail, since, follow, previous)
        try:
            if len(chosen) > 1:
                width = max(len(source.pod) for source in chosen)
                for source, line in together(connection, chosen, wanted):
                    typer.echo(f"{source.pod:{width}}  {line}")
            else:
                for line in lines(connection, chosen[0], wanted):
                    typer.echo(line)
        except KeyboardInterrupt:  # the way to end --follow
            raise typer.Exit(0) from None
