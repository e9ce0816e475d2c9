"""A notices desk on stand-ins: events go into a list, touches into a dict, and time is what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from campaign_express.bidding.model import Exchange
from campaign_express.clock import Clock
from campaign_express.errors import Unavailable
from campaign_express.events import MoneyEvent
from campaign_express.gateway.clearing import PriceReader, PriceTerms
from campaign_express.gateway.conversions import Conversions, Windows
from campaign_express.gateway.meters import Meters
from campaign_express.gateway.notices import NoticeDesk
from campaign_express.gateway.sync import SyncTerms, UserSync
from campaign_express.openrtb.notices import NoticeSigner, NoticeUrls
from campaign_express.openrtb.postbacks import PostbackTokens
from campaign_express.ports import Kept, Touch

KEYS = [("k1", bytes(range(32)))]
SIGNER = NoticeSigner(KEYS, "https://bid.example")
BID_MS = 1_764_020_000_000
LANDING = "https://shop.example/a?b=c&d=é&click={CLICK_ID}"
ENCRYPTION, INTEGRITY = b"e" * 32, b"i" * 32
RATES = {"USD": 1.0, "EUR": 1.25, "JPY": 0.0064}

GENERIC = Exchange(name="generic")  # burl sets the price
EURO = Exchange(name="euro", currency="EUR", price_notice="nurl")
SECRET = Exchange(name="secret", price_encryption="google", price_macro="%%WINNING_PRICE%%", price_notice="nurl")
PAGE = Exchange(name="page", price_notice="impression")
EXCHANGES = {one.name: one for one in (GENERIC, EURO, SECRET, PAGE)}
KINDS = {"nurl": "win", "burl": "billing", "impression": "impression"}


class Sink:
    """`ports.EventSink`: knows an event again by its id, as JetStream does."""

    def __init__(self) -> None:
        self.events: list[MoneyEvent] = []
        self.known: set[str] = set()
        self.away = False
        self.hangs = False

    async def publish(self, event: MoneyEvent) -> Kept:
        if self.away:
            raise Unavailable("the spool is full")
        if self.hangs:
            await asyncio.sleep(3600)
        self.events.append(event)
        duplicate = event.id in self.known
        self.known.add(event.id)
        return Kept.DUPLICATE if duplicate else Kept.PUBLISHED


class Touches:
    def __init__(self) -> None:
        self.recorded: list[Touch] = []
        self.away = False

    def record(self, touch: Touch) -> None:
        self.recorded.append(touch)

    async def find(self, advertiser: str, click_id: str, user: str) -> list[Touch]:
        if self.away:
            raise Unavailable("Redis does not answer")
        return [t for t in self.recorded if (t.bid_key == click_id and t.kind == "click") or (user and t.user == user)]


class Identities:
    def __init__(self) -> None:
        self.canonical: dict[str, str] = {}
        self.away = False

    async def link(self, ids: list[str]) -> str:
        if self.away:
            raise Unavailable("Redis does not answer")
        self.canonical.update(dict.fromkeys(ids, "person"))
        return "person"

    async def find(self, user_id: str) -> str:
        return self.canonical.get(user_id, user_id)


class FixedClock(Clock):
    """Shows what it is set to."""

    now: int = BID_MS + 1000

    def now_ms(self) -> int:
        return type(self).now


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Desk:
    """A desk, its stand-ins, and calls to it."""

    sink: Sink = field(default_factory=Sink)
    touches: Touches = field(default_factory=Touches)
    identities: Identities = field(default_factory=Identities)
    meters: Meters = field(default_factory=lambda: Meters("test"))
    consents: bool = True
    sync_urls: Mapping[str, str] = field(default_factory=dict)
    click_window_ms: int = 30 * 86_400_000
    view_window_ms: int = 86_400_000
    pseudonym: Callable[[str, int], str] = lambda token, wall_ms: ""  # no key is known

    def __post_init__(self) -> None:
        FixedClock.now = BID_MS + 1000
        self.clock = FixedClock()
        terms = {
            e.name: PriceTerms(
                KINDS[e.price_notice],
                e.currency,
                e.price_encryption != "none",
                (ENCRYPTION, INTEGRITY) if e.price_encryption != "none" else None,
            )
            for e in EXCHANGES.values()
        }
        windows = Windows(self.click_window_ms, self.view_window_ms)
        self.desk = NoticeDesk(
            SIGNER,
            self.sink,
            PriceReader(terms, RATES.get),
            Conversions(PostbackTokens(KEYS).fits, self.touches, self.identities, RATES.get, windows),
            UserSync(
                {name: SyncTerms(name, self.sync_urls.get(name, "")) for name in EXCHANGES},
                self.identities,
                lambda signals, gpc: self.consents and not gpc,
            ),
            self.touches,
            self.clock,
            self.meters,
            url_life_s=172_800,
            pseudonym=self.pseudonym,
        )

    def later(self, ms: int) -> None:
        """Set the clock to so long after the bid."""
        FixedClock.now = BID_MS + ms

    @property
    def outcomes(self) -> dict[str, int]:
        return self.meters.counters.notices

    async def acall(self, url: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer | None:
        parts = urlsplit(url)
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "query_string": parts.query.encode("latin-1"),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        if not await self.desk.handle(scope, receive, send):
            assert not sent
            return None
        start, content = sent
        named = {name.decode(): value.decode() for name, value in start["headers"]}
        assert len(named) == len(start["headers"])
        return Answer(start["status"], named, content["body"])

    def call(self, url: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        answer = asyncio.run(self.acall(url, method, body, **headers))
        assert answer is not None
        return answer


def urls(exchange: Exchange = GENERIC, **changes: Any) -> NoticeUrls:
    """The URLs of one bid."""
    values: dict[str, Any] = {
        "advertiser": "acme",
        "campaign": "acme-shoes:us",
        "creative": "shoes-300x250",
        "request_id": "auction",
        "imp_id": "1",
        "bid_id": "auction.1",
        "price_micros": 2_350_001,
        "wall_ms": BID_MS,
        "consent_query": "",
        "test": False,
        "lease": 1_764_020_040,
        "user": "person",
    }
    return SIGNER.urls(exchange, **{**values, **changes})


def click_url(landing: str = LANDING, **changes: Any) -> str:
    return urls(**changes).click + SIGNER.sign_landing(landing, "acme", "shoes-300x250")


def with_price(url: str | None, price: str, currency: str = "USD") -> str:
    """As an exchange calls it: macros substituted, those it has nothing for with nothing."""
    assert url is not None
    for macro in ("${AUCTION_PRICE}", "%%WINNING_PRICE%%"):
        url = url.replace(macro, price)
    url = url.replace("${AUCTION_CURRENCY}", currency)
    head, _, tail = url.partition("${")
    return head + "".join(part.partition("}")[2] for part in tail.split("${")) if tail else head
