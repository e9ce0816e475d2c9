"""`campaign-express`: start, check, publish, replay, load. One command a module; this one puts them together.

Exit codes: 0 done; 1 something that is needed is away or has failed; 2 a wrong file, option or setting. A wrong input
is one line (or one line a problem) on stderr, never a traceback.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from campaign_express.cli import (
    audit,
    backtest,
    catalog,
    check,
    cluster,
    db,
    events,
    exchange,
    ledger,
    load,
    postback,
    privacy,
    profiles,
    reconcile,
    replay,
    report,
    switches,
    up,
)
from campaign_express.errors import CampaignExpressError, CatalogError, ConfigError, ModelError


class ReportingGroup(TyperGroup):
    """Turns our own errors into a message and an exit code, in one place for all commands."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `replay ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except (CatalogError, ConfigError, ModelError) as error:
            code, message = 2, str(error)
        except CampaignExpressError as error:
            code, message = 1, str(error)
        except OSError as error:
            code, message = 2, f"{error.filename}: {error.strerror}" if error.filename else str(error)
        typer.echo(f"error: {message}", err=True)
        raise SystemExit(code)


app = typer.Typer(
    name="campaign-express",
    help="A real-time bidder: OpenRTB 2.6 in, a priced bid out.",
    cls=ReportingGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up.up)
app.command("check-config")(check.check_config)
app.add_typer(catalog.app, name="catalog")
app.add_typer(profiles.app, name="profiles")
app.add_typer(ledger.app, name="ledger")
app.command()(audit.audit)
app.command()(reconcile.reconcile)
app.command()(backtest.backtest)
app.add_typer(events.app, name="events")
app.add_typer(privacy.app, name="privacy")
app.add_typer(db.app, name="db")
app.add_typer(cluster.app, name="cluster")
app.command()(switches.stop)
app.command()(switches.resume)
app.command()(switches.switches)
app.command()(postback.postback)
app.command()(report.report)
app.command()(replay.replay)
app.command()(load.load)
app.command()(exchange.exchange)
