"""Token buckets of exchanges."""

from __future__ import annotations

from campaign_express.gateway.limits import RateLimits

SECOND = 1_000_000_000


def admitted(limits: RateLimits, name: str, times: list[int]) -> int:
    return sum(limits.admit(name, t) for t in times)


def test_no_limit_admits_everything() -> None:
    limits = RateLimits({"free": 0, "slow": 1})
    assert admitted(limits, "free", [SECOND] * 1000) == admitted(limits, "unknown", [SECOND] * 1000) == 1000


def test_a_steady_stream_gets_its_rate() -> None:
    limits = RateLimits({"x": 100})
    times = [SECOND + i * SECOND // 400 for i in range(4000)]  # 400 a second for ten seconds
    assert admitted(limits, "x", times) in range(1095, 1106), "a full bucket of 100, then 100 a second"


def test_a_pause_saves_up_one_second_and_no_more() -> None:
    limits = RateLimits({"x": 10})
    assert admitted(limits, "x", [SECOND] * 50) == 10
    assert admitted(limits, "x", [100 * SECOND] * 50) == 10
    assert admitted(limits, "x", [100 * SECOND + SECOND // 2] * 50) == 5


def test_exchanges_do_not_share() -> None:
    limits = RateLimits({"x": 1, "y": 1})
    assert [limits.admit(name, SECOND) for name in ("x", "y", "x", "y")] == [True, True, False, False]


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    limits = RateLimits({"x": 2})
    assert [limits.admit("x", t) for t in (5 * SECOND, 4 * SECOND, 3 * SECOND, 5 * SECOND)] == [
        True,
        True,
        False,
        False,
    ]
