"""Tokens of persons: what stands for their ids in Redis, in URLs and in events.

A token is made of an id by SHA-256, cut to 120 bits, in 20 URL-safe characters; the id itself is written nowhere. A
person with several ids has the token of each, and the smallest of them is *canonical*: since aliases only ever point
to a smaller token, two agents that learn of the same ids in different orders cannot send each other in a circle.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256

TOKEN = 20  # characters
MAX_IDS = 4  # of one request that are looked at, best first


def token_of(user_id: str) -> str:
    """Of one id, `kind:value`."""
    return urlsafe_b64encode(sha256(user_id.encode("utf-8", "surrogatepass")).digest()[:15]).decode()


def tokens_of(ids: Iterable[str]) -> list[str]:
    """Of a person's ids, the canonical one first."""
    return sorted({token_of(user_id) for user_id in ids})


def counts_key(token: str) -> bytes:
    """Of the hash that holds what is counted. The braces keep both keys of a person on one node."""
    return b"u:{%b}" % token.encode()


def profile_key(token: str) -> bytes:
    return b"p:{%b}" % token.encode()
