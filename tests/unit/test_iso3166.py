"""Country codes come in two forms and every case."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.openrtb.iso3166 import ALPHA3_OF_ALPHA2, country_alpha3


@pytest.mark.parametrize(
    ("code", "alpha3"),
    [
        ("US", "USA"),
        ("us", "USA"),
        ("USA", "USA"),
        ("usa", "USA"),
        ("Usa", "USA"),
        (" De ", "DEU"),
        ("UK", "GBR"),
        ("GB", "GBR"),
        ("CH", "CHE"),
        ("CN", "CHN"),
        ("ZZ", ""),
        ("ZZZ", ""),
        ("Germany", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_country_alpha3(code: str | None, alpha3: str) -> None:
    assert country_alpha3(code) == alpha3


@given(st.text(max_size=5))
def test_never_raises(code: str) -> None:
    assert country_alpha3(code) in {"", *ALPHA3_OF_ALPHA2.values()}


def test_table_is_whole() -> None:
    """Against the time zone database, whose table lists every ISO 3166-1 country. (Kosovo has no code there.)"""
    lines = files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text(encoding="utf-8").splitlines()
    codes = {line.split("\t")[0] for line in lines if line and not line.startswith("#")}
    assert codes == ALPHA3_OF_ALPHA2.keys() - {"XK"}
    assert len(set(ALPHA3_OF_ALPHA2.values())) == len(ALPHA3_OF_ALPHA2)
    assert all(re.fullmatch("[A-Z]{3}", code) for code in ALPHA3_OF_ALPHA2.values())
