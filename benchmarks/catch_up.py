"""The store of events is away for `OUTAGE_S`; then the pipeline catches up while events go on coming.

Run by `make chaos`, or alone: `python -m benchmarks.catch_up` prints what it finds as JSON. What comes are the
decisions and notices of 50 million bids an hour, in the mix of docs/pipeline.md, as one of four replicas of the
pipeline gets them, on the cores that publish them too. The backlog of an outage of an hour lies in files like that of a
minute, so the rate is what tells: how many events a second are stored, over how many come, from the first that is
stored until no more wait than usual.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from benchmarks.day_servers import Servers
from benchmarks.events import decisions, notices
from benchmarks.pipeline_process import Pipeline, taken, waiting
from benchmarks.processes import free_port
from campaign_express import config
from campaign_express.adapters.batches import BatchPublisher, Parcel
from campaign_express.adapters.nats import close, connect, ensure_stream
from campaign_express.bootstrap_warehouse import CHDB, open_warehouse
from campaign_express.config import Settings
from campaign_express.decision_log import FRAME_EVENTS
from campaign_express.events import (
    DECISION_SUBJECTS,
    DECISIONS,
    STREAM,
    SUBJECTS,
    DecisionFrame,
    decision_subject,
    encode_event,
    encode_frame,
    subject,
)
from campaign_express.ports import Kept
from campaign_express.sizing import HOUR_S, Traffic
from campaign_express.streams import stream_terms

SHARE = 0.25  # of the traffic: what one of four replicas gets
OUTAGE_S = 60.0
LIVE_S = 20.0  # so long events go on coming after it
TICK_S = 0.05
USUAL_S = 2.0  # of what comes waits always: ranges gather for a second, and take their time to be stored
PATIENCE_S = 120.0
SEED = 2026


class CatchUp(Struct, frozen=True, kw_only=True):
    """What came of it; rates are events a second."""

    backlog_events: int
    live_rate: float
    catch_up_rate: float
    catch_up_over_live: float
    caught_up_s: float
    events: int
    lost: int  # events that were published and are not in the tables
    doubled: int


class Load:
    """Encoded events, made beforehand, so that publishing them takes little from the pipeline."""

    def __init__(self, seconds: float, share: float, settings: Settings) -> None:
        traffic = Traffic()
        bids, told = traffic.bids * share / HOUR_S, traffic.notices * share / HOUR_S
        self.rate = bids + told
        rng = random.Random(SEED)
        made = list(decisions(int(bids * seconds), SEED, time.time_ns() // 1_000_000 - int(seconds * 1000)))
        parts = [made[first : first + FRAME_EVENTS] for first in range(0, len(made), FRAME_EVENTS)]
        self.frames = [
            (decision_subject(number % settings.decision_partitions), encode_frame(DecisionFrame(1, str(number), part)))
            for number, part in enumerate(parts)
        ]
        events = itertools.chain.from_iterable(notices(one, f"{rng.getrandbits(128):032x}") for one in made)
        self.money = [
            Parcel(subject(one), one.id, encode_event(one)) for one in itertools.islice(events, int(told * seconds))
        ]
        self.decisions = len(made)


class Publishing:
    """Sends a load, part by part, as cells do."""

    def __init__(self, settings: Settings, load: Load) -> None:
        self._url = settings.nats_url
        self._terms = stream_terms(settings)
        self._load = load
        self._frames = self._money = 0  # sent
        self._stored = 0
        self._publisher: BatchPublisher[Parcel] = BatchPublisher(
            settings.nats_url, "catch-up", self._terms[STREAM], (STREAM, SUBJECTS), self._settled, self._lost
        )

    async def run(self, first: float, live_s: float, over: asyncio.Event) -> None:
        """The first share of the load at once; when `over`, the rest in `live_s`."""
        client = await connect(self._url, "catch-up")
        await ensure_stream(client, self._terms[DECISIONS], DECISIONS, DECISION_SUBJECTS)
        await self._publisher.connect()
        load = self._load

        async def up_to(share: float) -> None:
            frames, money = int(len(load.frames) * share), int(len(load.money) * share)
            for subject_, frame in load.frames[self._frames : frames]:
                await client.publish(subject_, frame)
            for parcel in load.money[self._money : money]:
                self._publisher.offer(parcel)
            self._frames, self._money = frames, money
            await client.flush(timeout=30)

        try:
            for step in range(1, 101):  # in parts that fit the client
                await up_to(first * step / 100)
            await self._landed()
            await over.wait()
            began = time.monotonic()
            while (passed := time.monotonic() - began) < live_s:
                await up_to(first + (1 - first) * passed / live_s)
                await asyncio.sleep(TICK_S)
            await up_to(1.0)
            await self._landed()
        finally:
            await self._publisher.disconnect()
            await close(client)

    async def _landed(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self._stored < self._money:  # noqa: ASYNC110  # a counter, not an event
                await asyncio.sleep(TICK_S)

    def _settled(self, parcel: Parcel, kept: Kept | None) -> None:
        if kept is not Kept.PUBLISHED:
            raise RuntimeError(f"not stored: {kept}")
        self._stored += 1

    async def _lost(self) -> None:
        raise RuntimeError("NATS is lost")


async def catch_up(
    settings: Settings, pipeline: Pipeline, outage_s: float, live_s: float, share: float, say: Callable[[str], None]
) -> CatchUp:
    """With a pipeline that is to be started, of these settings; it is stopped in the end."""
    load = Load(outage_s + live_s, share, settings)
    first = outage_s / (outage_s + live_s)
    backlog = int((load.decisions + len(load.money)) * first)
    messages = int(len(load.frames) * first) + int(len(load.money) * first)
    store = Path(settings.data_dir, CHDB)
    over = asyncio.Event()
    try:
        with taken(store):
            pipeline.start()
            publishing = asyncio.ensure_future(Publishing(settings, load).run(first, live_s, over))
            before = await _until(settings, lambda now: now >= messages)
            say(f"the store is back; {backlog:,} events wait, in {before:,} messages")
        await _until(settings, lambda now: now < before)
        began = time.monotonic()
        over.set()
        usual = int((len(load.frames) + len(load.money)) * USUAL_S / (outage_s + live_s))
        await _until(settings, lambda now: now <= usual)
        took = time.monotonic() - began
        came = min(1.0, took / live_s) * (1 - first) * (load.decisions + len(load.money))
        await publishing
        await _until(settings, lambda now: not now)
    finally:
        pipeline.stop()
    stored, distinct = _stored(settings)
    events = load.decisions + len(load.money)
    rate = (backlog + came - load.rate * USUAL_S) / took
    return CatchUp(
        backlog_events=backlog,
        live_rate=round(load.rate),
        catch_up_rate=round(rate),
        catch_up_over_live=round(rate / load.rate, 2),
        caught_up_s=round(took, 1),
        events=events,
        lost=events - distinct,
        doubled=stored - distinct,
    )


async def _until(settings: Settings, condition: Callable[[int], bool]) -> int:
    """The number of waiting messages that first fulfils it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            now = await waiting(settings.nats_url)
            if now is not None and condition(now):
                return now
            await asyncio.sleep(TICK_S)


def _stored(settings: Settings) -> tuple[int, int]:
    """(rows, different events) of the tables."""
    warehouse = open_warehouse(settings)
    try:
        rows = [
            warehouse.query(f"SELECT count(), uniqExact({key}) FROM {table} FINAL").rows[0]  # noqa: S608
            for table, key in (("events", "bid_key, kind"), ("decisions", "id"))
        ]
    finally:
        warehouse.close()
    return sum(int(count) for count, _ in rows), sum(int(different) for _, different in rows)


def run(
    say: Callable[[str], None], outage_s: float = OUTAGE_S, live_s: float = LIVE_S, share: float = SHARE
) -> CatchUp:
    """With servers of its own. `share` of the traffic of 50 million bids an hour."""
    with tempfile.TemporaryDirectory(prefix="catch-up-") as folder, Servers(Path(folder), single=True) as servers:
        values = {
            "redis_url": servers.redis_url,
            "nats_url": servers.nats_url,
            "data_dir": folder,
            "metrics_port": free_port(),
        }
        settings = config.load(values, {})
        Path(folder, CHDB).mkdir()
        return asyncio.run(catch_up(settings, Pipeline(values, Path(folder)), outage_s, live_s, share, say))


if __name__ == "__main__":
    print(json.dumps({name: getattr(found, name) for found in [run(print)] for name in CatchUp.__struct_fields__}))
