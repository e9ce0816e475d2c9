"""What is answered to notices, postbacks and syncs, as ASGI messages. Nothing here may be cached by anybody."""

from __future__ import annotations

from collections.abc import Sequence

from campaign_express.errors import CampaignExpressError, InvalidRequest
from campaign_express.gateway.http import CLOSE, CONTENT_TYPE, ERRORS, Headers, Send
from campaign_express.openrtb.codec import error_body

NO_STORE = (b"cache-control", b"no-store")
RETRY_AFTER = (b"retry-after", b"1")  # seconds

# One transparent pixel (GIF89a: header, two colours, transparency, one image).
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


class Reply:
    """A whole answer, but for whether the connection goes on. `head`: its headers as they stand on the wire."""

    __slots__ = ("body", "head", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.head = b"".join([b"%s: %s\r\n" % header for header in headers])
        self.body = body

    async def send(self, send: Send, close: bool) -> None:
        headers = [*self.headers, CLOSE] if close else self.headers
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_reply(status: int, body: bytes, extra: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    return Reply(status, [CONTENT_TYPE, NO_STORE, _length(body), *extra], body)


def pixel(extra: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    return Reply(200, [(b"content-type", b"image/gif"), NO_STORE, _length(PIXEL), *extra], PIXEL)


def redirect(location: str, extra: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    """`location` is ASCII (`header_url`)."""
    return Reply(302, [(b"location", location.encode("ascii")), NO_STORE, _length(b""), *extra])


def wrong_method(allowed: bytes) -> Reply:
    return json_reply(405, b'{"error":{"message":"%s"}}' % ERRORS[405].encode(), [(b"allow", allowed)])


def refusal(error: CampaignExpressError) -> Reply:
    """An error as JSON, in the form of all our errors; what may succeed later says when."""
    if isinstance(error, InvalidRequest):
        return json_reply(error.http_status, error_body(error))
    body = error_body(InvalidRequest(str(error), rule="unavailable"))
    return json_reply(error.http_status, body, [RETRY_AFTER] if error.http_status == 503 else ())


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


DONE = Reply(200, [NO_STORE, _length(b"")])
PIXEL_REPLY = pixel()
