"""Events for tests of tables: made in numbers, with the truth about them counted beside."""

from __future__ import annotations

from typing import Any

from campaign_express.events import DecisionEvent, MoneyEvent, bid_key, event_id

NOON_MS = 1_795_867_200_000  # 2026-11-28T12:00Z


def money(number: int, kind: str = "win", **more: Any) -> MoneyEvent:
    """What became of bid `number`, which was made `number` seconds after noon."""
    key = bid_key("x", f"a{number}", "1", f"a{number}.0")
    fields: dict[str, Any] = {
        "id": event_id(kind, key),
        "bid_key": key,
        "kind": kind,
        "exchange": "x",
        "auction": f"a{number}",
        "imp": "1",
        "bid": f"a{number}.0",
        "advertiser": "acme",
        "campaign": f"c{number % 3}",
        "creative": f"c{number % 3}-k",
        "authorised_micros": 2000,
        "bid_ms": NOON_MS + number * 1000,
        "received_ms": NOON_MS + number * 1000 + 700,
    }
    return MoneyEvent(**{**fields, **more})


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
