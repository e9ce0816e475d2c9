"""Simulated exchanges: traffic, people, requests, auctions, notices' faults, macros, markup. Pure, without a server."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

from campaign_express.bidding.exchanges import load_exchanges
from campaign_express.bidding.privacy.tcf import read_tc_string
from campaign_express.errors import ConfigError
from campaign_express.exchange import auction, macros, shapes, venues
from campaign_express.exchange.consent import VENDOR, consent_string
from campaign_express.exchange.draws import FAULT, REQUEST, Draws
from campaign_express.exchange.faults import Faults
from campaign_express.exchange.people import People
from campaign_express.exchange.shapes import Slot
from campaign_express.exchange.stream import RequestStream
from campaign_express.exchange.trackers import Trackers, find_trackers
from campaign_express.exchange.traffic import DAY_MS, FLAT, Spike, Traffic
from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.price_encryption import decrypt_price

HOUR = 3_600_000


def stream(seed: int = 1, people: int = 500) -> RequestStream:
    return RequestStream(seed, People(people, seed), shapes.generate(seed, 100), venues.venues())


class TestDraws:
    def test_a_stream_depends_on_what_it_is_for_and_on_nothing_else(self) -> None:
        first = [Draws(1, 7, REQUEST).unit() for _ in range(3)]
        assert len(set(first)) == 1
        others = {Draws(*key).unit() for key in ((2, 7, REQUEST), (1, 8, REQUEST), (1, 7, FAULT))}
        assert len(others | set(first)) == 4

    def test_units_are_uniform(self) -> None:
        draws = Draws(1, 1, REQUEST)
        values = [draws.unit() for _ in range(20_000)]
        assert min(values) > 0
        assert max(values) < 1
        tenths = Counter(int(value * 10) for value in values)
        assert all(1800 < count < 2200 for count in tenths.values())  # 2,000 ± 4.7 standard deviations

    def test_a_log_normal_has_its_median(self) -> None:
        draws = Draws(1, 1, REQUEST)
        assert 0.95 < median(draws.lognormal(1.0, 0.6) for _ in range(20_000)) < 1.05


class TestTraffic:
    def test_arrivals_follow_the_curve(self) -> None:
        busy_at_noon = Traffic((0.0,) * 12 + (1.0,) + (0.0,) * 11)
        times = busy_at_noon.arrivals(1000, 0, DAY_MS, 1)
        assert len(times) == 1000
        assert (times[1:] >= times[:-1]).all()
        # A triangle from 11:30 to 13:30 with its top in the middle of the hour.
        assert times.min() >= 11.5 * HOUR
        assert times.max() < 13.5 * HOUR

    def test_a_spike_is_added_to_what_comes_and_not_to_what_is_usual(self) -> None:
        spiky = Traffic(FLAT, (Spike(6 * HOUR, HOUR, 24.0),))
        times = spiky.arrivals(4700, 0, DAY_MS, 1)
        assert 2200 < ((times >= 6 * HOUR) & (times < 7 * HOUR)).sum() < 2600  # 24 of 47
        assert spiky.share(7 * HOUR, 0, DAY_MS) == pytest.approx(7 / 24)

    def test_shares_rise_from_nothing_to_all(self) -> None:
        diurnal = Traffic()
        shares = [diurnal.share(hour * HOUR, 0, DAY_MS) for hour in range(-1, 26)]
        assert shares[:2] == [0.0, 0.0]
        assert shares[-2:] == [1.0, 1.0]
        assert shares == sorted(shares)
        assert diurnal.share(30 * HOUR, DAY_MS, 2 * DAY_MS) == pytest.approx(diurnal.share(6 * HOUR, 0, DAY_MS))

    def test_the_usual_is_what_arrives(self) -> None:
        times = Traffic().arrivals(200_000, 0, DAY_MS, 3)
        for hour in (3, 9, 15, 21):
            assert (times < hour * HOUR).mean() == pytest.approx(Traffic().share(hour * HOUR, 0, DAY_MS), abs=0.005)


class TestPeople:
    def test_few_come_often_and_most_seldom(self) -> None:
        people = People(1000, 1)
        visits = Counter(people.pick(Draws(1, number, REQUEST)).number for number in range(20_000))
        top = sum(count for number, count in visits.items() if number < 100)
        assert 0.2 < top / 20_000 < 0.45  # a tenth of the people; even visits would be 0.1
        assert visits[999] < visits[0]

    def test_identities(self) -> None:
        people = [People(3000, 1).person(number) for number in range(3000)]
        apps = [p for p in people if p.tracked and p.in_app]
        webs = [p for p in people if p.tracked and p.cookies and not p.shared]
        assert apps
        assert webs
        assert {p.identity("metro") == p.identity("vista") for p in apps} == {True}
        assert {p.identity("metro") == p.identity("vista") for p in webs} == {False}
        for person in people:
            told = json.loads(b"{" + person.device + person.user("metro") + person.regs + b'"end":0}')
            ids = {told["device"].get("ifa"), (told.get("user") or {}).get("buyeruid")} - {None}
            ids -= {"00000000-0000-0000-0000-000000000000"}
            if person.tracked:
                assert ids
                assert told["device"].get("lmt", 0) == 0
                assert (told.get("regs") or {}).get("us_privacy") != "1YYN"
            if not ids:
                assert person.identity("metro") == ""

    def test_consent_can_be_read(self) -> None:
        for granted in (True, False):
            vendor = read_tc_string(consent_string(17_672_256_000, granted), VENDOR)
            assert all(vendor.allows(purpose) is granted for purpose in (1, 3, 4, 7))


class TestStream:
    def test_the_same_request_in_every_run(self) -> None:
        assert [stream().call(n).body for n in (5, 3)] == [stream().call(n).body for n in (5, 3)]
        assert stream(2).call(5).body != stream(1).call(5).body

    def test_requests_are_openrtb_and_of_every_kind(self) -> None:
        made = stream()
        media: Counter[str] = Counter()
        names: Counter[str] = Counter()
        several = deals = 0
        for number in range(2000):
            call = made.call(number)
            request = decode_request(call.body)
            assert request.id == call.id
            assert request.at == (2 if call.venue.second_price else 1)
            assert set(call.shape.slots) == {imp.id for imp in request.imp}
            for slot in call.shape.slots.values():
                media.update(slot.media)
            several += len(request.imp) > 1
            deals += any(imp.pmp is not None for imp in request.imp)
            names[call.venue.name] += 1
        assert set(media) == {"banner", "video", "audio", "native"}
        assert several > 30
        assert deals > 30
        assert 0.30 < names["metro"] / 2000 < 0.42

    def test_shapes_from_a_file(self, tmp_path: Path) -> None:
        request = {
            "id": "theirs",
            "imp": [{"id": "x", "bidfloor": 1.5, "bidfloorcur": "EUR", "video": {"mimes": ["video/mp4"]}}],
            "app": {"bundle": "com.their.app"},
            "user": {"buyeruid": "theirs"},
            "cur": ["EUR"],
            "test": 1,
        }
        path = tmp_path / "requests.jsonl"
        path.write_text(json.dumps(request) + "\n\n")
        made = RequestStream(1, People(50, 1), shapes.read(path), venues.venues())
        for number in range(20):
            call = made.call(number)
            found = json.loads(call.body)
            assert found["id"] == call.id
            assert found["app"]["bundle"] == "com.their.app"
            assert found["imp"] == [{"id": "x", "bidfloor": 1.5, "video": {"mimes": ["video/mp4"]}}]
            assert found["cur"] == ["USD"]
            assert "test" not in found
            assert (found.get("user") or {}).get("buyeruid") != "theirs"
        assert call.shape.slots["x"].floor_micros == 1_500_000

    def test_a_file_of_something_else_is_refused_with_the_line(self, tmp_path: Path) -> None:
        path = tmp_path / "requests.jsonl"
        path.write_text('{"id":"r","imp":[{"id":"1","banner":{}}]}\n{"id":"r"}\n')
        with pytest.raises(ConfigError, match="line 2 is not a bid request"):
            shapes.read(path)
        path.write_text("\n")
        with pytest.raises(ConfigError, match="holds no bid request"):
            shapes.read(path)


class TestAuction:
    @pytest.mark.parametrize(
        ("bid", "others", "floor", "second_price", "expected"),
        [
            (2_000_000, (1_000_000, 500_000), 0, False, (True, 2_000_000, 1_010_000, 0)),
            (2_000_000, (1_000_000, 500_000), 0, True, (True, 1_010_000, 1_010_000, 0)),
            (2_000_000, (1_995_000, 0), 0, True, (True, 2_000_000, 2_005_000, 0)),  # never above the bid
            (2_000_000, (0, 0), 700_000, True, (True, 710_000, 700_000, 0)),  # alone: the floor is the second bid
            (2_000_000, (0, 0), 2_000_000, False, (True, 2_000_000, 2_000_000, 0)),
            (2_000_000, (2_000_000, 0), 0, False, (False, 2_000_000, 2_010_000, 102)),  # equal: the others win
            (2_000_000, (3_000_000, 1_000_000), 0, True, (False, 2_010_000, 3_010_000, 102)),
            (500_000, (100_000, 0), 700_000, True, (False, 100_000, 700_000, 100)),
        ],
    )
    def test_sale(
        self, bid: int, others: tuple[int, int], floor: int, second_price: bool, expected: tuple[bool, int, int, int]
    ) -> None:
        assert auction.sell(bid, others, floor, second_price) == expected

    def test_competitors_do_not_depend_on_us(self) -> None:
        slot = Slot("1", ("banner",), 0, 900_000)
        assert auction.competitors(1, 17, slot) == auction.competitors(1, 17, slot)
        found = [auction.competitors(1, number, slot) for number in range(5000)]
        assert all(highest >= second >= 0 for highest, second in found)
        assert 0.15 < sum(highest == 0 for highest, _ in found) / 5000 < 0.25  # none in a fifth of all
        several = Slot("2", ("banner",), 0, 900_000)
        assert auction.competitors(1, 17, several) != auction.competitors(1, 17, slot)


class TestNotices:
    def test_macros(self) -> None:
        url = "https://b/v1/win?s=1&price=${AUCTION_PRICE}&i=${AUCTION_IMP_ID}&mbr=${AUCTION_MBR}"
        assert macros.substitute(url, "${AUCTION_PRICE}", "1.5", {"AUCTION_IMP_ID": "a&b"}) == (
            "https://b/v1/win?s=1&price=1.5&i=a%26b&mbr="
        )
        assert macros.substitute("p=%%WINNING_PRICE%%", "%%WINNING_PRICE%%", "x=", {}) == "p=x%3D"

    @pytest.mark.parametrize(
        ("micros", "text"), [(0, "0"), (1, "0.000001"), (1_500_000, "1.5"), (2_000_000, "2"), (10_000_010, "10.00001")]
    )
    def test_prices_are_exact(self, micros: int, text: str) -> None:
        assert macros.price_text(micros) == text

    def test_prices_are_encrypted_where_the_exchange_does(self) -> None:
        by_name = {venue.name: venue for venue in venues.venues()}
        assert macros.price_of(by_name["metro"], 1_250_000, 1, 1) == "1.25"
        told = macros.price_of(by_name["cipher"], 1_250_000, 1, 1)
        assert by_name["cipher"].keys is not None
        assert decrypt_price(told, *by_name["cipher"].keys) == 1_250_000
        assert told != macros.price_of(by_name["cipher"], 1_250_000, 1, 2)

    def test_trackers(self) -> None:
        banner = (
            '<a href="https://b/v1/click?v=2&amp;s=1" target="_blank"><img src="https://cdn/1.jpg" width="300" '
            'height="250"></a><img src="https://b/v1/imp?v=2&amp;s=2" width="1" height="1" alt="">'
        )
        assert find_trackers(banner) == Trackers("https://b/v1/imp?v=2&s=2", "https://b/v1/click?v=2&s=1")
        vast = (
            '<?xml version="1.0"?><VAST><Ad><InLine><Impression id="x"><![CDATA[https://b/v1/imp?a&b]]></Impression>'
            "<ClickThrough><![CDATA[https://b/v1/click?a&b]]></ClickThrough></InLine></Ad></VAST>"
        )
        assert find_trackers(vast) == Trackers("https://b/v1/imp?a&b", "https://b/v1/click?a&b")
        native = {"link": {"url": "https://b/c"}, "imptrackers": ["https://b/i"]}
        assert find_trackers(json.dumps(native)) == Trackers("https://b/i", "https://b/c")
        events = {"native": {"link": {"url": "c"}, "eventtrackers": [{"event": 1, "method": 1, "url": "i"}]}}
        assert find_trackers(json.dumps(events)) == Trackers("i", "c")
        assert find_trackers("<p>nothing</p>") == Trackers("", "")

    def test_faults_come_in_their_shares(self) -> None:
        faults = Faults(lost=0.1, late=0.2, duplicated=0.3, reordered=0.05, lateness_ms=600_000)
        made = [faults.delays(Draws(1, number, FAULT)) for number in range(20_000)]
        assert 0.09 < sum(not delays for delays in made) / 20_000 < 0.11
        arrived = [delays for delays in made if delays]
        assert 0.28 < sum(len(delays) == 2 for delays in arrived) / len(arrived) < 0.32
        assert 0.20 < sum(delays[0] > 0 for delays in arrived) / len(arrived) < 0.30
        assert max(max(delays) for delays in arrived) < 600_000  # nothing is later than the lateness

    def test_beyond_the_lateness_only_where_it_is_asked_for(self) -> None:
        faults = Faults(beyond=1.0, lateness_ms=1000)
        assert all(1000 <= faults.delays(Draws(1, number, FAULT))[0] <= 3000 for number in range(100))
        assert Faults().delays(Draws(1, 1, FAULT)) == (0,)
        with pytest.raises(ValueError, match="between 0 and 1"):
            Faults(lost=1.5)


def test_the_exchanges_file_says_what_is_simulated(tmp_path: Path) -> None:
    path = tmp_path / "exchanges.yaml"
    known = venues.venues()
    venues.write_exchanges(path, known)
    assert load_exchanges(path).exchanges == tuple(venue.exchange for venue in known)
