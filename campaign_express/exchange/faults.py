"""What happens to notices on their way: lost, late, sent twice, overtaken. Exchanges do not send again."""

from __future__ import annotations

from msgspec import Struct

from campaign_express.exchange.draws import Draws

TIMELY = 0.6  # share of the lateness that a late notice takes at most: the rest is for the way to the ledger
OVERTAKEN_MS = 20_000


class Faults(Struct, frozen=True, kw_only=True):
    """Shares of all notices. `lateness_ms` is what the bidder promises to wait (its setting `notice_lateness_s`)."""

    lost: float = 0.0
    late: float = 0.0  # within the lateness
    beyond: float = 0.0  # later than that: one to three times the lateness
    duplicated: float = 0.0
    reordered: float = 0.0  # held up for so long that others of the same bid overtake it
    lateness_ms: int = 600_000

    def __post_init__(self) -> None:
        shares = (self.lost, self.late, self.beyond, self.duplicated, self.reordered)
        if min(shares) < 0 or max(shares) > 1 or self.lateness_ms < 0:
            raise ValueError("shares of faults are between 0 and 1, and a lateness is not negative")

    def delays(self, draws: Draws) -> tuple[int, ...]:
        """Milliseconds by which each copy of one notice is held up; empty where it is lost."""
        fate, twice = draws.unit(), draws.unit()
        held = draws.unit()
        if fate < self.lost:
            return ()
        fate -= self.lost
        delay = 0
        if fate < self.late:
            delay = int(held * self.lateness_ms * TIMELY)
        elif fate < self.late + self.beyond:
            delay = int((1 + 2 * held) * self.lateness_ms)
        elif fate < self.late + self.beyond + self.reordered:
            delay = int(held * OVERTAKEN_MS)
        if twice < self.duplicated:
            return delay, delay + int(draws.unit() * self.lateness_ms * (TIMELY if not self.beyond else 1.0) / 2)
        return (delay,)
