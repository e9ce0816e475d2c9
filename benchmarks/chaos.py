"""`make chaos`: the exchanges' money events through a pipeline that is killed, a broker that restarts, a store that
refuses.

A cell is asked for bids by the simulated exchanges, which tell it of everything once and never again. Meanwhile the
event pipeline is killed (SIGKILL) ten times, NATS is restarted twice (once by SIGKILL), and the store is taken away for
a while. Afterwards the tables must hold exactly what the exchanges told, and cost what they say, to the micro. Then
`catch_up.py`: how fast a backlog is stored while events go on coming. Writes benchmarks/results/chaos.json; ends with 1
where anything was lost or doubled, or a backlog is not stored in time. docs/pipeline.md says more.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks import catch_up, day_plan
from benchmarks.catch_up import CatchUp
from benchmarks.day_servers import Servers
from benchmarks.on_ray import on_ray, serve  # before whatever imports ray
from benchmarks.pipeline_process import Pipeline, caught_up, taken
from benchmarks.processes import become_reaper, descendants, free_port
from campaign_express import config
from campaign_express.analytics import rollups
from campaign_express.analytics.migrate import migrate
from campaign_express.bidding.model import Budget, Pacing
from campaign_express.bootstrap_warehouse import CHDB, open_warehouse
from campaign_express.config import Settings
from campaign_express.exchange import simulation
from campaign_express.exchange.told import Expected, expect
from campaign_express.exchange.venues import SOLO
from campaign_express.ports import Warehouse
from campaign_express.serving import builder

RESULTS = Path(__file__).resolve().parent / "results"
DRAIN_S = 180.0
OVER_LIVE = 5.0  # so many times as fast as events come is wanted to be caught up
BROKER_AWAY_S = 1.0  # the outage itself: cells must spool meanwhile
KINDS = ("win", "loss", "billing", "impression", "click", "conversion")


@dataclass(frozen=True, slots=True)
class Size:
    """`requests` in `seconds`, of real time; a request makes some two money events."""

    requests: int = 54_000
    seconds: float = 150.0
    kills: int = 10  # of the pipeline
    broker_restarts: int = 2
    refuses_s: float = 12.0  # so long the store is away
    seed: int = 2026
    lead_s: float = 60.0


class Outcome(Struct, kw_only=True):
    """chaos.json. Counts are of notices that the cell answered with success, each once."""

    events_sent: int
    lost: int
    doubled: int
    spend_difference_micros: int  # of all campaigns, without their signs
    told: dict[str, int]  # by kind
    stored: dict[str, int]
    spend_micros: int
    copies_sent: int  # notices that the exchanges sent twice
    unanswered: int
    kills: int
    broker_restarts: int
    refused_s: float
    caught_up_s: float  # from the last notice until everything was stored
    seconds: float
    catch_up: CatchUp | None = None  # after an outage of the store, in a run of its own
    catch_up_over_live: float = 0.0

    def missed(self) -> bool:
        catch_up = self.catch_up
        slow = catch_up is not None and bool(
            catch_up.lost or catch_up.doubled or catch_up.catch_up_over_live < OVER_LIVE
        )
        return slow or bool(self.lost or self.doubled or self.spend_difference_micros)


class Chaos:
    """Kills and restarts, spread over the run in a thread of its own, by a seed."""

    def __init__(
        self, size: Size, pipeline: Pipeline, servers: Servers, store: Path, say: Callable[[str], None]
    ) -> None:
        self.kills = self.restarts = 0
        self.refused_s = 0.0
        self._size, self._pipeline, self._servers, self._store, self._say = size, pipeline, servers, store, say
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos")

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        size, rng = self._size, random.Random(self._size.seed)
        kills = [((number + rng.uniform(0.3, 0.9)) / size.kills, "kill") for number in range(size.kills)]
        brokers = [((n + 0.5) / size.broker_restarts, "broker") for n in range(size.broker_restarts)]
        began = time.monotonic()
        refuses_at = size.kills // 2
        for at, what in sorted([*kills, *brokers]):
            if self._over.wait(max(0.0, began + at * size.seconds - time.monotonic())):
                return
            if what == "broker":
                self._broker()
            else:
                self._kill(self.kills == refuses_at)

    def _kill(self, takes_the_store: bool) -> None:
        self._pipeline.kill()
        self.kills += 1
        if takes_the_store:
            with taken(self._store):
                self._say("the store refuses")
                self._pipeline.start()
                began = time.monotonic()
                self._over.wait(self._size.refuses_s)
                self.refused_s = time.monotonic() - began
        else:
            self._pipeline.start()
        self._say(f"the pipeline was killed, {self.kills}")

    def _broker(self) -> None:
        if self.restarts % 2:
            self._servers.nats.stop()
        else:
            self._servers.nats.kill()
        time.sleep(BROKER_AWAY_S)
        self._servers.nats.start()
        self.restarts += 1
        self._say("the broker was restarted")


def prepared(size: Size, directory: Path, servers: Servers, http_port: int, more: dict[str, Any]) -> day_plan.Day:
    """A short day in real time with campaigns that have no budgets and win most auctions; the exchanges send some
    notices twice and lose none. The one that sends a single kind of notice takes no part."""
    plain = day_plan.Size(
        requests=size.requests, campaigns=24, minutes=size.seconds / 60, hours=1, seed=size.seed, lead_s=size.lead_s
    )
    day = day_plan.prepare(plain, directory, servers, http_port, more)
    assert day.plan.catalog is not None
    campaigns = tuple(
        msgspec.structs.replace(
            campaign,
            budget=Budget(),
            pacing=Pacing.ASAP,
            caps=(),
            targeting=type(campaign.targeting)(),
            exchanges=tuple(venue.name for venue in day.plan.venues if venue.name != SOLO),
            goal=msgspec.structs.replace(campaign.goal, bid=campaign.goal.bid * 3),
            max_bid=campaign.max_bid * 3,
        )
        for campaign in day.plan.catalog.campaigns
    )
    catalog = msgspec.structs.replace(day.plan.catalog, campaigns=campaigns)
    faults = msgspec.structs.replace(day.plan.faults, lost=0.0, late=0.0, reordered=0.05, duplicated=0.05)
    behaviour = msgspec.structs.replace(day.plan.behaviour, clicked=0.02, converted=0.3, convert_ms=60_000)
    plan = msgspec.structs.replace(day.plan, catalog=catalog, faults=faults, behaviour=behaviour)
    return replace(day, plan=plan)


def compare(warehouse: Warehouse, results: simulation.Results) -> dict[str, Any]:
    """What the tables say against what the exchanges told."""
    while rollups.catch_up(warehouse, everything=True) == rollups.AT_ONCE:
        pass
    rows = warehouse.query("SELECT kind, count() AS events FROM events FINAL WHERE test = 0 GROUP BY kind").rows
    stored = {str(kind): int(count) for kind, count in rows}
    told = {kind: results.sales.told.get(kind, 0) for kind in KINDS}
    sums = warehouse.query(
        "SELECT campaign, sum(spend_micros) AS spend FROM rollup_day FINAL WHERE dimension = '' GROUP BY campaign"
    ).rows
    spend = {str(campaign): int(micros) for campaign, micros in sums}
    expected: dict[str, Expected] = {}
    for campaign in {sale.campaign for sale in results.sales.sales}:
        expected[campaign] = expect([sale for sale in results.sales.sales if sale.campaign == campaign])
    difference = sum(
        max(told_.committed - spend.get(name, 0), spend.get(name, 0) - told_.most, 0)
        for name, told_ in expected.items()
    )
    return {
        "events_sent": sum(told.values()),
        "lost": sum(max(0, told[kind] - stored.get(kind, 0)) for kind in KINDS),
        "doubled": sum(max(0, stored.get(kind, 0) - told[kind]) for kind in KINDS),
        "spend_difference_micros": difference + sum(spend.get(n, 0) for n in spend.keys() - expected.keys()),
        "told": told,
        "stored": stored,
        "spend_micros": sum(spend.values()),
    }


def bring_about(
    size: Size,
    directory: Path,
    servers: Servers,
    day: day_plan.Day,
    settings: Settings,
    say: Callable[[str], None],
) -> Outcome:
    """The run itself, against a cell of these settings that is up, and what came of it."""
    began = time.monotonic()
    values = {name: day.settings[name] for name in ("redis_url", "nats_url", "data_dir", "simulated_clock")}
    pipeline = Pipeline(values, directory)
    pipeline.start()
    try:
        wait = day.plan.clock.real_s(day.plan.start_ms - day.plan.clock.now_ms())
        if wait < 0:
            raise RuntimeError(f"the bidder took {-wait:.0f} s too long to start: give it a longer lead")
        time.sleep(wait)
        chaos = Chaos(size, pipeline, servers, Path(settings.data_dir, CHDB), say)
        with chaos:
            results = simulation.run(day.plan, day.shapes)
        say("the exchanges are done")
        ended = time.monotonic()
        while not caught_up(settings.nats_url):
            if time.monotonic() - ended > DRAIN_S or not pipeline.lives:
                raise RuntimeError(f"the pipeline does not catch up; its log ends:\n{pipeline.log_end()}")
            time.sleep(0.2)
        caught_up_s = time.monotonic() - ended
    finally:
        pipeline.stop()
    warehouse = open_warehouse(settings)
    try:
        migrate(warehouse)
        found = compare(warehouse, results)
    finally:
        warehouse.close()
    counts = results.counts
    return Outcome(
        **found,
        copies_sent=counts["notices sent twice"],
        unanswered=counts["notices unanswered"] + counts["notices refused"],
        kills=chaos.kills,
        broker_restarts=chaos.restarts,
        refused_s=round(chaos.refused_s, 1),
        caught_up_s=round(caught_up_s, 1),
        seconds=round(time.monotonic() - began, 1),
    )


def run(size: Size, directory: Path, say: Callable[[str], None]) -> Outcome:
    """With Ray and all servers started for it and ended after it."""
    with Servers(directory, single=True) as servers, on_ray(directory, "chaos") as serve_port:
        ports = {"grpc_port": free_port(), "metrics_port": free_port(), "serve_port": serve_port}
        day = prepared(size, directory, servers, free_port(), ports)
        day_plan.publish(day, servers.redis_url)
        settings = config.load(day.settings, {})
        serve.run(builder.build(settings), name="chaos", route_prefix="/")
        say("the cell is up")
        return bring_about(size, directory, servers, day, settings, say)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = Size()
    parser.add_argument("--requests", type=int, default=size.requests)
    parser.add_argument("--seconds", type=float, default=size.seconds)
    parser.add_argument("--kills", type=int, default=size.kills)
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for chaos.json")
    given = parser.parse_args(arguments)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    become_reaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            outcome = run(
                replace(size, requests=given.requests, seconds=given.seconds, kills=given.kills), Path(folder), say
            )
        say("an outage of the store, and what it takes to catch up")
        outcome.catch_up = catch_up.run(say)
        outcome.catch_up_over_live = outcome.catch_up.catch_up_over_live
    finally:
        for pid in descendants(os.getpid()):
            os.kill(pid, signal.SIGKILL)
    given.out.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(outcome))
    (given.out / "chaos.json").write_bytes(text + b"\n")
    print(text.decode())
    return 1 if outcome.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
