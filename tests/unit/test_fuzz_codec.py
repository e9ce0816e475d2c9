"""Whatever bytes arrive, decoding gives a request or `InvalidRequest`, and a request that decoded can be answered."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openrtb_strategies import bodies

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import decode_request, encode_response, error_body, gunzip
from campaign_express.openrtb.native import parse_native_request
from campaign_express.openrtb.protobuf import decode_request_pb, encode_request_pb, encode_response_pb
from campaign_express.openrtb.request import BidRequest
from campaign_express.openrtb.response import Bid, BidResponse, SeatBid
from campaign_express.openrtb.rules import BY_ID

SLOW_DATA = [HealthCheck.too_slow, HealthCheck.data_too_large]
fuzz = settings(max_examples=200, deadline=None, suppress_health_check=SLOW_DATA)

# What hides in real traffic: pieces put into good requests at random places.
PIECES = [
    b"",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"null",
    b"-1",
    b"NaN",
    b"1e999",
    b"9" * 40,
    b'"',
    b"\\ud800",
    b"[" * 2000,
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 8)))
        body[start:end] = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)))
    return bytes(body)


def answer(request: BidRequest) -> BidResponse:
    return BidResponse(request.id, [SeatBid([Bid(imp.id, imp.id, 1.0) for imp in request.imp])])


def result_of(body: bytes) -> InvalidRequest | BidRequest:
    try:
        return decode_request(body)
    except InvalidRequest as error:
        return error


def check_json(body: bytes) -> None:
    result = result_of(body)
    if isinstance(result, InvalidRequest):
        assert result.rule in BY_ID
        assert json.loads(error_body(result))["error"]["path"].startswith("$")
        return
    assert json.loads(encode_response(answer(result)))["id"] == result.id
    for imp in result.imp:
        if imp.native is not None:
            with suppress(InvalidRequest):
                parse_native_request(imp.native.request)


@fuzz
@given(st.binary(max_size=400))
@example(b"[" * 250_000)
@example(b'{"id":"\xf4\x90\x80\x80","imp":[{"id":"1","banner":{}}]}')
def test_any_bytes(body: bytes) -> None:
    check_json(body)


@fuzz
@given(mutated())
def test_mutated_requests(body: bytes) -> None:
    check_json(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "imp", "banner", "w"]), inner),
    max_leaves=10,
)


@fuzz
@given(json_values)
def test_any_json(value: object) -> None:
    check_json(json.dumps(value).encode())


@fuzz
@given(st.binary(max_size=200))
def test_any_gzip(body: bytes) -> None:
    if len(body) <= 100:
        assert gunzip(gzip.compress(body), 100) == body
    for sent, rule in ((body, "gzip"), (gzip.compress(body + b"x" * 101), "decompressed-size")):
        with pytest.raises(InvalidRequest) as caught:
            gunzip(sent, 100)
        assert caught.value.rule == rule


@fuzz
@given(bodies, st.data())
def test_mutated_messages(body: bytes, data: st.DataObject) -> None:
    message = bytearray(encode_request_pb(decode_request(body)))
    at = data.draw(st.integers(0, len(message) - 1))
    message[at : at + 1] = data.draw(st.binary(max_size=4))
    with suppress(InvalidRequest):
        assert encode_response_pb(answer(decode_request_pb(bytes(message))))
