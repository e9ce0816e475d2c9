"""What an impression costs by its notice's word, and when that word is not taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.bidding.currency import price_for
from campaign_express.errors import ConfigError
from campaign_express.gateway.clearing import Cost, PriceReader, PriceTerms, parse_price_keys
from campaign_express.openrtb.notices import Notice
from campaign_express.openrtb.price_encryption import encrypt_price

KEYS = (b"e" * 32, b"i" * 32)
RATES = {"USD": 1.0, "EUR": 1.25, "JPY": 0.0064}
READER = PriceReader(
    {
        "plain": PriceTerms("billing"),
        "euro": PriceTerms("win", "EUR"),
        "secret": PriceTerms("win", "USD", True, KEYS),
        "secret-euro": PriceTerms("win", "EUR", True, KEYS),
        "keyless": PriceTerms("win", "USD", True),
    },
    RATES.get,
)


def notice(exchange: str = "plain", kind: str = "billing", **macros: str) -> Notice:
    values: dict[str, Any] = dict.fromkeys(("key", "auction", "imp", "bid", "advertiser", "campaign", "creative"), "x")
    return Notice(
        kind=kind, exchange=exchange, price_micros=0, event_ms=0, test=False, consent={}, macros=macros, **values
    )


@pytest.mark.parametrize(
    ("price", "micros"),
    [
        ("2", 2000),
        ("2.35", 2350),
        ("2.3500", 2350),
        ("0.001", 1),
        ("0.0001", 1),  # rounded up: 0.1 micros
        ("2.350001", 2351),
        ("0", 0),
        ("0.0", 0),
        (".5", 500),
        ("2.", 2000),
        ("1e-05", 1),  # as programs print a small float
        ("2.5E0", 2500),
    ],
)
def test_a_plain_price_is_a_thousandth_rounded_up(price: str, micros: int) -> None:
    assert READER.read(notice(price=price), 5000) == Cost(micros, True)


@pytest.mark.parametrize(
    "price",
    [
        "x",
        "-1",
        "+1",
        "1,5",
        "1.5 ",
        " 1",
        "nan",
        "inf",
        "0x1",
        "1_000",
        "1e999",
        "9" * 16,
        "1e99",
        "٣",
        "$1",
        "1.5USD",
    ],
)
def test_what_is_no_price_is_unreadable(price: str) -> None:
    assert READER.read(notice(price=price), 5000) == Cost(remark="unreadable")


def test_a_price_that_is_missing_matters_where_it_would_be_paid() -> None:
    assert READER.read(notice(), 5000) == Cost(remark="absent")
    assert READER.read(notice(kind="win"), 5000) == Cost()


def test_only_the_price_notice_sets_the_price() -> None:
    assert READER.read(notice(kind="win", price="1"), 5000) == Cost(1000, False)
    assert READER.read(notice("euro", "win", price="1"), 5000) == Cost(1250, True)


def test_losses_and_clicks_cost_nothing() -> None:
    for kind in ("loss", "click"):
        assert READER.read(notice(kind=kind, price="99"), 5000) == Cost()


def test_an_exchange_that_is_gone_says_no_price() -> None:
    assert READER.read(notice("former", price="1"), 5000) == Cost()


def test_the_notice_may_name_its_currency() -> None:
    assert READER.read(notice(price="1", currency="EUR"), 5000) == Cost(1250, True)
    assert READER.read(notice(price="1", currency="eur"), 5000) == Cost(1250, True)
    assert READER.read(notice("euro", "win", price="1", currency="USD"), 5000) == Cost(1000, True)
    assert READER.read(notice(price="1", currency="XXX"), 5000) == Cost(remark="unreadable")


def test_a_price_above_the_bid_is_quarantined() -> None:
    cost = READER.read(notice(price="2.4"), 2350)
    assert (cost.micros, cost.sets_price, cost.remark) == (2400, True, "quarantined")
    assert cost.quarantined == "clear price 2400 is above the authorised 2350"
    assert READER.read(notice(price="2.35"), 2350).remark == ""


def test_rounding_and_a_changed_rate_are_no_fraud() -> None:
    assert READER.read(notice(price="2.351"), 2350) == Cost(2350, True, "capped")
    assert READER.read(notice(price="2.352"), 2350).remark == "quarantined"
    # 1 % of another currency: rates of the day before
    assert READER.read(notice("euro", "win", price="8.08"), 10_000) == Cost(10_000, True, "capped")
    assert READER.read(notice("euro", "win", price="8.09"), 10_000).remark == "quarantined"


@given(st.integers(1000, 10**9), st.sampled_from(sorted(RATES)))
def test_our_own_bid_coming_back_is_never_quarantined(price_micros: int, currency: str) -> None:
    rate = RATES[currency]
    answered = price_for(price_micros, rate, 0.0)
    authorised = -(-price_micros // 1000)
    cost = READER.read(notice(price=repr(answered), currency=currency), authorised)
    assert cost.remark in ("", "capped")
    assert authorised - 1 <= cost.micros <= authorised


def test_encrypted_prices() -> None:
    text = encrypt_price(1_900_000, b"abcdefghijklmnop", *KEYS)
    assert READER.read(notice("secret", "win", price=text), 5000) == Cost(1900, True)
    assert READER.read(notice("secret-euro", "win", price=text), 5000) == Cost(2375, True)
    assert READER.read(notice("keyless", "win", price=text), 5000) == Cost(remark="unreadable")
    assert READER.read(notice("secret", "win", price="1.9"), 5000) == Cost(remark="unreadable")
    forged = encrypt_price(1, b"abcdefghijklmnop", b"x" * 32, b"y" * 32)
    assert READER.read(notice("secret", "win", price=forged), 5000) == Cost(remark="unreadable")
    assert READER.read(notice("secret", "win", price=encrypt_price(2**63, b"a" * 16, *KEYS)), 5000).micros == -1


def test_price_keys() -> None:
    assert parse_price_keys("") == {}
    assert parse_price_keys("a=00ff:11, b:c=22:33") == {"a": (b"\x00\xff", b"\x11"), "b:c": (b"\x22", b"\x33")}


@pytest.mark.parametrize("text", ["a", "a=", "a=00", "a=00:", "a=:00", "=00:11", "a=zz:00", "a=00:11,,", "a=0:11"])
def test_price_keys_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="price_keys: entry"):
        parse_price_keys(text)


def test_price_keys_name_an_exchange_once() -> None:
    with pytest.raises(ConfigError, match="entry 2 names its exchange a second time") as caught:
        parse_price_keys("a=aaaa:bbbb,a=cccc:dddd")
    assert "cccc" not in str(caught.value)
