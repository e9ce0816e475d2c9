"""User sync: which id of an exchange is which of ours, where the visitor's consent allows.

An exchange sends a browser to `/v1/sync?exchange=NAME&uid=ITS_ID&gdpr=..&gdpr_consent=..`. We give the browser our
cookie, or know it by that, store that both ids are one person's, and send the browser on to the exchange's `sync_url`
with our id in it, which comes back as `user.buyeruid` of bid requests. Without consent nothing is read, stored or sent.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import quote

from msgspec import Struct

from campaign_express.errors import InvalidRequest, Unavailable
from campaign_express.ports import IdentityStore

COOKIE = "cx"
COOKIE_LIFE_S = 31_536_000  # a year
MAX_UID = 240  # characters: with its prefix an id has 256 at most (bidding.identity)

_own = re.compile(r"[A-Za-z0-9_-]{22}").fullmatch
_uid = re.compile(r"[\x21-\x7e]+").fullmatch

MayIdentify = Callable[[Mapping[str, str], bool], bool]


class SyncTerms(Struct, frozen=True):
    """What of an exchange a sync needs. `url` is https, with {UID} and perhaps {GDPR}, {GDPR_CONSENT}; "": none."""

    name: str
    url: str = ""


class Synced(NamedTuple):
    """`location`: where the browser goes on to, "" for a pixel. `cookie`: a Set-Cookie header, "" for none."""

    outcome: str  # linked, no-consent, unavailable
    location: str = ""
    cookie: str = ""


class UserSync:
    """`may_identify(signals, gpc)`: whether a visitor with these parameters may be given an id."""

    def __init__(
        self, exchanges: Mapping[str, SyncTerms], identities: IdentityStore, may_identify: MayIdentify
    ) -> None:
        self._exchanges = exchanges
        self._identities = identities
        self.may_identify = may_identify

    async def sync(self, given: Mapping[str, str], cookies: bytes, gpc: bool) -> Synced:
        """Raises InvalidRequest for an exchange that is not known and an id that cannot be one."""
        terms = self._exchanges.get(given.get("exchange", ""))
        if terms is None:
            raise InvalidRequest("exchange is not one of ours", "$.query.exchange", "sync")
        uid = given.get("uid", "")
        if uid and (len(uid) > MAX_UID or not _uid(uid)):
            raise InvalidRequest(f"uid is not 1 to {MAX_UID} printable characters", "$.query.uid", "sync")
        if not uid and not terms.url:
            raise InvalidRequest("uid is missing", "$.query.uid", "sync")
        if not self.may_identify(given, gpc):
            return Synced("no-consent")
        own = own_id(cookies) or secrets.token_urlsafe(16)
        ids = [f"cookie:{own}", f"buyeruid@{terms.name}:{own}"]
        if uid:
            ids.append(f"user@{terms.name}:{uid}")
        outcome = "linked"
        try:
            await self._identities.link(ids)
        except Unavailable:
            outcome = "unavailable"  # the exchange can learn our id all the same
        return Synced(outcome, _fill(terms.url, own, given), set_cookie(own))


def own_id(cookies: bytes) -> str:
    """Our id in a Cookie header, "" when there is none."""
    if COOKIE.encode() not in cookies:
        return ""
    try:
        found = SimpleCookie(cookies.decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None and _own(found.value) else ""


def set_cookie(own: str) -> str:
    """SameSite=None, since we are a third party on every page; browsers want Secure with it."""
    return f"{COOKIE}={own}; Path=/; Max-Age={COOKIE_LIFE_S}; Secure; HttpOnly; SameSite=None"


def _fill(url: str, own: str, given: Mapping[str, str]) -> str:
    for macro, value in (
        ("{UID}", own),
        ("{GDPR}", given.get("gdpr", "")),
        ("{GDPR_CONSENT}", given.get("gdpr_consent", "")),
    ):
        url = url.replace(macro, quote(value, safe=""))
    return url
