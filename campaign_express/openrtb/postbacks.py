"""Tokens by which an advertiser's server tells us of conversions: `/v1/conversion?token=...`.

A click id travels through the visitor's browser, so it proves nothing. A token is made from a notice key for one
advertiser, `key id . 32 hexadecimal digits of HMAC-SHA256(key, "postback" line-break advertiser)`, and is worth nothing
for another. Notices begin with `v=` and landings with `landing`, so no signed message is read as two things. A token is
good as long as its key is among `notice_keys`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from campaign_express.openrtb.notices import TAG


def make_token(keys: Sequence[tuple[str, bytes]], advertiser: str) -> str:
    """The token of an advertiser under the first of the keys (`notices.parse_keys`)."""
    name, key = keys[0]
    return f"{name}.{_tag(key, advertiser)}"


class PostbackTokens:
    """Checks tokens."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        self._keys = dict(keys)

    def fits(self, token: str, advertiser: str) -> bool:
        name, _, tag = token.partition(".")
        key = self._keys.get(name)
        if key is None or not tag.isascii():
            return False
        return hmac.compare_digest(tag, _tag(key, advertiser))


def _tag(key: bytes, advertiser: str) -> str:
    message = b"postback\n" + advertiser.encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, "sha256").hex()[:TAG]
