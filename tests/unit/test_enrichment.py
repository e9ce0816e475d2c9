"""LocalEnricher as a whole: networks, places, problems of files reported together, and that junk never raises."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

import campaign_express
from campaign_express.adapters.enrichment import LocalEnricher
from campaign_express.adapters.enrichment_geo import GeoDatabase, utc_offset
from campaign_express.adapters.enrichment_networks import Networks
from campaign_express.errors import ConfigError
from campaign_express.ports import DeviceFacts, Enricher, GeoFacts

LISTS = Path(campaign_express.__file__).parent / "data" / "lists"


@pytest.fixture(scope="module")
def bare() -> LocalEnricher:
    return LocalEnricher()


def networks(tmp_path: Path, text: str) -> Networks:
    file = tmp_path / "networks.txt"
    file.write_text(text)
    problems: list[str] = []
    read = Networks(str(file), problems)
    assert problems == []
    return read


def test_without_files_only_user_agents_are_known(bare: LocalEnricher) -> None:
    enricher: Enricher = bare
    assert enricher.geo("203.0.113.7") == GeoFacts()
    assert enricher.is_data_center("203.0.113.7") is False
    assert enricher.seller_authorised("news.example", "alpha", "1") is None
    assert enricher.device("") == DeviceFacts()


def test_the_packaged_examples_are_valid() -> None:
    enricher = LocalEnricher(
        data_center_file=str(LISTS / "data_centers.example.txt"),
        crawler_file=str(LISTS / "crawlers.example.txt"),
        sellers_file=str(LISTS / "sellers.example.txt"),
    )
    assert enricher.is_data_center("192.0.2.1")
    assert enricher.is_data_center("198.51.100.7")
    assert not enricher.is_data_center("198.51.100.8")
    assert enricher.is_data_center("2001:db8:dc::99")
    assert enricher.device("ACME-page-checker 2").crawler
    assert enricher.device("ExampleMonitor/12").crawler
    assert enricher.seller_authorised("www.news.example", "alpha", "pub-1001") is True


def test_every_problem_of_every_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "dc.txt").write_text("192.0.2.0/24\n# comment\nnonsense\n192.0.2.7/24\n")
    (tmp_path / "crawlers.txt").write_text("good\n(broken\n")
    (tmp_path / "sellers.txt").write_text("ssp.example, 1, DIRECT\n[news.example]\nssp.example, 1\n")
    (tmp_path / "geo.mmdb").write_bytes(b"not a database")
    with pytest.raises(ConfigError) as caught:
        LocalEnricher(
            str(tmp_path / "geo.mmdb"),
            str(tmp_path / "dc.txt"),
            str(tmp_path / "crawlers.txt"),
            str(tmp_path / "sellers.txt"),
        )
    places = [problem.split(": ")[1].removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert places == ["crawlers.txt:2", "geo.mmdb", "dc.txt:3", "dc.txt:4", "sellers.txt:1", "sellers.txt:3"]
    assert "'nonsense' does not appear to be an IPv4 or IPv6 network" in str(caught.value)


@pytest.mark.parametrize("setting", ["geoip_file", "data_center_file", "crawler_file", "sellers_file"])
def test_a_file_that_is_not_there(setting: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError, match="No such file") as caught:
        LocalEnricher(**{setting: str(missing)})
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [[setting, str(missing)]]


def test_a_list_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "dc.txt").write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        LocalEnricher(data_center_file=str(tmp_path / "dc.txt"))


def test_networks_that_touch_overlap_and_nest(tmp_path: Path) -> None:
    read = networks(
        tmp_path, "10.0.0.0/25\n10.0.0.128/25 # touches\n10.0.0.0/30\n10.1.0.0/16\n10.1.2.0/24\n0.0.0.0/32\n"
    )
    for ip, held in {
        "10.0.0.0": True,
        "10.0.0.255": True,
        "10.0.1.0": False,
        "9.255.255.255": False,
        "10.1.255.255": True,
        "10.2.0.0": False,
        "0.0.0.0": True,
        "0.0.0.1": False,
        "::ffff:10.1.0.1": True,
        "::ffff:10.2.0.1": False,
        "::10.1.0.1": False,
    }.items():
        assert read.contains(ip) is held, ip


blocks = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(20, 32)).map(lambda b: ip_network(b, strict=False)),
        st.tuples(st.integers(0, 2**128 - 1), st.integers(100, 128)).map(lambda b: ip_network(b, strict=False)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(blocks, st.data())
def test_networks_against_the_obvious(tmp_path_factory: pytest.TempPathFactory, blocks: list[Any], data: Any) -> None:
    read = networks(tmp_path_factory.mktemp("networks"), "\n".join(map(str, blocks)))
    edges = [int(edge) + step for b in blocks for edge in (b[0], b[-1]) for step in (-1, 0, 1)]
    for edge in edges[:60]:
        if 0 <= edge < 2**128:
            ip = ip_address(edge)
            meant = getattr(ip, "ipv4_mapped", None) or ip  # ::ffff:10.0.0.1 is 10.0.0.1
            assert read.contains(str(ip)) == any(meant in b for b in blocks if b.version == meant.version)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80))
def test_junk_is_unknown(bare: LocalEnricher, text: str) -> None:
    assert bare.geo(text) == GeoFacts()
    bare.device(text)
    assert not bare.is_data_center(text)


CITY = {
    "country": {"iso_code": "US"},
    "registered_country": {"iso_code": "CA"},
    "subdivisions": [{"iso_code": "MA"}, {"iso_code": "025"}],
    "city": {"names": {"de": "Bosten", "en": "Boston"}},
    "location": {"latitude": 42.36, "longitude": -71.06, "metro_code": 506, "time_zone": "America/New_York"},
}


@pytest.fixture(scope="module")
def geoip_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small database of our own, in MaxMind's format."""
    writer = MMDBWriter(ip_version=6, database_type="Test-City", ipv4_compatible=True)
    for network, record in {
        "203.0.113.0/24": CITY,
        "198.51.100.0/24": {"registered_country": {"iso_code": "DE"}},
        "2001:db8::/32": {"country": {"iso_code": "JP"}, "location": {"time_zone": "Asia/Tokyo"}},
        "192.0.2.0/25": {
            "country": {"iso_code": "ZZ"},
            "location": {"time_zone": "Moon/Base"},
            "city": {},
            "subdivisions": [],
        },
        "192.0.2.128/25": {"country": "US", "location": [], "subdivisions": "x", "city": {"names": 3}},
    }.items():
        writer.insert_network(IPSet([network]), record)
    file = tmp_path_factory.mktemp("geo") / "test.mmdb"
    writer.to_db_file(str(file))
    return str(file)


def test_places(geoip_file: str) -> None:
    problems: list[str] = []
    database = GeoDatabase(geoip_file, problems)
    assert problems == []
    january = int(datetime(2026, 1, 15, tzinfo=UTC).timestamp()) // 3600
    july = int(datetime(2026, 7, 15, tzinfo=UTC).timestamp()) // 3600
    boston = GeoFacts("USA", "MA", "Boston", "506", 42.36, -71.06, -300)
    assert database.look_up("203.0.113.9", january) == boston
    assert database.look_up("203.0.113.9", july).utc_offset == -240
    assert database.look_up("198.51.100.1", july) == GeoFacts(country="DEU")
    assert database.look_up("2001:db8::1", july) == GeoFacts(country="JPN", utc_offset=540)
    assert database.look_up("192.0.2.1", july) == GeoFacts()
    assert database.look_up("192.0.2.200", july) == GeoFacts()
    for ip in ("8.8.8.8", "", "junk", "203.0.113", "203.0.113.9/24"):
        assert database.look_up(ip, july) == GeoFacts()


def test_places_through_the_enricher(geoip_file: str) -> None:
    enricher = LocalEnricher(geoip_file=geoip_file)
    assert enricher.geo("203.0.113.9").city == "Boston"
    assert enricher.geo("203.0.113.9") is enricher.geo("203.0.113.9")
    assert enricher.geo("1" * 100) == GeoFacts()


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../etc/passwd", "/etc", "\x00", "a" * 300])
def test_names_that_are_no_time_zone(zone: str) -> None:
    assert utc_offset(zone, 500_000) is None


def test_half_hours() -> None:
    assert utc_offset("Asia/Kolkata", 500_000) == 330
