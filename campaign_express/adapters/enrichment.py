"""Facts about a request that it does not carry itself, from data in memory: `ports.Enricher` for a process of its own.

Each source of facts is a module: user agents (`enrichment_devices`), places of addresses (`enrichment_geo`), data
centres (`enrichment_networks`), authorised sellers (`enrichment_sellers`). Files are read once, at start; what is
looked up is cached by user agent and by address, bounded.
"""

from __future__ import annotations

from functools import lru_cache

from campaign_express.adapters.enrichment_devices import DeviceParser
from campaign_express.adapters.enrichment_geo import GeoDatabase
from campaign_express.adapters.enrichment_networks import Networks
from campaign_express.adapters.enrichment_sellers import Sellers
from campaign_express.errors import ConfigError
from campaign_express.ports import DeviceFacts, GeoFacts

USER_AGENTS = 16_384  # distinct strings kept, about 6 MB; a busy day sees more, but few of them often
ADDRESSES = 16_384
LONGEST_USER_AGENT = 1024  # characters; longer ones are junk that would bloat the cache
LONGEST_ADDRESS = 45  # characters of an IPv4-mapped IPv6 address in full


class LocalEnricher:
    """Implements `ports.Enricher`. Every file is optional; an absent one makes its facts unknown.

    geoip_file: a MaxMind .mmdb with country or city records. data_center_file: CIDR lines. crawler_file: regular
    expressions, one a line, beside the library's list. sellers_file: a file or folder of ads.txt and sellers.json
    lists. Raises ConfigError with every problem of every file, each with file and line.
    """

    def __init__(
        self, geoip_file: str = "", data_center_file: str = "", crawler_file: str = "", sellers_file: str = ""
    ) -> None:
        problems: list[str] = []
        devices = DeviceParser(crawler_file, problems)
        geo = GeoDatabase(geoip_file, problems) if geoip_file else None
        networks = Networks(data_center_file, problems) if data_center_file else None
        self._sellers = Sellers(sellers_file, problems) if sellers_file else None
        if problems:
            raise ConfigError("Lists that cannot be used:", problems)
        self._device = lru_cache(USER_AGENTS)(devices.parse)
        self._geo = lru_cache(ADDRESSES)(geo.look_up) if geo else None
        self._geo_hour = geo.hour if geo else None
        self._in_data_center = lru_cache(ADDRESSES)(networks.contains) if networks else None

    def device(self, user_agent: str) -> DeviceFacts:
        """What a user agent string tells, of its first 1,024 characters."""
        return self._device(user_agent if len(user_agent) <= LONGEST_USER_AGENT else user_agent[:LONGEST_USER_AGENT])

    def geo(self, ip: str) -> GeoFacts:
        """Where an address is, as far as the database knows; unknown without one."""
        if self._geo is None or self._geo_hour is None or len(ip) > LONGEST_ADDRESS:
            return _UNKNOWN_PLACE
        return self._geo(ip, self._geo_hour())

    def is_data_center(self, ip: str) -> bool:
        """An address of a listed hosting network; False for what is no address."""
        return self._in_data_center is not None and len(ip) <= LONGEST_ADDRESS and self._in_data_center(ip)

    def seller_authorised(self, domain_or_bundle: str, exchange: str, publisher_id: str) -> bool | None:
        """May this publisher sell this site or app on this exchange? None: no list covers the question."""
        if self._sellers is None:
            return None
        return self._sellers.authorised(domain_or_bundle, exchange, publisher_id)


_UNKNOWN_PLACE = GeoFacts()
