"""A bidder that bids on everything at once, or does what the exchange's name says. For tests of the cell alone."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from ray import serve

from campaign_express import config
from campaign_express.config import Settings
from campaign_express.frames import Answer, Ask, Reply, Timings
from campaign_express.serving import builder

BODY = b'{"id":"x","seatbid":[{"bid":[{"id":"1","impid":"1","price":1.5}]}],"cur":"USD"}'


class FakeBidder:
    catalog_version = 7

    def __init__(self) -> None:
        self.exchanges = {
            key: SimpleNamespace(name=name, qps=qps, no_bid_status=status)
            for key, name, qps, status in (
                ("", "any", 0, 204),
                ("any", "any", 0, 204),
                ("limited", "limited", 5, 204),
                ("spoken", "spoken", 5, 200),
            )
        }

    def warm_up(self) -> None:
        pass

    def events(self) -> list[bytes]:
        return []

    def idle(self) -> None:
        pass

    def answer(self, asks: list[Ask], now_ns: int, wall_ms: int) -> Reply:
        started = time.perf_counter_ns()
        answers = []
        for ask in asks:
            if ask.exchange == "slow":
                time.sleep(0.05)
            if ask.exchange == "raise":
                raise RuntimeError("told to")
            if ask.exchange == "none":
                answers.append(Answer(204, b"", 5))
            elif ask.exchange == "echo":
                answers.append(Answer(200, ask.body, -1, False, (1_000_000,)))
            else:
                answers.append(Answer(200, BODY, -1, False, (1_500_000,)))
        return Reply(answers, Timings(time.perf_counter_ns() - started, 1000), self.catalog_version)

    def explain(self, body: bytes, exchange: str, wall_ms: int) -> dict[str, Any]:
        return {"bytes": len(body), "exchange": exchange}


def build(settings: Settings, catalog: object = None) -> FakeBidder:
    return FakeBidder()


def app(args: dict[str, Any]) -> serve.Application:
    """A cell with this bidder, for declarative deployment."""
    return builder.build(config.load(args, {}), "fake_bidder:build")
