"""User sync: two ids become one person's only where consent allows, and browsers go only where the exchange said."""

from __future__ import annotations

import json
import re

import pytest

from campaign_express.bidding.privacy import PrivacyPolicy, assess_query
from campaign_express.gateway.replies import PIXEL
from campaign_express.gateway.sync import own_id, set_cookie
from tests.support.notice_desk import Desk

URL = "https://sync.generic.example/in?partner=us&uid={UID}&gdpr={GDPR}&consent={GDPR_CONSENT}"
COOKIE = "abcdefghijklmnopqrstuv"


def desk(**changes: object) -> Desk:
    return Desk(sync_urls={"generic": URL}, **changes)  # type: ignore[arg-type]


def test_a_new_browser_is_given_an_id_and_sent_on() -> None:
    made = desk()
    answer = made.call("/v1/sync?exchange=generic&uid=theirs%2F1&gdpr=1&gdpr_consent=C%26P")
    assert answer.status == 302
    found = re.fullmatch(
        r"cx=([A-Za-z0-9_-]{22}); Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=None",
        answer.headers["set-cookie"],
    )
    assert found is not None
    own = found[1]
    assert answer.headers["location"] == (f"https://sync.generic.example/in?partner=us&uid={own}&gdpr=1&consent=C%26P")
    assert set(made.identities.canonical) == {f"cookie:{own}", f"buyeruid@generic:{own}", "user@generic:theirs/1"}
    assert answer.headers["cache-control"] == "no-store"
    assert made.outcomes == {"sync linked": 1}


def test_a_known_browser_keeps_its_id() -> None:
    made = desk()
    answer = made.call("/v1/sync?exchange=generic&uid=1", cookie=f"x=y; cx={COOKIE}; z=1")
    assert f"uid={COOKIE}&" in answer.headers["location"]
    assert answer.headers["set-cookie"].startswith(f"cx={COOKIE};")


@pytest.mark.parametrize("cookie", ["cx=short", "cx=" + "!" * 22, f"xcx={COOKIE}", f"cx={COOKIE}x", "cx", "\x00cx=;;"])
def test_a_cookie_that_is_not_ours_is_replaced(cookie: str) -> None:
    assert own_id(cookie.encode()) == ""


def test_without_consent_nothing_is_read_stored_or_sent() -> None:
    made = desk(consents=False)
    answer = made.call("/v1/sync?exchange=generic&uid=1", cookie=f"cx={COOKIE}")
    assert (answer.status, answer.body) == (200, PIXEL)
    assert "set-cookie" not in answer.headers
    assert made.identities.canonical == {}
    assert made.outcomes == {"sync no-consent": 1}


def test_a_browser_that_objects_is_heard() -> None:
    made = desk()
    assert made.call("/v1/sync?exchange=generic&uid=1", sec_gpc="1").body == PIXEL
    assert made.identities.canonical == {}


def test_an_exchange_without_a_sync_url_gets_a_pixel() -> None:
    made = desk()
    answer = made.call("/v1/sync?exchange=euro&uid=1")
    assert (answer.status, answer.body) == (200, PIXEL)
    assert "set-cookie" in answer.headers


def test_a_sync_that_we_begin_has_no_uid() -> None:
    made = desk()
    assert made.call("/v1/sync?exchange=generic").status == 302
    assert len(made.identities.canonical) == 2
    assert made.call("/v1/sync?exchange=euro").status == 400


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("uid=1", "$.query.exchange"),
        ("exchange=nobody&uid=1", "$.query.exchange"),
        ("exchange=generic&uid=" + "x" * 241, "$.query.uid"),
        ("exchange=generic&uid=a%20b", "$.query.uid"),
        ("exchange=generic&uid=%00", "$.query.uid"),
        ("exchange=generic&exchange=euro&uid=1", "$.query"),
    ],
)
def test_what_is_wrong_is_named(query: str, path: str) -> None:
    made = desk()
    answer = made.call(f"/v1/sync?{query}")
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["path"] == path
    assert made.identities.canonical == {}
    assert made.outcomes == {"sync invalid": 1}


def test_no_parameter_says_where_to_go() -> None:
    answer = desk().call("/v1/sync?exchange=generic&uid=1&redirect=https://evil.example&gdpr_consent=%26uid%3Devil")
    assert answer.headers["location"].startswith("https://sync.generic.example/in?partner=us&uid=")
    assert "consent=%26uid%3Devil" in answer.headers["location"]
    assert "evil.example" not in answer.headers["location"]


def test_the_exchange_learns_our_id_though_redis_is_away() -> None:
    made = desk()
    made.identities.away = True
    assert made.call("/v1/sync?exchange=generic&uid=1").status == 302
    assert made.outcomes == {"sync unavailable": 1}


def test_a_cookie_is_read_as_it_was_set() -> None:
    assert own_id(set_cookie(COOKIE).partition(";")[0].encode()) == COOKIE


@pytest.mark.parametrize(
    ("signals", "gpc", "identifies"),
    [
        ({"gdpr": "0"}, False, True),
        ({"gdpr": "0"}, True, False),
        ({"gdpr": "0", "gpc": "1"}, False, False),
        ({"gdpr": "0", "coppa": "1"}, False, False),
        ({"gdpr": "0", "us_privacy": "1YYN"}, False, False),
        ({"gdpr": "0", "us_privacy": "1YNN"}, False, True),
        ({"gdpr": "1"}, False, False),
        ({"gdpr": "1", "gdpr_consent": "CPnotastring"}, False, False),
        ({}, False, False),  # where the GDPR applies to a country that is not known
        ({"gdpr": "2"}, False, False),
        ({"gdpr": "0", "gpp_sid": "," + "9" * 5000 + ",x"}, False, True),
        ({"gdpr": "0", "gpp_sid": "7"}, False, False),  # a section of a string that is not there
    ],
)
def test_consent_of_a_query(signals: dict[str, str], gpc: bool, identifies: bool) -> None:
    policy = PrivacyPolicy(7, frozenset({"", "FRA"}))
    assert assess_query(signals, gpc, policy).identify is identifies


def test_consent_where_the_gdpr_is_not_assumed() -> None:
    assert assess_query({}, False, PrivacyPolicy(7, frozenset({"FRA"}))).identify
