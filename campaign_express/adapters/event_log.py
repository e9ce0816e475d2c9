"""Reads the event log: the MONEY stream of JetStream, from its beginning to its end of the moment.

For what goes through many events at once and waits for the end: rebuilding a ledger, comparing one with the log. Events
come in the order in which they became durable. Sync, and called from a thread that runs no event loop (`stream_log`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import datetime

import msgspec

from campaign_express.adapters.stream_log import Extent, StreamLog
from campaign_express.bidding.settlement import problem_of
from campaign_express.events import STREAM, SUBJECTS, MoneyEvent, decode_event, subject_of

log = logging.getLogger(__name__)


class EventLog:
    """`unreadable` counts messages that are no event, since it was made."""

    def __init__(self, url: str) -> None:
        self._stream = StreamLog(url, STREAM, SUBJECTS, "event-log")
        self.where = self._stream.where
        self.unreadable = 0

    def extent(self) -> Extent | None:
        """What it holds; None where nothing was ever published. Raises Unavailable."""
        return self._stream.extent()

    def whole(self) -> bool:
        """Whether the log still has its first event; False after `max_age` has dropped some. Raises Unavailable."""
        extent = self.extent()
        return extent is None or extent.whole

    def advertisers(self, kinds: Collection[str]) -> set[str]:
        """Who has events of these kinds in the log, by their subjects. Raises Unavailable."""
        parts = [subject.split(".") for subject in self._stream.subjects()]
        return {part[1].replace("%", ".") for part in parts if len(part) == 3 and part[2] in kinds}

    def read(
        self, advertiser: str | None = None, since: datetime | None = None, last: int | None = None
    ) -> Iterator[MoneyEvent]:
        """Events of one advertiser, or of all, that are in the log when this begins and, mostly, while it goes on.

        `since`: only what became durable from then on, by the server's clock. `last`: only up to this sequence number
        of the stream. Raises Unavailable.
        """
        subject = "" if advertiser is None else subject_of(advertiser, "*")
        for messages in self._stream.read(subject, since=since, last=last):
            for message in messages:
                try:
                    event = decode_event(message.data)
                except msgspec.DecodeError:
                    self.unreadable += 1
                    log.error("a message of the event log is no event")
                    continue
                if problem := problem_of(event):
                    self.unreadable += 1
                    log.error("an event of the event log cannot be applied: %s", problem)
                else:
                    yield event
