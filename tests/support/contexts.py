"""Requests and the facts that are made of them."""

from __future__ import annotations

from typing import Any

import msgspec

from campaign_express.bidding.context import Context, build_context
from campaign_express.bidding.currency import parse_rates
from campaign_express.bidding.model import Exchange
from campaign_express.openrtb.codec import decode_request
from campaign_express.openrtb.request import BidRequest, Imp
from campaign_express.ports import DeviceFacts, GeoFacts
from tests.support.bidders import POLICY, WALL_MS, FixedFacts

RATES = parse_rates(b'{"base": "USD", "date": "2026-06-30", "rates": {"EUR": 0.8, "JPY": 160}}')


BOSTON = GeoFacts("USA", "MA", "Boston", "506", 42.361, -71.057, -240)


LAPTOP = DeviceFacts(2, "macos", "14.5", "safari", "apple")


def decoded(**fields: Any) -> BidRequest:
    return decode_request(msgspec.json.encode({"id": "r", "imp": [{"id": "1", "banner": {}}], **fields}))


def context(
    wall_ms: int = WALL_MS,
    by_address: GeoFacts = BOSTON,
    by_agent: DeviceFacts = LAPTOP,
    exchange: Exchange | None = None,
    **fields: Any,
) -> Context:
    """`fields` are the request's; `by_address` and `by_agent`: what its address and user agent, if any, tell."""
    facts = FixedFacts(by_agent, by_address)
    return build_context(decoded(**fields), exchange or Exchange(name="x"), facts, POLICY, wall_ms)


def imp(**fields: Any) -> Imp:
    return decoded(imp=[{"id": "1", **fields}]).imp[0]
