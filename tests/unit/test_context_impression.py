"""The facts of an impression, its supply chain and its disclosures."""

from __future__ import annotations

from typing import Any

import pytest

from campaign_express.bidding.impression import (
    AUDIO,
    BANNER,
    NATIVE,
    VIDEO,
    build_slot,
    floor_in_micros,
    video_placement,
)
from tests.support.contexts import RATES, context, imp

# ------------------------------------------------------------------ chain and disclosure


def test_supply_chain_in_either_place() -> None:
    complete: dict[str, Any] = {"complete": 1, "nodes": [], "ver": "1.0"}
    broken = {**complete, "complete": 0}
    assert context(source={"schain": complete}).complete_chain
    assert context(source={"ext": {"schain": complete}}).complete_chain
    assert not context(source={"schain": broken, "ext": {"schain": complete}}).complete_chain
    assert not context(source={}).complete_chain
    assert not context().complete_chain


@pytest.mark.parametrize(
    ("dsa", "expected"),
    [
        (None, 0),
        ({"dsarequired": 0, "pubrender": 0}, 0),
        ({"dsarequired": 1, "pubrender": 0}, 0),
        ({"dsarequired": 2, "pubrender": 0}, 2),
        ({"dsarequired": 2, "pubrender": 1}, 1),
        ({"dsarequired": 3, "pubrender": 2}, 1),
        ({"dsarequired": 3}, 2),
    ],
)
def test_disclosure(dsa: dict[str, int] | None, expected: int) -> None:
    assert context(regs={"ext": {"dsa": dsa}}).dsa == expected


# ------------------------------------------------------------------ the impression


def test_kinds_and_flags_of_a_slot() -> None:
    slot = build_slot(imp(banner={}, native={}, instl=1, rwdd=1, secure=1), 3, RATES)
    assert (slot.kinds, slot.index) == (BANNER | NATIVE, 3)
    assert (slot.interstitial, slot.rewarded, slot.secure) == (True, True, True)
    plain = build_slot(imp(video={}, audio={}, instl=2), 0, RATES)
    assert plain.kinds == VIDEO | AUDIO
    assert (plain.interstitial, plain.rewarded, plain.secure) == (False, False, False), "only 1 means yes"


@pytest.mark.parametrize(
    ("media", "sizes"),
    [
        ({"banner": {"format": [{"w": 300, "h": 250}, {"w": 728, "h": 90}]}}, ((300, 250), (728, 90))),
        ({"banner": {"w": 300, "h": 250}}, ((300, 250),)),
        ({"banner": {"w": 300, "h": 250, "format": [{"w": 728, "h": 90}]}}, ((728, 90), (300, 250))),
        ({"banner": {"w": 728, "h": 90, "format": [{"w": 728, "h": 90}]}}, ((728, 90),)),
        ({"banner": {"format": [{"w": 300}, {"w": 0, "h": 50}, {"wratio": 6, "hratio": 5}]}}, ()),
        ({"banner": {"w": -1, "h": 250}}, ()),
        ({"banner": {}}, ()),
        ({"video": {"w": 640, "h": 360}}, ((640, 360),)),
        ({"video": {"w": 640}}, ()),
        ({"video": {"w": 640, "h": 360}, "banner": {"w": 300, "h": 250}}, ((300, 250),)),
        ({"audio": {}}, ()),
    ],
)
def test_sizes_of_a_slot(media: dict[str, Any], sizes: tuple[tuple[int, int], ...]) -> None:
    assert build_slot(imp(**media), 0, RATES).sizes == sizes


def test_position_of_a_slot() -> None:
    assert build_slot(imp(banner={"pos": 1}, video={"pos": 3}), 0, RATES).position == 1
    assert build_slot(imp(banner={"pos": 0}, video={"pos": 3}), 0, RATES).position == 3
    assert build_slot(imp(audio={}), 0, RATES).position == 0


@pytest.mark.parametrize(
    ("floor", "currency", "micros"),
    [
        (None, "USD", 0),
        (0.0, "XXX", 0),  # no floor is one in any currency
        (0.29, "USD", 290_000),  # 0.29 * 10^6 is a little less in binary
        (1.1, None, 1_100_000),
        (2.0000001, "USD", 2_000_001),  # rounded up: a bid at it is never below
        (1.6, "EUR", 2_000_000),
        (320.0, "JPY", 2_000_000),
        (1.0, "XXX", -1),
    ],
)
def test_floors_in_micros(floor: float | None, currency: str | None, micros: int) -> None:
    assert floor_in_micros(floor, currency, RATES) == micros
    fields = {} if floor is None else {"bidfloor": floor}
    assert build_slot(imp(banner={}, bidfloorcur=currency, **fields), 0, RATES).floor_micros == micros


def test_placement_of_a_video_new_and_old() -> None:
    assert video_placement(imp(video={"plcmt": 2, "placement": 1})) == 2
    assert [video_placement(imp(video={"placement": n})) for n in range(7)] == [0, 1, 4, 4, 4, 3, 0]
    assert video_placement(imp(video={})) == 0
    assert video_placement(imp(banner={})) == 0
