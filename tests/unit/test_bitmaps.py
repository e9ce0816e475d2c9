"""Masks of lines against loops over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.bidding.bitmaps import ManyValues, Memo, OneValue, bits, candidates
from campaign_express.bidding.lines import mask_of

VALUES = "abcd"
counts = st.integers(1, 200)
# A rule: which of the values a line includes and excludes.
line_rules = st.lists(st.tuples(st.sets(st.sampled_from(VALUES)), st.sets(st.sampled_from(VALUES))), max_size=70)


def holds(rule: tuple[set[str], set[str]], values: set[str]) -> bool:
    include, exclude = rule
    return (not include or bool(include & values)) and not exclude & values


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[int], int]:
    """Masks and the number of lines they are over."""
    lines = draw(counts)
    full = (1 << lines) - 1
    masks = st.one_of(
        st.integers(0, full), st.just(0), st.just(full), st.integers(0, lines - 1).map(lambda bit: 1 << bit)
    )
    return draw(st.lists(masks, min_size=1, max_size=12)), lines


@given(batches())
@settings(max_examples=200, deadline=None)
def test_candidates_are_all_bits_row_by_row(batch: tuple[list[int], int]) -> None:
    masks, lines = batch
    row, line = candidates(masks, [mask.bit_count() for mask in masks], lines)
    expected = [(r, bit) for r, mask in enumerate(masks) for bit in range(lines) if mask >> bit & 1]
    assert list(zip(row.tolist(), line.tolist(), strict=True)) == expected
    assert row.dtype == line.dtype == np.int64


@pytest.mark.parametrize("lines", [1, 63, 64, 65, 128, 25_000])
def test_candidates_at_the_edges_of_words(lines: int) -> None:
    last = lines - 1
    row, line = candidates(masks := [1, 1 << last, 0, 1 << last | 1], [mask.bit_count() for mask in masks], lines)
    expected = sorted({(0, 0), (1, last), (3, 0), (3, last)})
    assert list(zip(row.tolist(), line.tolist(), strict=True)) == expected


@given(batches())
@settings(max_examples=100, deadline=None)
def test_bits_and_masks_are_each_other_s_reverse(batch: tuple[list[int], int]) -> None:
    for mask in batch[0]:
        found = bits(mask)
        assert found == [bit for bit in range(batch[1]) if mask >> bit & 1]
        assert mask_of(found) == mask


def rules_of(lines: list[tuple[set[str], set[str]]]) -> list[tuple[int, set[str], set[str]]]:
    return [(1 << bit, include, exclude) for bit, (include, exclude) in enumerate(lines)]


@given(line_rules)
@settings(max_examples=200, deadline=None)
def test_an_index_of_one_value_is_its_rules(lines: list[tuple[set[str], set[str]]]) -> None:
    index = OneValue((1 << len(lines)) - 1, rules_of(lines))
    for value in (*VALUES, "unheard of", ""):
        mask = index.allow.get(value, index.default)
        known = {value} if value else set()
        assert bits(mask) == [bit for bit, rule in enumerate(lines) if holds(rule, known)]
    assert index.used == any(include or exclude for include, exclude in lines)


@given(line_rules, st.sets(st.sampled_from([*VALUES, "unheard of"])))
@settings(max_examples=200, deadline=None)
def test_an_index_of_many_values_is_its_rules(lines: list[tuple[set[str], set[str]]], values: set[str]) -> None:
    index = ManyValues((1 << len(lines)) - 1, rules_of(lines))
    assert bits(index.allow(values)) == [bit for bit, rule in enumerate(lines) if holds(rule, values)]
    assert index.free == index.allow(())
    assert index.used == any(include or exclude for include, exclude in lines)


def test_a_rule_may_be_about_several_lines() -> None:
    index = OneValue(0b1111, [(0b0110, ["a"], ["b"]), (0b1000, [], ["a"])])
    assert [index.allow.get(value, index.default) for value in "abc"] == [0b0111, 0b1001, 0b1001]


@pytest.mark.parametrize("lines", [1, 100, 25_000, 10_000_000])
def test_a_memo_keeps_what_fits_and_stays_within_its_bounds(lines: int) -> None:
    memo: Memo[int] = Memo(lines)
    # An entry is a mask of an eighth of a byte a line, its key, and some overhead. One always fits.
    most = max(1, Memo.BYTES // (lines // 8 + 264))
    for key in range(3 * most + 7):
        assert memo.put(key, key) == key
        assert memo[key] == key
        assert len(memo) <= most
    assert memo.get(3 * most + 6) == 3 * most + 6
    assert memo.get(0) is None
