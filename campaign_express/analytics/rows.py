"""Events as rows of the tables, by column. What does not fit its column is refused here, with the reason, and never
reaches the store: one bad message must not hold up its whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from campaign_express.bidding.settlement import LAST_MS, problem_of
from campaign_express.events import ChangeEvent, DecisionEvent, DecisionFrame, MoneyEvent, RequestEvent

Columns = dict[str, list[Any]]

_U32, _U64 = 2**32, 2**63  # a sum of amounts must stay below 2^64
_RANK = 2**63  # `rank` is this minus the sequence: the event that was in the stream first is the one that stays
_encode = msgspec.json.Encoder().encode

MONEY = (
    *("time", "advertiser", "campaign", "creative", "exchange", "bid_key", "kind", "detail", "auction", "imp", "bid"),
    *("authorised_micros", "lease", "clear_micros", "sets_price", "quarantined", "value_micros", "received", "user"),
    *("macros", "test", "seq", "rank"),
)


def money_problem(event: MoneyEvent) -> str:
    """Why this event can be stored nowhere; "" where it can."""
    if problem := problem_of(event):
        return problem
    if event.lease >= _U32:
        return "the lease is out of range"
    if not -_U64 <= event.clear_micros < _U64 or not -_U64 <= event.value_micros < _U64:
        return "an amount is out of range"
    return ""


def money_row(event: MoneyEvent, seq: int) -> tuple[Any, ...]:
    """In the order of MONEY. `detail` tells conversions of one bid apart; other kinds come once a bid."""
    return (
        event.bid_ms,
        event.advertiser,
        event.campaign,
        event.creative,
        event.exchange,
        event.bid_key,
        event.kind,
        event.id if event.kind == "conversion" else "",
        event.auction,
        event.imp,
        event.bid,
        event.authorised_micros,
        event.lease,
        event.clear_micros,
        event.sets_price,
        event.quarantined,
        event.value_micros,
        event.received_ms,
        event.user,
        _encode(event.macros).decode() if event.macros else "",
        event.test,
        seq,
        _RANK - seq,
    )


def money_columns(events: Iterable[tuple[int, MoneyEvent]]) -> Columns:
    """Of events that have no problem, each with its sequence in the stream."""
    return by_column(MONEY, [money_row(event, seq) for seq, event in events])


def frame_problem(frame: DecisionFrame, schema: int) -> str:
    """Likewise, of a whole frame."""
    if frame.schema > schema:
        return f"is of schema {frame.schema}, newer than {schema}"
    for d in frame.decisions:
        if not 0 <= d.time_ms < LAST_MS:
            return "a time is before 1970 or after 9998"
        if not (
            0 <= d.weight < _U32
            and 0 <= d.price_micros < _U64
            and 0 <= d.floor_micros < _U64
            and 0 <= d.pctr_ppm < _U32
            and 0 <= d.pcvr_ppm < _U32
            and 0 <= d.device < 256
            and 0 <= d.catalog < _U32
            and 0 <= d.latency_us < _U32
        ):
            return "a number is out of range"
    for r in frame.requests:
        if not 0 <= r.time_ms < LAST_MS:
            return "a time is before 1970 or after 9998"
        if not (0 <= r.catalog < _U32 and 0 <= r.weight < _U32):
            return "a number is out of range"
        try:
            r.body.decode()
        except UnicodeDecodeError:
            return "a logged request is not UTF-8"
    return ""


_DECISION = tuple("time" if name == "time_ms" else name for name in DecisionEvent.__struct_fields__)


def decision_columns(decisions: Iterable[DecisionEvent]) -> Columns:
    astuple = msgspec.structs.astuple
    return by_column(_DECISION, [astuple(decision) for decision in decisions])


REQUEST = ("time", "id", "exchange", "body", "segments", "bids", "reason", "user", "catalog", "model", "weight")


def request_columns(requests: Iterable[RequestEvent]) -> Columns:
    return by_column(
        REQUEST,
        [
            (
                *(r.time_ms, r.id, r.exchange, r.body.decode(), list(r.segments), _encode(r.bids).decode(), r.reason),
                *(r.user, r.catalog, r.model, r.weight),
            )
            for r in requests
        ],
    )


CHANGE = ("time", "id", "kind", "actor", "advertiser", "campaign", "exchange", "catalog", "before", "after")


def change_columns(changes: Iterable[ChangeEvent]) -> Columns:
    return by_column(
        CHANGE,
        [
            (c.time_ms, c.id, c.kind, c.actor, c.advertiser, c.campaign, c.exchange, c.catalog, c.before, c.after)
            for c in changes
        ],
    )


def change_problem(change: ChangeEvent) -> str:
    if not 0 <= change.time_ms < LAST_MS:
        return "a time is before 1970 or after 9998"
    return "" if 0 <= change.catalog < _U32 else "a number is out of range"


def by_column(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Columns:
    if not rows:
        return {name: [] for name in names}
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
