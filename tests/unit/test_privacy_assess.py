"""From a request's signals to a Consent: places, precedence, policy, what is passed on, and that nothing raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from consent_strings import tc_string, vendors
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.bidding.privacy import (
    UNRESTRICTED,
    Consent,
    PrivacyPolicy,
    assess,
    truncate_coordinate,
    truncate_ip,
)
from campaign_express.openrtb.request import BidRequest

POLICY = PrivacyPolicy(vendor_id=8, gdpr_countries=frozenset({"DEU"}))
EVERYWHERE = PrivacyPolicy(8, frozenset({"DEU", "USA", ""}))
NOWHERE = PrivacyPolicy(8, frozenset())
ALL = tc_string([1, 3, 4, 7], [], vendors([8], as_ranges=False))
NO_ADS = tc_string([1, 3, 7], [], vendors([8], as_ranges=False))


def judge(fragment: dict[str, Any], country: str = "", policy: PrivacyPolicy = POLICY) -> Consent:
    return assess(msgspec.convert({"id": "1", "imp": [{"id": "1"}], **fragment}, BidRequest), country, policy)


def test_requests_without_signals_share_one_consent() -> None:
    for fragment in (
        {},
        {"device": {}, "user": {"id": "u", "ext": {"eids": []}}},
        {"regs": {}},
        {"regs": {"coppa": 0, "ext": {}}, "device": {"lmt": 0, "dnt": 0, "ext": {}}, "user": {"consent": ""}},
    ):
        assert judge(fragment) is UNRESTRICTED


def test_the_same_signals_are_judged_once() -> None:
    fragment = {"regs": {"gdpr": 1}, "user": {"consent": ALL}}
    assert judge(fragment) is judge(fragment)


@pytest.mark.parametrize(
    ("policy", "country", "applies"),
    [
        (NOWHERE, "DEU", False),
        (NOWHERE, "", False),
        (POLICY, "DEU", True),
        (POLICY, "USA", False),
        (POLICY, "", False),
        (EVERYWHERE, "USA", True),
        (EVERYWHERE, "", True),
    ],
)
@pytest.mark.parametrize("fragment", [{}, {"regs": {"us_privacy": "1YNN"}}, {"user": {"consent": ALL}}])
def test_absent_flag(policy: PrivacyPolicy, country: str, applies: bool, fragment: dict[str, Any]) -> None:
    consent = judge(fragment, country, policy)
    assert consent.contextual == (applies and "user" not in fragment)
    assert ("gdpr=1" in consent.query) == applies


def test_a_flag_wins_over_the_country() -> None:
    assert not judge({"regs": {"gdpr": 0}}, "DEU").contextual
    assert judge({"regs": {"gdpr": 1}}, "USA").contextual


def test_without_a_vendor_id_the_gdpr_allows_nothing() -> None:
    consent = judge({"regs": {"gdpr": 1}, "user": {"consent": ALL}}, "", PrivacyPolicy(0, frozenset()))
    assert (consent.identify, consent.personalise, consent.measure) == (False, False, False)
    assert consent.reason == "gdpr-no-vendor-id"


def test_two_tc_strings_must_both_allow() -> None:
    def both(user: str, section: str) -> Consent:
        return judge({"regs": {"gpp": f"DBABMA~{section}", "gpp_sid": [2]}, "user": {"consent": user}})

    assert not both(ALL, ALL).contextual
    assert both(ALL, NO_ADS).contextual
    assert both(NO_ADS, ALL).contextual
    assert both(ALL, "junk").reason == "gdpr-malformed"


def test_the_2_6_place_comes_first() -> None:
    assert not judge({"regs": {"us_privacy": "1YNN", "ext": {"us_privacy": "1YYN"}}}).contextual
    consent = judge({"regs": {"gdpr": 1}, "user": {"consent": ALL, "ext": {"consent": NO_ADS}}})
    assert not consent.contextual


def test_every_signal_is_judged_and_the_first_is_named() -> None:
    regs = {"coppa": 1, "gdpr": 1, "us_privacy": "1YYN", "gpp": "junk", "ext": {"gpc": 1}}
    fragment: dict[str, Any] = {"regs": regs, "device": {"lmt": 1, "dnt": 1}, "user": {"consent": ALL}}
    steps = [
        ("coppa", lambda: regs.pop("coppa")),
        ("lmt", lambda: fragment["device"].pop("lmt")),
        ("dnt", lambda: fragment["device"].pop("dnt")),
        ("gpc", lambda: regs.pop("ext")),
        ("us-privacy", lambda: regs.pop("us_privacy")),
        ("gpp-malformed", lambda: regs.pop("gpp")),
    ]
    for reason, remove in steps:
        consent = judge(fragment)
        assert consent.reason == reason
        assert not consent.identify
        remove()
    assert judge(fragment).reason == ""


def test_consent_is_no_excuse_for_an_opt_out() -> None:
    consent = judge({"regs": {"gdpr": 1, "us_privacy": "1YYN"}, "user": {"consent": ALL}})
    assert consent.contextual
    assert consent.measure


def test_query_carries_what_came() -> None:
    consent = judge(
        {
            "regs": {
                "coppa": 1,
                "gdpr": 1,
                "us_privacy": "1YNN",
                "gpp": "DBACNYA~C~1YNN",
                "gpp_sid": [2, 6],
                "ext": {"gpc": 1},
            },
            "user": {"consent": "a&b=c/d+e f%"},
        }
    )
    assert consent.query.startswith("&gdpr=1&gdpr_consent=a%26b%3Dc%2Fd%2Be%20f%25&us_privacy=1YNN&gpp=DBACNYA~C~1YNN&")
    assert parse_qs(consent.query[1:], strict_parsing=True) == {
        "gdpr": ["1"],
        "gdpr_consent": ["a&b=c/d+e f%"],
        "us_privacy": ["1YNN"],
        "gpp": ["DBACNYA~C~1YNN"],
        "gpp_sid": ["2,6"],
        "coppa": ["1"],
        "gpc": ["1"],
    }
    assert judge({"regs": {"gdpr": 0}}).query == "&gdpr=0"
    assert judge({"device": {"lmt": 1}}).query == ""


def test_strings_that_are_too_long_are_refused_and_not_passed_on() -> None:
    for fragment, reason in (
        ({"regs": {"gdpr": 1}, "user": {"consent": ALL + "A" * 5000}}, "gdpr-malformed"),
        ({"regs": {"gpp": "DBABMA~" + "A" * 5000}}, "gpp-malformed"),
        ({"regs": {"us_privacy": "1" * 5000}}, "us-privacy-malformed"),
    ):
        consent = judge(fragment)
        assert consent.reason == reason
        assert len(consent.query) < 20


texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", ALL, NO_ADS, "1YNN", "1YYY", "DBABMA~" + ALL, "DBABLA~BVQqAAAACg", "DBABjw~~", "\ud800", "\x00"]
    ),
)
numbers = st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))
gpcs = st.one_of(numbers, st.booleans(), st.text(max_size=6))
regs_ext = st.fixed_dictionaries(
    {},
    optional={
        "gdpr": numbers,
        "us_privacy": texts,
        "gpp": texts,
        "gpp_sid": st.one_of(st.none(), st.lists(st.integers(-5, 2**31 - 1), max_size=4)),
        "gpc": gpcs,
    },
)
fragments = st.fixed_dictionaries(
    {},
    optional={
        "regs": st.builds(
            lambda top, coppa, ext: {**{k: v for k, v in top.items() if k != "gpc"}, "coppa": coppa, "ext": ext},
            regs_ext,
            numbers,
            st.one_of(st.none(), regs_ext),
        ),
        "device": st.fixed_dictionaries(
            {}, optional={"lmt": numbers, "dnt": numbers, "ext": st.fixed_dictionaries({}, optional={"gpc": gpcs})}
        ),
        "user": st.fixed_dictionaries(
            {}, optional={"consent": texts, "ext": st.fixed_dictionaries({}, optional={"consent": texts})}
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(
    fragments,
    st.sampled_from(["", "DEU", "USA", "junk"]),
    st.integers(0, 70_000),
    st.sets(st.sampled_from(["", "DEU", "USA"])),
)
def test_never_raises_and_never_contradicts_itself(
    fragment: dict[str, Any], country: str, vendor: int, gdpr: set[str]
) -> None:
    consent = judge(fragment, country, PrivacyPolicy(vendor, frozenset(gdpr)))
    assert bool(consent.reason) == consent.contextual
    assert consent.query.isascii()
    assert consent.query == "" or consent.query.startswith("&")
    assert not set(consent.query) & set(" \"'<>#\n")
    regs = fragment.get("regs") or {}
    if regs.get("coppa"):
        assert not any((consent.identify, consent.personalise, consent.measure))
    if consent.personalise:
        assert consent.identify


def test_real_requests(shared: Path) -> None:
    """Each reason that public fixtures give rise to, counted; a signal that is there is never overlooked."""
    for line in (shared / "openrtb" / "requests.jsonl").read_text().splitlines():
        raw = json.loads(line)
        consent = assess(msgspec.json.decode(line, type=BidRequest), "", POLICY)
        regs, device = raw.get("regs") or {}, raw.get("device") or {}
        ext = regs.get("ext") or {}
        if regs.get("coppa") == 1:
            assert consent.reason == "coppa"
        elif device.get("lmt") == 1 or device.get("dnt") == 1:
            assert consent.reason in ("lmt", "dnt")
        elif 1 in (regs.get("gdpr"), ext.get("gdpr")):
            assert not consent.personalise
            assert "gdpr=1" in consent.query
        elif (regs.get("us_privacy") or ext.get("us_privacy") or "1---") not in ("1---", "1YN-", "1YNN"):
            assert consent.contextual
            assert "us_privacy=" in consent.query


@pytest.mark.parametrize(
    ("ip", "cut"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("0.0.0.0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.0"),
        ("2001:db8:1234:5678::9", "2001:db8:1234::"),
        ("2001:db8::1", "2001:db8::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("fe80::1%eth0", "fe80::"),
        ("203.0.113", ""),
        ("203.0.113.256", ""),
        ("203.0.113.+7", ""),
        ("203.0.113.x", ""),
        ("٢٠٣.0.113.7", ""),
        ("203.0.113.7.", ""),
        ("", ""),
        ("1" * 500, ""),
        ("not an address", ""),
    ],
)
def test_truncate_ip(ip: str, cut: str) -> None:
    assert truncate_ip(ip) == cut


@given(st.ip_addresses())
def test_truncated_addresses_stay_put(ip: Any) -> None:
    cut = truncate_ip(str(ip))
    assert cut
    assert truncate_ip(cut) == cut


@given(st.text(max_size=70))
def test_truncate_ip_never_raises(ip: str) -> None:
    truncate_ip(ip)


@given(st.floats(-180, 180))
def test_truncate_coordinate(degrees: float) -> None:
    cut = truncate_coordinate(degrees)
    assert abs(cut - degrees) <= 0.0500001
    assert truncate_coordinate(cut) == cut
    assert len(f"{cut:.6f}".rstrip("0").partition(".")[2]) <= 1
