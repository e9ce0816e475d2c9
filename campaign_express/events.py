"""Everything that is published, kept and counted: one schema, `SCHEMA`, of three kinds of events.

- `MoneyEvent`: what became of a bid. One message each on JetStream, durable before its notice is answered.
- `DecisionEvent`, `RequestEvent`: what was decided, and on what. Many to a message (`DecisionFrame`).
- `ChangeEvent`: what an operator changed: catalogue, campaigns, budgets, switches. One message each.

The id of an event is made of what it is about, so that the same notice sent twice is the same event: it is the message
id of JetStream, and what the ledger and the tables know an event by. docs/events.md has the table of fields.
"""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256

import msgspec
from msgspec import Struct

# Grows when a reader of the schema before would misread what is written. Fields with a default may come without that.
SCHEMA = 1

STREAM, SUBJECTS = "MONEY", "money.>"
DECISIONS, DECISION_SUBJECTS = "DECISIONS", "decisions.>"
CHANGES, CHANGE_SUBJECTS = "CHANGES", "changes.>"
DEAD_STREAM, DEAD_SUBJECTS = "DEAD", "dead.>"  # what cannot be read, with the reason in its headers

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
    user: str = ""  # pseudonym where a frequency cap wants it (or the token itself), "" otherwise and without consent
    bid_ms: int  # wall clock of the bid: the event's own time
    received_ms: int = 0
    test: bool = False
    macros: dict[str, str] = {}
    value_micros: int = 0  # conversion: what it was worth, if the postback said so
    quarantined: str = ""  # why its price is not believed: kept and alarmed, never applied as it says
    schema: int = SCHEMA


class DecisionEvent(Struct, frozen=True, array_like=True, gc=False):
    """One bid, or (sampled) one request that we did not bid on; those have no advertiser, campaign, price and so on.

    A position on the wire is a field, so new ones go to the end.
    """

    kind: str  # bid, no-bid
    id: str  # bid: `bid_key`; no-bid: `request_key`
    time_ms: int  # wall clock of the decision, that of the bid in its notices
    exchange: str
    advertiser: str
    campaign: str
    creative: str
    reason: str  # no-bid: the NoBidReason
    weight: int  # so many decisions this one stands for
    price_micros: int  # CPM
    floor_micros: int  # CPM, of the impression or deal; 0 none
    pctr_ppm: int  # predicted clicks a million impressions
    pcvr_ppm: int  # predicted conversions a million clicks
    deal: str
    media: str  # banner, video, audio, native
    size: str  # 300x250, "" where it has none
    inventory: str  # site, app, dooh
    place: str  # domain or bundle
    country: str
    region: str
    device: int  # AdCOM device type, 0 unknown
    os: str
    user: str  # pseudonym, "" without consent or id
    contextual: bool
    catalog: int  # version
    model: str
    latency_us: int  # from the request's arrival to its decision
    test: bool


class Chosen(Struct, frozen=True, array_like=True, gc=False):
    """One bid of a logged request."""

    imp: str
    campaign: str
    creative: str
    price_micros: int


class RequestEvent(Struct, frozen=True, array_like=True, gc=False):
    """One request (sampled), without what could tell a person, and what was decided on it: for backtests."""

    id: str  # `request_key`
    time_ms: int
    exchange: str
    body: bytes  # OpenRTB JSON
    segments: tuple[str, ...]  # of the person's profile, as they stood
    bids: tuple[Chosen, ...]
    reason: str  # "" where there are bids
    user: str  # pseudonym
    catalog: int
    model: str
    weight: int


class DecisionFrame(Struct, frozen=True, array_like=True, gc=False):
    """Many decisions in one message. `id` is its message id: a frame that is published twice is one frame."""

    schema: int
    id: str
    decisions: list[DecisionEvent] = []
    requests: list[RequestEvent] = []


class ChangeEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an operator changed. `before` and `after` are JSON of the changed part, "" where there is none."""

    id: str
    kind: str  # catalogue, campaign, budget, switch
    time_ms: int
    actor: str  # who did it, as far as is known
    advertiser: str = ""
    campaign: str = ""
    exchange: str = ""
    catalog: int = 0  # version that it made
    before: str = ""
    after: str = ""
    schema: int = SCHEMA


def impression_cost(price_micros: int) -> int:
    """The most that one impression may cost, in micros, for a bid of `price_micros` CPM: a thousandth, rounded up.

    What is authorised with the bid, stands in its events and is given free when they settle it.
    """
    return -(-price_micros // 1000)


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _digest(*parts: str) -> str:
    text = "\n".join(parts)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")
    # 120 bits, 20 characters of base64url. As `urlsafe_b64encode` does it, in half the time: every bid has a key.
    return b2a_base64(sha256(raw).digest()[:15], newline=False).translate(_URL_SAFE).decode()


def bid_key(exchange: str, auction: str, imp: str, bid: str) -> str:
    return _digest(exchange, auction, imp, bid)


def request_key(exchange: str, auction: str) -> str:
    """Of a whole request: what its no-bid and its logged body are known by."""
    return _digest("request", exchange, auction)


def event_id(kind: str, key: str, detail: str = "") -> str:
    """`detail` tells events of one kind of one bid apart where there may be several (conversions)."""
    return _digest(kind, key, detail)


def subject(event: MoneyEvent) -> str:
    return subject_of(event.advertiser, event.kind)


def subject_of(advertiser: str, kind: str) -> str:
    """`money.<advertiser>.<kind>`; a dot in an advertiser's id would be a level of its own."""
    return f"money.{advertiser.replace('.', '%')}.{kind}"


def decision_subject(partition: int) -> str:
    return f"decisions.{partition}"


def change_subject(change: ChangeEvent) -> str:
    return f"changes.{change.kind}"


_encoder = msgspec.msgpack.Encoder()
encode_event = encode_frame = encode_change = _encoder.encode
decode_event = msgspec.msgpack.Decoder(MoneyEvent).decode
decode_frame = msgspec.msgpack.Decoder(DecisionFrame).decode
decode_change = msgspec.msgpack.Decoder(ChangeEvent).decode
