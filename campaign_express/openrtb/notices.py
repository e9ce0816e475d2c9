"""Notice URLs: how we later learn what became of a bid, signed so that only our own words come back.

A bid carries five URLs. The exchange calls three of them (win `nurl`, billing `burl`, loss `lurl`); the page that shows
the ad calls two that stand in `adm` (impression, click). Each holds everything needed to settle the bid without
remembering it, so any cell can answer any notice:

    https://bid.example/v1/win?v=2&k=2026a&x=...&a=...&...&gdpr=1&gdpr_consent=...&s=<tag>&price=${AUCTION_PRICE}&...
                               `----------------- signed -------------------------'        `--- macros, unsigned --'

One HMAC-SHA256 (RFC 2104) over the signed part makes 32 bytes, which are split into two tags of 128 bits: the first
half signs the exchange's notices, the second half the page's. RFC 2104 section 5 allows truncation to half the output,
and since HMAC is a pseudo-random function one half says nothing about the other: a page that reads `adm` cannot make a
win of it. Within one group the tag is the same on purpose: who may report a win may report a loss as well. A landing
URL is signed apart, once a creative (`sign_landing`), under a prefix that no notice begins with; it is bound to its
advertiser and creative, so the click endpoint is no open redirect and no creative can borrow another's landing.

What an exchange substitutes (OpenRTB 2.6 section 4.4) we cannot sign: docs/notices.md says how far it is trusted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import NoReturn, Protocol
from urllib.parse import quote, unquote

from msgspec import Struct

from campaign_express.errors import ConfigError, InvalidRequest

VERSION = "2"
TAG = 32  # hexadecimal digits of one tag: 128 bits
MAX_ID = 128  # characters of a request's id as it stands in a URL; longer ones are hashed
MAX_CONSENT = 4096  # characters of all consent parameters together
MAX_CONSENT_VALUE = 2048  # of one of them, where all together are too long
MAX_QUERY = 16_384  # what `verify` reads
MIN_KEY = 16  # bytes

# name in the URL -> macro. Every macro of section 4.4 stands where it can have a value.
_IDS = {
    "auction_id": "${AUCTION_ID}",
    "bid_id": "${AUCTION_BID_ID}",
    "imp_id": "${AUCTION_IMP_ID}",
    "seat_id": "${AUCTION_SEAT_ID}",
    "ad_id": "${AUCTION_AD_ID}",
}
_CURRENCY = {"currency": "${AUCTION_CURRENCY}"}
_MBR = {"mbr": "${AUCTION_MBR}"}
_MIN_TO_WIN = {"min_to_win": "${AUCTION_MIN_TO_WIN}"}
_MACROS = {
    "win": _CURRENCY | _MBR | _MIN_TO_WIN | _IDS,
    "billing": _CURRENCY | _MBR | {"multiplier": "${AUCTION_MULTIPLIER}", "imp_ts": "${AUCTION_IMP_TS}"} | _IDS,
    "loss": {"loss": "${AUCTION_LOSS}"} | _CURRENCY | _MIN_TO_WIN | _IDS,
    "impression": {},
    "click": {},
}
_MACRO_NAMES = frozenset(name for names in _MACROS.values() for name in names) | {"price"}
_ENDS = {"win": "win", "billing": "billing", "loss": "loss", "impression": "imp", "click": "click"}  # of URLs' paths
KINDS = {f"/v1/{end}": kind for kind, end in _ENDS.items()}
_BY_PAGE = frozenset({"impression", "click"})
_LANDING = b"landing\n"  # every notice begins with "v=", so no message means two things

_safe_id = re.compile(r"[A-Za-z0-9\-._~]{1,128}").fullmatch
_safe_ids = re.compile(r"[A-Za-z0-9\-._~]{1,128}&i=[A-Za-z0-9\-._~]{1,128}&b=[A-Za-z0-9\-._~]{1,128}").fullmatch
_key_id = re.compile(r"[A-Za-z0-9_-]{1,16}").fullmatch
_tag = re.compile(r"[0-9a-f]{32}").fullmatch
_base_url = re.compile(r"https?://[A-Za-z0-9\-.:\[\]]+(?:/[A-Za-z0-9\-._~/]*)?").fullmatch
# The order is that of `NoticeSigner.urls`; a value holds neither "&" nor "=".
_signed = re.compile(
    r"v=(?P<v>[0-9]+)&k=(?P<k>[^&=]+)&x=(?P<x>[^&=]+)&a=(?P<a>[^&=]*)&i=(?P<i>[^&=]*)&b=(?P<b>[^&=]*)&ad=(?P<ad>[^&=]*)"
    r"&c=(?P<c>[^&=]*)&cr=(?P<cr>[^&=]*)&p=(?P<p>[0-9]+)&t=(?P<t>[0-9]+)&z=(?P<z>[01])&l=(?P<l>[0-9]+)&u=(?P<u>[A-Za-z0-9_-]*)(?P<consent>(?:&[^&=]+=[^&=]*)*)"
).fullmatch


class NoticeHabits(Protocol):
    """What of an exchange (`bidding.model.Exchange`) shapes its notice URLs."""

    @property
    def name(self) -> str: ...
    @property
    def price_macro(self) -> str: ...
    @property
    def notices(self) -> tuple[str, ...]: ...
    @property
    def price_notice(self) -> str: ...


class NoticeUrls(Struct, frozen=True, gc=False):
    """The URLs of one bid. `nurl`, `burl`, `lurl` are None where the exchange does not call them.

    `click` wants a suffix from `NoticeSigner.sign_landing`. `serving_id` is a pseudo-unique id of the bid that its page
    URLs carry too, as VAST 4.1 wants of AdServingId.
    """

    nurl: str | None
    burl: str | None
    lurl: str | None
    impression: str
    click: str
    serving_id: str


class Notice(Struct, frozen=True, gc=False):
    """A verified notice. All but `macros` is as we wrote it; `macros` is what the caller says (see docs/notices.md)."""

    kind: str  # win, billing, loss, impression, click
    key: str
    exchange: str
    auction: str  # as `portable_id` gives it
    imp: str
    bid: str
    advertiser: str
    campaign: str
    creative: str
    price_micros: int  # CPM that was bid, micros of USD: the most a notice can cost
    event_ms: int  # wall clock of the bid
    test: bool
    consent: dict[str, str]
    macros: dict[
        str, str
    ]  # substituted values by name: price, currency, loss, ...; unsubstituted and empty ones left out
    landing: str = ""  # click: where to go
    lease: int = 0  # from which the bid's money was authorised, 0: from none
    user: str = ""  # canonical id, where a frequency cap counts the impression


class _Key:
    """A key as two SHA-256 states that have taken in the padded key: saves half the work of each HMAC."""

    __slots__ = ("id", "inner", "outer")

    def __init__(self, id: str, inner: hashlib._Hash, outer: hashlib._Hash) -> None:
        self.id = id
        self.inner = inner
        self.outer = outer

    def hexdigest(self, message: bytes) -> str:
        inner = self.inner.copy()
        inner.update(message)
        outer = self.outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


class _Wanted(Struct, frozen=True):
    """What is the same in all URLs for one exchange."""

    exchange: NoticeHabits
    head: str
    win: str | None  # the unsigned end of each URL, None where the exchange does not call it
    billing: str | None
    loss: str | None
    impression: str


def parse_keys(text: str) -> list[tuple[str, bytes]]:
    """Keys of `id:hex,id:hex`. Raises ConfigError with every problem; no key is ever part of a message."""
    keys: list[tuple[str, bytes]] = []
    problems: list[str] = []
    for number, part in enumerate(text.split(",") if text.strip() else [], 1):
        name, _, digits = part.strip().partition(":")
        try:
            key = bytes.fromhex(digits)
        except ValueError:
            problems.append(f"notice_keys: key {number} is not hexadecimal after its id and colon")
            continue
        if not _key_id(name):
            problems.append(f"notice_keys: key {number} has no id of 1 to 16 letters, digits, - and _ before a colon")
        elif len(key) < MIN_KEY:
            problems.append(f"notice_keys: key {number} has {len(key)} bytes, fewer than {MIN_KEY}")
        elif any(name == known for known, _ in keys):
            problems.append(f"notice_keys: id of key {number} is used twice")
        keys.append((name, key))
    if not keys and not problems:
        problems.append("notice_keys: no key")
    if problems:
        raise ConfigError("Notice keys that cannot be used:", problems)
    return keys


def portable_id(value: str) -> str:
    """An id from a request as notices know it: itself, or a hash where a URL would need over MAX_ID characters for it.

    A hostile id of 100 KB would otherwise stand six times in the response.
    """
    return value if _safe_id(value) else unquote(_encode(value))


def _encode(value: str) -> str:
    if _safe_id(value):
        return value
    quoted = quote(value, safe="", errors="surrogatepass")
    if len(quoted) <= MAX_ID:
        return quoted
    return "sha256-" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:TAG]


def _shorten_consent(query: str) -> str:
    """Without the values that no real consent string reaches; `gdpr=1` without a string then reads as no consent."""
    kept = [part for part in query.split("&") if part and len(part) <= MAX_CONSENT_VALUE]
    short = "".join(f"&{part}" for part in kept)
    return short if len(short) <= MAX_CONSENT else ""


def _tail(exchange: NoticeHabits, kind: str) -> str:
    # An exchange's own price macro (`%%WINNING_PRICE%%`) stays as it is, but for what could break out of HTML or JSON.
    price = quote(exchange.price_macro, safe="$%{}:._-~*|@!()[]/,;+?=")
    return "".join(f"&{name}={macro}" for name, macro in [("price", price), *_MACROS[kind].items()])


class NoticeSigner:
    """Makes and checks notice URLs. The first key signs, all verify; docs/runbook.md says how to rotate.

    `base_url` is where exchanges and pages reach us, such as `https://bid.example`. Raises ConfigError.
    """

    def __init__(self, keys: Sequence[tuple[str, bytes]], base_url: str) -> None:
        base_url = base_url.rstrip("/")
        if not _base_url(base_url):
            raise ConfigError(
                "Settings that cannot be used:", ["notice_base_url: not an http(s) URL of plain characters"]
            )
        if not keys:
            raise ConfigError("Settings that cannot be used:", ["notice_keys: no key"])
        self._keys = {name: _key(name, secret) for name, secret in keys}
        self._first = self._keys[keys[0][0]]
        self._sign = self._first.hexdigest
        self._urls = [f"{base_url}/v1/{end}?" for end in _ENDS.values()]
        self._wanted: dict[str, _Wanted] = {}

    def urls(
        self,
        exchange: NoticeHabits,
        advertiser: str,
        campaign: str,
        creative: str,
        request_id: str,
        imp_id: str,
        bid_id: str,
        price_micros: int,
        wall_ms: int,
        consent_query: str,
        test: bool,
        lease: int = 0,
        user: str = "",
    ) -> NoticeUrls:
        """The URLs of one bid. Catalogue names are `model.Name`s, so they are URL-safe as they are; ids of the request
        are encoded here; `consent_query` is `Consent.query`, encoded already (`&name=value...`).
        """
        wanted = self._wanted.get(exchange.name)
        if wanted is None or wanted.exchange is not exchange:
            wanted = self._remember(exchange)
        ids = f"{request_id}&i={imp_id}&b={bid_id}"
        if not _safe_ids(ids):  # one test for the usual case
            ids = f"{_encode(request_id)}&i={_encode(imp_id)}&b={_encode(bid_id)}"
        if len(consent_query) > MAX_CONSENT:
            consent_query = _shorten_consent(consent_query)
        signed = (
            f"{wanted.head}{ids}&ad={advertiser}&c={campaign}&cr={creative}"
            f"&p={price_micros}&t={wall_ms}&z={1 if test else 0}&l={lease}&u={user}{consent_query}&s="
        )
        tags = self._sign(signed[:-3].encode())
        page = tags[TAG:]
        called = signed + tags[:TAG]
        shown = signed + page
        win, billing, loss, impression, click = self._urls
        return NoticeUrls(
            None if wanted.win is None else f"{win}{called}{wanted.win}",
            None if wanted.billing is None else f"{billing}{called}{wanted.billing}",
            None if wanted.loss is None else f"{loss}{called}{wanted.loss}",
            f"{impression}{shown}{wanted.impression}",
            click + shown,
            page,
        )

    def sign_landing(self, url: str, advertiser: str, creative: str) -> str:
        """What turns `NoticeUrls.click` into a redirect to `url`: `&to=...&ts=...`, made once a creative."""
        return f"&to={quote(url, safe='')}&ts={self._sign(_landing(url, advertiser, creative))[:TAG]}"

    def verify(self, path: str, query: str) -> Notice:
        """The notice in a request for `path` with the raw, undecoded `query`.

        Raises InvalidRequest, rule `notice-signature`, unless every signed byte is as we wrote it.
        """
        kind = KINDS.get(path)
        if kind is None:
            _refuse("not a notice")
        if len(query) > MAX_QUERY or not query.isascii():
            _refuse("query is too long or not ASCII")
        signed, _, rest = query.partition("&s=")
        fields = _signed(signed)
        key = self._keys.get(fields["k"]) if fields else None
        tag, rest = rest[:TAG], rest[TAG:]
        if fields is None or key is None or len(tag) < TAG or (rest and rest[0] != "&"):
            _refuse("signature is missing, or made with a key that is not known")
        version, _, exchange, auction, imp, bid, advertiser, campaign, creative, *more = fields.groups()
        price, wall_ms, test, lease, user, consent = more
        tags = key.hexdigest(signed.encode())
        if not hmac.compare_digest(tag, tags[TAG:] if kind in _BY_PAGE else tags[:TAG]) or version != VERSION:
            _refuse("signature does not fit")
        macros = _pairs(rest)
        landing = self._landing(macros, advertiser, creative) if kind == "click" else ""
        return Notice(
            kind=kind,
            key=key.id,
            exchange=exchange,
            auction=unquote(auction),
            imp=unquote(imp),
            bid=unquote(bid),
            advertiser=advertiser,
            campaign=campaign,
            creative=creative,
            price_micros=int(price),
            event_ms=int(wall_ms),
            test=test == "1",
            lease=int(lease),
            user=user,
            consent=_pairs(consent),
            # What nobody substituted, or is not known, says nothing.
            macros={k: v for k, v in macros.items() if v and k in _MACRO_NAMES and v[:2] != "${"},
            landing=landing,
        )

    def _landing(self, given: dict[str, str], advertiser: str, creative: str) -> str:
        url, tag = given.get("to", ""), given.get("ts", "")
        if not _tag(tag):
            _refuse("landing is not signed")
        # A creative may have been compiled with the key before: any that is known will do.
        message = _landing(url, advertiser, creative)
        if not any(hmac.compare_digest(tag, key.hexdigest(message)[:TAG]) for key in self._keys.values()):
            _refuse("landing is not one of ours")
        return url

    def _remember(self, exchange: NoticeHabits) -> _Wanted:
        if len(self._wanted) > 1024:  # names come from our own file; this only bounds a mistake
            self._wanted.clear()
        called = exchange.notices
        wanted = _Wanted(
            exchange,
            f"v={VERSION}&k={self._first.id}&x={exchange.name}&a=",
            _tail(exchange, "win") if "nurl" in called else None,
            _tail(exchange, "billing") if "burl" in called else None,
            _tail(exchange, "loss") if "lurl" in called else None,
            # A price in markup can be read by the page, so it stands there only where no other notice tells it.
            _tail(exchange, "impression") if exchange.price_notice == "impression" else "",
        )
        self._wanted[exchange.name] = wanted
        return wanted


def _key(name: str, secret: bytes) -> _Key:
    block = 64  # of SHA-256
    padded = (secret if len(secret) <= block else hashlib.sha256(secret).digest()).ljust(block, b"\0")
    return _Key(name, hashlib.sha256(bytes(b ^ 0x36 for b in padded)), hashlib.sha256(bytes(b ^ 0x5C for b in padded)))


def _landing(url: str, advertiser: str, creative: str) -> bytes:
    return _LANDING + f"{advertiser}\n{creative}\n{url}".encode("utf-8", "surrogatepass")


def _pairs(query: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    parts = query.split("&")[1:]
    for part in parts:
        name, _, value = part.partition("=")
        pairs[name] = unquote(value) if "%" in value else value
    if len(pairs) < len(parts):
        _refuse("a parameter is given twice")
    return pairs


def _refuse(message: str) -> NoReturn:
    raise InvalidRequest(message, "$.query", "notice-signature")
