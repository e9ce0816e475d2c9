"""An exchange's invoice against what we hold to have cost money: settled bids by auction and impression.

Our bids of the days go into a file of SQLite that is deleted afterwards, so that neither side need fit into memory;
each line of the invoice is then looked up. Bids of a little before and after the days can be billed too (an invoice may
go by another clock than that of the bid), but are not missed where they are not.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

from campaign_express.analytics.audit import PER_BID, midnight
from campaign_express.analytics.invoice import BadLine, Billed
from campaign_express.ports import Warehouse

AROUND_S = 6 * 3600  # before and after the days
DAY_S = 86_400
AT_ONCE = 100_000  # bids of one query, about
KINDS = ("unknown", "not-billed", "price", "duplicate")
_BIDS = f"SELECT auction, imp, campaign, cost, time_ms FROM ({PER_BID}) WHERE settled"  # noqa: S608
_COUNT = """
SELECT uniq(bid_key) FROM events WHERE time >= {first:DateTime('UTC')} AND time < {end:DateTime('UTC')}
    AND exchange = {exchange:String} AND kind IN ('win', 'billing', 'impression')
"""


class Difference(NamedTuple):
    """One line of the invoice, or one of our bids, that does not fit. Amounts in micros of USD, -1: there is none."""

    kind: str  # unknown: we hold no such bid to be settled; not-billed; price; duplicate: billed before
    line: int  # of the invoice, 0 none
    auction: str
    imp: str
    campaign: str
    billed_micros: int
    our_micros: int


@dataclass
class Result:
    """Counts and sums, micros of USD."""

    lines: int = 0
    bad: int = 0
    outside: int = 0  # lines of another time than the days
    matched: int = 0  # also those with another price
    matched_micros: int = 0  # billed
    our_micros: int = 0  # of the same bids
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    micros: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))  # price: billed less ours

    @property
    def differs(self) -> bool:
        return any(self.counts.values())


class OurBids:
    """Settled bids of one exchange and some days, by auction and impression."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(
            "CREATE TABLE bids (auction TEXT, imp TEXT, campaign TEXT, micros INTEGER, inside INTEGER, billed INTEGER)"
        )

    def load(self, warehouse: Warehouse, exchange: str, first: date, last: date) -> Iterator[float]:
        """Yields its share of the work that is done, 0 to 1."""
        start, end = midnight(first), midnight(last + timedelta(days=1))
        begin, finish = start - AROUND_S, end + AROUND_S
        for at in range(begin, finish, DAY_S):
            span = {"first": at, "end": min(at + DAY_S, finish), "exchange": exchange}
            [(count,)] = warehouse.query(_COUNT, span).rows
            parts = -(-int(count) // AT_ONCE)
            length = span["end"] - at  # type: ignore[operator]
            for part in range(parts):
                bounds = {
                    "first": at + length * part // parts,
                    "end": at + length * (part + 1) // parts,
                    "exchange": exchange,
                    "last": 0,
                }
                rows = warehouse.query(_BIDS, bounds).rows
                self._db.execute("BEGIN")
                self._db.executemany(
                    "INSERT INTO bids VALUES (?, ?, ?, ?, ?, 0)",
                    (
                        (auction, imp, campaign, int(cost), start * 1000 <= time_ms < end * 1000)
                        for auction, imp, campaign, cost, time_ms in rows
                    ),
                )
                self._db.execute("COMMIT")
            yield (at + DAY_S - begin) / (finish - begin)
        self._db.execute("CREATE INDEX by_impression ON bids (auction, imp)")
        self._db.execute("BEGIN")  # of what is billed nothing need be on disk

    def bill(self, auction: str, imp: str) -> tuple[str, int, bool]:
        """Campaign and cost of our bid (-1: there is none), and whether it was billed before."""
        found = self._db.execute(
            "SELECT rowid, campaign, micros, billed FROM bids WHERE auction = ? AND imp = ? ORDER BY billed LIMIT 1",
            (auction, imp),
        ).fetchone()
        if found is None:
            return "", -1, False
        row, campaign, micros, billed = found
        if not billed:
            self._db.execute("UPDATE bids SET billed = 1 WHERE rowid = ?", (row,))
        return campaign, micros, bool(billed)

    def not_billed(self) -> Iterator[tuple[str, str, str, int]]:
        """(auction, imp, campaign, micros) of the days' bids that no line was for."""
        yield from self._db.execute("SELECT auction, imp, campaign, micros FROM bids WHERE billed = 0 AND inside")

    def close(self) -> None:
        self._db.close()


@contextmanager
def our_bids() -> Iterator[OurBids]:
    with tempfile.TemporaryDirectory(prefix="reconcile-") as directory:
        bids = OurBids(Path(directory) / "bids.sqlite")
        try:
            yield bids
        finally:
            bids.close()


def compare(
    lines: Iterable[Billed | BadLine], bids: OurBids, first: date, last: date, result: Result
) -> Iterator[Difference | BadLine]:
    """What does not fit, in the order of the invoice, then what it lacks; counts into `result`.

    Lines that tell a time outside the days, and are for none of our bids, are counted and passed over.
    """
    start_ms, end_ms = midnight(first) * 1000, midnight(last + timedelta(days=1)) * 1000
    for line in lines:
        result.lines += 1
        if isinstance(line, BadLine):
            result.bad += 1
            yield line
            continue
        campaign, ours, before = bids.bill(line.auction, line.imp)
        if ours < 0 and line.ms >= 0 and not start_ms <= line.ms < end_ms:
            result.outside += 1
            continue
        kind = "unknown" if ours < 0 else "duplicate" if before else "price" if ours != line.micros else ""
        if ours >= 0 and not before:
            result.matched += 1
            result.matched_micros += line.micros
            result.our_micros += ours
        if kind:
            result.counts[kind] += 1
            result.micros[kind] += line.micros - ours if kind == "price" else line.micros
            yield Difference(kind, line.line, line.auction, line.imp, campaign, line.micros, ours)
    for auction, imp, campaign, micros in bids.not_billed():
        result.counts["not-billed"] += 1
        result.micros["not-billed"] += micros
        yield Difference("not-billed", 0, auction, imp, campaign, -1, micros)
