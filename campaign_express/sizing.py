"""How long an outage the settings of streams, spools and buffers outlast: arithmetic of rates, for docs/pipeline.md.

    python -m campaign_express.sizing     prints the table of the docs: of the defaults, at 50 million bids an hour

Sizes of messages are those of typical events as they are encoded. A stream counts what it stores before compression.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from campaign_express.config import Settings
from campaign_express.events import (
    Chosen,
    DecisionEvent,
    DecisionFrame,
    MoneyEvent,
    RequestEvent,
    bid_key,
    decision_subject,
    encode_event,
    encode_frame,
    event_id,
    request_key,
    subject,
)

HOUR_S = 3600
DAY_H = 24
FRAME_EVENTS = 256  # of a full frame
ID = 20  # characters of a message's id
# What JetStream stores of a message besides subject and payload: length, sequence and time (22), the length of its
# header (4), the header with its message id, and a checksum (8).
STORED = 22 + 4 + len(b"NATS/1.0\r\nNats-Msg-Id: \r\n\r\n") + ID + 8
# Besides, of a money event: the place in its batch, whose id has some 12 characters.
BATCHED = len(b"Nats-Batch-Id: \r\nNats-Batch-Sequence: \r\n") + 12 + 2
# A record of the spool: length and checksum (8), and an array of subject, id and payload (1 + 1 + 1 + 3).
SPOOLED = 8 + 6 + ID
EXCHANGE, AUCTION = "exchange-1", "6f2c8e0a-51b7-4f0e-9c55-1d2f3a4b5c6d"
NOW_MS = 1_795_867_200_000
BODY = 1500  # bytes of a logged request, without what could tell a person


class Traffic(Struct, frozen=True):
    """What a fleet of cells has to do with."""

    bids: float = 50_000_000.0  # an hour
    requests_a_bid: float = 3.0  # those that are not bid on included
    win_rate: float = 0.1  # of bids
    notices_a_win: float = 3.0  # win, billing or impression, and now and then a loss, click or conversion
    cells: int = 16

    @property
    def notices(self) -> float:
        """An hour."""
        return self.bids * self.win_rate * self.notices_a_win


class Row(NamedTuple):
    """One setting."""

    setting: str
    holds: str
    outage: str  # of whom
    bytes_an_hour: float  # that it takes: of the fleet for a stream, of one cell for what a cell has
    limit: int  # bytes; 0: none
    hours: float | None  # that it outlasts; None: as long as the disk does
    for_a_day: float  # what it would have to be to outlast a day, bytes


def money_event() -> MoneyEvent:
    """A typical one."""
    key = bid_key(EXCHANGE, AUCTION, "1", "1")
    return MoneyEvent(
        id=event_id("win", key),
        bid_key=key,
        kind="win",
        exchange=EXCHANGE,
        auction=AUCTION,
        imp="1",
        bid=f"{AUCTION}.0",
        advertiser="advertiser-12",
        campaign="campaign-1234",
        creative="campaign-1234-300x250",
        authorised_micros=2350,
        lease=1_795_867_260,
        clear_micros=1840,
        sets_price=True,
        bid_ms=NOW_MS,
        received_ms=NOW_MS + 700,
        macros={"AUCTION_PRICE": "1.84"},
    )


def decision_event() -> DecisionEvent:
    """A typical bid."""
    return DecisionEvent(
        kind="bid",
        id=bid_key(EXCHANGE, AUCTION, "1", "1"),
        time_ms=NOW_MS,
        exchange=EXCHANGE,
        advertiser="advertiser-12",
        campaign="campaign-1234",
        creative="campaign-1234-300x250",
        reason="",
        weight=1,
        price_micros=2_350_000,
        floor_micros=500_000,
        pctr_ppm=1200,
        pcvr_ppm=20_000,
        deal="",
        media="banner",
        size="300x250",
        inventory="site",
        place="news.example.com",
        country="USA",
        region="CA",
        device=4,
        os="ios",
        user="p" * 27,
        contextual=False,
        catalog=1234,
        model="seed-1",
        latency_us=2900,
        test=False,
    )


def request_event() -> RequestEvent:
    """A typical one."""
    return RequestEvent(
        id=request_key(EXCHANGE, AUCTION),
        time_ms=NOW_MS,
        exchange=EXCHANGE,
        body=b"x" * BODY,
        segments=("segment-1", "segment-2", "segment-3"),
        bids=(Chosen("1", "campaign-1234", "campaign-1234-300x250", 2_350_000),),
        reason="",
        user="p" * 27,
        catalog=1234,
        model="seed-1",
        weight=100,
    )


def money_bytes() -> int:
    """Of one message, without what stream or spool add."""
    event = money_event()
    return len(subject(event)) + len(encode_event(event))


def decision_bytes() -> float:
    """Of one decision in a full frame, with its share of the frame."""
    frame = encode_frame(DecisionFrame(1, "i" * ID, [decision_event()] * FRAME_EVENTS))
    return (len(decision_subject(0)) + len(frame)) / FRAME_EVENTS


def request_bytes() -> int:
    return len(encode_frame(DecisionFrame(1, "", [], [request_event()]))) - len(encode_frame(DecisionFrame(1, "")))


def decisions_an_hour(traffic: Traffic, settings: Settings) -> float:
    """Bytes of what agents tell."""
    if not settings.decision_events:
        return 0.0
    requests = traffic.bids * traffic.requests_a_bid
    decisions = traffic.bids * settings.decision_share + (requests - traffic.bids) * settings.no_bid_share
    return decisions * decision_bytes() + requests * settings.request_share * request_bytes()


def outlasts(settings: Settings, traffic: Traffic) -> list[Row]:
    """For each setting, how long an outage passes until something is refused or forgotten."""
    money, spool = traffic.notices * (money_bytes() + STORED + BATCHED), traffic.notices * (money_bytes() + SPOOLED)
    told = decisions_an_hour(traffic, settings)
    stored = told * (1 + STORED / FRAME_EVENTS / decision_bytes())
    age_h = settings.decision_max_age_s / HOUR_S

    def row(setting: str, holds: str, outage: str, an_hour: float, limit: int, longest_h: float = 0.0) -> Row:
        bounds = [limit / an_hour] if limit and an_hour else []
        bounds += [longest_h] if longest_h else []
        return Row(setting, holds, outage, an_hour, limit, min(bounds, default=None), an_hour * DAY_H)

    return [
        row("stream_max_bytes", "money events", "pipeline, treasury", money, settings.stream_max_bytes),
        row("decision_max_bytes", "decisions", "pipeline", stored, settings.decision_max_bytes, age_h),
        row("spool_max_bytes", "money events of a cell", "NATS", spool / traffic.cells, settings.spool_max_bytes),
        row(
            "decision_buffer_bytes", "decisions of a cell", "NATS", told / traffic.cells, settings.decision_buffer_bytes
        ),
    ]


def table(settings: Settings, traffic: Traffic) -> str:
    """Markdown."""
    lines = [
        "| setting | holds | while away | takes an hour | is | outlasts | for a day |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in outlasts(settings, traffic):
        limit = _size(one.limit) if one.limit else "no limit"
        lines.append(
            f"| `{one.setting}` | {one.holds} | {one.outage} | {_size(one.bytes_an_hour)} | {limit} "
            f"| {_time(one.hours)} | {_size(one.for_a_day)} |"
        )
    return "\n".join(lines)


def _size(count: float) -> str:
    if count >= 2**30:
        return f"{count / 2**30:,.1f} GiB"
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count / 2**10:,.0f} KiB"


def _time(hours: float | None) -> str:
    if hours is None:
        return "the disk"
    if hours < 1 / 60:
        return f"{hours * HOUR_S:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def main() -> None:
    traffic = Traffic()
    print(f"{traffic.bids:,.0f} bids an hour by {traffic.cells} cells, {traffic.requests_a_bid:g} requests a bid,")
    print(f"{traffic.win_rate:.0%} of bids win, {traffic.notices_a_win:g} notices a win")
    print(table(Settings(), traffic))


if __name__ == "__main__":
    main()
