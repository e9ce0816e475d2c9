"""The simplest bidder: uvicorn with the decision core in its own process, one request at a time, no queue, no batch."""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.servers.echo import App, read_body, respond, serve
from campaign_express import config, frames
from campaign_express.bidder import Bidder
from campaign_express.bootstrap import build_bidder


def ready_bidder(settings: dict[str, Any]) -> Bidder:
    """The product's own core, warm, with its long-lived objects out of the collector's way, as agents have it."""
    bidder = build_bidder(config.load(settings))
    gc.collect()
    gc.freeze()
    return bidder


def deciding(bidder: Bidder) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        now = time.monotonic_ns()
        answer = bidder.answer([frames.Ask("", now, body)], now, time.time_ns() // 1_000_000).answers[0]
        await respond(send, answer.status, answer.body)

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--settings", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    serve(deciding(ready_bidder(json.loads(options.settings.read_text()))), options.port)
