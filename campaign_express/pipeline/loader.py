"""A batch of messages of one stream, as rows: read, checked, inserted. What cannot be read is told to the caller.

The same messages make the same rows in the same order, so an insert that is done again is the same insert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from campaign_express.analytics import rows
from campaign_express.events import (
    CHANGES,
    DECISIONS,
    SCHEMA,
    STREAM,
    ChangeEvent,
    DecisionEvent,
    MoneyEvent,
    RequestEvent,
    decode_change,
    decode_event,
    decode_frame,
)
from campaign_express.ports import Message, Unreadable, Warehouse

MINUTE_MS = 60_000


class Loaded(NamedTuple):
    """What a batch came to."""

    events: int  # decisions, notices, changes
    unreadable: list[Unreadable]
    minutes: frozenset[int]  # Unix minutes that have got rows which sums are made of
    duplicates: int = 0


class Loader(Protocol):
    """Of one stream."""

    def load(self, warehouse: Warehouse, messages: Sequence[Message], token: str) -> Loaded:
        """Returns when all rows are durable. Raises Unavailable, and may then be called again with the same."""
        ...


class MoneyLoader:
    """MONEY: a notice a message."""

    def __init__(self, table: str = "events") -> None:
        self._table = table

    def load(self, warehouse: Warehouse, messages: Sequence[Message], token: str) -> Loaded:
        events: list[tuple[int, MoneyEvent]] = []
        unreadable: list[Unreadable] = []
        for message in messages:
            event = _read(message, decode_event, rows.money_problem, unreadable)
            if event is not None:
                events.append((message.seq, event))
        kept = _first_conversions(warehouse, events, self._table)
        if kept:
            warehouse.insert(self._table, rows.money_columns(kept), token)
        minutes = frozenset(event.bid_ms // MINUTE_MS for _, event in kept)
        return Loaded(len(events), unreadable, minutes, len(events) - len(kept))


def _first_conversions(
    warehouse: Warehouse, events: list[tuple[int, MoneyEvent]], table: str
) -> list[tuple[int, MoneyEvent]]:
    """Without conversions that are stored already, from earlier in the stream.

    A conversion is known by its order, and the second postback of an order may be due to another click, so it is
    another row and not one that replaces the first.
    """
    firsts: dict[str, int] = {}
    for seq, event in events:
        if event.kind == "conversion":
            firsts[event.id] = min(seq, firsts.get(event.id, seq))
    if not firsts:
        return events
    found = warehouse.query(
        f"SELECT detail, min(seq) FROM {table} WHERE kind = 'conversion' AND detail IN {{ids:Array(String)}} "  # noqa: S608
        "GROUP BY detail",
        {"ids": sorted(firsts)},
    )
    for detail, seq in found.rows:
        firsts[detail] = min(seq, firsts[detail])
    return [(seq, event) for seq, event in events if event.kind != "conversion" or firsts[event.id] == seq]


class DecisionLoader:
    """DECISIONS: many decisions, and logged requests, a message."""

    def __init__(self, decisions: str = "decisions", requests: str = "requests") -> None:
        self._decisions, self._requests = decisions, requests

    def load(self, warehouse: Warehouse, messages: Sequence[Message], token: str) -> Loaded:
        decisions: list[DecisionEvent] = []
        requests: list[RequestEvent] = []
        unreadable: list[Unreadable] = []
        for message in messages:
            frame = _read(message, decode_frame, lambda frame: rows.frame_problem(frame, SCHEMA), unreadable)
            if frame is not None:
                decisions += frame.decisions
                requests += frame.requests
        if decisions:
            warehouse.insert(self._decisions, rows.decision_columns(decisions), token)
        if requests:
            warehouse.insert(self._requests, rows.request_columns(requests), token)
        minutes = frozenset({decision.time_ms // MINUTE_MS for decision in decisions})
        return Loaded(len(decisions) + len(requests), unreadable, minutes)


class ChangeLoader:
    """CHANGES: what operators changed."""

    def load(self, warehouse: Warehouse, messages: Sequence[Message], token: str) -> Loaded:
        changes: list[ChangeEvent] = []
        unreadable: list[Unreadable] = []
        for message in messages:
            change = _read(message, decode_change, rows.change_problem, unreadable)
            if change is not None:
                changes.append(change)
        if changes:
            warehouse.insert("changes", rows.change_columns(changes), token)
        return Loaded(len(changes), unreadable, frozenset())


LOADERS: dict[str, Loader] = {STREAM: MoneyLoader(), DECISIONS: DecisionLoader(), CHANGES: ChangeLoader()}


def mark_dirty(warehouse: Warehouse, minutes: Iterable[int]) -> None:
    """Have these minutes summed anew. By the store's own clock, as `rollups` reads it."""
    starts = sorted(minute * 60 for minute in minutes)
    if starts:
        warehouse.run(
            "INSERT INTO rollup_marks SELECT toDateTime(arrayJoin({starts:Array(UInt32)}), 'UTC'), 'dirty', "
            "toUInt64(toUnixTimestamp64Milli(now64(3)))",
            {"starts": starts},
        )


def _read(
    message: Message,
    decode: Callable[[bytes], Any],
    problem_of: Callable[[Any], str],
    unreadable: list[Unreadable],
) -> Any:
    try:
        read = decode(message.data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        unreadable.append(Unreadable(message, f"does not decode: {error}"))
        return None
    if problem := problem_of(read):
        unreadable.append(Unreadable(message, problem))
        return None
    return read
