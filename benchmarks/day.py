"""`make day`: a simulated day against real cells, Redis and NATS, with faults; and what the bidder spent in it.

Two cells of two agents share a port; 500,000 requests come along a diurnal curve with a spike; notices are lost, late
and doubled; an agent is killed every simulated hour and a Redis master at mid-day. The exchanges' own ledger then says
whether a budget or a cap was passed, and the bidder's ledger is compared with it. Writes benchmarks/results/day.json
and day.html; ends with 1 where a wanted figure is missed. docs/exchange.md says what each figure means.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks import day_audit, day_plan, day_report
from benchmarks.day_chaos import Chaos, agent_pids, treasury_status
from benchmarks.day_servers import Servers
from benchmarks.day_usage import cpu_by_part
from benchmarks.on_ray import on_ray, serve  # before whatever imports ray
from benchmarks.processes import become_reaper, descendants, free_port
from campaign_express import config
from campaign_express.exchange import simulation
from campaign_express.serving import builder

RESULTS = Path(__file__).resolve().parent / "results"
SAY_S = 20.0


class Teller:
    """Says on stderr how far the day is."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._last = 0.0
        self._began = time.monotonic()

    def __call__(self, at: simulation.Progress) -> None:
        now = time.monotonic()
        if now - self._last > SAY_S:
            self._last = now
            hour = (at.now_ms - self._start_ms) / 3_600_000
            self.say(
                f"hour {hour:5.2f}: {at.sent:,} of {at.requests:,} requests, {at.notices_waiting:,} notices to come"
            )

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", file=sys.stderr, flush=True)


def run(size: day_plan.Size, directory: Path) -> day_report.DayReport:
    """One day, with Ray and all servers started for it and ended after it."""
    teller = Teller(day_plan.DATE_MS)
    teller.say("starting NATS, a Valkey cluster and Ray")
    with Servers(directory) as servers, on_ray(directory, "day") as serve_port:
        ports = {"grpc_port": free_port(), "metrics_port": free_port(), "serve_port": serve_port}
        day = day_plan.prepare(size, directory, servers, free_port(), ports)
        day_plan.publish(day, servers.redis_url)
        teller.say("starting the cells")
        settings = config.load(day.settings, {})
        serve.run(builder.build(settings, num_replicas=size.cells), name="day", route_prefix="/")
        ingress = f"http://127.0.0.1:{serve_port}"
        wait = day.plan.clock.real_s(day.plan.start_ms - day.plan.clock.now_ms())
        teller.say(f"midnight in {wait:.1f} s")
        if wait < 0:
            raise RuntimeError(f"the bidder took {-wait:.0f} s too long to start: give it a longer lead")
        time.sleep(wait)
        chaos = Chaos(
            day.plan.clock,
            day.plan.start_ms,
            servers,
            lambda: agent_pids(ingress, size.cells),
            size.seed,
            hours=size.hours,
        )
        before = cpu_by_part()
        with chaos:
            results = simulation.run(day.plan, day.shapes, teller)
        used = {name: round(seconds - before.get(name, 0.0), 1) for name, seconds in cpu_by_part().items()}
        teller.say("the day is over; waiting until all events are applied")
        audit = day_audit.audit(settings, day.plan, results)
        report = day_report.make(day.plan, results, audit, chaos)
        report.cpu_s = used
        report.treasury = treasury_status(ingress)
        return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = day_plan.Size()
    parser.add_argument("--requests", type=int, default=size.requests)
    parser.add_argument("--campaigns", type=int, default=size.campaigns)
    parser.add_argument("--minutes", type=float, default=size.minutes, help="real time in which the day passes")
    parser.add_argument("--hours", type=int, default=size.hours, help="how much of the day is simulated")
    parser.add_argument("--seed", type=int, default=size.seed)
    parser.add_argument("--lead", type=float, default=size.lead_s, help="seconds in which the bidder starts")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for day.json and day.html")
    given = parser.parse_args()
    become_reaper()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    size = day_plan.Size(given.requests, given.campaigns, given.minutes, given.hours, given.seed, lead_s=given.lead)
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="day-") as folder:
            report = run(size, Path(folder))
    finally:
        for pid in descendants(os.getpid()):
            os.kill(pid, signal.SIGKILL)
    report.real_s = round(time.monotonic() - started, 1)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "day.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    (given.out / "day.html").write_text(report.page())
    for line in report.lines():
        print(line)
    return 1 if report.missed() else 0


if __name__ == "__main__":
    sys.exit(main())
