"""Compares the books in Redis with themselves and with the event log, all the time; what differs is an alarm.

Every round looks at each advertiser's books for what must never be (`books.broken_invariants`), and holds those of a
few advertisers against the event log: the hours that began in the last `window_s`, tallied from the events alone. For
that the books are read while the consumer rests between two batches, and the log is read up to the same event. What
differs is looked at a second time before it counts, since a treasury that took over, or a reconciliation, may have
applied events ahead of the consumer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from campaign_express.adapters.event_queue import Progress
from campaign_express.bidding.books import Books, broken_invariants, overspent
from campaign_express.bidding.budget import QUARTER_S, Accounts
from campaign_express.bidding.settlement import Tally
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent
from campaign_express.treasury.loops import Health, sleep

log = logging.getLogger(__name__)

T = TypeVar("T")

COMPARED = 8  # advertisers whose books are held against the log in one round
MOST_EVENTS = 100_000  # of one advertiser in the window; with more, its comparison is left out and counted
SKEW_S = 60.0  # between the clocks of the broker and of the cells
SOON_S = 5.0  # until a round that met events under way, or a difference, is made again


class Ledger(Protocol):
    """What of `adapters.ledger.Ledger` is audited."""

    accounts: Accounts

    def books(self, advertiser: str) -> Books: ...


class Log(Protocol):
    """`adapters.event_log.EventLog`."""

    def read(
        self, advertiser: str | None = None, since: datetime | None = None, last: int | None = None
    ) -> Iterator[MoneyEvent]: ...


class Source(Protocol):
    """`consumer.Consumer`."""

    @property
    def quiet(self) -> AbstractAsyncContextManager[None]: ...

    async def progress(self) -> Progress: ...


class Findings:
    """The latest of each kind, by advertiser: lines for people."""

    def __init__(self) -> None:
        self.broken: dict[str, list[str]] = {}
        self.overspent: dict[str, list[str]] = {}
        self.different: dict[str, list[str]] = {}
        self.audits = 0  # advertisers' books that were looked at
        self.comparisons = 0  # and held against the log
        self.left_out = 0


class Auditor:
    """A `Worker`."""

    name = "auditor"

    def __init__(
        self,
        ledger: Ledger,
        event_log: Log,
        source: Source,
        clock: Clock,
        health: Health,
        *,
        period_s: float,
        window_s: int,
    ) -> None:
        """`period_s` is real time, `window_s` wall clock."""
        self.findings = Findings()
        self._ledger, self._log, self._source, self._clock = ledger, event_log, source, clock
        self._health = health
        self._thread = ThreadPoolExecutor(1, "treasury-audit")
        self._period_s, self._window_s = period_s, window_s
        self._suspects: list[str] = []  # differed once
        self._next = 0  # who is compared next

    async def run(self, stop: asyncio.Event) -> None:
        wait = self._period_s
        while not stop.is_set():
            await sleep(stop, wait)
            if stop.is_set():
                return
            began = time.monotonic()
            try:
                whole = await self.round()
            except Unavailable as error:
                self._health.failed(self.name, error)
                whole = False
            else:
                self._health.succeeded(self.name, time.monotonic() - began)
            wait = self._period_s if whole else min(SOON_S, self._period_s)

    def close(self) -> None:
        """When it has ended."""
        self._thread.shutdown()

    async def round(self) -> bool:
        """One round; False where another one should follow soon. Raises Unavailable."""
        await self._in_thread(self._look)
        chosen = self._choose()
        async with self._source.quiet:
            progress = await self._source.progress()
            if progress.unconfirmed:
                return False
            books = await self._in_thread(lambda: {name: self._ledger.books(name) for name in chosen})
        await self._in_thread(lambda: self._compare(books, progress.floor))
        return not self._suspects

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _look(self) -> None:
        """Every advertiser's books by themselves."""
        accounts, findings = self._ledger.accounts, self.findings
        for name in accounts.of_advertiser:
            wall_ms = self._clock.now_ms()
            books = self._ledger.books(name)
            too_much = list(overspent(books, accounts, wall_ms))
            broken = [line for line in broken_invariants(books, accounts, wall_ms) if line not in too_much]
            remember(findings.broken, name, broken, "the books of an advertiser contradict themselves")
            remember(findings.overspent, name, too_much, "a budget is overspent, or was lowered")
            findings.audits += 1

    def _choose(self) -> list[str]:
        """Those that differed, and the next few."""
        names = list(self._ledger.accounts.of_advertiser)
        start = self._next % max(len(names), 1)
        chosen = [*names[start:], *names[:start]][:COMPARED]
        self._next = start + len(chosen)
        return list(dict.fromkeys([*self._suspects, *chosen]))

    def _compare(self, books: Mapping[str, Books], last: int) -> None:
        """Books that hold exactly the events up to `last` against the log."""
        suspects, self._suspects = set(self._suspects), []
        for name, one in books.items():
            try:
                lines = self.compare(name, one, last)
            except TooMany:
                self.findings.left_out += 1
                continue
            self.findings.comparisons += 1
            if lines and name not in suspects and name not in self.findings.different:
                self._suspects.append(name)
            else:
                remember(self.findings.different, name, lines, "an advertiser's books differ from the event log")

    def compare(self, advertiser: str, books: Books, last: int) -> list[str]:
        """A line for each campaign and hour of the window in which the books and the log differ.

        Raises TooMany, and Unavailable.
        """
        now_ms = self._clock.now_ms()
        since_ms = now_ms - self._window_s * 1000
        real_s = time.time() - (now_ms - since_ms) / 1000 / self._clock.speed - SKEW_S
        tally = Tally(self._ledger.accounts)
        events = self._log.read(advertiser, datetime.fromtimestamp(real_s, UTC), last)
        for number, event in enumerate(events):
            if number >= MOST_EVENTS:
                raise TooMany
            tally.add(event)
        return list(differences_of_hours(books, tally, self._ledger.accounts, advertiser, since_ms, now_ms))


class TooMany(Exception):
    """An advertiser has more events in the window than are compared."""


def remember(found: dict[str, list[str]], advertiser: str, lines: list[str], words: str) -> None:
    """Keep what was found of an advertiser now, and log it where it is new."""
    if lines and advertiser not in found:
        log.error(words, extra={"advertiser": advertiser, "findings": lines[:10]})
    if lines:
        found[advertiser] = lines
    else:
        found.pop(advertiser, None)


def differences_of_hours(
    books: Books, tally: Tally, accounts: Accounts, advertiser: str, since_ms: int, until_ms: int
) -> Iterator[str]:
    """Where committed money differs in the hours that lie between two moments and began after the first."""
    names = [*accounts.of_advertiser.get(advertiser, ()), ""]
    for campaign in names:
        for hour in whole_hours(accounts, advertiser, campaign, since_ms, until_ms):
            ours = books.committed(campaign, hour)
            theirs = tally.committed.get(hour, {}).get(campaign, 0)
            if ours != theirs:
                yield f"{campaign or 'account'} {hour}: {ours} is committed, and {theirs} by the event log"


def whole_hours(accounts: Accounts, advertiser: str, campaign: str, since_ms: int, until_ms: int) -> list[str]:
    """Period keys of the hours, of a campaign's time zone or ("") its account's, that began after `since_ms`."""
    step = QUARTER_S * 1000
    keys = []
    for moment in (since_ms, *range(-(-since_ms // step) * step, until_ms + 1, step)):
        periods = accounts.periods(advertiser, campaign, moment)
        keys.append(periods.hour if campaign else periods.account_hour)
    return [key for key in dict.fromkeys(keys) if key != keys[0]]
