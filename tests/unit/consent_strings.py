"""Writes consent strings from the published field tables, independently of the code that reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

NOT_ALLOWED, REQUIRE_CONSENT, REQUIRE_LEGITIMATE_INTEREST = 0, 1, 2


def base64url(bits: str) -> str:
    """Six bits a character, the last one filled up with zeros."""
    bits += "0" * (-len(bits) % 6)
    return "".join(_ALPHABET[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def number(value: int, bits: int) -> str:
    return format(value, f"0{bits}b")


def fibonacci(value: int) -> str:
    """Fibonacci code: greedy choice of Fibonacci numbers, lowest place first, and a closing 1."""
    numbers = [1, 2]
    while numbers[-1] <= value:
        numbers.append(numbers[-1] + numbers[-2])
    digits = []
    for fib in reversed(numbers):
        digits.append("1" if fib <= value else "0")
        value -= fib if fib <= value else 0
    return "".join(reversed(digits)).rstrip("0") + "1"


def _flags(members: Iterable[int], size: int) -> str:
    wanted = set(members)
    return "".join("1" if at in wanted else "0" for at in range(1, size + 1))


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    parts = [number(len(ranges), 12)]
    for first, last in ranges:
        parts.append("0" + number(first, 16) if first == last else "1" + number(first, 16) + number(last, 16))
    return "".join(parts)


def vendors(members: Iterable[int] | Sequence[tuple[int, int]], as_ranges: bool) -> str:
    """A vendor section: of ids as a bit field, or of (first, last) as ranges."""
    if as_ranges:
        pairs = [m if isinstance(m, tuple) else (m, m) for m in members]
        highest = max((last for _, last in pairs), default=0)
        return number(highest, 16) + "1" + _ranges(pairs)
    ids = [m for m in members if isinstance(m, int)]
    return number(max(ids, default=0), 16) + "0" + _flags(ids, max(ids, default=0))


def tc_string(
    purposes: Iterable[int] = (),
    interests: Iterable[int] = (),
    vendor_consents: str = "",
    vendor_interests: str = "",
    restrictions: Sequence[tuple[int, int, Sequence[tuple[int, int]]]] = (),
    version: int = 2,
    disclosed: str | None = None,
) -> str:
    """A TC string ("Consent string and vendor list formats v2"). Vendor sections are made by `vendors`."""
    core = "".join(
        [
            number(version, 6),
            number(15_822_430_590, 36) * 2,  # created, last updated: tenths of a second
            number(27, 12) + number(0, 12) + number(0, 6),  # CMP id, CMP version, screen
            number(4, 6) + number(13, 6),  # "EN"
            number(15, 12) + number(4, 6) + "1" + "0",  # vendor list, policy, service specific, standard stacks
            "0" * 12,  # special features
            _flags(purposes, 24),
            _flags(interests, 24),
            "0" + number(0, 6) * 2,  # purpose one treatment, publisher country "AA"
            vendor_consents or vendors([], as_ranges=False),
            vendor_interests or vendors([], as_ranges=False),
            number(len(restrictions), 12),
            *(number(purpose, 6) + number(kind, 2) + _ranges(ranges) for purpose, kind, ranges in restrictions),
        ]
    )
    segments = [base64url(core)]
    if disclosed is not None:
        segments.append(base64url(number(1, 3) + disclosed))
    return ".".join(segments)


def gpp(sections: dict[int, str]) -> str:
    """A GPP string whose header names each section by itself."""
    bits = number(3, 6) + number(1, 6) + number(len(sections), 12)
    last = 0
    for section_id in sorted(sections):
        bits += "0" + fibonacci(section_id - last)
        last = section_id
    return "~".join([base64url(bits), *(sections[section_id] for section_id in sorted(sections))])


def us_section(fields: Sequence[int], version: int = 1, gpc: bool | None = None) -> str:
    """A US section from its 2-bit fields in order, with a GPC sub-section unless `gpc` is None."""
    core = base64url(number(version, 6) + "".join(number(field, 2) for field in fields))
    return core if gpc is None else f"{core}.{base64url('01' + str(int(gpc)))}"
