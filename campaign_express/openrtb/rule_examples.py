"""What a validation rule is, and how the requests that show it are written down (see `rules`)."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

import msgspec

from campaign_express.openrtb.nobid import NoBidReason

# The limit that the examples of size rules are made for, bytes.
EXAMPLE_LIMIT = 4096


class Verdict(Enum):
    REFUSED = "400"
    TOO_LARGE = "413"
    TOLERATED = "tolerated"


class Encoding(Enum):
    JSON = "JSON"
    GZIP = "gzip"
    PROTOBUF = "protobuf"


class Example(NamedTuple):
    """A body, and the path at which it must be refused ("" where it is tolerated)."""

    body: bytes
    path: str = ""


class Rule(NamedTuple):
    """`reason`: the no-bid that the broken part itself meets, where the request as a whole is tolerated."""

    id: str
    sent: str
    verdict: Verdict
    why: str
    examples: tuple[Example, ...]
    reason: NoBidReason | None = None
    encoding: Encoding = Encoding.JSON


BANNER = {"w": 300, "h": 250}
VIDEO = {"mimes": ["video/mp4"], "w": 640, "h": 360, "protocols": [2, 3, 7, 8], "maxduration": 30}


def request(**fields: Any) -> bytes:
    return msgspec.json.encode({"id": "r1", "imp": [{"id": "1", "banner": BANNER}], **fields})


def request_with_imp(**fields: Any) -> bytes:
    return request(imp=[{"id": "1", **fields}])


def request_with_text(member: str) -> bytes:
    """A good request with `member`, JSON text, put in as it is."""
    return request()[:-1] + b"," + member.encode() + b"}"


def request_with_native(text: str) -> bytes:
    return request_with_imp(native={"request": text})


def refused(path: str, *bodies: bytes) -> tuple[Example, ...]:
    return tuple(Example(body, path) for body in bodies)


def tolerated(*bodies: bytes) -> tuple[Example, ...]:
    return tuple(Example(body) for body in bodies)
