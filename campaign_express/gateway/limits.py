"""How many requests a second each exchange may ask of a cell (`Exchange.qps`): a token bucket each, a second deep.

A limit is a cell's, not the cluster's: cells share nothing on the path of a bid, and exchanges spread their requests
over them. So an exchange that may ask 10,000 a second of ten cells has `qps: 1000`.
"""

from __future__ import annotations

from collections.abc import Mapping


class RateLimits:
    """Admits or refuses by exchange name. Exchanges without a limit cost one dictionary look-up."""

    def __init__(self, qps: Mapping[str, int]) -> None:
        """`qps`: requests a second by exchange name as it stands in the path; 0 and absent: no limit."""
        self._buckets = {name: [float(rate), float(rate), 0.0] for name, rate in qps.items() if rate}

    def admit(self, exchange: str, now_ns: int) -> bool:
        """Whether one more request may pass at `now_ns` (CLOCK_MONOTONIC)."""
        bucket = self._buckets.get(exchange)
        if bucket is None:
            return True
        rate, tokens, last_ns = bucket
        tokens = min(rate, tokens + (now_ns - last_ns) * 1e-9 * rate) if now_ns > last_ns else tokens
        bucket[2] = max(now_ns, last_ns)
        if tokens < 1.0:
            bucket[1] = tokens
            return False
        bucket[1] = tokens - 1.0
        return True
