"""Inverted indexes over lines as Python integers: bit i stands for line i, `&` and `|` do 64 lines a machine word.

A *line* is one creative of one campaign. Integers were chosen over byte arrays and compressed bitmaps because one AND
of 25,000 bits costs about half a microsecond, without any call overhead or allocation beyond the result. What runs for
every request takes lines away by `mask ^ (mask & others)`: a complement is a negative number, and `&` with one of that
size takes five times as long as these two together.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V", bound=Hashable)
T = TypeVar("T")
Rules = Iterable[tuple[int, Iterable[V], Iterable[V]]]  # (mask of lines, included values, excluded values)


def _by_value(everything: int, rules: Rules[V]) -> tuple[dict[V, int], dict[V, int], int]:
    """Lines by the values that they include, lines by those that they exclude, and the lines that include none."""
    include: defaultdict[V, int] = defaultdict(int)
    exclude: defaultdict[V, int] = defaultdict(int)
    restricted = 0
    for mask, included, excluded in rules:
        for value in included:
            include[value] |= mask
            restricted |= mask
        for value in excluded:
            exclude[value] |= mask
    return dict(include), dict(exclude), everything & ~restricted


class OneValue(Generic[V]):
    """For a fact with one value. `allow.get(value, default)` is the mask of lines that accept it.

    `default` serves values that no rule names and unknown values alike: they fail every include and pass every exclude.
    """

    __slots__ = ("allow", "default", "used")

    def __init__(self, everything: int, rules: Rules[V]) -> None:
        include, exclude, self.default = _by_value(everything, rules)
        self.allow = {
            value: (self.default | include.get(value, 0)) & ~exclude.get(value, 0)
            for value in include.keys() | exclude.keys()
        }
        self.used = bool(self.allow)


class ManyValues(Generic[V]):
    """For a fact with several values: one included value suffices, one excluded value forbids."""

    __slots__ = ("exclude", "free", "include", "used")

    def __init__(self, everything: int, rules: Rules[V]) -> None:
        self.include, self.exclude, self.free = _by_value(everything, rules)
        self.used = bool(self.include or self.exclude)

    def allow(self, values: Iterable[V]) -> int:
        include, exclude = self.include, self.exclude
        allowed, forbidden = self.free, 0
        for value in values:
            if value in include:
                allowed |= include[value]
            if value in exclude:
                forbidden |= exclude[value]
        return allowed ^ (allowed & forbidden) if forbidden else allowed


class Memo(dict[Hashable, T]):
    """A cache bounded in memory: emptied when full, since a full turnover costs less than keeping order on each hit."""

    __slots__ = ("_held", "_value")

    BYTES: ClassVar[int] = 2_000_000  # of one cache, about
    LARGEST: ClassVar[int] = 16_384  # of one entry: what a request makes larger than that is not kept

    def __init__(self, lines: int) -> None:
        """For masks over `lines`, or what holds one."""
        super().__init__()
        self._value = lines // 8 + 200  # a mask, and an entry's own overhead
        self._held = 0

    def put(self, key: Hashable, value: T, key_bytes: int = 64) -> T:
        """Keep `value` for `key`, which takes about `key_bytes` of memory."""
        size = self._value + key_bytes
        if key_bytes > self.LARGEST:
            return value
        if self._held + size > self.BYTES:
            self.clear()
            self._held = 0
        self._held += size
        self[key] = value
        return value


class Sparse(Generic[V]):
    """Masks of many values with few lines each, made when asked for: ready, each would be as wide as the catalogue."""

    __slots__ = ("_bits", "_made")

    def __init__(self, bits: Mapping[V, Iterable[int]], lines: int) -> None:
        self._bits = {value: array("I", at) for value, at in bits.items()}
        self._made: Memo[int] = Memo(lines)

    def get(self, value: V) -> int:
        """The lines that have `value`, 0 when none has."""
        at = self._bits.get(value)
        if at is None:
            return 0
        mask = self._made.get(value)
        return self._made.put(value, mask_of(at)) if mask is None else mask


def mask_of(bits: Iterable[int]) -> int:
    positions = np.fromiter(bits, dtype=np.int64)
    if not positions.size:
        return 0
    flags = np.zeros(int(positions.max()) + 1, dtype=np.bool_)
    flags[positions] = True
    return mask_of_flags(flags)


def mask_of_flags(flags: NDArray[np.bool_]) -> int:
    """`flags` [lines] as a mask."""
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def bits(mask: int) -> list[int]:
    """Indexes of the set bits, ascending. For explanations and rare paths; batches use `candidates`."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


_DENSE_BYTES = 16_384  # of all masks together: below, unpacking all is cheaper than finding the words worth unpacking


def candidates(masks: list[int], counts: list[int], lines: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row [N], line [N]): every set bit of every mask, row by row, lines ascending in each. One pass for a batch.

    `counts`: set bits of each mask.
    """
    size = (lines + 63) // 64 * 8
    packed = b"".join([m.to_bytes(size, "little") for m in masks])
    # Nonzero of a boolean vector: numpy finds its places many times faster than those of integers or of a matrix.
    if len(packed) <= _DENSE_BYTES:
        at = _ones(np.frombuffer(packed, dtype=np.uint8))
    else:
        words = np.frombuffer(packed, dtype="<u8")
        filled = (words != 0).nonzero()[0]
        on = _ones(words[filled].view(np.uint8))
        at = filled[on >> 6] * 64 + (on & 63)
    row = np.arange(len(masks)).repeat(counts)
    return row, at - row * (size * 8)


def _ones(octets: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.unpackbits(octets, bitorder="little").view(np.bool_).nonzero()[0]
