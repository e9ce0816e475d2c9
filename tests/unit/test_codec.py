"""The JSON side of the wire: paths in errors, limits of compression, and that what was read can be written."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import (
    GZIP_MIN_BYTES,
    body_too_large,
    decode_request,
    encode_response,
    error_body,
    gunzip,
    gzip_response,
)
from campaign_express.openrtb.response import Bid, BidResponse, SeatBid

GOOD = b'{"id":"r1","imp":[{"id":"1","banner":{"w":300,"h":250}}]}'
LIMIT = 256 * 1024


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body)
    return caught.value


def test_error_names_the_field_and_hides_the_decoders_spelling() -> None:
    error = refusal(b'{"id":"r1","imp":[{"id":"1","banner":{}},{"id":"2","video":{"w":"x"}}]}')
    assert error.path == "$.imp[1].video.w"
    assert error.rule == "type"
    assert error.message == "Expected `int | null`, got `str`"
    assert json.loads(error_body(error)) == {
        "error": {"message": error.message, "path": "$.imp[1].video.w", "rule": "type"}
    }


def test_missing_field_is_named_itself_not_its_parent() -> None:
    assert refusal(b'{"id":"r1","imp":[{"id":"1","banner":{}},{"banner":{}}]}').path == "$.imp[1].id"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 250_000,
        b'{"a":' * 50_000,
        b'{"id":"r1","ext":' + b"[" * 250_000,
        GOOD[:-1] + b',"x":' + b'{"a":' * 49_000,
    ],
    ids=["lists", "objects", "unknown-lists", "unknown-objects"],
)
def test_the_deepest_body_within_the_size_limit_is_refused_and_no_more(body: bytes) -> None:
    assert len(body) < LIMIT
    assert refusal(body).rule in ("depth", "type")
    assert decode_request(GOOD).id == "r1"  # and the decoder still works


def test_moderately_deep_unknown_fields_are_skipped() -> None:
    assert decode_request(GOOD[:-1] + b',"ext":' + b"[" * 200 + b"]" * 200 + b"}").id == "r1"


@pytest.mark.parametrize(
    "text",
    ["\u0000", "\u2028", "\U0001f600", '"\\</script>', "é" * 1000, "\x7f", "\ufffe", "\uffff"],
    ids=["nul", "separator", "emoji", "markup", "long", "delete", "noncharacter", "last"],
)
def test_what_was_read_can_be_written(text: str) -> None:
    request = decode_request(json.dumps({"id": text, "imp": [{"id": text, "banner": {}}]}).encode())
    body = encode_response(BidResponse(request.id, [SeatBid([Bid("b", request.imp[0].id, 1.25)])]))
    answer = json.loads(body)
    assert answer["id"] == answer["seatbid"][0]["bid"][0]["impid"] == text


def test_response_leaves_empty_fields_out() -> None:
    assert json.loads(encode_response(BidResponse("r1", nbr=2))) == {"id": "r1", "nbr": 2}


def test_gunzip_stops_at_the_limit() -> None:
    exact = gzip.compress(b"x" * LIMIT)
    assert gunzip(exact, LIMIT) == b"x" * LIMIT
    bomb = gzip.compress(b"0" * 200_000_000)  # 200 MB in 200 KB
    with pytest.raises(InvalidRequest) as caught:
        gunzip(bomb, LIMIT)
    assert (caught.value.http_status, caught.value.rule) == (413, "decompressed-size")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x1f",
        b"not gzip",
        zlib.compress(GOOD),
        gzip.compress(GOOD)[:-1],
        gzip.compress(GOOD)[:-8] + b"\0" * 8,
        gzip.compress(GOOD) + b"x",
        gzip.compress(b"") * 2,
    ],
    ids=["empty", "one-byte", "plain", "zlib", "short", "checksum", "trailing", "members"],
)
def test_gunzip_refuses_what_is_broken(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        gunzip(body, LIMIT)
    assert (caught.value.http_status, caught.value.rule) == (400, "gzip")


def test_response_is_compressed_only_where_it_pays() -> None:
    small = b"x" * (GZIP_MIN_BYTES - 1)
    assert gzip_response(small) is small
    large = b"x" * GZIP_MIN_BYTES
    packed = gzip_response(large)
    assert packed is not large
    assert gzip.decompress(packed) == large


def test_body_too_large_is_413() -> None:
    assert body_too_large(1000).http_status == 413
    assert "1000" in body_too_large(1000).message
