"""User agents → OpenRTB and AdCOM values, a table of real strings by kind of device."""

# ruff: noqa: E501 (a user agent is one string, as long as it is)
from __future__ import annotations

import crawleruseragents
import pytest

from campaign_express.adapters.enrichment import LocalEnricher
from campaign_express.ports import DeviceFacts

KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
MOBILE_OR_TABLET, PC, TV, PHONE, TABLET, CONNECTED, BOX = range(1, 8)

# user agent, device type, os, os version, make
TABLE = [
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1", PHONE, "ios", "17.4", "apple"),
    ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1", TABLET, "ios", "16.6", "apple"),
    ("MyApp/1.0 CFNetwork/1410.0.3 Darwin/22.6.0", MOBILE_OR_TABLET, "ios", "16", "apple"),
    (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {KIT} Chrome/124.0.0.0 Mobile Safari/537.36", PHONE, "android", "14", "google"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {KIT} Chrome/124.0.0.0 Mobile Safari/537.36", PHONE, "android", "10", ""),
    (f"Mozilla/5.0 (Linux; Android 13; SM-X700) {KIT} Chrome/124.0.0.0 Safari/537.36", TABLET, "android", "13", ""),
    (f"Mozilla/5.0 (Linux; U; Android 4.4.2; en-us; KFTHWI Build/KTU84M) {KIT} Silk/3.25 like Chrome/34 Safari/537.36", TABLET, "android", "4.4.2", "amazon"),
    ("Dalvik/2.1.0 (Linux; U; Android 11; moto g power)", MOBILE_OR_TABLET, "android", "11", ""),
    ("Mozilla/5.0 (compatible; MSIE 10.0; Windows Phone 8.0; Trident/6.0; IEMobile/10.0; ARM; Touch; NOKIA; Lumia 920)", PHONE, "windows phone", "8.0", "nokia"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KIT} Chrome/124.0.0.0 Safari/537.36 Edg/124.0.0.0", PC, "windows", "10", ""),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15", PC, "macos", "10.15.7", "apple"),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0", PC, "linux", "", ""),
    (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {KIT} Chrome/124.0.0.0 Safari/537.36", PC, "chromeos", "14541.0.0", ""),
    (f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {KIT} SamsungBrowser/2.2 Chrome/63.0.3239.84 TV Safari/537.36", TV, "tizen", "6.0", "samsung"),
    (f"Mozilla/5.0 (Web0S; Linux/SmartTV) {KIT} Chrome/79.0.3945.79 Safari/537.36 WebAppManager", TV, "webos", "", "lg"),
    (f"Mozilla/5.0 (Linux; Android 12; BRAVIA 4K VH2 Build/PTT1) {KIT} Chrome/90 Safari/537.36", TV, "android", "12", ""),
    ("Roku/DVP-12.0 (12.0.0.4182-88)", BOX, "roku", "12.0", ""),
    (f"Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7285) {KIT} Chrome/70.0 Mobile Safari/537.36", BOX, "android", "9", ""),
    ("AppleCoreMedia/1.0.0.12B466 (Apple TV; U; CPU OS 8_1_3 like Mac OS X; en_us)", BOX, "tvos", "", "apple"),
    (f"Mozilla/5.0 (Linux; Android 9; CrKey armv7l 1.5.16041) {KIT} Chrome/31.0.1650.0 Safari/537.36", BOX, "chromecast", "", ""),
    ("Mozilla/5.0 (PlayStation 5/SmartTV) AppleWebKit/605.1.15 (KHTML, like Gecko)", BOX, "", "", "sony"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {KIT} Chrome/124 Safari/537.36 Edge/44.18363.8131", BOX, "windows", "10", ""),
    ("Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/601.6", BOX, "", "", "nintendo"),
    ("some-user-agent", 0, "", "", ""),
    ("", 0, "", "", ""),
]  # fmt: skip


@pytest.fixture(scope="module")
def enricher() -> LocalEnricher:
    return LocalEnricher()


@pytest.mark.parametrize(
    ("user_agent", "device_type", "os", "version", "make"), TABLE, ids=lambda value: str(value)[:60]
)
def test_device(enricher: LocalEnricher, user_agent: str, device_type: int, os: str, version: str, make: str) -> None:
    facts = enricher.device(user_agent)
    assert (facts.device_type, facts.os, facts.os_version, facts.make, facts.crawler) == (
        device_type,
        os,
        version,
        make,
        False,
    )


def test_browser_is_the_family_in_lower_case(enricher: LocalEnricher) -> None:
    assert enricher.device(TABLE[0][0]).browser == "mobile safari"
    assert enricher.device(TABLE[9][0]).browser == "edge"


def test_every_crawler_of_the_library_is_known(enricher: LocalEnricher) -> None:
    """Our matcher is another engine than the library's own: all its sample strings, and none of the people's above."""
    samples = [text for entry in crawleruseragents.CRAWLER_USER_AGENTS_DATA for text in entry["instances"]]
    assert len(samples) > 1000
    assert [text for text in samples if not enricher.device(text).crawler] == []
    for user_agent, *_ in TABLE:
        assert not crawleruseragents.is_crawler(user_agent)


def test_a_crawler_is_no_device_of_a_person(enricher: LocalEnricher) -> None:
    facts = enricher.device("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
    assert facts.crawler
    assert facts.device_type == 0


def test_facts_are_cached_and_long_strings_are_cut(enricher: LocalEnricher) -> None:
    assert enricher.device(TABLE[3][0]) is enricher.device(TABLE[3][0])
    long = TABLE[3][0] + " " * 5000
    assert enricher.device(long) == enricher.device(long + "Googlebot/2.1") == enricher.device(TABLE[3][0])


def test_unknown_is_the_default() -> None:
    assert DeviceFacts() == DeviceFacts(0, "", "", "", "", False)
