"""docs/privacy.md is true: each row of its tables is a request, and what is decided is what the row says."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from consent_strings import NOT_ALLOWED, REQUIRE_CONSENT, REQUIRE_LEGITIMATE_INTEREST, tc_string, vendors

from campaign_express.bidding.privacy import PrivacyPolicy, assess, gdpr_countries
from campaign_express.config import Settings
from campaign_express.openrtb.iso3166 import country_alpha3
from campaign_express.openrtb.request import BidRequest

DOC = Path(__file__).resolve().parents[2] / "docs" / "privacy.md"
POLICY = PrivacyPolicy(vendor_id=8, gdpr_countries=gdpr_countries(Settings().gdpr_when_absent))
KINDS = {
    "not allowed": NOT_ALLOWED,
    "require consent": REQUIRE_CONSENT,
    "require legitimate interest": REQUIRE_LEGITIMATE_INTEREST,
}


def rows(first_header: str) -> list[list[str]]:
    """Cells of the table whose header begins with `first_header`."""
    lines = DOC.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def request(fragment: dict[str, object]) -> BidRequest:
    return msgspec.convert({"id": "1", "imp": [{"id": "1", "banner": {}}], **fragment}, BidRequest)


def allowed(yes_no: str) -> bool:
    return {"yes": True, "no": False}[yes_no]


@pytest.mark.parametrize("row", rows("Signal"), ids=lambda row: row[0])
def test_signal(row: list[str]) -> None:
    _, fragment, identify, personalise, measure, reason = row
    decoded = request(json.loads(fragment.strip("`")))
    country = decoded.device.geo.country if decoded.device and decoded.device.geo else "USA"
    consent = assess(decoded, country_alpha3(country), POLICY)
    assert (consent.identify, consent.personalise, consent.measure, consent.reason) == (
        allowed(identify),
        allowed(personalise),
        allowed(measure),
        reason,
    )
    assert consent.contextual == (not (consent.identify and consent.personalise))
    assert bool(consent.reason) == consent.contextual


@pytest.mark.parametrize("row", rows("`gdpr_when_absent`"), ids=lambda row: f"{row[1]} {row[2]}")
def test_region(row: list[str]) -> None:
    table, countries, verdict = row
    found = gdpr_countries(table.strip("`"))
    for country in countries.split():
        code = "" if country == "unknown" else country_alpha3(country)
        assert (code in found) == {"applies": True, "does not apply": False}[verdict], country


@pytest.mark.parametrize("as_ranges", [False, True], ids=["bitfield", "ranges"])
@pytest.mark.parametrize("row", rows("purposes consented"), ids=lambda row: "/".join(row))
def test_tc_string(row: list[str], as_ranges: bool) -> None:
    purposes, vendor_consent, interests, vendor_interest, restriction, identify, personalise, measure = row
    restrictions = []
    if restriction:
        purpose, _, kind = restriction.partition(" ")
        restrictions.append((int(purpose), KINDS[kind], [(3, 3), (7, 9)]))
    text = tc_string(
        [int(purpose) for purpose in purposes.split()],
        [int(purpose) for purpose in interests.split()],
        vendors([2, 8, 30] if allowed(vendor_consent) else [2, 30], as_ranges),
        vendors([2, 8, 30] if allowed(vendor_interest) else [2, 30], as_ranges),
        restrictions,
    )
    consent = assess(request({"regs": {"gdpr": 1}, "user": {"consent": text}}), "DEU", POLICY)
    assert (consent.identify, consent.personalise, consent.measure) == tuple(
        map(allowed, (identify, personalise, measure))
    )
    # The same string inside GPP decides the same.
    gpp = {"regs": {"gpp": f"DBABMA~{text}", "gpp_sid": [2]}}
    inside = assess(request(gpp), "", POLICY)
    assert (inside.identify, inside.personalise, inside.measure) == (
        consent.identify,
        consent.personalise,
        consent.measure,
    )
    # A restriction or consent of other vendors is none of ours.
    other = assess(
        request({"regs": {"gdpr": 1}, "user": {"consent": text}}), "DEU", PrivacyPolicy(31, POLICY.gdpr_countries)
    )
    assert not any((other.identify, other.personalise, other.measure))
