"""Wall-clock time, which a simulation may run faster.

What belongs to the world (flight dates, hours and days of budgets, windows of frequency caps, `exp`, lateness of
notices, leases) reads this clock. What belongs to the machine (tmax, timeouts, retries, polling) runs on real time
always.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from campaign_express.errors import ConfigError

_SIMULATED = re.compile(r"(?P<real>\d+):(?P<start>\d+):(?P<speed>\d+(?:\.\d+)?)").fullmatch


@dataclass(frozen=True, slots=True)
class Clock:
    """Unix time in milliseconds: `start_ms` at real time `real_ms`, `speed` times as fast from there."""

    real_ms: int = 0
    start_ms: int = 0
    speed: float = 1.0

    def now_ms(self) -> int:
        real = time.time_ns() // 1_000_000
        if self.speed == 1.0 and self.real_ms == self.start_ms:
            return real
        return self.start_ms + int((real - self.real_ms) * self.speed)

    def real_s(self, wall_ms: float) -> float:
        """Real seconds in which `wall_ms` of this clock pass."""
        return wall_ms / 1000.0 / self.speed


def parse_clock(text: str) -> Clock:
    """The clock of the setting `simulated_clock`: "" is real time, `REAL_MS:START_MS:SPEED` a simulation.

    Raises ConfigError.
    """
    if not text:
        return Clock()
    found = _SIMULATED(text)
    if found is None or float(found["speed"]) <= 0:
        raise ConfigError("Settings that cannot be used:", ["simulated_clock: is not REAL_MS:START_MS:SPEED"])
    return Clock(int(found["real"]), int(found["start"]), float(found["speed"]))
