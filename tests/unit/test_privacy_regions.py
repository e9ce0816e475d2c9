"""The setting `gdpr_when_absent`: what its table means, of which docs/privacy.md has more rows, and its errors."""

from __future__ import annotations

import pytest

from campaign_express.bidding.privacy import gdpr_countries
from campaign_express.bidding.privacy.regions import EEA, LAW_OF
from campaign_express.config import Settings
from campaign_express.errors import ConfigError
from campaign_express.openrtb.iso3166 import ALPHA3_OF_ALPHA2

COUNTRIES = set(ALPHA3_OF_ALPHA2.values())
REST = "unknown=does-not-apply,other=does-not-apply"


def test_the_default_is_the_eea_the_united_kingdom_switzerland_and_where_no_country_is_known() -> None:
    # 27 of the Union, 3 of EFTA, 7 territories of France and Finland; Britain with 4 of its own; Switzerland; unknown.
    found = gdpr_countries(Settings().gdpr_when_absent)
    assert len(found) == 30 + 7 + 5 + 1 + 1
    assert found - {""} <= COUNTRIES


def test_territories_and_members_are_countries() -> None:
    assert EEA | LAW_OF.keys() | set(LAW_OF.values()) <= COUNTRIES
    assert not EEA & LAW_OF.keys()


def test_other_is_every_country_that_nothing_else_names() -> None:
    assert gdpr_countries("unknown=does-not-apply,other=applies") == COUNTRIES
    assert gdpr_countries("unknown=applies,other=applies") == COUNTRIES | {""}
    assert gdpr_countries("unknown=applies,other=does-not-apply") == {""}
    assert gdpr_countries(REST) == frozenset()


@pytest.mark.parametrize("name", ["US", "us", "USA", "usa", " US "])
def test_any_spelling_of_a_country(name: str) -> None:
    assert gdpr_countries(f"{name} = applies , {REST},") == {"USA"}


@pytest.mark.parametrize(
    ("entries", "country", "applies"),
    [
        ("GB=applies", "GGY", True),
        ("GGY=does-not-apply,GB=applies", "GGY", False),
        ("GB=applies,GGY=does-not-apply", "GBR", True),
        ("GGY=applies", "GBR", False),
        ("eea=applies,FI=does-not-apply", "ALA", False),
        ("EEA=applies", "ALA", True),
        ("eea=applies", "GIB", False),
    ],
)
def test_the_most_specific_entry_holds_wherever_it_stands(entries: str, country: str, applies: bool) -> None:
    assert (country in gdpr_countries(f"{entries},{REST}")) == applies
    assert (country in gdpr_countries(f"{REST},{entries}")) == applies


@pytest.mark.parametrize(
    ("table", "problems"),
    [
        ("", ["unknown is missing", "other is missing"]),
        ("eea=applies,unknown=applies", ["other is missing"]),
        ("eea", ["expected REGION=applies or REGION=does-not-apply, got 'eea'"]),
        (f"XX=applies,{REST}", ["'XX' is no country (ISO 3166-1) and none of eea, unknown, other"]),
        (f"=applies,{REST}", ["'' is no country (ISO 3166-1) and none of eea, unknown, other"]),
        (f"eea=yes,{REST}", ["eea is either applies or does-not-apply, not 'yes'"]),
        (f"US=applies,usa=applies,{REST}", ["usa is named twice"]),
        ("XX=applies,US=no", ["'XX' is no country (ISO 3166-1) and none of eea, unknown, other", "US is either"]),
    ],
)
def test_whatever_is_wrong_is_said_at_once_and_names_the_setting(table: str, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        gdpr_countries(table)
    assert len(error.value.problems) == len(problems)
    for told, expected in zip(error.value.problems, problems, strict=True):
        assert told.startswith(f"gdpr_when_absent: {expected}")
