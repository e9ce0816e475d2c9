"""The streams of JetStream as what tables are built from: read once more, by the pipeline's own loaders."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

import msgspec
from msgspec import Struct

from campaign_express.adapters.stream_log import Extent, StreamLog
from campaign_express.analytics.audit import midnight
from campaign_express.events import CHANGE_SUBJECTS, CHANGES, DECISION_SUBJECTS, DECISIONS, STREAM, SUBJECTS
from campaign_express.pipeline.archive import DAY_S
from campaign_express.pipeline.loader import ChangeLoader, DecisionLoader, Loader, MoneyLoader
from campaign_express.pipeline.replay import Told
from campaign_express.ports import Message, Warehouse

FED = {"events": STREAM, "decisions": DECISIONS, "requests": DECISIONS, "changes": CHANGES}
SUBJECTS_OF = {STREAM: SUBJECTS, DECISIONS: DECISION_SUBJECTS, CHANGES: CHANGE_SUBJECTS}
AT_ONCE = {STREAM: 20_000, DECISIONS: 300, CHANGES: 5_000}  # messages of one insert
EARLIER_S = 3600  # clocks of agents and of JetStream may differ by so much


class _Bid(Struct):
    """What of a MoneyEvent tells its day."""

    bid_ms: int = 0


_bid_ms = msgspec.msgpack.Decoder(_Bid).decode


class StreamSource:
    """`replay.Source`."""

    grows = True

    def __init__(self, url: str, *, simulated: bool = False) -> None:
        """`simulated`: events' times are not those of JetStream's clock, so all of a stream is read."""
        self._simulated = simulated
        self._logs = {stream: StreamLog(url, stream, subjects, "replay") for stream, subjects in SUBJECTS_OF.items()}
        self._token = secrets.token_hex(8)
        self._inserts = 0
        self._read_to: dict[str, int] = {}  # by stream, sequence

    def lacks(self, tables: Sequence[str], days: Sequence[date]) -> list[str]:
        lacking = []
        for stream in _streams(tables):
            extent = self._logs[stream].extent()
            if extent is None or extent.whole:
                continue
            if self._simulated or not extent.first_ms or extent.first_ms > midnight(days[0]) * 1000:
                begins = datetime.fromtimestamp(extent.first_ms / 1000, UTC)
                lacking.append(f"the stream {stream} begins at {begins:%Y-%m-%d %H:%M:%S} UTC")
        return lacking

    def load(self, warehouse: Warehouse, into: Mapping[str, str], days: Sequence[date], told: Told) -> int:
        loaders = _loaders(into)
        unreadable = 0
        for number, (stream, loader) in enumerate(loaders.items()):
            extent = self._logs[stream].extent()
            self._read_to[stream] = extent.last if extent is not None else 0
            if extent is None or not extent.messages:
                continue
            for messages in self._batches(stream, days, self._since(days), 0, extent.last):
                unreadable += self._insert(warehouse, loader, messages)
                told((number + _share(extent, messages)) / len(loaders), f"reading {stream}")
        return unreadable

    def load_later(self, warehouse: Warehouse, tables: Sequence[str], days: Sequence[date]) -> None:
        for stream, loader in _loaders({table: table for table in tables}).items():
            for messages in self._batches(stream, days, None, self._read_to.get(stream, 0) + 1, None):
                self._insert(warehouse, loader, messages)

    def _insert(self, warehouse: Warehouse, loader: Loader, messages: Sequence[Message]) -> int:
        self._inserts += 1  # a token of its own: what was inserted before under another is inserted again
        return len(loader.load(warehouse, messages, f"replay-{self._token}-{self._inserts}").unreadable)

    def _since(self, days: Sequence[date]) -> datetime | None:
        """An event is never stored before its bid was made."""
        if self._simulated:
            return None
        return datetime.fromtimestamp(midnight(days[0]) - EARLIER_S, UTC)

    def _batches(
        self, stream: str, days: Sequence[date], since: datetime | None, first: int, last: int | None
    ) -> Iterator[list[Message]]:
        gathered: list[Message] = []
        start_ms, end_ms = midnight(days[0]) * 1000, (midnight(days[-1]) + DAY_S) * 1000
        for messages in self._logs[stream].read(since=since, first=first, last=last):
            gathered += (
                [one for one in messages if start_ms <= _day_ms(one, start_ms) < end_ms]
                if stream == STREAM
                else messages
            )
            if len(gathered) >= AT_ONCE[stream]:
                yield gathered
                gathered = []
        if gathered:
            yield gathered


def _day_ms(message: Message, otherwise: int) -> int:
    """When the event's bid was made. What cannot be read is passed on to whoever counts that."""
    try:
        return _bid_ms(message.data).bid_ms
    except (msgspec.DecodeError, msgspec.ValidationError):
        return otherwise


def _share(extent: Extent, messages: Sequence[Message]) -> float:
    return (messages[-1].seq - extent.first + 1) / max(extent.last - extent.first + 1, 1)


def _streams(tables: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(FED[table] for table in tables))


def _loaders(into: Mapping[str, str]) -> dict[str, Loader]:
    """By stream."""
    made: dict[str, Loader] = {}
    if "events" in into:
        made[STREAM] = MoneyLoader(into["events"])
    if "decisions" in into:
        made[DECISIONS] = DecisionLoader(into["decisions"], into["requests"])
    if "changes" in into:
        made[CHANGES] = ChangeLoader()
    return made
