"""The circuit breaker: when a server is asked, and when it is left alone."""

from __future__ import annotations

from campaign_express.adapters.breaker import CLOSED, HALF_OPEN, OPEN, Breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(failures=3, pause_s=1.0)
    for _ in range(5):
        breaker.failed(0.0)
        breaker.failed(0.0)
        assert breaker.allows(0.0)
        breaker.succeeded()
    for _ in range(3):
        breaker.failed(0.0)
    assert breaker.state == OPEN
    assert not breaker.allows(0.999)


def test_one_try_after_the_pause_decides() -> None:
    breaker = Breaker(failures=1, pause_s=1.0, longest_s=3.0)
    breaker.failed(0.0)
    assert breaker.allows(1.0)
    assert breaker.state == HALF_OPEN
    breaker.failed(1.0)  # the pause doubles
    assert not breaker.allows(2.9)
    assert breaker.allows(3.0)
    breaker.failed(3.0)  # up to its longest: 3 s, not 4
    assert not breaker.allows(5.9)
    assert breaker.allows(6.0)
    breaker.succeeded()
    assert breaker.state == CLOSED
    breaker.failed(7.0)  # and begins anew
    assert breaker.allows(8.0)
