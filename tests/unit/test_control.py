"""Switches: one off, one on again, the others as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from campaign_express.control import (
    ALL,
    Stop,
    Switched,
    Switches,
    decode_switches,
    encode,
    stops,
    with_stop,
    without_stop,
)

SWITCHED = st.just(ALL) | st.builds(
    Switched, st.sampled_from(["campaign", "advertiser", "exchange"]), st.sampled_from(["a", "b.c", "d:e"])
)


@given(st.lists(st.tuples(SWITCHED, st.booleans())))
def test_switches_are_a_set_of_what_is_off(steps: list[tuple[Switched, bool]]) -> None:
    switches, off = Switches(), dict[Switched, Stop]()
    for number, (what, stopping) in enumerate(steps):
        if stopping:
            stop = Stop("because", "operator", number)
            switches = with_stop(switches, what, stop)
            off.setdefault(what, stop)
        else:
            switches = without_stop(switches, what)
            off.pop(what, None)
        assert stops(switches) == off
    assert decode_switches(encode(switches)) == switches


def test_each_kind_has_a_place_of_its_own() -> None:
    stop = Stop("because")
    made = Switches()
    for kind in ("campaign", "advertiser", "exchange"):
        made = with_stop(made, Switched(kind, "same"), stop)
    made = with_stop(made, ALL, stop)
    assert made == Switches(stop, exchanges={"same": stop}, advertisers={"same": stop}, campaigns={"same": stop})
