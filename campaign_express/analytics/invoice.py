"""An exchange's invoice: a CSV with a line an impression, read line by line.

Columns go by many names (`NAMES`); capitals, spaces and dashes do not matter. Which impression: `auction` and `imp`.
What it cost: `price`, a CPM, or `amount`, of the impression itself; of a file with both the price counts. Amounts are
made micros of USD by the rule of notices, rounded up (`gateway/clearing.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import NamedTuple

from campaign_express.errors import ConfigError

NAMES = {
    "auction": ("auction_id", "auction", "request_id", "bid_request_id", "bidrequest_id"),
    "imp": ("imp_id", "imp", "impression_id", "impid"),
    "price": ("price", "cpm", "clear_price", "clearing_price", "price_cpm"),
    "amount": ("amount", "cost", "charge", "spend"),
    "currency": ("currency", "cur"),
    "time": ("timestamp", "time", "datetime", "date_time"),
}
MOST = 10**15  # micros; budgets end there


class Billed(NamedTuple):
    """One line. `ms` is -1 where it tells no time."""

    line: int
    auction: str
    imp: str
    micros: int
    ms: int


class BadLine(NamedTuple):
    """A line that cannot be read, and why."""

    line: int
    why: str


def parse_columns(text: str) -> dict[str, str]:
    """`auction=Auction ID,price=CPM`: our names and the file's. Raises ConfigError."""
    found: dict[str, str] = {}
    problems = []
    for part in text.split(",") if text.strip() else []:
        name, separator, column = (piece.strip() for piece in part.partition("="))
        if not separator or not column or name not in NAMES:
            problems.append(f"--columns: {part.strip()!r} is not one of {', '.join(NAMES)} with = and a column's name")
        found[name] = column
    if problems:
        raise ConfigError("An option that cannot be used:", problems)
    return found


class Invoice:
    """One file. `usd_per`: what a currency's unit is worth in USD, None where that is not known."""

    def __init__(self, columns: Mapping[str, str], currency: str, usd_per: Callable[[str], float | None]) -> None:
        """`columns`: see `parse_columns`. `currency`: of lines that name none."""
        self._columns = columns
        self._currency = currency.upper()
        self._usd_per = usd_per

    def lines(self, file: Iterable[str]) -> Iterator[Billed | BadLine]:
        """Raises ConfigError for a header that lacks a column."""
        reader = csv.reader(file, strict=True)
        try:
            places = self._places(next(reader, []))
        except csv.Error as error:
            raise ConfigError("An invoice that cannot be read:", [f"line 1: {error}"]) from None
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadLine(reader.line_num, str(error))
                continue
            if row:
                yield self._read(row, places, reader.line_num)

    def _places(self, header: list[str]) -> dict[str, int]:
        normal = [_normal(name) for name in header]
        places: dict[str, int] = {}
        problems = []
        for name, usual in NAMES.items():
            wanted = [_normal(self._columns[name])] if name in self._columns else usual
            found = [normal.index(one) for one in wanted if one in normal]
            if found:
                places[name] = found[0]
            elif name in self._columns:
                problems.append(f"line 1: there is no column {self._columns[name]!r}")
        problems += [
            f"line 1: no column for {name} ({', '.join(NAMES[name])}); name it with --columns"
            for name in ("auction", "imp")
            if name not in places and name not in self._columns
        ]
        if not places.keys() & {"price", "amount"} and not problems:
            problems.append("line 1: no column for price (a CPM) or amount; name one with --columns")
        if problems:
            raise ConfigError("An invoice that cannot be read:", problems)
        return places

    def _read(self, row: list[str], places: Mapping[str, int], line: int) -> Billed | BadLine:
        def cell(name: str) -> str:
            place = places.get(name, -1)
            return row[place].strip() if 0 <= place < len(row) else ""

        auction, imp = cell("auction"), cell("imp")
        if not auction or not imp:
            return BadLine(line, "no auction" if not auction else "no imp")
        currency = cell("currency").upper() or self._currency
        rate = self._usd_per(currency)
        if rate is None:
            return BadLine(line, f"the rates file has no {currency}")
        by_price = "price" in places
        text = cell("price" if by_price else "amount")
        micros = _micros(text, 1_000 if by_price else 1_000_000, rate)
        if micros is None:
            return BadLine(line, f"{text!r} is no {'price' if by_price else 'amount'}")
        written = cell("time")
        ms = _moment_ms(written) if written else -1
        if ms is None:
            return BadLine(line, f"{written!r} is no time")
        return Billed(line, auction, imp, micros, ms)


def _normal(name: str) -> str:
    return name.strip().lstrip("\ufeff").lower().replace(" ", "_").replace("-", "_")


def _micros(text: str, unit: int, rate: float) -> int | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount < MOST:
        return None
    exact = amount * unit if rate == 1.0 else amount * unit * Decimal(rate)
    return int(exact.to_integral_value(ROUND_CEILING))


def _moment_ms(text: str) -> int | None:
    """Unix seconds or milliseconds, or ISO 8601 (UTC where it names no zone)."""
    try:
        number = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= number < 1e14:
        return None
    return int(number if number >= 1e11 else number * 1000)
