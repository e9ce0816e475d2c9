"""`load`: open-loop load against a running bidder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from campaign_express.cli.common import PatientProgress, stdout
from campaign_express.errors import ConfigError, Unavailable

URL = "http://127.0.0.1:8080/v1/bid"


def load(
    requests: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, readable=True, help="Bid requests, one a line, sent in turn.")
    ],
    rate: Annotated[float, typer.Option(min=0.1, help="Arrivals a second, on average.")] = 100.0,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = 10.0,
    url: Annotated[str, typer.Option(help="Where bids are asked for.")] = URL,
    connections: Annotated[int, typer.Option(min=1, help="Connections opened beforehand and kept alive.")] = 64,
    churn: Annotated[float, typer.Option(min=0, max=1, help="Share of answers after which we close.")] = 0.0,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds to wait for an answer.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Of the arrival times.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Send bid requests at a rate that does not wait for answers; print how they were answered."""
    from campaign_express.loadgen import run_load

    bodies = [line for line in requests.read_bytes().splitlines() if line.strip()]
    if not bodies:
        raise ConfigError("An option that cannot be used:", [f"--requests {requests}: holds no request"])
    with PatientProgress(f"{rate:g} requests/s for {duration:g} s", duration) as progress:
        try:
            report = run_load(
                url,
                rate,
                duration,
                bodies,
                connections,
                churn=churn,
                timeout_s=timeout,
                seed=seed,
                on_progress=lambda seconds, sent, finished: progress.to(seconds),
            )
        except ValueError as error:
            raise ConfigError("An option that cannot be used:", [str(error)]) from None
    if as_json:
        typer.echo(msgspec.json.encode(report))
    else:
        table = Table("figure", box=None, show_header=False)
        table.add_column("value", justify="right")
        for row in report.rows():
            table.add_row(*row)
        stdout.print(table)
    if report.sent and report.failures.get("refused", 0) == report.sent:
        raise Unavailable(f"nothing listens at {url}")
