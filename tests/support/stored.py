"""Events for tests of tables: made in numbers, with the truth about them counted beside."""

from __future__ import annotations

from typing import Any

from campaign_express.events import DecisionEvent, MoneyEvent, bid_key, event_id

NOON_MS = 1_795_867_200_000  # 2026-11-28T12:00Z


def notice(kind: str, exchange: str, auction: str, detail: str = "", **more: Any) -> MoneyEvent:
    """What became of the only bid of an auction. `detail`: which one, of several of this kind."""
    key = bid_key(exchange, auction, "1", f"{auction}.0")
    fields: dict[str, Any] = {
        "id": event_id(kind, key, detail),
        "bid_key": key,
        "kind": kind,
        "exchange": exchange,
        "auction": auction,
        "imp": "1",
        "bid": f"{auction}.0",
    }
    return MoneyEvent(**{**fields, **more})


def stray(advertiser: str, order: str, bid_ms: int, value_micros: int) -> MoneyEvent:
    """A conversion that is due to nobody."""
    nothing = dict.fromkeys(("bid_key", "exchange", "auction", "imp", "bid", "campaign", "creative"), "")
    return MoneyEvent(
        id=event_id("conversion", advertiser, order),
        kind="conversion",
        advertiser=advertiser,
        authorised_micros=0,
        bid_ms=bid_ms,
        received_ms=bid_ms,
        value_micros=value_micros,
        **nothing,
    )


def money(number: int, kind: str = "win", **more: Any) -> MoneyEvent:
    """What became of bid `number`, which was made `number` seconds after noon."""
    fields: dict[str, Any] = {
        "advertiser": "acme",
        "campaign": f"c{number % 3}",
        "creative": f"c{number % 3}-k",
        "authorised_micros": 2000,
        "bid_ms": NOON_MS + number * 1000,
        "received_ms": NOON_MS + number * 1000 + 700,
    }
    return notice(kind, "x", f"a{number}", **{**fields, **more})


def decision(number: int, **more: Any) -> DecisionEvent:
    """The bid `number` itself."""
    fields: dict[str, Any] = {
        "kind": "bid",
        "id": bid_key("x", f"a{number}", "1", f"a{number}.0"),
        "time_ms": NOON_MS + number * 1000,
        "exchange": "x",
        "advertiser": "acme",
        "campaign": f"c{number % 3}",
        "creative": f"c{number % 3}-k",
        "reason": "",
        "weight": 1,
        "price_micros": 2_000_000,
        "floor_micros": 500_000,
        "pctr_ppm": 1000,
        "pcvr_ppm": 20_000,
        "deal": "",
        "media": "banner",
        "size": "300x250",
        "inventory": "site",
        "place": f"p{number % 2}.example",
        "country": "USA",
        "region": "CA",
        "device": 4,
        "os": "ios",
        "user": f"u{number % 5}",
        "contextual": False,
        "catalog": 1,
        "model": "seed",
        "latency_us": 900,
        "test": False,
    }
    return DecisionEvent(**{**fields, **more})
