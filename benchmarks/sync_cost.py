"""What an acknowledged money event costs where NATS syncs its disk seldom, once a second, or before it acknowledges.

    python -m benchmarks.sync_cost [--events N]     prints one JSON object a way, milliseconds

One event at a time, then 64 under way at once, each published as a cell does it. The figures are the disk's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from benchmarks.day_servers import Process
from benchmarks.processes import free_port
from campaign_express.adapters.nats import Ack, Publisher, StreamTerms
from campaign_express.config import Settings
from campaign_express.embedded import NATS, nats_answers
from campaign_express.events import STREAM, SUBJECTS, MoneyEvent, bid_key, encode_event, event_id, subject

AT_ONCE = 64
WARM = 50


def event(number: int) -> MoneyEvent:
    key = bid_key("exchange", f"auction-{number}", "1", "0")
    return MoneyEvent(
        id=event_id("win", key),
        bid_key=key,
        kind="win",
        exchange="exchange",
        auction=f"auction-{number}",
        imp="1",
        bid="0",
        advertiser="advertiser",
        campaign="campaign",
        creative="creative",
        authorised_micros=2350,
        bid_ms=1_795_867_200_000 + number,
    )


class Sending:
    """Publishes and takes the time of acknowledgements."""

    def __init__(self, url: str) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._number = 0
        self.publisher = Publisher(url, "sync-cost", StreamTerms(), (STREAM, SUBJECTS), self._acked, self._lost)

    async def one(self) -> float:
        """Milliseconds."""
        self._number += 1
        token, sent = str(self._number), event(self._number)
        landed = self._waiting[token] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        await self.publisher.send(token, subject(sent), encode_event(sent), sent.id)
        await landed
        return 1000 * (time.perf_counter() - began)

    async def many(self, count: int) -> list[float]:
        return [await self.one() for _ in range(count)]

    def _acked(self, token: str, ack: Ack | None) -> None:
        if ack is None or not ack.stream or ack.duplicate:
            raise RuntimeError(f"not stored: {ack}")
        self._waiting.pop(token).set_result(None)

    async def _lost(self) -> None: ...


async def measure(url: str, events: int) -> dict[str, float]:
    sending = Sending(url)
    await sending.publisher.connect()
    await sending.many(WARM)
    alone = sorted(await sending.many(events // 10))
    began = time.perf_counter()
    parts = await asyncio.gather(*(sending.many(events // AT_ONCE) for _ in range(AT_ONCE)))
    took = time.perf_counter() - began
    together = sorted(one for part in parts for one in part)
    await sending.publisher.disconnect()
    figures = {
        "alone_p50": alone[len(alone) // 2],
        "alone_p99": alone[len(alone) * 99 // 100],
        "together_p50": together[len(together) // 2],
        "together_p99": together[len(together) * 99 // 100],
        "together_a_second": len(together) / took,
    }
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000)
    events = parser.parse_args().events
    for way in ("two minutes", "a second", "always"):
        with tempfile.TemporaryDirectory(dir=".") as folder:  # not in a file system that is memory
            directory, port = Path(folder).absolute(), free_port()
            terms = (
                [] if way == "two minutes" else NATS.configure(directory, Settings(nats_sync_always=way == "always"))
            )
            command = [*NATS.command(directory, port), *terms]
            server = Process(command, directory, lambda port=port: nats_answers(port))  # type: ignore[misc]
            server.start()
            try:
                print(json.dumps({"sync": way, **asyncio.run(measure(f"nats://127.0.0.1:{port}", events))}), flush=True)
            finally:
                server.kill()


if __name__ == "__main__":
    main()
