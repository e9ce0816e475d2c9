"""Lines of invoices as exchanges write them, to micros of USD; what cannot be read names its line."""

from __future__ import annotations

import pytest

from campaign_express.analytics.invoice import BadLine, Billed, Invoice, parse_columns
from campaign_express.errors import ConfigError

RATES = {"USD": 1.0, "EUR": 1.25}


def read(*lines: str, columns: str = "", currency: str = "USD") -> list[Billed | BadLine]:
    return list(Invoice(parse_columns(columns), currency, RATES.get).lines([f"{line}\n" for line in lines]))


def test_a_price_is_a_cpm_and_an_amount_is_of_the_impression() -> None:
    assert read("auction_id,imp_id,price", "a,1,2.5", "b,2,0.0015") == [
        Billed(2, "a", "1", 2_500, -1),
        Billed(3, "b", "2", 2, -1),  # rounded up, as in notices
    ]
    assert read("auction,imp,amount", "a,1,0.0025") == [Billed(2, "a", "1", 2_500, -1)]
    assert read("auction,imp,amount,cpm", "a,1,7,2") == [Billed(2, "a", "1", 2_000, -1)]


def test_currencies() -> None:
    assert read("auction,imp,price,cur", "a,1,2,EUR", "b,1,2,", "c,1,2,eur", "d,1,2,XXX") == [
        Billed(2, "a", "1", 2_500, -1),
        Billed(3, "b", "1", 2_000, -1),
        Billed(4, "c", "1", 2_500, -1),
        BadLine(5, "the rates file has no XXX"),
    ]
    assert read("auction,imp,price", "a,1,2", currency="eur") == [Billed(2, "a", "1", 2_500, -1)]


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("1764028800", 1764028800000),
        ("1764028800123", 1764028800123),
        ("2025-11-25T00:00:00Z", 1764028800000),
        ("2025-11-25 01:00:00+01:00", 1764028800000),
        ("2025-11-25", 1764028800000),
    ],
)
def test_times(written: str, ms: int) -> None:
    assert read("auction,imp,price,timestamp", f"a,1,2,{written}") == [Billed(2, "a", "1", 2_000, ms)]


def test_names_of_columns() -> None:
    assert read("\ufeffAuction ID,Imp-ID,Clearing Price", "a,1,2") == [Billed(2, "a", "1", 2_000, -1)]
    mapped = read("Bid,Slot,Net,price", "a,1,0.5,9", columns="auction=Bid,imp=slot,price=Net")
    assert mapped == [Billed(2, "a", "1", 500, -1)]
    with pytest.raises(ConfigError, match=r"no column 'Bod'"):
        read("Bid,imp,price", columns="auction=Bod")
    with pytest.raises(ConfigError, match=r"no column for auction .*\n.*no column for imp"):
        read("x,price")
    with pytest.raises(ConfigError, match=r"no column for price \(a CPM\) or amount"):
        read("auction,imp")
    with pytest.raises(ConfigError, match=r"'size=x' is not one of auction, imp"):
        parse_columns("size=x")
    with pytest.raises(ConfigError, match="no column for auction"):
        read()


def test_lines_that_cannot_be_read_are_named() -> None:
    found = read(
        "auction,imp,price,time",
        ",1,2,",
        "a,,2,",
        "a,1,two,",
        "a,1,-1,",
        "a,1,NaN,",
        "a,1,2,noon",
        "",
        'a,1,"2',
        columns="",
    )
    assert found == [
        BadLine(2, "no auction"),
        BadLine(3, "no imp"),
        BadLine(4, "'two' is no price"),
        BadLine(5, "'-1' is no price"),
        BadLine(6, "'NaN' is no price"),
        BadLine(7, "'noon' is no time"),
        BadLine(9, "unexpected end of data"),
    ]
