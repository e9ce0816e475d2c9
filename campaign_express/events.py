"""Money events: what became of a bid, as it is published, kept and applied. One message each on JetStream.

The id is made of what the event is about, so that the same notice sent twice is the same event: it is the message id of
JetStream, and what the ledger and the tables know an event by.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode

import msgspec
from msgspec import Struct

STREAM = "MONEY"
SUBJECTS = "money.>"

# What settles a reservation: any one of these. LOSS cancels it; CLICK and CONVERSION cost nothing of the exchange.
SETTLING = frozenset({"win", "billing", "impression"})


class MoneyEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One notice, verified. Amounts in micros of USD."""

    id: str  # event_id
    bid_key: str  # bid_key: the same for all events of one bid
    kind: str  # win, billing, impression, loss, click, conversion
    exchange: str
    auction: str
    imp: str
    bid: str
    advertiser: str
    campaign: str
    creative: str
    authorised_micros: int  # the most that the impression may cost
    lease: int = 0  # from which that was authorised, 0: the campaign has no budget
    clear_micros: int = -1  # what the impression costs by this event, -1: it does not say
    sets_price: bool = False  # this is the exchange's price notice: `clear_micros` is what we pay
    user: str = ""  # canonical id where a frequency cap wants it, "" otherwise and without consent
    bid_ms: int  # wall clock of the bid: the event's own time
    received_ms: int = 0
    test: bool = False
    macros: dict[str, str] = {}
    value_micros: int = 0  # conversion: what it was worth, if the postback said so
    quarantined: str = ""  # why its price is not believed: kept and alarmed, never applied as it says


def impression_cost(price_micros: int) -> int:
    """The most that one impression may cost, in micros, for a bid of `price_micros` CPM: a thousandth, rounded up.

    What is authorised with the bid, stands in its events and is given free when they settle it.
    """
    return -(-price_micros // 1000)


def _digest(*parts: str) -> str:
    text = "\n".join(parts).encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hashlib.sha256(text).digest()[:15]).decode()  # 120 bits, 20 characters


def bid_key(exchange: str, auction: str, imp: str, bid: str) -> str:
    return _digest(exchange, auction, imp, bid)


def event_id(kind: str, key: str, detail: str = "") -> str:
    """`detail` tells events of one kind of one bid apart where there may be several (conversions)."""
    return _digest(kind, key, detail)


def subject(event: MoneyEvent) -> str:
    return subject_of(event.advertiser, event.kind)


def subject_of(advertiser: str, kind: str) -> str:
    """`money.<advertiser>.<kind>`; a dot in an advertiser's id would be a level of its own."""
    return f"money.{advertiser.replace('.', '%')}.{kind}"


encode_event = msgspec.msgpack.Encoder().encode
decode_event = msgspec.msgpack.Decoder(MoneyEvent).decode
