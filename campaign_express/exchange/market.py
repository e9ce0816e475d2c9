"""The market that the simulated exchanges sell: countries, sites, apps, sizes. All names are made up (`.example`).

Catalogues for a simulation target these, see `benchmarks/day_catalog.py`.
"""

from __future__ import annotations

from typing import NamedTuple


class Country(NamedTuple):
    weight: int  # of its people among all
    languages: tuple[str, ...]
    utc_offset: int  # minutes
    places: tuple[tuple[str, str], ...]  # region, city
    networks: tuple[int, ...]  # first number of its IPv4 addresses


COUNTRIES: dict[str, Country] = {
    "USA": Country(40, ("en", "es"), -300, (("NY", "New York"), ("CA", "Los Angeles"), ("IL", "Chicago")), (24, 71)),
    "GBR": Country(12, ("en",), 0, (("ENG", "London"), ("SCT", "Glasgow")), (82,)),
    "CAN": Country(9, ("en", "fr"), -300, (("ON", "Toronto"), ("QC", "Montreal")), (24,)),
    "DEU": Country(9, ("de",), 60, (("BE", "Berlin"), ("BY", "Munich")), (93,)),
    "FRA": Country(7, ("fr",), 60, (("IDF", "Paris"), ("ARA", "Lyon")), (82,)),
    "AUS": Country(7, ("en",), 600, (("NSW", "Sydney"), ("VIC", "Melbourne")), (186,)),
    "BRA": Country(8, ("pt",), -180, (("SP", "Sao Paulo"), ("RJ", "Rio de Janeiro")), (186,)),
    "IND": Country(8, ("en", "hi"), 330, (("MH", "Mumbai"), ("KA", "Bengaluru")), (71,)),
}
# Where a person's consent is asked for before anything is stored: the EEA, the United Kingdom and Switzerland.
CONSENT_COUNTRIES = frozenset({"GBR", "DEU", "FRA"})

SITES = tuple(f"{word}{number}.example" for number in range(24) for word in ("daily", "sport", "tech", "home", "cars"))
APPS = tuple(f"com.studio{number}.{word}" for number in range(20) for word in ("puzzle", "weather", "radio", "video"))
# Few requests come from these: what many campaigns want and few can have.
SCARCE_SITES = tuple(f"premium{number}.example" for number in range(10))
SCARCE_SHARE = 0.08  # of the traffic of sites
PUBLISHERS = tuple(f"pub-{number:03d}" for number in range(1, 31))
CATEGORIES = ("IAB1-2", "IAB2-3", "IAB3-4", "IAB5-1", "IAB8-9", "IAB9-30", "IAB13-7", "IAB17-12", "IAB19-6", "IAB20-27")
SEGMENTS = tuple(f"seg-{number:02d}" for number in range(1, 25))
EID_SOURCE = "id.shared.example"
DEALS = tuple(f"deal-{number:02d}" for number in range(1, 7))

DESKTOP_SIZES = ((300, 250), (728, 90), (160, 600), (300, 600))
MOBILE_SIZES = ((320, 50), (300, 250), (320, 480))
VIDEO_SIZES = ((640, 360), (1280, 720))
