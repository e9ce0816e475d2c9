"""Random values described as hypothesis describes them, drawn from a `Random`: a hundred times faster, and evenly.

Hypothesis repeats and bends earlier examples on purpose; of a hundred catalogues it then draws most rules never come
true. Here it chooses the seed only (`seeds`), and tests make what they find small themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from hypothesis import strategies

seeds = strategies.integers(0, 2**64 - 1)


class Draw:
    """How to draw one value."""

    def __init__(self, draw: Callable[[Random], Any]) -> None:
        self.draw = draw

    def map(self, change: Callable[[Any], Any]) -> Draw:
        return Draw(lambda random: change(self.draw(random)))


def just(value: Any) -> Draw:
    return Draw(lambda random: value)


def pick(values: Sequence[Any]) -> Draw:
    """One of them."""
    values = tuple(values)
    return Draw(lambda random: random.choice(values))


def number(first: int, last: int) -> Draw:
    return Draw(lambda random: random.randint(first, last))


def one_of(*draws: Draw) -> Draw:
    return Draw(lambda random: random.choice(draws).draw(random))


def several(draw: Draw, least: int, most: int) -> Draw:
    """A list of `least` to `most` values."""
    return Draw(lambda random: [draw.draw(random) for _ in range(random.randint(least, most))])


def some(values: Sequence[Any], most: int = 2) -> Draw:
    """One to `most` different ones, as a tuple."""
    values = tuple(values)
    return Draw(lambda random: tuple(random.sample(values, random.randint(1, min(most, len(values))))))


def seldom(draw: Draw) -> Draw:
    """Mostly null, which means the same as left out."""
    return Draw(lambda random: draw.draw(random) if random.random() < 0.125 else None)


def make(function: Callable[..., Any], *draws: Draw, **named: Draw) -> Draw:
    """`function` of drawn values."""
    return Draw(
        lambda random: function(
            *[draw.draw(random) for draw in draws], **{name: draw.draw(random) for name, draw in named.items()}
        )
    )


def every(fields: Mapping[str, Draw]) -> Draw:
    """A dictionary of all these fields."""
    return Draw(lambda random: {name: draw.draw(random) for name, draw in fields.items()})


def maybe(**fields: Draw) -> Draw:
    """A dictionary of about half of these fields."""
    return Draw(lambda random: {name: draw.draw(random) for name, draw in fields.items() if random.random() < 0.5})
