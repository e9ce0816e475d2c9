"""One HTTP POST with the standard library, and what its answer means to one who wants something delivered.

Blocking, to be called in a thread. Follows no redirect: what was meant for one address is not shown to another. Nothing
of the request gets into an error's text, since it holds credentials.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from campaign_express.errors import ConfigError, Unavailable

TIMEOUT_S = 10.0  # for connecting, and for each wait for the server
READ_BYTES = 65_536  # of an answer
SHOWN = 300  # characters of an answer that an error repeats
LONGEST_RETRY_S = 3600.0
_LATER = frozenset({408, 425, 429})  # and all of 5xx


class Undelivered(Unavailable):
    """Not delivered now; trying again may help. `retry_s`: how long the server wants us to wait, 0: it does not say."""

    def __init__(self, message: str, retry_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class Refused(Exception):
    """Not delivered, and trying again would be refused again."""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


def checked_url(setting: str, url: str) -> str:
    """`url` without a slash at its end. Raises ConfigError where it is not http(s)."""
    try:
        split = urlsplit(url)
        good = split.scheme in ("http", "https") and bool(split.hostname) and (split.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError("Settings that cannot be used:", [f"{setting}: is not an http or https url"])
    return url.rstrip("/")


def post(url: str, headers: Mapping[str, str], body: bytes, timeout_s: float = TIMEOUT_S) -> Reply:
    """Send `body`. Raises Undelivered where there is no answer."""
    split = urlsplit(url)
    host = split.hostname or ""
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    connection: http.client.HTTPConnection
    if split.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, split.port, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, split.port, timeout=timeout_s)
    try:
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, told, answer.read(READ_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise Undelivered(f"{host} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()


def accepted(reply: Reply, who: str) -> None:
    """Returns where the status is 2xx. Raises Undelivered for 408, 425, 429 and 5xx, Refused for everything else."""
    if 200 <= reply.status < 300:
        return
    text = reply.body.decode("utf-8", "replace")[:SHOWN].replace("\n", " ")
    message = f"{who} answers {reply.status}: {text}"
    if reply.status in _LATER or reply.status >= 500:
        raise Undelivered(message, _retry_s(reply.headers))
    raise Refused(message)


def _retry_s(headers: Mapping[str, str]) -> float:
    """Seconds by `Retry-After` (RFC 9110, section 10.2.3: seconds or a date), or by SendGrid's `X-RateLimit-Reset`."""
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    wait = 0.0
    try:
        if after.isdigit():
            wait = float(after)
        elif after:
            wait = parsedate_to_datetime(after).timestamp() - time.time()
        elif reset.isdigit():
            wait = float(reset) - time.time()
    except (ValueError, TypeError):
        wait = 0.0
    return min(max(wait, 0.0), LONGEST_RETRY_S)
