"""Rates files, and prices that survive conversion and rounding on the right side of the floor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.bidding.currency import load_rates, parse_rates, price_for
from campaign_express.bidding.money import floor_to_micros, micros_to_price
from campaign_express.errors import ConfigError

PACKAGED = load_rates()
CODES = (
    "AED AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW KWD MXN MYR NOK NZD PHP PLN RON RUB SAR "
    "SEK SGD THB TRY TWD USD VND ZAR"
)


def test_the_packaged_example_covers_the_usual_currencies() -> None:
    for code in CODES.split():
        assert code in PACKAGED
        assert 1e-6 < (PACKAGED.usd_per(code) or 0) < 1e2
    assert PACKAGED.usd_per("USD") == 1.0
    assert 0.9 < (PACKAGED.usd_per("EUR") or 0) < 1.5
    assert 0.004 < (PACKAGED.usd_per("JPY") or 0) < 0.02
    assert PACKAGED.usd_per("XYZ") is None
    assert PACKAGED.usd_per("eur") is None
    assert PACKAGED.date.year >= 2025


def test_any_base_will_do() -> None:
    rates = parse_rates(b'{"base":"EUR","date":"2026-01-31","rates":{"USD":1.25,"GBP":0.5}}')
    assert rates.usd_per("USD") == 1.0
    assert rates.usd_per("EUR") == 1.25
    assert rates.usd_per("GBP") == 2.5


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rates": {"EUR": 0}}, r"> 0.*\$\.rates"),
        ({"rates": {"EUR": -1}}, r"\$\.rates"),
        ({"rates": {"EUR": "1"}}, r"\$\.rates"),
        ({"rates": {"euro": 1}}, "rates"),
        ({"base": "EUR", "rates": {"GBP": 1}}, "no rate for USD"),
        ({"rates": {"USD": 2}}, "rate of the base USD is not 1"),
        ({"date": "yesterday"}, r"\$\.date"),
        ({"dates": "2026-01-01"}, "unknown field `dates`"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_place(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_text(json.dumps({"base": "USD", "date": "2026-01-31", "rates": {"EUR": 0.9}, **change}))
    with pytest.raises(ConfigError, match=problem) as caught:
        load_rates(path)
    assert str(path) in str(caught.value)


def test_an_absent_or_broken_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json: No such file"):
        load_rates(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text('{"base": ')
    with pytest.raises(ConfigError, match=r"broken\.json"):
        load_rates(tmp_path / "broken.json")


floors = st.floats(0, 1e6, allow_nan=False) | st.decimals("0", "1000", places=2).map(float)


@given(floors, st.sampled_from(CODES.split()), st.integers(0, 3))
@settings(max_examples=1000, deadline=None)
def test_a_bid_at_or_just_above_its_floor_is_not_rounded_below_it(floor: float, currency: str, above: int) -> None:
    rate = PACKAGED.usd_per(currency)
    assert rate is not None
    micros = floor_to_micros(floor, rate) + above
    price = price_for(micros, rate, floor)
    assert price >= floor
    # What it costs: less than a millionth of the unit, beside the micros above and the noise that floors are forgiven.
    assert price <= (micros + 1) / rate / 1e6 + 1e-6 + 2e-9 * floor


@given(st.integers(0, 10**10), st.sampled_from(CODES.split()))
def test_without_a_floor_a_price_is_only_converted(micros: int, currency: str) -> None:
    rate = PACKAGED.usd_per(currency)
    assert rate is not None
    assert price_for(micros, rate, 0.0) == pytest.approx(micros / rate / 1e6, abs=6e-7, rel=1e-12)


@given(st.integers(0, 10**12), st.sampled_from(CODES.split()))
def test_the_fast_rounding_is_that_of_money(micros: int, currency: str) -> None:
    rate = PACKAGED.usd_per(currency)
    assert rate is not None
    assert price_for(micros, rate, 0.0) == pytest.approx(micros_to_price(micros, rate), abs=1.1e-6, rel=1e-15)


def test_a_bid_below_its_floor_is_not_lifted() -> None:
    assert price_for(1_000_000, 1.0, 2.0) == 1.0
    assert price_for(999_999, 1.0, 1.0) == 0.999999
