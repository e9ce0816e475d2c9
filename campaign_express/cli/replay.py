"""`replay`: decide a file of bid requests offline, with the very core that the agents run."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct
from rich.table import Table

from campaign_express import embedded, frames
from campaign_express.cli.common import ConfigOption, InputFile, PatientProgress, settings_from, stdout
from campaign_express.config import Settings
from campaign_express.openrtb.codec import body_too_large, error_body
from campaign_express.openrtb.nobid import BY_INDEX, NoBidReason

BATCH = 64  # requests decided together; as a busy agent would


class Outcome(Struct):
    """One line of output. `response`: the BidResponse, or the error body of an invalid request."""

    id: Any  # the request's, null where it has none that can be read
    outcome: str  # bid, no-bid, invalid
    response: msgspec.Raw | None
    reasons: list[str]  # why there is no bid; empty for a bid
    micros: list[int]  # CPM micros of USD, one a bid


class _Identity(Struct):
    id: Any = None


def replay(
    file: InputFile,
    summary: Annotated[bool, typer.Option("--summary", help="Print a table of outcomes instead of the lines.")] = False,
    exchange: Annotated[str, typer.Option(help="Exchange that asks.", show_default="the default exchange")] = "",
    config: ConfigOption = None,
) -> None:
    """Decide a FILE of OpenRTB requests, one a line, offline; print one JSON object a line."""
    from campaign_express import bootstrap
    from campaign_express.errors import ConfigError

    settings = embedded.with_notice_key(settings_from(config))
    bidder = bootstrap.build_bidder(settings)
    if exchange not in bidder.exchanges:
        known = ", ".join(sorted(name for name in bidder.exchanges if name))
        raise ConfigError("An option that cannot be used:", [f"--exchange {exchange}: unknown; known are {known}"])
    counts: Counter[tuple[str, str]] = Counter()
    write = sys.stdout.buffer.write
    encode = msgspec.json.Encoder().encode
    with PatientProgress("replay", file.stat().st_size) as progress:
        done = 0
        for bodies in _batches(file):
            for outcome in _decide(bidder, settings, exchange, bodies):
                if summary:
                    counts[outcome.outcome, outcome.reasons[0] if outcome.reasons else ""] += 1
                else:
                    write(encode(outcome) + b"\n")
            done += sum(map(len, bodies)) + len(bodies)
            progress.to(done)
    sys.stdout.flush()
    if summary:
        stdout.print(_table(counts))


def _batches(file: Path) -> Iterator[list[bytes]]:
    with file.open("rb") as lines:
        bodies: list[bytes] = []
        for line in lines:
            if body := line.strip():
                bodies.append(body)
            if len(bodies) == BATCH:
                yield bodies
                bodies = []
        if bodies:
            yield bodies


def _decide(bidder: Any, settings: Settings, exchange: str, bodies: list[bytes]) -> Iterable[Outcome]:
    now_ns = time.monotonic_ns()
    # As the gateway does: a body over the limit never reaches an agent.
    asks = [frames.Ask(exchange, now_ns, body) for body in bodies if len(body) <= settings.max_body_bytes]
    answers = iter(bidder.answer(asks, now_ns, time.time_ns() // 1_000_000).answers)
    for body in bodies:
        if len(body) <= settings.max_body_bytes:
            yield _outcome(body, next(answers))
        else:
            refusal = error_body(body_too_large(settings.max_body_bytes))
            yield _outcome(body, frames.Answer(413, refusal, NoBidReason.INVALID_REQUEST.index))


def _outcome(body: bytes, answer: frames.Answer) -> Outcome:
    if answer.reason < 0:
        kind = "bid"
    elif answer.status >= 400:
        kind = "invalid"
    else:
        kind = "no-bid"
    reasons = [] if answer.reason < 0 else [BY_INDEX[answer.reason].value]
    return Outcome(_id(body), kind, msgspec.Raw(answer.body) if answer.body else None, reasons, list(answer.prices))


def _id(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body, type=_Identity).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _table(counts: Counter[tuple[str, str]]) -> Table:
    total = sum(counts.values())
    table = Table("outcome", "reason", title=f"{total:,} requests", title_justify="left")
    table.add_column("requests", justify="right")
    table.add_column("share", justify="right")
    for outcome in ("bid", "no-bid", "invalid"):
        rows = sorted((item for item in counts.items() if item[0][0] == outcome), key=lambda item: (-item[1], item[0]))
        for (_, reason), count in rows:
            table.add_row(outcome, reason, f"{count:,}", f"{count / total:.1%}")
    return table
