"""A circuit breaker: after failures in a row a server is left alone for a while, then tried with one call.

It spares waiting, nothing else. What is not asked for is unknown, and what is unknown is not bid on: an open breaker
never lets a cap pass.
"""

from __future__ import annotations

CLOSED, HALF_OPEN, OPEN = 0, 1, 2  # as `state` shows it to metrics


class Breaker:
    """One server's. Times are seconds of a monotonic clock, given by the caller.

    Opens after `failures` in a row, for `pause_s`; each failed try doubles the pause, up to `longest_s`.
    """

    __slots__ = ("_failed", "_limit", "_longest_s", "_pause_s", "_shortest_s", "_until", "state")

    def __init__(self, failures: int = 3, pause_s: float = 0.1, longest_s: float = 1.0) -> None:
        self.state = CLOSED
        self._limit = failures
        self._shortest_s = self._pause_s = pause_s
        self._longest_s = longest_s
        self._failed = 0  # in a row
        self._until = 0.0

    def allows(self, now: float) -> bool:
        """Whether to call the server. After the pause this is the try, and its outcome must be told."""
        if self.state == OPEN:
            if now < self._until:
                return False
            self.state = HALF_OPEN
        return True

    def succeeded(self) -> None:
        if self._failed or self.state:
            self.state = CLOSED
            self._failed = 0
            self._pause_s = self._shortest_s

    def failed(self, now: float) -> None:
        self._failed += 1
        if self.state == HALF_OPEN:
            self._pause_s = min(2 * self._pause_s, self._longest_s)
        elif self._failed < self._limit:
            return
        self.state = OPEN
        self._until = now + self._pause_s
