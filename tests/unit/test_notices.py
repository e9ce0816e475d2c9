"""Notice URLs: nobody but us can have written one, whatever the ids of a request hold, and keys rotate."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign_express.bidding.model import Exchange
from campaign_express.errors import ConfigError, InvalidRequest
from campaign_express.openrtb.notices import (
    MAX_CONSENT,
    MAX_ID,
    Notice,
    NoticeSigner,
    NoticeUrls,
    parse_keys,
    portable_id,
)

KEY = bytes(range(32))
OLD = bytes(range(1, 33))
SIGNER = NoticeSigner([("k2", KEY), ("k1", OLD)], "https://bid.example/rtb/")
EXCHANGE = Exchange(name="default")
CONSENT = "&gdpr=1&gdpr_consent=CPabc.x&gpp=DBABMA~C&gpp_sid=2%2C7"
LANDING = "https://shop.example/a?b=c&d=é"


def make(signer: NoticeSigner = SIGNER, exchange: Exchange = EXCHANGE, **changes: Any) -> NoticeUrls:
    values: dict[str, Any] = {
        "advertiser": "acme",
        "campaign": "acme-shoes:us",
        "creative": "shoes-300x250",
        "request_id": "723f8906-7f59-4f50-bba9-ed9115ab1663",
        "imp_id": "1",
        "bid_id": "723f8906.1",
        "price_micros": 2_350_000,
        "wall_ms": 1_764_020_000_123,
        "consent_query": CONSENT,
        "test": False,
    }
    return signer.urls(exchange, **{**values, **changes})


def read(url: str, signer: NoticeSigner = SIGNER) -> Notice:
    parts = urlsplit(url)
    return signer.verify(parts.path.removeprefix("/rtb"), parts.query)


def refused(url: str, signer: NoticeSigner = SIGNER) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(url, signer)
    assert caught.value.rule == "notice-signature"
    assert caught.value.http_status == 400


def click_url(urls: NoticeUrls) -> str:
    return urls.click + SIGNER.sign_landing(LANDING, "acme", "shoes-300x250")


def all_urls(urls: NoticeUrls) -> dict[str, str]:
    assert urls.nurl is not None
    assert urls.burl is not None
    assert urls.lurl is not None
    return {
        "win": urls.nurl,
        "billing": urls.burl,
        "loss": urls.lurl,
        "impression": urls.impression,
        "click": click_url(urls),
    }


def test_every_notice_brings_back_what_was_signed() -> None:
    for kind, url in all_urls(make(test=True)).items():
        end = "imp" if kind == "impression" else kind
        assert url.startswith(f"https://bid.example/rtb/v1/{end}?")
        assert read(url) == Notice(
            kind=kind,
            key="k2",
            exchange="default",
            auction="723f8906-7f59-4f50-bba9-ed9115ab1663",
            imp="1",
            bid="723f8906.1",
            advertiser="acme",
            campaign="acme-shoes:us",
            creative="shoes-300x250",
            price_micros=2_350_000,
            event_ms=1_764_020_000_123,
            test=True,
            consent={"gdpr": "1", "gdpr_consent": "CPabc.x", "gpp": "DBABMA~C", "gpp_sid": "2,7"},
            macros={},
            landing=LANDING if kind == "click" else "",
        )


def test_the_tag_is_half_of_the_standard_hmac() -> None:
    query = urlsplit(make().nurl or "").query
    signed, _, rest = query.partition("&s=")
    digest = hmac.new(KEY, signed.encode(), hashlib.sha256).hexdigest()
    assert rest[:32] == digest[:32]
    assert make().serving_id == digest[32:]


def test_a_key_longer_than_a_block_is_hashed_as_hmac_says() -> None:
    long = bytes(100)
    query = urlsplit(make(NoticeSigner([("long", long)], "http://x")).impression).query
    signed, _, tag = query.partition("&s=")
    assert tag == hmac.new(long, signed.encode(), hashlib.sha256).hexdigest()[32:]


@pytest.mark.parametrize("kind", ["win", "billing", "loss", "impression", "click"])
def test_any_changed_byte_of_what_is_signed_is_refused(kind: str) -> None:
    url = all_urls(make())[kind]
    start = url.index("?") + 1
    tag_end = url.index("&s=") + 3 + 32
    places = list(range(start, tag_end))
    if kind == "click":
        places += range(url.index("&to="), len(url))
    for at in places:
        refused(url[:at] + ("b" if url[at] in "aA" else "a") + url[at + 1 :])
        refused(url[:at] + url[at + 1 :])


def test_a_cut_url_is_refused() -> None:
    url = click_url(make())
    for end in range(url.index("?"), len(url)):
        refused(url[:end])


def test_a_page_cannot_make_a_win_of_its_impression_nor_the_other_way_round() -> None:
    urls = make()
    for page in (urls.impression, urls.click):
        for kind in ("win", "billing", "loss"):
            refused(page.replace("/v1/imp", f"/v1/{kind}").replace("/v1/click", f"/v1/{kind}"))
    assert urls.nurl is not None
    refused(urls.nurl.replace("/v1/win", "/v1/imp"))
    assert urls.serving_id not in urls.nurl


def test_other_paths_are_refused() -> None:
    query = urlsplit(make().nurl or "").query
    for path in ("", "/", "/v1/bid", "/v1/win/", "/v1/Win", "v1/win"):
        with pytest.raises(InvalidRequest):
            SIGNER.verify(path, query)


def test_parameters_given_twice_are_refused() -> None:
    urls = all_urls(make())
    refused(urls["win"] + "&price=1")
    refused(urls["click"] + "&to=https%3A%2F%2Fevil.example")
    refused(urls["click"].replace("&to=", "&to=https%3A%2F%2Fevil.example&to="))


def test_what_is_not_ascii_or_too_long_is_refused() -> None:
    url = make().impression
    refused(url + "&x=é")
    refused(url + "&x=" + "y" * 20_000)
    assert read(url + "&cache=123").macros == {}


def test_a_click_goes_only_where_its_own_creative_lands() -> None:
    urls = make()
    refused(urls.click)
    refused(urls.click + "&to=https%3A%2F%2Fevil.example&ts=" + "0" * 32)
    refused(urls.click + SIGNER.sign_landing(LANDING, "acme", "another"))
    refused(urls.click + SIGNER.sign_landing(LANDING, "rival", "shoes-300x250"))
    suffix = SIGNER.sign_landing(LANDING, "acme", "shoes-300x250")
    refused(urls.click + suffix.replace("shop.example", "evil.example"))


def test_keys_rotate() -> None:
    before = NoticeSigner([("k1", OLD)], "https://bid.example/rtb")
    during = SIGNER
    after = NoticeSigner([("k2", KEY)], "https://bid.example/rtb")
    old = make(before)
    landing = before.sign_landing(LANDING, "acme", "shoes-300x250")
    assert read(old.impression, during).key == "k1"
    refused(old.impression, after)
    # A creative compiled before the change is clicked after it.
    assert read(make(during).click + landing, during).landing == LANDING
    assert read(make(during).impression, after).key == "k2"
    swapped = NoticeSigner([("k1", KEY)], "https://bid.example/rtb")
    refused(old.impression, swapped)


def test_macros_stand_unsigned_where_section_4_4_gives_them_a_value() -> None:
    urls = all_urls(make())

    def names(kind: str) -> set[str]:
        return {value for _, value in parse_qsl(urlsplit(urls[kind]).query) if value.startswith("${")}

    ids = {f"${{AUCTION_{name}}}" for name in ("ID", "BID_ID", "IMP_ID", "SEAT_ID", "AD_ID")}
    money = {"${AUCTION_PRICE}", "${AUCTION_CURRENCY}"}
    assert names("win") == ids | money | {"${AUCTION_MBR}", "${AUCTION_MIN_TO_WIN}"}
    assert names("billing") == ids | money | {"${AUCTION_MBR}", "${AUCTION_MULTIPLIER}", "${AUCTION_IMP_TS}"}
    assert names("loss") == ids | money | {"${AUCTION_LOSS}", "${AUCTION_MIN_TO_WIN}"}
    assert names("impression") == names("click") == set()


def test_substituted_macros_are_read_and_the_others_left_out() -> None:
    url = (make().nurl or "").replace("${AUCTION_PRICE}", "1.25").replace("${AUCTION_CURRENCY}", "EUR")
    url = url.replace("${AUCTION_MBR}", "").replace("${AUCTION_SEAT_ID}", "a%20seat")
    assert read(url).macros == {"price": "1.25", "currency": "EUR", "seat_id": "a seat"}


def test_an_exchange_gets_the_notices_and_the_price_macro_it_knows() -> None:
    exchange = Exchange(name="other", notices=("burl",), price_macro="%%WINNING_PRICE%%")
    urls = make(exchange=exchange)
    assert urls.nurl is None
    assert urls.lurl is None
    assert "&price=%%WINNING_PRICE%%&" in (urls.burl or "")
    assert "WINNING" not in urls.impression
    by_impression = Exchange(name="other", notices=(), price_notice="impression", price_macro='"><x>&\\')
    urls = make(exchange=by_impression)  # the same name: an exchange file was read again
    assert urls.burl is None
    assert urls.impression.endswith("&price=%22%3E%3Cx%3E%26%5C")


@given(st.tuples(*[st.text(max_size=200) for _ in range(3)]))
@settings(max_examples=300, deadline=None)
def test_ids_of_a_request_may_hold_anything(ids: tuple[str, str, str]) -> None:
    urls = make(request_id=ids[0], imp_id=ids[1], bid_id=ids[2])
    for url in all_urls(urls).values():
        assert not set(url.replace("${", "").replace("}", "")) & set("<>\"'\\ \n\t^`{|}[]")
        notice = read(url)
        assert (notice.auction, notice.imp, notice.bid) == tuple(portable_id(value) for value in ids)


def test_long_ids_are_hashed_and_short_ones_are_not() -> None:
    huge = "é" * 100_000
    urls = make(request_id=huge, imp_id="i" * MAX_ID, bid_id="b" * (MAX_ID + 1))
    assert sum(map(len, all_urls(urls).values())) < 8_000
    notice = read(urls.impression)
    assert notice.auction == "sha256-" + hashlib.sha256(huge.encode()).hexdigest()[:32]
    assert notice.imp == "i" * MAX_ID
    assert notice.bid.startswith("sha256-")


def test_consent_that_no_real_string_reaches_is_left_out_and_the_flags_stay() -> None:
    long = "C" * (MAX_CONSENT + 1)
    assert read(make(consent_query=f"&gdpr=1&gdpr_consent={long}&us_privacy=1YNN").impression).consent == {
        "gdpr": "1",
        "us_privacy": "1YNN",
    }
    assert read(make(consent_query="".join(f"&p{i}=1" for i in range(2000))).impression).consent == {}


def test_keys_are_read_from_one_line() -> None:
    assert parse_keys("2026b:" + KEY.hex() + " , 2026a:" + OLD.hex().upper()) == [("2026b", KEY), ("2026a", OLD)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no key"),
        ("  ", "no key"),
        ("deadbeef" * 4, "key 1 has no id"),
        ("a:" + "ab" * 15, "key 1 has 15 bytes"),
        ("a:" + "zz" * 16, "key 1 is not hexadecimal"),
        ("a:" + "ab" * 16 + ",a:" + "cd" * 16, "key 2 is used twice"),
        ("a b:" + "ab" * 16, "key 1 has no id"),
        ("a:" + "ab" * 16 + ",", "key 2"),
        ("a&k=x:" + "ab" * 16, "key 1 has no id"),
    ],
)
def test_bad_keys_are_refused_without_showing_them(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_keys(text)
    message = str(caught.value)
    assert problem in message
    for secret in ("abab", "cdcd", "zzzz", "deadbeef"):
        assert secret not in message


@pytest.mark.parametrize(
    "base", ["", "bid.example", "ftp://bid.example", 'https://bid.example/"', "https://b.example/?x=1"]
)
def test_a_base_url_is_plain(base: str) -> None:
    with pytest.raises(ConfigError, match="notice_base_url"):
        NoticeSigner([("a", KEY)], base)


def test_a_signer_needs_a_key_and_does_not_show_it() -> None:
    with pytest.raises(ConfigError, match="no key"):
        NoticeSigner([], "https://bid.example")
    assert KEY.hex() not in repr(SIGNER)
    assert repr(KEY) not in repr(SIGNER)


def test_the_docs_name_what_is_signed_in_its_order() -> None:
    section = (
        (Path(__file__).parents[2] / "docs" / "notices.md").read_text().split("## What is signed")[1].split("\n## ")[0]
    )
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
    sent = [name for name, _ in parse_qsl(urlsplit(make(consent_query="").impression).query, keep_blank_values=True)]
    assert named[: named.index("gdpr")] == sent[:-1]
