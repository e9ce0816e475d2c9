"""VAST of every version against the structure of the schema (tests/support/vast.py)."""

from __future__ import annotations

from typing import Any

import pytest

from campaign_express.bidding.markup import compile_markup
from campaign_express.bidding.model import Advertiser, Creative, Exchange, Media
from campaign_express.openrtb.notices import NoticeSigner, NoticeUrls
from tests.support.vast import Vast, check_vast

SIGNER = NoticeSigner([("k", bytes(32))], "https://bid.example")
EXCHANGE = Exchange(name="default", price_notice="impression", price_macro="${P}]]>")
LANDING = "https://acme.example/?a=b&c=]]>"
VIDEO: dict[str, Any] = {
    "media": Media.VIDEO,
    "w": 1280,
    "h": 720,
    "asset": "https://cdn.example/a.mp4?x=1&y=]]>",
    "mime": "video/mp4",
    "duration": 3725,
    "bitrate": 2000,
}
AUDIO: dict[str, Any] = {
    "media": Media.AUDIO,
    "asset": "https://cdn.example/a.mp3",
    "mime": "audio/mpeg",
    "duration": 30,
}
URLS: NoticeUrls = SIGNER.urls(EXCHANGE, "acme", "c", "cr", "]]><x>&", "1", "b", 1, 2, "", False)


def render(slot: tuple[int, int] = (0, 0), name: str = "Acme", **changes: Any) -> str:
    creative = Creative(id="cr", landing=LANDING, **changes)
    advertiser = Advertiser(id="acme", name=name, domain="acme.example")
    return compile_markup(creative, advertiser, SIGNER).render(URLS, *slot, None)


def check(**changes: Any) -> Vast:
    return check_vast(render(**changes))


@pytest.mark.parametrize("version", ["", "4.0", "4.1", "4.2"])
@pytest.mark.parametrize("kind", [VIDEO, AUDIO], ids=["video", "audio"])
def test_every_version_has_the_structure_of_the_schema(version: str, kind: dict[str, Any]) -> None:
    vast = check(**kind, vast=version)
    assert vast.version == (version or "4.2")
    assert vast.impressions == [URLS.impression]
    assert vast.click == URLS.click + SIGNER.sign_landing(LANDING, "acme", "cr")
    assert vast.duration == kind["duration"]
    assert vast.serving_id == ("" if version == "4.0" else URLS.serving_id)
    assert vast.audio == (kind is AUDIO and version != "4.0")
    assert vast.media["url"] == kind["asset"]
    assert vast.media["type"] == kind["mime"]


def test_the_media_file_says_what_it_is() -> None:
    media = check(**VIDEO).media
    assert (media["width"], media["height"], media["bitrate"]) == ("1280", "720", "2000")
    assert "bitrate" not in check(**AUDIO).media


def test_a_video_without_a_size_takes_the_slots() -> None:
    media = check(slot=(640, 360), **{**VIDEO, "w": 0, "h": 0}).media
    assert (media["width"], media["height"]) == ("640", "360")


def test_skipping_is_said_only_where_it_is_allowed() -> None:
    assert check(**VIDEO).skip_offset is None
    assert check(**VIDEO, skippable=True).skip_offset == 5
    assert check(**VIDEO, skippable=True, skip_after=65).skip_offset == 65


def test_text_is_text_whatever_it_holds() -> None:
    name = "A & B <Sons> ]]> \x00\x0b\ud800\ufffe é 👟"
    assert "<Advertiser>A &amp; B &lt;Sons&gt; ]]&gt;  é 👟</Advertiser>" in render(**VIDEO, name=name)
    check(**VIDEO, name=name)


def test_the_checker_finds_what_is_wrong() -> None:
    good = render(**VIDEO)
    for old, new in [
        ("<AdTitle>cr</AdTitle>", ""),
        (f"<AdServingId>{URLS.serving_id}</AdServingId>", ""),
        ('delivery="progressive"', ""),
        ('width="1280"', 'width="0"'),
        ("01:02:05", "3725"),
        ("<AdSystem", "<Advertiser/><AdSystem"),
        ('idRegistry="unknown"', ""),
        (' xmlns="http://www.iab.com/VAST"', ""),
        ("<VideoClicks>", "<Videoclicks>"),
        ("</Linear>", "<Icons/></Linear>"),
    ]:
        assert old in good
        with pytest.raises((AssertionError, KeyError, SyntaxError, ValueError)):
            check_vast(good.replace(old, new))
