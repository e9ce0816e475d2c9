"""`exchange`: simulated exchanges against a running bidder, and the truth about what it spent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

import msgspec
import typer
from rich.table import Table

from campaign_express.cli.common import ConfigOption, PatientProgress, settings_from, stderr, stdout
from campaign_express.config import Settings
from campaign_express.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from campaign_express.exchange.faults import Faults
    from campaign_express.exchange.plan import Plan
    from campaign_express.exchange.report import Report
    from campaign_express.exchange.shapes import Shapes
    from campaign_express.exchange.venues import Venue

URL = "http://127.0.0.1:8080"


def exchange(
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second of real time, on average.")] = 100.0,
    duration: Annotated[float, typer.Option(min=1, help="Seconds of real time.")] = 60.0,
    url: Annotated[str, typer.Option(help="Where the bidder listens.")] = URL,
    requests: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="Bid requests to take shapes from, one a line."),
    ] = None,
    built_in: Annotated[
        bool, typer.Option("--built-in", help="Simulate the built-in exchanges, not those of the exchanges file.")
    ] = False,
    people: Annotated[int, typer.Option(min=0, help="How many people there are, 0: one for six requests.")] = 0,
    spike: Annotated[float, typer.Option(min=1, help="Traffic in the middle of the run, times the usual.")] = 1.0,
    linger: Annotated[float, typer.Option(min=0, help="Seconds in which notices still go out at the end.")] = 15.0,
    lost: Annotated[float, typer.Option(min=0, max=1, help="Share of notices that never arrive.")] = 0.0,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share that comes late, within the lateness.")] = 0.0,
    beyond: Annotated[float, typer.Option(min=0, max=1, help="Share that comes later than that.")] = 0.0,
    duplicated: Annotated[float, typer.Option(min=0, max=1, help="Share that comes twice.")] = 0.0,
    reordered: Annotated[float, typer.Option(min=0, max=1, help="Share that others overtake.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 1,
    save: Annotated[
        Path | None, typer.Option(file_okay=False, help="Directory for report.json and report.html.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    write_exchanges: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the exchanges file of the built-in exchanges, say the keys, and end."),
    ] = None,
    write_clock: Annotated[
        float, typer.Option(min=0, help="Print a clock that runs this much faster from the next UTC midnight, and end.")
    ] = 0.0,
    config: ConfigOption = None,
) -> None:
    """Ask for bids, hold auctions, send notices, and report what the bidder spent, showed and exceeded."""
    from campaign_express.exchange import shapes, venues
    from campaign_express.exchange.faults import Faults

    if write_clock:
        typer.echo(_clock_text(write_clock))
        return
    if write_exchanges is not None:
        if write_exchanges.exists():
            raise ConfigError("An option that cannot be used:", [f"--write-exchanges: {write_exchanges} exists"])
        venues.write_exchanges(write_exchanges, venues.venues())
        typer.echo(f"CAMPAIGN_EXPRESS_EXCHANGES_FILE={write_exchanges}")
        typer.echo(f"CAMPAIGN_EXPRESS_PRICE_KEYS={venues.price_keys(venues.venues())}")
        return
    shares = {"lost": lost, "late": late, "beyond": beyond, "duplicated": duplicated, "reordered": reordered}
    settings = settings_from(config)
    faults = Faults(**shares, lateness_ms=settings.notice_lateness_s * 1000)
    plan = _plan(settings, _Wish(url, built_in, rate, duration, spike, people, linger, seed), faults)
    sold = shapes.read(requests) if requests is not None else shapes.generate(seed)
    if save is not None:  # before the run: its report must find a place
        save.mkdir(parents=True, exist_ok=True)
    report, page = _run(plan, sold, duration)
    if save is not None:
        (save / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        (save / "report.html").write_text(page)
    if as_json:
        typer.echo(msgspec.json.encode(report))
    else:
        stdout.print(_table(report))
    if report.requests and not report.answered:
        raise Unavailable(f"nothing answers at {url}")


class _Wish(NamedTuple):
    """The options that a plan is made of."""

    url: str
    built_in: bool
    rate: float
    duration: float
    spike: float
    people: int
    linger: float
    seed: int


def _plan(settings: Settings, wish: _Wish, faults: Faults) -> Plan:
    from campaign_express import embedded
    from campaign_express.cli.catalog import current
    from campaign_express.clock import parse_clock
    from campaign_express.exchange import venues
    from campaign_express.exchange.plan import Plan
    from campaign_express.exchange.traffic import DIURNAL, Spike, Traffic
    from campaign_express.openrtb.notices import parse_keys
    from campaign_express.openrtb.postbacks import make_token

    parts = urlsplit(wish.url)
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError("An option that cannot be used:", [f"--url: {wish.url!r} is not an http URL"])
    clock = parse_clock(settings.simulated_clock)
    start_ms = max(clock.now_ms(), clock.start_ms)
    length_ms = int(wish.duration * 1000 * clock.speed)
    spikes = (Spike(start_ms + length_ms // 2, length_ms // 24, wish.spike),) if wish.spike > 1 else ()
    keys = parse_keys(embedded.ensure(settings, only=("notice_keys",)).notice_keys)
    return Plan(
        seed=wish.seed,
        host=parts.hostname,
        port=parts.port or 80,
        requests=max(1, int(wish.rate * wish.duration)),
        start_ms=start_ms,
        end_ms=start_ms + length_ms,
        clock=clock,
        traffic=Traffic(DIURNAL, spikes),
        venues=venues.venues() if wish.built_in else _venues_of(settings),
        catalog=current(settings)[0],
        faults=faults,
        people=wish.people,
        linger_s=wish.linger,
        tokens=lambda advertiser: make_token(keys, advertiser),
    )


def _venues_of(settings: Settings) -> tuple[Venue, ...]:
    """The exchanges of the settings' file, each as often as the others; none whose prices we could not encrypt."""
    from campaign_express import bootstrap
    from campaign_express.exchange.venues import Venue
    from campaign_express.gateway.clearing import parse_price_keys

    keys = parse_price_keys(settings.price_keys)
    found = bootstrap.read_exchanges(settings).exchanges
    known = [e for e in found if e.price_encryption == "none" or e.name in keys]
    for one in found:
        if one not in known:
            stderr.print(f"{one.name} is left out: it encrypts prices, and price_keys holds no keys of it")
    return tuple(Venue(one, 1.0, keys.get(one.name)) for one in known)


def _run(plan: Plan, sold: Shapes, duration: float) -> tuple[Report, str]:
    """The report and its page."""
    from campaign_express.exchange.chart import render
    from campaign_express.exchange.report import curves, make_report
    from campaign_express.exchange.simulation import Progress, run

    with PatientProgress(f"{plan.requests:,} requests in {duration:g} s", plan.requests) as bar:

        def progress(at: Progress) -> None:
            bar.to(at.sent)

        try:
            results = run(plan, sold, progress)
        except OSError:
            raise Unavailable(f"nothing listens at http://{plan.host}:{plan.port}") from None
    report = make_report(plan, results)
    return report, render(report, curves(plan, results), report.facts())


def _table(report: Report) -> Table:
    table = Table("figure", box=None, show_header=False)
    table.add_column("value", justify="right")
    for row in report.facts():
        table.add_row(*row)
    return table


def _clock_text(speed: float) -> str:
    """A clock for bidder and exchange: the next UTC midnight comes in a minute of real time."""
    now_ms = time.time_ns() // 1_000_000
    midnight = (now_ms // 86_400_000 + 1) * 86_400_000
    return f"{now_ms + 60_000}:{midnight}:{speed:g}"
