"""Random draws that depend only on what they are for, so that a run can be repeated whatever the bidder does.

A stream is keyed by (seed, number, purpose): the competitors of request 17 are the same whether or not we bid on
request 16. Seeding Python's generator takes longer than a whole auction, so this is splitmix64 (Steele, Lea and Flood,
"Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), whose state is one integer.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_UNIT = 2.0**-53
_normal = NormalDist().inv_cdf


def mix(value: int) -> int:
    """One 64-bit number for another, as different from it as can be."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


class Draws:
    """The stream of `purpose` for thing number `number`."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, number: int, purpose: int) -> None:
        self._state = mix((mix((seed << 8 | purpose) & _MASK) + number * _STEP) & _MASK)

    def integer(self) -> int:
        """64 random bits."""
        self._state = state = (self._state + _STEP) & _MASK
        return mix(state)

    def unit(self) -> float:
        """Uniform in (0, 1)."""
        return ((self.integer() >> 11) + 0.5) * _UNIT

    def below(self, count: int) -> int:
        return int(self.unit() * count)

    def chance(self, probability: float) -> bool:
        return self.unit() < probability

    def uniform(self, low: float, high: float) -> float:
        return low + self.unit() * (high - low)

    def exponential(self, mean: float) -> float:
        return -mean * math.log(self.unit())

    def lognormal(self, median: float, sigma: float) -> float:
        return median * math.exp(sigma * _normal(self.unit()))


# Purposes: each has a stream of its own.
REQUEST, COMPETITORS, RENDER, CLICK, FAULT, PERSON, HIDDEN, ENCRYPTION = range(8)
