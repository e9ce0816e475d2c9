"""Native requests of every age are read into one form, and a bad one says where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb import native
from campaign_express.openrtb.native import NativeRequest, parse_native_request

TITLE = {"id": 1, "required": 1, "title": {"len": 90}}
FULL: dict[str, Any] = {
    "ver": "1.2",
    "context": 1,
    "plcmttype": 4,
    "plcmtcnt": 2,
    "privacy": 1,
    "assets": [
        TITLE,
        {"id": 2, "img": {"type": 3, "wmin": 600, "hmin": 315, "mimes": ["image/png"]}},
        {"id": 3, "required": 0, "data": {"type": 2, "len": 140}},
        {"id": 4, "video": {"mimes": ["video/mp4"], "minduration": 5, "maxduration": 30, "protocols": [2, 3]}},
    ],
    "eventtrackers": [{"event": 1, "methods": [1, 2]}, {"event": 2, "methods": []}, {}],
}


def parse(value: Any) -> NativeRequest:
    return parse_native_request(json.dumps(value))


def refusal(value: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_native_request(value if isinstance(value, str) else json.dumps(value))
    assert caught.value.rule == "native-request"
    return caught.value


def test_reads_every_field() -> None:
    request = parse(FULL)
    assert (request.ver, request.context, request.plcmttype, request.plcmtcnt) == ("1.2", 1, 4, 2)
    assert request.privacy
    assert not request.wrapped
    title, image, data, video = request.assets
    assert title.title is not None
    assert (title.id, title.required, title.title.len) == (1, True, 90)
    assert image.img is not None
    assert (image.required, image.img.wmin, image.img.mimes) == (False, 600, ("image/png",))
    assert data.data is not None
    assert (data.data.type, data.data.len) == (2, 140)
    assert video.video is not None
    assert (video.video.maxduration, video.video.protocols) == (30, (2, 3))
    assert [(t.event, t.methods) for t in request.eventtrackers] == [(1, (1, 2))]


def test_wrapped_and_bare_are_the_same_but_for_the_wrapper() -> None:
    wrapped = parse({"native": FULL})
    assert wrapped.wrapped
    assert wrapped.assets == parse(FULL).assets


def test_ids_left_out_everywhere_are_positions() -> None:
    request = parse({"assets": [{"title": {"len": 9}}, {"img": {"type": 1}}]})
    assert [asset.id for asset in request.assets] == [0, 1]


def test_optional_asset_of_no_kind_is_skipped() -> None:
    assert [asset.id for asset in parse({"assets": [{"id": 7}, TITLE]}).assets] == [1]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("", "$"),
        ("{json string}", "$"),
        ('"twice encoded"', "$"),
        ("[" * 5000, "$"),
        ({"native": {"assets": [{"title": {"text": "x"}}]}}, "$.native.assets[0].title.len"),
        ({"assets": []}, "$.assets"),
        ({"assets": None}, "$.assets"),
        ({"native": {}}, "$.native.assets"),
        ({"assets": [{"id": 3}]}, "$.assets"),
        ({"assets": [{"id": 1, "img": {"h": -1}}]}, "$.assets[0].img.h"),
        ({"assets": [{"id": 1, "data": {}}]}, "$.assets[0].data.type"),
        ({"assets": [TITLE, TITLE]}, "$.assets[1].id"),
        ({"assets": [TITLE, {"data": {"type": 1}}]}, "$.assets[1].id"),
        ({"assets": [{"id": 1, "required": 1}]}, "$.assets[0]"),
        ({"assets": [{"id": 1, "title": {"len": 1}, "img": {}}]}, "$.assets[0]"),
        ({"ver": 1.2, "assets": [TITLE]}, "$.ver"),
    ],
)
def test_bad_request_says_where(value: Any, path: str) -> None:
    assert refusal(value).path == path


def test_missing_request_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        parse_native_request(None)


def test_repeated_strings_are_parsed_once_and_failures_stay_fresh() -> None:
    text = json.dumps(FULL)
    assert parse_native_request(text) is parse_native_request("".join(text))
    first, second = refusal("{bad"), refusal("{bad")
    assert first is not second, "a kept exception would collect a traceback a request"


def test_long_strings_are_not_kept() -> None:
    native._parse.cache_clear()
    text = json.dumps({"assets": [TITLE], "ext": "x" * native.CACHED_LENGTH})
    assert parse_native_request(text) == parse_native_request(text)
    assert native._parse.cache_info().currsize == 0
