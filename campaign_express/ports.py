"""What the decision needs from outside, as Protocols. Implementations are in `adapters/`, chosen in `bootstrap.py`.

All of these are called before or after `pipeline.decide`, or are pure look-ups in memory: none may block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Scorer(Protocol):
    """Click and conversion probabilities for rows of features; see `bidding/features.py` for names and order."""

    version: str  # of the model, for metrics and events

    def embed(self, creative_cat: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors [L, D] of creatives given by their features [L, len(CREATIVE_CATEGORICAL)]; once a catalogue."""
        ...

    def score(
        self,
        request_cat: NDArray[np.int64],  # [R, len(REQUEST_CATEGORICAL)] table rows, one row an impression
        request_num: NDArray[np.float32],  # [R, len(REQUEST_NUMERIC)]
        creative: NDArray[np.float32],  # [N, D] what `embed` gave, one row a candidate
        row: NDArray[np.int64],  # [N] which of the R impressions a candidate is for
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(pctr [N], pcvr [N]): P(click | impression), P(conversion | click), both in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a user agent string tells.

    `device_type` is AdCOM's (1 mobile/tablet, 2 PC, 3 CTV, 4 phone, 5 tablet, ...), 0 unknown.
    """

    device_type: int = 0
    os: str = ""  # lower case, OpenRTB's usual names: "android", "ios", "windows", "macos", "linux", ...
    os_version: str = ""
    browser: str = ""
    make: str = ""
    crawler: bool = False


@dataclass(frozen=True, slots=True)
class GeoFacts:
    """What an IP address tells. Codes as in OpenRTB: country alpha-3, region without country, metro = DMA."""

    country: str = ""
    region: str = ""
    city: str = ""
    metro: str = ""
    lat: float | None = None
    lon: float | None = None
    utc_offset: int | None = None  # minutes


class Enricher(Protocol):
    """Facts about a request's device and address from data in memory. Bounded caches; never raises for bad input."""

    def device(self, user_agent: str) -> DeviceFacts: ...

    def geo(self, ip: str) -> GeoFacts: ...

    def is_data_center(self, ip: str) -> bool: ...

    def seller_authorised(self, domain_or_bundle: str, exchange: str, publisher_id: str) -> bool | None:
        """True or False by ads.txt / sellers.json lists; None where no list covers the domain."""
        ...
