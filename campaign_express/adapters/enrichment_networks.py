"""Networks of hosting companies, from which no person browses: a list of CIDR blocks, searched by bisection.

File format: one block a line ("203.0.113.0/24", "2001:db8::/32", or a single address), "#" begins a comment.
Example: data/lists/data_centers.example.txt.
"""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import ip_network
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton

from campaign_express.adapters.enrichment_files import numbered_lines

_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, an IPv4 address written as IPv6


class Networks:
    """A set of addresses. Blocks that touch or overlap are joined, so that a look-up is one bisection."""

    def __init__(self, file: str, problems: list[str]) -> None:
        """Reads `file`; what is wrong with it is added to `problems`."""
        v4: list[tuple[int, int]] = []
        v6: list[tuple[int, int]] = []
        for number, line in numbered_lines(Path(file), "data_center_file", problems):
            try:
                network = ip_network(line)
            except ValueError as error:
                problems.append(f"data_center_file: {file}:{number}: {error}")
                continue
            blocks = v4 if network.version == 4 else v6
            blocks.append((int(network.network_address), int(network.broadcast_address)))
        self._v4 = _joined(v4)
        self._v6 = _joined(v6)

    def contains(self, ip: str) -> bool:
        try:
            if ":" not in ip:
                return _holds(self._v4, int.from_bytes(inet_pton(AF_INET, ip), "big"))
            raw = inet_pton(AF_INET6, ip)
        except (OSError, ValueError):
            return False
        if raw.startswith(_MAPPED):
            return _holds(self._v4, int.from_bytes(raw[12:], "big"))
        return _holds(self._v6, int.from_bytes(raw, "big"))


def _joined(blocks: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """First and last addresses of disjoint ranges, ascending."""
    firsts: list[int] = []
    lasts: list[int] = []
    for first, last in sorted(blocks):
        if lasts and first <= lasts[-1] + 1:
            lasts[-1] = max(lasts[-1], last)
        else:
            firsts.append(first)
            lasts.append(last)
    return firsts, lasts


def _holds(ranges: tuple[list[int], list[int]], address: int) -> bool:
    at = bisect_right(ranges[0], address) - 1
    return at >= 0 and address <= ranges[1][at]
