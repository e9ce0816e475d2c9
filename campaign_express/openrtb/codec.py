"""Bytes to a valid `BidRequest`, and answers to bytes: the JSON side of the wire.

The decoder checks types and ranges at C speed (they are part of the structs); `validation.validate` adds the rules
that span fields. Whatever is wrong with a body comes out as one exception, `InvalidRequest`, whose `path` names the
field and whose `rule` is a row of docs/validation.md. Nothing is computed for an error that did not happen: a message
is taken apart only once decoding has failed.

Depth: the decoder skips unknown fields recursively and gives up at the interpreter's recursion limit (just under 1,000
levels in CPython 3.11, more in later ones); that is the depth limit, because counting brackets would cost every good
request something.
"""

from __future__ import annotations

import re
import zlib

import msgspec

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.request import BidRequest
from campaign_express.openrtb.response import BidResponse
from campaign_express.openrtb.validation import validate

# Below this a body fits one packet anyway, and compressing costs more time than it saves.
GZIP_MIN_BYTES = 512
_GZIP_WINDOW = 31  # zlib: window of 2^15 bytes (15) in a gzip envelope (16)
_GZIP_LEVEL = 1

_decode = msgspec.json.Decoder(BidRequest).decode
_encoder = msgspec.json.Encoder()

# The decoder's own words (msgspec raises one class for all of these).
_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")
_TYPE = re.compile(r"Expected `.*`, got `\w+`")
_EMPTY = re.compile(r"Expected `(str|array)` of length >= 1")


def decode_request(body: bytes) -> BidRequest:
    """The request in `body` (JSON, UTF-8), checked. Raises `InvalidRequest`, and nothing else, for any bytes at all."""
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(error) from None
    validate(request)
    return request


def encode_response(response: BidResponse) -> bytes:
    """JSON, UTF-8, with empty fields left out."""
    return _encoder.encode(response)


def refusal(error: Exception) -> InvalidRequest:
    """What a decoding error means to the sender: which field, which rule."""
    if isinstance(error, RecursionError):
        return InvalidRequest("nested too deep", rule="depth")
    if isinstance(error, UnicodeDecodeError):
        return InvalidRequest("a string is not UTF-8", rule="encoding")
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return InvalidRequest(text, rule="json")
    path = "$"
    if found := _PATH.search(text):
        path = found["path"]
        text = text[: found.start()]
    if missing := _MISSING.fullmatch(text):
        return InvalidRequest("required field is missing", f"{path}.{missing['field']}", "required")
    if _TYPE.fullmatch(text):
        return InvalidRequest(text, path, "type")
    if _EMPTY.fullmatch(text):
        return InvalidRequest(text, path, "empty")
    return InvalidRequest(text, path, "range")


def error_body(error: InvalidRequest) -> bytes:
    """The JSON body of a 400 or 413."""
    return _encoder.encode({"error": {"message": error.message, "path": error.path, "rule": error.rule}})


def body_too_large(limit: int) -> InvalidRequest:
    """A body over `limit` bytes as received, which whoever reads the socket finds out."""
    return InvalidRequest(f"body is larger than {limit} bytes", rule="body-size", http_status=413)


def gunzip(body: bytes, limit: int) -> bytes:
    """Decompress one gzip member into at most `limit` bytes.

    Raises `InvalidRequest`: 413 as soon as more than `limit` bytes come out (nothing beyond is decompressed, so a bomb
    costs no more than a large request), 400 where the data is broken, cut short or followed by anything else. Files of
    several members are refused too: no HTTP client makes them, and thousands of empty ones would be cheap to send.
    """
    inflater = zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidRequest("body is not valid gzip", rule="gzip") from None
    if len(data) > limit:
        raise InvalidRequest(f"body decompresses to more than {limit} bytes", rule="decompressed-size", http_status=413)
    if not inflater.eof:
        raise InvalidRequest("gzip body is cut short", rule="gzip")
    if inflater.unused_data:
        raise InvalidRequest("data after the end of the gzip body", rule="gzip")
    return data


def gzip_response(body: bytes) -> bytes:
    """`body` compressed for speed, or `body` itself (the same object) where it is too small to be worth it."""
    if len(body) < GZIP_MIN_BYTES:
        return body
    return zlib.compress(body, _GZIP_LEVEL, _GZIP_WINDOW)
