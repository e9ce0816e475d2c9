"""TC strings: published examples, the library iab-tcf as oracle on well-formed ones, nothing granted by broken ones."""

from __future__ import annotations

import iab_tcf
import pytest
from consent_strings import tc_string, vendors
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.bidding.privacy.bits import BitReader, MalformedSignal
from campaign_express.bidding.privacy.tcf import read_tc_string

# Published with its contents in the test data of iab_gpp (noirotm/iabgpp-rs, tcfeuv2_with_disclosed_vendors) and of the
# IAB's iabgpp-es: purposes 1 to 3, vendors 2, 6, 8 by consent and interest, a long list of disclosed vendors.
CORE = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA"
DISCLOSED = (
    "IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAA"
    "AgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"
)


def test_published_core() -> None:
    granted = {vendor for vendor in range(1, 800) if read_tc_string(CORE, vendor).vendor_consent}
    interested = {vendor for vendor in range(1, 800) if read_tc_string(CORE, vendor).vendor_legitimate_interest}
    assert granted == interested == {2, 6, 8}
    consent = read_tc_string(CORE, 8)
    assert [purpose for purpose in range(1, 25) if consent.allows(purpose)] == [1, 2, 3]


def test_published_disclosed_vendors() -> None:
    """Vendors 2, 6 and 8 are among those disclosed, so nothing changes for them."""
    text = f"{CORE}.{DISCLOSED}"
    assert {vendor for vendor in range(1, 800) if read_tc_string(text, vendor).vendor_consent} == {2, 6, 8}


@pytest.mark.parametrize("as_ranges", [False, True])
def test_vendor_that_was_not_disclosed_has_nothing(as_ranges: bool) -> None:
    text = tc_string(
        [1, 3, 4, 7],
        [7],
        vendors([7, 8], as_ranges=False),
        vendors([7, 8], as_ranges=False),
        disclosed=vendors([7, 9], as_ranges),
    )
    assert read_tc_string(text, 7).allows(1)
    assert not any(read_tc_string(text, 8).allows(purpose) for purpose in range(1, 25))


ranges = st.lists(
    st.tuples(st.integers(1, 900), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=8
)
vendor_sections = st.one_of(
    ranges.map(lambda pairs: vendors(pairs, as_ranges=True)),
    st.lists(st.integers(1, 200), max_size=20).map(lambda ids: vendors(ids, as_ranges=False)),
)
tc_strings = st.builds(
    tc_string,
    st.sets(st.integers(1, 24)),
    st.sets(st.integers(1, 24)),
    vendor_sections,
    vendor_sections,
    st.lists(st.tuples(st.integers(1, 24), st.integers(0, 2), ranges), max_size=5),
)


@settings(max_examples=150, deadline=None)
@given(tc_strings, st.integers(1, 950))
def test_agrees_with_the_library(text: str, vendor: int) -> None:
    ours = read_tc_string(text, vendor)
    # The library reads whole bytes only, and would lose the last bits of a text that ends within one.
    theirs = iab_tcf.decode(text + "A" * (-len(text) % 4))
    assert ours.vendor_consent == theirs.is_vendor_allowed(vendor)
    assert ours.vendor_legitimate_interest == theirs.is_interest_allowed(vendor)
    for purpose in range(1, 25):
        bit = 1 << (24 - purpose)
        assert bool(ours.purposes_consent & bit) == theirs.is_purpose_allowed(purpose)
        assert bool(ours.purposes_legitimate_interest & bit) == theirs.has_purpose_legitimate_interest(purpose)
    restricted = {
        (entry.purpose_id, entry.restriction_type)
        for entry in theirs.pub_restriction_entries
        if entry.is_in_range(vendor)
    }
    assert ours.restrictions == restricted


@settings(max_examples=50, deadline=None)
@given(tc_strings)
def test_a_truncated_string_grants_nothing(text: str) -> None:
    """Every cut that loses a field is refused. (The last characters may hold nothing but padding.)"""
    whole = read_tc_string(text, 8)
    for cut in range(len(text)):
        try:
            read = read_tc_string(text[:cut], 8)
        except MalformedSignal:
            continue
        assert cut == len(text) - 1
        assert read == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "consent-string",
        "BOyFGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA",  # version 1
        CORE.replace("O", "é", 1),
        CORE + "?",
        f"{CORE}.I",  # a segment cut off
        tc_string(vendor_consents=vendors([(9, 5)], as_ranges=True)),  # backwards
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(MalformedSignal):
        read_tc_string(text, 8)


def test_padding_is_tolerated() -> None:
    assert read_tc_string(CORE + "=", 8) == read_tc_string(CORE, 8)


@given(st.text(max_size=60), st.integers(1, 70_000))
def test_any_text_reads_or_is_malformed(text: str, vendor: int) -> None:
    try:
        read_tc_string(text, vendor)
    except MalformedSignal:
        return


def test_bits_are_read_in_order_and_never_past_the_end() -> None:
    bits = BitReader("_A-")  # 111111 000000 111110
    assert (bits.read(6), bits.read(7), bits.read(5)) == (63, 1, 30)
    assert bits.left == 0
    with pytest.raises(MalformedSignal):
        bits.read(1)
