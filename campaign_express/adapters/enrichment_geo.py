"""Where an address is, by a MaxMind database file (MMDB format, country or city records). None is shipped: bring your
own.

The file is mapped into memory, so that all agents of a node share it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import maxminddb

from campaign_express.openrtb.iso3166 import country_alpha3
from campaign_express.ports import GeoFacts

_UNKNOWN = GeoFacts()


class GeoDatabase:
    """Look-ups in one .mmdb file. Fields of GeoIP2 City: country, subdivisions, city, location."""

    def __init__(self, file: str, problems: list[str]) -> None:
        """Opens `file`; what is wrong with it is added to `problems`."""
        self._reader: maxminddb.Reader | None = None
        try:
            self._reader = maxminddb.open_database(file)
        except OSError as error:
            problems.append(f"geoip_file: {file}: {error.strerror}")
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            problems.append(f"geoip_file: {file}: {error}")

    @staticmethod
    def hour() -> int:
        """The hour since 1970, part of a look-up's cache key: offsets from UTC change with summer time."""
        return int(time.time()) // 3600

    def look_up(self, ip: str, hour: int) -> GeoFacts:
        """Facts on an address in an hour since 1970; unknown for what is no address or not in the file."""
        if self._reader is None:
            return _UNKNOWN
        try:
            record = self._reader.get(ip)
        except (ValueError, maxminddb.InvalidDatabaseError):
            return _UNKNOWN
        if not isinstance(record, dict):
            return _UNKNOWN
        country = _dict(record, "country") or _dict(record, "registered_country")
        subdivisions = record.get("subdivisions")
        region = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
        location = _dict(record, "location")
        zone = _text(location, "time_zone")
        metro = location.get("metro_code")
        return GeoFacts(
            country=country_alpha3(_text(country, "iso_code")),
            region=_text(region, "iso_code") if isinstance(region, dict) else "",
            city=_text(_dict(_dict(record, "city"), "names"), "en"),
            metro=str(metro) if isinstance(metro, int | str) else "",
            lat=_number(location, "latitude"),
            lon=_number(location, "longitude"),
            utc_offset=utc_offset(zone, hour) if zone else None,
        )


@lru_cache(maxsize=2048)
def utc_offset(zone: str, hour: int) -> int | None:
    """Minutes east of UTC in a time zone ("Europe/Berlin") at an hour since 1970; None for a name that is no zone."""
    try:
        offset = datetime.fromtimestamp(hour * 3600, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    except (KeyError, ValueError, OSError):
        return None
    return int(offset.total_seconds()) // 60 if offset is not None else None


def _dict(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _number(record: dict[str, Any], key: str) -> float | None:
    value = record.get(key)
    return float(value) if isinstance(value, int | float) else None
