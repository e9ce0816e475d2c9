"""The protobuf side of the wire: the same structs, the same rules and the same errors as JSON.

A message becomes plain dicts of the fields that were sent, and msgspec turns those into structs with the checks it
applies to JSON, so that a field refused in one encoding is refused in the other, with the same path. The walk is
compiled once per message type from the descriptor; it touches only fields that are present.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.message import DecodeError, Message

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import refusal
from campaign_express.openrtb.proto import openrtb_pb2
from campaign_express.openrtb.request import BidRequest
from campaign_express.openrtb.response import BidResponse
from campaign_express.openrtb.validation import validate

_Builtins = dict[str, Any]
_Walk = Callable[[Message], _Builtins]


def decode_request_pb(body: bytes) -> BidRequest:
    """The request in `body` (a campaign_express.openrtb.v2.BidRequest), checked. Raises only `InvalidRequest`."""
    message = openrtb_pb2.BidRequest()
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise InvalidRequest("body is not a BidRequest message", rule="protobuf") from None
    try:
        request = msgspec.convert(_walk_request(message), BidRequest)
    except msgspec.ValidationError as error:
        raise refusal(error) from None
    validate(request)
    return request


def encode_request_pb(request: BidRequest) -> bytes:
    """`request` as a message, for clients and tests. What protobuf types more narrowly (podid, gpc) becomes text."""
    return openrtb_pb2.BidRequest(**_sendable(msgspec.to_builtins(request))).SerializeToString()


def encode_response_pb(response: BidResponse) -> bytes:
    """`response` as a campaign_express.openrtb.v2.BidResponse. ValueError for an `ext` key that the message lacks."""
    return openrtb_pb2.BidResponse(**msgspec.to_builtins(response)).SerializeToString()


def _compile_walk(descriptor: Any, compiled: dict[str, _Walk]) -> _Walk:
    """A function from a message of this type to the dict of its present fields."""
    if known := compiled.get(descriptor.full_name):
        return known
    # By field descriptor: those of one pool are single objects, and hash as such.
    convert: dict[Any, tuple[str, Callable[[Any], Any] | None]] = {}
    for field in descriptor.fields:
        if field.message_type is None:
            convert[field] = (field.name, list if field.is_repeated else None)
        else:
            walk = _compile_walk(field.message_type, compiled)
            convert[field] = (field.name, _each(walk) if field.is_repeated else walk)

    def walk_message(message: Message) -> _Builtins:
        found: _Builtins = {}
        for field, value in message.ListFields():
            name, change = convert[field]
            found[name] = value if change is None else change(value)
        return found

    native = descriptor.full_name == openrtb_pb2.BidRequest.Native.DESCRIPTOR.full_name
    compiled[descriptor.full_name] = result = _with_native_text(walk_message) if native else walk_message
    return result


def _each(walk: _Walk) -> Callable[[Any], list[_Builtins]]:
    return lambda messages: [walk(message) for message in messages]


def _with_native_text(walk: _Walk) -> _Walk:
    """Native requests sent as messages become the string that JSON senders give."""

    def walk_native(message: Message) -> _Builtins:
        found = walk(message)
        native = found.pop("request_native", None)
        if native is not None and "request" not in found:
            found["request"] = msgspec.json.encode(native).decode()
        return found

    return walk_native


def _sendable(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _sendable(item, key) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_sendable(item) for item in value]
    if name in ("podid", "gpc") and not isinstance(value, str):
        return str(int(value))
    return value


_walk_request = _compile_walk(openrtb_pb2.BidRequest.DESCRIPTOR, {})
