"""The small market that benchmark catalogues and requests share: what campaigns target and what requests come from.

All names are made up (`.example` domains). The lists are sized so that, of 1,000 campaigns, a request matches 20 to 50.
"""

from __future__ import annotations

# Country (ISO 3166-1 alpha-3) -> languages, minutes from UTC, (region, city, metro, latitude, longitude).
COUNTRIES: dict[str, tuple[tuple[str, ...], int, tuple[tuple[str, str, str, float, float], ...]]] = {
    "USA": (
        ("en", "es"),
        -300,
        (
            ("NY", "New York", "501", 40.71, -74.01),
            ("CA", "Los Angeles", "803", 34.05, -118.24),
            ("IL", "Chicago", "602", 41.88, -87.63),
            ("TX", "Houston", "618", 29.76, -95.37),
            ("MA", "Boston", "506", 42.36, -71.06),
        ),
    ),
    "CAN": (("en", "fr"), -300, (("ON", "Toronto", "", 43.65, -79.38), ("QC", "Montreal", "", 45.5, -73.57))),
    "GBR": (("en",), 0, (("ENG", "London", "", 51.51, -0.13), ("SCT", "Glasgow", "", 55.86, -4.25))),
    "DEU": (("de",), 60, (("BE", "Berlin", "", 52.52, 13.41), ("BY", "Munich", "", 48.14, 11.58))),
    "FRA": (("fr",), 60, (("IDF", "Paris", "", 48.86, 2.35), ("ARA", "Lyon", "", 45.76, 4.84))),
    "ESP": (("es",), 60, (("MD", "Madrid", "", 40.42, -3.7), ("CT", "Barcelona", "", 41.39, 2.17))),
    "ITA": (("it",), 60, (("62", "Rome", "", 41.9, 12.5), ("25", "Milan", "", 45.46, 9.19))),
    "AUS": (("en",), 600, (("NSW", "Sydney", "", -33.87, 151.21), ("VIC", "Melbourne", "", -37.81, 144.96))),
    "BRA": (("pt",), -180, (("SP", "Sao Paulo", "", -23.55, -46.63), ("RJ", "Rio de Janeiro", "", -22.91, -43.17))),
    "MEX": (("es",), -360, (("CMX", "Mexico City", "", 19.43, -99.13), ("JAL", "Guadalajara", "", 20.66, -103.35))),
    "IND": (("en", "hi"), 330, (("MH", "Mumbai", "", 19.08, 72.88), ("KA", "Bengaluru", "", 12.97, 77.59))),
    "JPN": (("ja",), 540, (("13", "Tokyo", "", 35.68, 139.69), ("27", "Osaka", "", 34.69, 135.5))),
}
GDPR_COUNTRIES = frozenset({"DEU", "FRA", "ESP", "ITA"})

# IAB Content Taxonomy 1.0.
CATEGORIES = (
    *("IAB1-2", "IAB1-6", "IAB2-3", "IAB3-4", "IAB5-1", "IAB7-39", "IAB8-9", "IAB9-30"),
    *("IAB12-3", "IAB13-7", "IAB15-10", "IAB17-12", "IAB18-5", "IAB19-6", "IAB20-27", "IAB22-4"),
)
KEYWORDS = (
    *("travel", "cars", "football", "recipes", "garden", "phones", "laptops", "loans"),
    *("fitness", "movies", "music", "fashion", "books", "news", "weather", "games"),
)
SITES = tuple(f"{word}{number}.example" for number in range(80) for word in ("daily", "home", "sport", "tech", "style"))
APPS = tuple(f"com.studio{number}.{word}" for number in range(50) for word in ("puzzle", "weather", "chat"))
PUBLISHERS = tuple(f"pub-{number:03d}" for number in range(1, 41))
SEGMENTS = tuple(f"seg-{number:03d}" for number in range(1, 61))
EID_SOURCES = ("id.first.example", "id.second.example", "id.third.example")
CARRIERS = ("northcell", "redmobile", "telequick")
DEALS = tuple(f"deal-{number:02d}" for number in range(1, 13))

DESKTOP_SIZES = ((300, 250), (728, 90), (160, 600), (300, 600), (970, 250))
MOBILE_SIZES = ((320, 50), (300, 250), (320, 480), (336, 280))
SIZES = tuple(dict.fromkeys(DESKTOP_SIZES + MOBILE_SIZES))
VIDEO_SIZES = ((640, 360), (1280, 720))


def popularity(count: int) -> list[float]:
    """Weights of the first to the last site or app: a few have most of the traffic, the rest a long tail."""
    return [1 / (rank + 5) for rank in range(count)]
