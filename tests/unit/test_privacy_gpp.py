"""GPP strings: the specification's header examples, published US sections, and our own encoder of the field tables."""

from __future__ import annotations

import pytest
from consent_strings import base64url, fibonacci, gpp, number, us_section
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.bidding.privacy.bits import BitReader, MalformedSignal
from campaign_express.bidding.privacy.gpp import judge_gpp, read_gpp
from campaign_express.bidding.privacy.us_privacy import us_privacy_objection
from campaign_express.bidding.privacy.us_sections import LAYOUTS, UsChoices, read_us_section


@pytest.mark.parametrize(
    ("value", "code"), [(1, "11"), (2, "011"), (3, "0011"), (4, "1011"), (5, "00011"), (6, "10011"), (7, "01011")]
)
def test_fibonacci_table_of_the_specification(value: int, code: str) -> None:
    assert fibonacci(value) == code
    assert BitReader(base64url(code)).fibonacci() == value


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=6))
def test_fibonacci_numbers_in_a_row(values: list[int]) -> None:
    bits = BitReader(base64url("".join(map(fibonacci, values))))
    assert [bits.fibonacci() for _ in values] == values


# Core/ConsentStringSpecification.md, "Header Examples" and "GPP String Examples".
@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", {2: "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"}),
        (
            "DBACNYA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN",
            {2: "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", 6: "1YNN"},
        ),
        (
            "DBABjw~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN",  # a run, 5 to 6
            {5: "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA", 6: "1YNN"},
        ),
        ("DBAA", {}),
    ],
)
def test_header_examples_of_the_specification(text: str, sections: dict[int, str]) -> None:
    assert read_gpp(text) == sections


def test_range_example_of_the_specification() -> None:
    """ "Range (Fibonacci)": 3, then a run that starts 2 further and is 3 longer, [3, 5, 6, 7, 8]."""
    header = base64url(number(3, 6) + number(1, 6) + "000000000010" + "0" + "0011" + "1" + "011" + "0011")
    assert list(read_gpp("~".join([header, *"abcde"]))) == [3, 5, 6, 7, 8]


@given(st.dictionaries(st.integers(1, 40), st.from_regex(r"[A-Za-z0-9._-]{0,20}", fullmatch=True), max_size=8))
def test_sections_come_back(sections: dict[int, str]) -> None:
    assert read_gpp(gpp(sections)) == sections


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "gppString",
        "header~1YNN",
        "DBABMA",  # its section is missing
        "DBABMA~a~b",  # one too many
        "CBABMA~a",  # type 2
        "DCABMA~a",  # version 2
        base64url(number(3, 6) + number(1, 6) + number(1, 12) + "1" + "11" + fibonacci(60_000)) + "~a",
        base64url(number(3, 6) + number(1, 6) + number(4095, 12)) + "~a",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(MalformedSignal):
        read_gpp(text)
    if text:
        assert judge_gpp(text, (), "").objection == "gpp-malformed"


# Strings and values as published in the tests of the IAB's own encoder (IABTechLab/iabgpp-es, modules/cmpapi/test).
# (section, text, opt-outs sale/sharing/targeted, child, consent, service provider mode, GPC)
PUBLISHED = [
    (7, "BVVVkkkkkpFY.YA", (1, 1, 1), (2, 1, 0), 1, 2, True),
    (7, "BAAAAAAAAABA", (0, 0, 0), (0, 0, 0), 0, 0, False),
    (7, "BVQqAAAACg", (2, 2, 2), (0, 0), 2, 0, False),
    (8, "BVWSSSVY.YA", (1, 1, 0), (2, 1), 1, 2, True),
    (8, "BbYbGwXY.YA", (1, 2, 0), (0, 1), 1, 2, True),
    (8, "BAAAAABA.QA", (0, 0, 0), (0, 0), 0, 0, False),
    (9, "BVWSSVY", (1, 0, 1), (1,), 0, 2, False),
    (12, "BVWSSZFg.YA", (1, 0, 1), (2, 1, 0), 0, 2, True),
    (12, "BbYbG22w", (1, 0, 2), (1, 2, 3), 0, 3, False),
    (15, "BVWSSRpFYA.YA", (1, 0, 1), (2, 1, 0), 1, 2, True),
    (17, "BVWSSSSVY.Y", (1, 0, 1), (2, 1, 0, 2, 1), 1, 2, True),
    (21, "BVWSSRklWA.YA", (1, 0, 1), (2, 1, 0, 2, 1), 1, 2, True),
    (23, "BVWSSVW.Y", (1, 0, 1), (1,), 1, 2, True),
]


@pytest.mark.parametrize(("section", "text", "opt_outs", "child", "consent", "mode", "gpc"), PUBLISHED)
def test_published_sections(
    section: int, text: str, opt_outs: tuple[int, int, int], child: tuple[int, ...], consent: int, mode: int, gpc: bool
) -> None:
    read = read_us_section(section, text)
    assert (read.sale_opt_out, read.sharing_opt_out, read.targeted_opt_out) == opt_outs
    assert (read.child, read.consent, read.service_provider_mode, read.gpc) == (child, consent, mode, gpc)


# Names of the fields in order, from each section's "Core Segment" table: P processing or sharing notice; NS, NH, NT
# notices of sale, sharing, targeted advertising; NX notices on sensitive data; OS, OH, OT opt-outs; S sensitive
# data, C child, A consent, M MSPA.
TABLES = {
    7: "P NS NH NT NX NX OS OH OT" + " S" * 12 + " C C A M M M",
    8: "NS NH NX OS OH" + " S" * 9 + " C C A M M M",
    9: "P NS NT OS OT" + " S" * 8 + " C M M M",
    10: "P NS NT OS OT" + " S" * 7 + " C M M M",
    11: "P NS NT NX OS OT" + " S" * 8 + " C M M M",
    12: "P NS NT OS OT" + " S" * 8 + " C C C M M M",
    13: "P NS NT OS OT" + " S" * 8 + " C C C A M M M",
    14: "P NS NT OS OT" + " S" * 8 + " C C C A M M M",
    15: "P NS NT OS OT" + " S" * 11 + " C C C A M M M",
    16: "P NS NT OS OT" + " S" * 8 + " C A M M M",
    17: "P NS NT OS OT" + " S" * 9 + " C C C C C A M M M",
    18: "P NS NT NX OS OT" + " S" * 8 + " C M M M",
    19: "P NS NT OS OT" + " S" * 8 + " C A M M M",
    20: "P NS NT OS OT" + " S" * 8 + " C C C A M M M",
    21: "P NS NT OS OT" + " S" * 10 + " C C C C C A M M M",
    22: "P NS NT OS OT" + " S" * 8 + " C A M M M",
    23: "P NS NT OS OT" + " S" * 8 + " C A M M M",
}
NEUTRAL = {"P": 1, "NS": 1, "NH": 1, "NT": 1, "NX": 1, "OS": 2, "OH": 2, "OT": 2, "S": 2, "C": 0, "A": 2, "M": 2}
OBJECTIONS = {
    "NS": (2, 3),
    "NH": (2, 3),
    "NT": (2, 3),
    "OS": (1, 3),
    "OH": (1, 3),
    "OT": (1, 3),
    "A": (1, 3),
    "C": (1, 2, 3),
}


def test_every_supported_section_is_tabled() -> None:
    assert TABLES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("section", TABLES)
def test_each_field_by_itself(section: int) -> None:
    """One field at a time takes each value: it objects exactly if OBJECTIONS says so, or in service provider mode."""
    names = TABLES[section].split()
    neutral = [NEUTRAL[name] for name in names]
    assert not read_us_section(section, us_section(neutral)).objects
    assert not read_us_section(section, us_section(neutral, gpc=False)).objects
    assert read_us_section(section, us_section(neutral, gpc=True)).objects
    for at, name in enumerate(names):
        for value in range(4):
            fields = [*neutral[:at], value, *neutral[at + 1 :]]
            is_mode = at == len(names) - 1
            expected = value in ((1, 3) if is_mode else OBJECTIONS.get(name, ()))
            assert read_us_section(section, us_section(fields)).objects == expected, (name, at, value)
    with pytest.raises(MalformedSignal):
        read_us_section(section, us_section(neutral[:-4]))
    with pytest.raises(MalformedSignal):
        read_us_section(section, us_section(neutral, version=3))


def test_national_version_2_and_its_fields_under_version_1() -> None:
    """16 kinds of sensitive data and 3 consents for children, not 12 and 2; length tells them apart under version 1."""
    fields = [1] * 6 + [2] * 3 + [0] * 16 + [0, 0, 1] + [2, 2, 0, 0]
    for version in (1, 2):
        read = read_us_section(7, us_section(fields, version=version))
        assert read.child == (0, 0, 1)
        assert read.consent == 2
    with pytest.raises(MalformedSignal):
        read_us_section(7, us_section(fields[:22], version=2))


def test_what_the_list_of_sections_in_force_means() -> None:
    out = us_section([NEUTRAL[name] if name != "OS" else 1 for name in TABLES[8].split()])
    in_ = us_section([NEUTRAL[name] for name in TABLES[7].split()])
    text = gpp({2: "C", 7: in_, 8: out})
    assert judge_gpp(text, (7,), "") == ("", False, "C")
    assert judge_gpp(text, (8,), "").objection == "gpp"
    assert judge_gpp(text, (7, 8), "").objection == "gpp"
    assert judge_gpp(text, (2,), "") == ("", True, "C")
    assert judge_gpp(text, (), "") == ("gpp", False, "C")
    assert judge_gpp(text, (0,), "").objection == "gpp"
    assert judge_gpp(text, (-1,), "").objection == ""
    assert judge_gpp(text, (9,), "").objection == "gpp-malformed"
    assert judge_gpp(text, (5,), "").objection == "gpp-unsupported"
    assert judge_gpp("", (7,), "").objection == "gpp-malformed"
    assert judge_gpp("", (6,), "1YNN").objection == ""  # judged by itself
    assert judge_gpp("", (6,), "").objection == "gpp-malformed"
    assert judge_gpp("", (), "") == ("", False, "")


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("1---", ""),
        ("1YNN", ""),
        ("1ynn", ""),
        ("1-N-", ""),
        ("1YYN", "us-privacy"),
        ("1NYY", "us-privacy"),
        ("1-Y-", "us-privacy"),
        ("1NNN", "us-privacy"),
        ("1Y-N", "us-privacy-malformed"),
        ("2YNN", "us-privacy-malformed"),
        ("1YNNN", "us-privacy-malformed"),
        ("1--", "us-privacy-malformed"),
        ("1XNN", "us-privacy-malformed"),
        ("uspConsentString", "us-privacy-malformed"),
    ],
)
def test_us_privacy(text: str, objection: str) -> None:
    assert us_privacy_objection(text) == objection


@given(st.text(max_size=60), st.lists(st.integers(-3, 60), max_size=4), st.text(max_size=6))
def test_any_text_is_judged(text: str, sids: list[int], us_privacy: str) -> None:
    judge_gpp(text, sids, us_privacy)
    judge_gpp("DBABLA~" + text, sids, us_privacy)


def test_choices_without_objection() -> None:
    assert not UsChoices(1, 1, 1, 2, 2, 2, (0, 0), 2, 2, False).objects
