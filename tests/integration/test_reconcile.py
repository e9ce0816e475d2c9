"""`reconcile`: an invoice with every kind of fault, whose truth the test itself has put there; and a million lines."""

from __future__ import annotations

import csv
import os
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from told_world import tables
from typer.testing import CliRunner

from campaign_express.analytics.audit import midnight
from campaign_express.analytics.invoice import Invoice
from campaign_express.analytics.reconcile import Result, compare, our_bids
from campaign_express.cli import app

DAY = datetime.now(UTC).date() - timedelta(days=2)
START_MS = midnight(DAY) * 1000
COLUMNS = (
    *("time", "advertiser", "campaign", "exchange", "bid_key", "kind", "auction", "imp", "authorised_micros"),
    *("clear_micros", "sets_price", "quarantined", "test", "seq", "rank"),
)


def event(
    number: int, kind: str, clear: int, seq: int, ms: int, quarantined: str = "", test: int = 0
) -> tuple[object, ...]:
    return (
        *(ms, "acme", f"c{number % 3}", "alpha", f"key{number}", kind, f"a{number}", str(number % 2), 3_000, clear),
        *(1 if kind == "win" else 0, quarantined, test, seq, 2**63 - seq),
    )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bids 0 to 99 of the day cost 1000 + n micros; 100 and 101 are of the hour before; others cost nothing."""
    for name in list(os.environ):
        if name.startswith("CAMPAIGN_EXPRESS_"):
            monkeypatch.delenv(name)
    (tmp_path / "x.yaml").write_text("default: alpha\nexchanges:\n  - {name: alpha}\n  - {name: beta}\n")
    monkeypatch.setenv("CAMPAIGN_EXPRESS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CAMPAIGN_EXPRESS_EXCHANGES_FILE", str(tmp_path / "x.yaml"))
    monkeypatch.chdir(tmp_path)
    rows = [event(n, "win", 1_000 + n, n + 1, START_MS + n * 600_000) for n in range(100)]
    rows += [event(n, "impression", -1, 200 + n, START_MS + n * 600_000) for n in range(0, 100, 2)]
    rows += [event(n, "win", 1_000 + n, n + 1, START_MS - 1_800_000) for n in (100, 101)]
    rows += [event(300, "loss", -1, 400, START_MS), event(301, "click", -1, 401, START_MS)]
    rows += [event(302, "win", 5, 402, START_MS, test=1), event(303, "win", 9_999, 403, START_MS)]  # above authorised
    store = tables(tmp_path)
    store.insert("events", dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)), "t")
    store.close()
    return tmp_path


def invoice(data: Path, rows: list[tuple[object, ...]]) -> str:
    with (data / "invoice.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("auction_id", "imp_id", "price", "currency", "timestamp"))
        writer.writerows(rows)
    return "invoice.csv"


def line(number: int, micros: int, ms: int = START_MS + 5) -> tuple[object, ...]:
    return (f"a{number}", str(number % 2), micros / 1000, "USD", ms)


def run(file: str, *more: str, code: int) -> str:
    day = str(DAY)
    result = CliRunner().invoke(app, ["reconcile", file, "--exchange", "alpha", "--from", day, "--to", day, *more])
    assert result.exit_code == code, result.output
    return result.output


def cells(shown: str) -> dict[str, list[str]]:
    lines = [line.split("│") for line in shown.splitlines() if "│" in line]
    return {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines}


def test_an_invoice_that_is_right(data: Path) -> None:
    said = run(invoice(data, [line(n, 1_000 + n) for n in range(100)] + [line(303, 3_000)]), code=0)
    right = sum(1_000 + n for n in range(100)) + 3_000
    assert cells(said)["billed and matched"] == ["101", f"0.{right:06d}"]
    assert cells(said)["ours, not billed"] == ["0", "0.000000"]


def test_every_kind_of_fault_is_found_to_the_micro(data: Path) -> None:
    rows = [line(n, 1_000 + n) for n in range(90)]  # 90 to 99 and 303 are not billed
    rows[7] = line(7, 1_008)  # a micro too much
    rows[8] = line(8, 1_000)  # 8 micros too little
    rows += [line(3, 1_003), line(3, 1_003)]  # billed three times
    rows += [line(300, 500), line(301, 600), line(302, 5), line(999, 700)]  # lost, only clicked, a test, never heard of
    rows += [line(100, 1_100, START_MS - 9), line(888, 1, START_MS - 9)]  # of the day before: ours, and not ours
    said = run(invoice(data, rows), "--output", "found.csv", code=1)
    shown = cells(said)
    ours = sum(1_000 + n for n in range(90)) + 1_100
    assert shown["billed and matched"] == ["91", f"0.{ours + 1 - 8:06d}"]
    assert shown["the same by our notices"] == ["91", f"0.{ours:06d}"]
    assert shown["billed, unknown to us"] == ["4", f"0.{500 + 600 + 5 + 700:06d}"]
    assert shown["ours, not billed"] == ["11", f"0.{sum(1_000 + n for n in range(90, 100)) + 3_000:06d}"]
    assert shown["another price: billed less ours"] == ["2", "-0.000007"]
    assert shown["billed more than once"] == ["2", "0.002006"]
    assert shown["of other days, passed over"] == ["1", ""]
    found = list(csv.DictReader((data / "found.csv").open()))
    assert Counter(row["kind"] for row in found) == {"price": 2, "duplicate": 2, "unknown": 4, "not-billed": 11}
    assert next(row for row in found if row["kind"] == "price") == {
        "kind": "price",
        "line": "9",
        "auction": "a7",
        "imp": "1",
        "campaign": "c1",
        "billed_micros": "1008",
        "our_micros": "1007",
    }


def test_two_bids_on_one_impression_may_both_be_billed(data: Path) -> None:
    """Each once: of three lines one is too many."""
    first, second = (event(n, "win", 700, 500 + n, START_MS) for n in (401, 402))
    rows = [first, (*second[:6], *first[6:8], *second[8:])]  # its auction and impression, a bid of its own
    store = tables(data)
    store.insert("events", dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True)), "two")
    store.close()
    right = [line(n, 1_000 + n) for n in range(100)] + [line(303, 3_000)]
    shown = cells(run(invoice(data, [*right, *[line(401, 700)] * 3]), code=1))
    assert (shown["billed and matched"][0], shown["billed more than once"][0]) == ("103", "1")
    assert shown["ours, not billed"][0] == "0"


def test_lines_that_cannot_be_read_and_options_that_are_wrong(data: Path) -> None:
    rows: list[tuple[object, ...]] = [line(n, 1_000 + n) for n in range(100)]
    rows[5] = ("a5", "1", "a lot", "USD", "")
    said = run(invoice(data, rows), code=2)
    assert "invoice.csv:7: 'a lot' is no price" in said
    assert "1 lines cannot be read" in said
    result = CliRunner().invoke(
        app, ["reconcile", "invoice.csv", "--exchange", "gamma", "--from", str(DAY), "--to", str(DAY)]
    )
    assert (result.exit_code, "known are alpha, beta" in result.output) == (2, True)


def test_a_long_invoice_in_little_memory(data: Path) -> None:
    """As a million lines would be: what is kept does not grow with them."""

    def lines() -> object:
        yield "auction_id,imp_id,price\n"
        for number in range(100_000):
            yield f"a{number % 50_000},0,1\n"

    result = Result()
    with our_bids() as bids:
        store = tables(data)
        assert list(bids.load(store, "alpha", DAY, DAY))[-1] >= 1.0
        store.close()
        tracemalloc.start()
        found = Counter(
            one.kind  # type: ignore[union-attr]
            for one in compare(Invoice({}, "USD", {"USD": 1.0}.get).lines(lines()), bids, DAY, DAY, result)  # type: ignore[arg-type]
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2_000_000
    assert found["unknown"] == 100_000 - 2 * 51  # even numbers up to 100
