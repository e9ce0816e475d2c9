"""Requests and the decisions that must follow, each worked out by hand: tests/golden/README.md."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from campaign_express.bidder import Bidder
from campaign_express.bidding.catalog import load_catalog
from campaign_express.bidding.currency import load_rates
from campaign_express.bidding.exchanges import load_exchanges
from campaign_express.bidding.privacy import PrivacyPolicy
from campaign_express.openrtb.nobid import BY_INDEX
from campaign_express.openrtb.notices import NoticeSigner
from tests.conftest import ROOT
from tests.support.bidders import POLICY, ConstantScorer, FixedFacts, answer

GOLDEN = ROOT / "tests" / "golden"
NOON_MS = int(datetime(2026, 7, 1, 12, 0, tzinfo=UTC).timestamp() * 1000)
CASES = sorted(path for path in GOLDEN.glob("*.json") if path.name != "rates.json")
# What of a bid is a decision. The rest is text (markup, URLs), which has tests of its own.
DECIDED = ("impid", "price", "cid", "crid", "adomain", "cat", "mtype", "w", "h", "protocol", "dealid", "exp", "ext")


@lru_cache
def golden_bidder() -> Bidder:
    exchanges = load_exchanges(GOLDEN / "exchanges.yaml")
    return Bidder(
        catalog=load_catalog(GOLDEN / "catalog.yaml", exchanges),
        exchanges={exchange.name: exchange for exchange in exchanges.exchanges},
        default_exchange=exchanges.default,
        rates=load_rates(GOLDEN / "rates.json"),
        scorer=ConstantScorer(pctr=1 / 64, pcvr=1 / 8),
        enricher=FixedFacts(),
        privacy=PrivacyPolicy(8, POLICY.gdpr_countries),
        signer=NoticeSigner([("k1", bytes(range(32)))], "https://bid.example"),
        max_candidates=256,
        max_decompressed_bytes=1 << 20,
        tmax_reserve_ms=10,
    )


def decided(request: dict[str, Any], exchange: str) -> dict[str, Any]:
    found = answer(golden_bidder(), request, exchange, NOON_MS)
    assert found.status in (200, 204), found
    if not found.body:
        return {"no_bid": BY_INDEX[found.reason].value}
    response = json.loads(found.body)
    assert response["id"] == request["id"]
    bids = [
        {"seat": seat["seat"], **{key: bid[key] for key in DECIDED if key in bid}}
        for seat in response["seatbid"]
        for bid in seat["bid"]
    ]
    order = [imp["id"] for imp in request["imp"]]
    return {"cur": response["cur"], "bids": sorted(bids, key=lambda bid: order.index(bid["impid"]))}


def lines(decision: dict[str, Any]) -> list[str]:
    return json.dumps(decision, indent=1, sort_keys=True).splitlines()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    case = json.loads(path.read_text())
    assert case["description"]
    assert case["source"]
    expected = {key: case[key] for key in ("cur", "bids", "no_bid") if key in case}
    found = decided(case["request"], case.get("exchange", ""))
    if found != expected:
        diff = difflib.unified_diff(lines(expected), lines(found), "what must be", "what is", lineterm="")
        pytest.fail(f"{path.name}: {case['description']}\n({case['source']})\n" + "\n".join(diff))


def test_there_are_cases() -> None:
    assert len(CASES) >= 25
