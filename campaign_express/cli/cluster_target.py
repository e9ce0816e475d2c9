"""Options of every `cluster` command: which cluster, which namespace, how patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from campaign_express.cluster.connection import Target
from campaign_express.cluster.names import NAMESPACE

REQUEST_S = 30.0

KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        exists=True,
        dir_okay=False,
        help="Kubeconfig to use.",
        show_default="KUBECONFIG, else ~/.kube/config, else the pod's service account",
    ),
]
ContextOption = Annotated[
    str, typer.Option("--context", help="Context of the kubeconfig.", show_default="its current one")
]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the RayService.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that one answer may take.")]
WaitOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for its end.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Let the API server check it, print the patch, change nothing.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

__all__ = ["NAMESPACE", "Target"]
