"""The id alone, of a request that nobody decodes: a no-bid with a body has to name it (OpenRTB 2.6, section 4.2.1).

Used where a request is turned away unread (overload, no agent, a limit), so it costs little and promises little: a
body that is large, broken or without an id has none to give.
"""

from __future__ import annotations

import msgspec
from google.protobuf.message import DecodeError

from campaign_express.errors import InvalidRequest
from campaign_express.openrtb.codec import gunzip
from campaign_express.openrtb.proto import openrtb_pb2

# Bid requests have a few kilobytes. What is larger is not looked at: turning a request away must stay cheap.
READ_LIMIT = 1 << 15


class _Identified(msgspec.Struct):
    id: str


_decode = msgspec.json.Decoder(_Identified).decode


def request_id(body: bytes, *, protobuf: bool = False, gzipped: bool = False) -> str:
    """The id of the request in `body`, "" where none can be read or the body is larger than READ_LIMIT bytes.

    Takes any bytes and raises nothing. `gzipped` is for JSON; gRPC has decompressed what it hands over.
    """
    try:
        if gzipped:
            body = gunzip(body, READ_LIMIT)
        if len(body) > READ_LIMIT:
            return ""
        return str(openrtb_pb2.BidRequest.FromString(body).id) if protobuf else _decode(body).id
    except (InvalidRequest, DecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
