"""Caps: what counts, in which window, and that the compiled table agrees with a slow reading of the rule."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_express.bidding.bitmaps import bits
from campaign_express.bidding.frequency import CapTable, Counted, CountedEntities
from campaign_express.bidding.lines import Line, Lines
from campaign_express.bidding.model import Campaign, CapPeriod, FrequencyCap
from campaign_express.bidding.windows import period_start
from campaign_express.ports import UserState
from tests.support.bidders import banner, campaign, catalog

HOUR, DAY, WEEK = 3_600_000, 86_400_000, 604_800_000
NOW = int(datetime.fromisoformat("2026-07-01T12:30:00+02:00").timestamp() * 1000)  # a Wednesday in Berlin


def cap(limit: int, per: str, window: str = "sliding") -> FrequencyCap:
    return FrequencyCap(limit=limit, per=CapPeriod(per), window=window)


def table(*campaigns: Campaign) -> tuple[CapTable, dict[str, Line]]:
    """The table, and lines by creative."""
    lines = Lines(catalog(*campaigns))
    return CapTable(lines), {line.creative.id: line for line in lines}


def creatives(mask: int, lines: dict[str, Line]) -> set[str]:
    by_bit = {line.bit: name for name, line in lines.items()}
    return {by_bit[bit] for bit in bits(mask)}


def one(limit: int, per: str, window: str = "sliding", time_zone: str = "Europe/Berlin") -> CapTable:
    return table(campaign("c", caps=(cap(limit, per, window),), time_zone=time_zone))[0]


def shown(*ago: int) -> UserState:
    """Impressions of campaign c so many ms ago."""
    return UserState("u", shown={"c:c": tuple(sorted(NOW - a for a in ago))})


@pytest.mark.parametrize(
    ("per", "length"),
    [("hour", HOUR), ("day", DAY), ("week", WEEK)],
)
def test_a_sliding_window_ends_exactly_its_length_ago(per: str, length: int) -> None:
    caps = one(2, per)
    assert caps.blocked(shown(0, length - 1), NOW)
    assert not caps.blocked(shown(0, length), NOW)
    assert not caps.blocked(shown(0), NOW)


def test_a_lifetime_never_ends() -> None:
    assert one(2, "lifetime").blocked(shown(NOW - 1, NOW - 2), NOW)


@pytest.mark.parametrize(
    ("per", "first"),
    [
        ("hour", "2026-07-01T12:00:00+02:00"),
        ("day", "2026-07-01T00:00:00+02:00"),
        ("week", "2026-06-29T00:00:00+02:00"),
    ],
)
def test_a_calendar_window_begins_with_the_local_period(per: str, first: str) -> None:
    start = int(datetime.fromisoformat(first).timestamp() * 1000)
    caps = one(1, per, "calendar")
    assert caps.blocked(shown(NOW - start), NOW)
    assert not caps.blocked(shown(NOW - start + 1), NOW)


def test_the_time_zone_is_the_campaigns() -> None:
    at_midnight_in_berlin = UserState("u", shown={"c:c": (NOW - 12 * HOUR - HOUR // 2,)})
    assert one(1, "day", "calendar", "Europe/Berlin").blocked(at_midnight_in_berlin, NOW)
    assert not one(1, "day", "calendar", "UTC").blocked(at_midnight_in_berlin, NOW)


def test_bids_under_way_and_other_requests_count_in_every_window() -> None:
    caps = one(3, "hour", "calendar")
    assert not caps.blocked(UserState("u", shown={"c:c": (NOW,)}, held={"c:c": 1}), NOW)
    assert caps.blocked(UserState("u", shown={"c:c": (NOW,)}, held={"c:c": 1}, pending=1), NOW)
    assert caps.blocked(UserState("u", held={"c:c": 3}), NOW)
    assert caps.blocked(UserState("u", pending=3), NOW)
    assert not caps.blocked(UserState("u", pending=2), NOW)
    assert caps.blocked(UserState("u", pending=999), NOW)
    # What is long ago leaves room for what is under way.
    assert not caps.blocked(UserState("u", shown={"c:c": (1, 2, 3)}, held={"c:c": 2}), NOW)


def test_a_campaigns_cap_stops_all_its_creatives_and_a_creatives_only_itself() -> None:
    caps, lines = table(
        campaign("a", banner("1", caps=(cap(1, "day"),)), banner("2"), caps=(cap(2, "day"),)),
        campaign("b", banner("1", caps=(cap(1, "day"),)), banner("2")),
        campaign("free", banner("1")),
    )
    assert creatives(caps.capped, lines) == {"a-1", "a-2", "b-1"}
    assert caps.unknown == caps.capped == caps.blocked(None, NOW)
    assert creatives(caps.blocked(UserState("u", shown={"k:a-1": (NOW,), "c:a": (NOW,)}), NOW), lines) == {"a-1"}
    assert creatives(caps.blocked(UserState("u", held={"c:a": 2}), NOW), lines) == {"a-1", "a-2"}
    assert creatives(caps.blocked(UserState("u", pending=1), NOW), lines) == {"a-1", "b-1"}
    assert caps.entities(lines["a-1"]) == ("c:a", "k:a-1")
    assert caps.entities(lines["a-2"]) == ("c:a",)
    assert caps.entities(lines["b-2"]) == caps.entities(lines["free-1"]) == ()


def test_entities_of_campaigns_that_are_gone_are_passed_over() -> None:
    assert one(1, "day").blocked(UserState("u", shown={"c:gone": (NOW,)}, held={"k:gone": 9}), NOW) == 0


def test_bidding_without_a_user_is_not_bidding_on_an_unknown_one() -> None:
    caps, lines = table(
        campaign("strict", caps=(cap(1, "day"),)), campaign("lax", caps=(cap(1, "day"),), cap_without_user=True)
    )
    assert creatives(caps.capped, lines) == {"strict-k"}
    assert creatives(caps.unknown, lines) == {"strict-k", "lax-k"}


def test_several_slots_of_one_request_stay_within_a_cap_together() -> None:
    caps, lines = table(campaign("a", banner("1", caps=(cap(1, "day"),)), banner("2"), caps=(cap(3, "day"),)))
    state = UserState("u", shown={"c:a": (NOW,)})
    assert caps.room(lines["a-1"], state, {}, NOW)
    assert not caps.room(lines["a-1"], state, {"c:a": 1, "k:a-1": 1}, NOW)
    assert caps.room(lines["a-2"], state, {"c:a": 1, "k:a-1": 1}, NOW)
    assert not caps.room(lines["a-2"], state, {"c:a": 2, "k:a-1": 1}, NOW)


def test_what_the_writer_of_counts_is_told() -> None:
    counted = CountedEntities(
        catalog(
            campaign("a", banner("1", caps=(cap(1, "day"), cap(5, "week"))), caps=(cap(2, "day"), cap(9, "lifetime"))),
            campaign("b", banner("1"), cap_confirm="win"),
        )
    )
    assert counted("a", "a-1") == Counted((("c:a", 9), ("k:a-1", 5)), False)
    assert counted("b", "b-1") == Counted((), True)
    assert counted("gone", "gone") == Counted((), False)


CAPS = st.builds(
    cap,
    st.integers(1, 4),
    st.sampled_from(["hour", "day", "week", "lifetime"]),
    st.sampled_from(["sliding", "calendar"]),
)
# Near the edges of windows, and far away from them.
TIMES = st.one_of(
    st.integers(0, 2 * WEEK),
    st.builds(lambda length, off: length + off, st.sampled_from([HOUR, DAY, WEEK, HOUR // 2]), st.integers(-2, 2)),
)


def allowed(caps: tuple[FrequencyCap, ...], zone: str, times: list[int], held: int, pending: int, now: int) -> bool:
    """The rule itself, over all impressions that ever were."""
    for one in caps:
        if one.per is CapPeriod.LIFETIME:
            inside = len(times)
        elif one.window == "sliding":
            length = {"hour": HOUR, "day": DAY, "week": WEEK}[one.per.value]
            inside = sum(now - length < time <= now for time in times)
        else:
            inside = sum(time >= period_start(one.per, ZoneInfo(zone), now) for time in times)
        if inside + held + pending >= one.limit:
            return False
    return True


@given(
    st.lists(CAPS, min_size=1, max_size=3),
    st.lists(CAPS, max_size=2),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    st.lists(TIMES, max_size=6),
    st.lists(TIMES, max_size=6),
    *[st.integers(0, 2)] * 3,
)
def test_the_table_agrees_with_the_rule(
    of_campaign: list[FrequencyCap],
    of_creative: list[FrequencyCap],
    zone: str,
    ago: list[int],
    ago_creative: list[int],
    held: int,
    held_creative: int,
    pending: int,
) -> None:
    caps, lines = table(
        campaign("a", banner("1", caps=tuple(of_creative)), banner("2"), caps=tuple(of_campaign), time_zone=zone)
    )
    times, times_creative = (sorted(NOW - a for a in group) for group in (ago, ago_creative))
    # The store keeps no more than the largest limit.
    kept = tuple(times[-max(one.limit for one in of_campaign) :])
    kept_creative = tuple(times_creative[-max((one.limit for one in of_creative), default=1) :])
    state = UserState(
        "u",
        shown={k: v for k, v in {"c:a": kept, "k:a-1": kept_creative}.items() if v},
        held={k: v for k, v in {"c:a": held, "k:a-1": held_creative}.items() if v},
        pending=pending,
    )
    campaign_allows = allowed(tuple(of_campaign), zone, times, held, pending, NOW)
    creative_allows = allowed(tuple(of_creative), zone, times_creative, held_creative, pending, NOW)
    expected = set()
    if not campaign_allows:
        expected = {"a-1", "a-2"}
    elif not creative_allows:
        expected = {"a-1"}
    assert creatives(caps.blocked(state, NOW), lines) == expected
    assert caps.room(lines["a-1"], state, {}, NOW) == (campaign_allows and creative_allows)
    assert caps.room(lines["a-2"], state, {}, NOW) == campaign_allows
