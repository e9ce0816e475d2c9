"""`python -m benchmarks`: measures everything and writes benchmarks/results/latest.json and latest.md.

Ends with 1 when a promised figure is missed, unless --no-assert; with 2 when something cannot be measured.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import closed_loop, haproxy_cost, machine, report, runs, stateful, workload
from benchmarks.bodies import with_people
from benchmarks.code import to_measure
from benchmarks.figures import Figure
from benchmarks.processes import become_reaper
from benchmarks.targets import TARGETS
from campaign_express.frames import Ask

PARTS = ("core", "memory", "events", "haproxy", *(target.name for target in TARGETS))
BODIES = 1000


def prepare(folder: Path, plan: runs.Plan, say: runs.Say, code: Path) -> runs.Bench:
    """Catalogue and bodies on disk; what the core answers to them tells how long the echo's answer has to be."""
    say("preparing the catalogue and the requests")
    core = workload.bidder(workload.settings(folder))
    wall_ms = time.time_ns() // 1_000_000
    bodies = workload.choose(core, BODIES, wall_ms)
    now = time.monotonic_ns()
    answers = [core.answer([Ask("", now, body)], now, wall_ms).answers[0] for body in bodies]
    bids = [len(answer.body) for answer in answers if answer.status == 200]
    if len(bids) < 0.95 * len(bodies):
        raise RuntimeError(f"the core bids on {len(bids)} of {len(bodies)} bodies only")
    mean = round(statistics.mean([len(answer.body) for answer in answers]))
    bench = runs.Bench(folder, plan, with_people(bodies, stateful.TURNS), mean, say, code)
    bench.bodies_file.write_bytes(b"\n".join(bench.bodies) + b"\n")
    return bench


def measure(bench: runs.Bench, parts: Sequence[str]) -> tuple[list[Figure], list[str]]:
    """Figures, and what could not be measured and why: one broken part does not cost the others."""
    figures: list[Figure] = []
    problems: list[str] = []
    alone = {"core": runs.core, "memory": runs.memory, "events": runs.events, "haproxy": haproxy_cost.measure}
    for part, run in alone.items():
        if part in parts:
            try:
                figures += run(bench)
            except (RuntimeError, OSError) as error:
                bench.say(f"{part}: {error}")
                problems.append(f"{part}: {error}")
    trials = runs.Trials(bench, [part for part in parts if part not in alone])
    trials.run()
    return figures + trials.figures(), problems + trials.problems


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it runs, no more")
    parser.add_argument("--pure", action="store_true", help="measure plain Python though there is a compiler")
    parser.add_argument("--rounds", type=int, help="rounds of the comparison (default 3)")
    parser.add_argument("--no-assert", action="store_true", help="end with 0 even when a figure is missed")
    parser.add_argument("--output", type=Path, default=report.RESULTS, help="folder of latest.json and latest.md")
    options = parser.parse_args()
    console = Console()
    plan = runs.QUICK if options.quick else runs.Plan()
    if options.rounds:
        plan = runs.Plan(**{**{name: getattr(plan, name) for name in plan.__slots__}, "rounds": options.rounds})
    if closed_loop.client() != "wrk":
        console.print(f"[yellow]{closed_loop.INSTALL}[/yellow]")
    start = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.0f} s[/dim]  {text}", highlight=False)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended on this way out too
    where = machine.describe()
    try:
        become_reaper()
        workload.environment()
        with tempfile.TemporaryDirectory(prefix="ce-bench-") as folder:
            say("looking for a compiler, and compiling what has changed")
            code, code_is = to_measure(options.pure)
            say(code_is)
            bench = prepare(Path(folder), plan, say, code)
            figures, problems = measure(bench, options.only or PARTS)
    except (OSError, RuntimeError, ValueError) as error:
        console.print(f"not measured: {error}", style="red", markup=False, highlight=False)
        return 2
    setup = {
        "code": code_is,
        "closed loop": f"{closed_loop.client()}, {plan.connections} connections, {plan.closed_s:g} s",
        "warm-up": f"{plan.warm_s:g} s of the same load",
        "rounds": plan.rounds,
        "open loop": f"Poisson arrivals, {plan.open_s:g} s",
        "requests": f"{len(bench.bodies)} bodies, {statistics.median(map(len, bench.bodies)):.0f} bytes (median)",
        "answer": f"{bench.answer_bytes} bytes (mean)",
        "campaigns": workload.CAMPAIGNS,
        **{target.name: target.title for target in TARGETS},
    }
    content = report.document(figures, where, setup)
    paths = report.write(content, options.output)
    console.print(Markdown(report.markdown(content)))
    console.print("written: " + ", ".join(str(path) for path in paths))
    missed = [figure.name for figure in figures if figure.kept is False]
    if missed:
        console.print("[red]missed:[/red] " + ", ".join(missed))
    if problems:
        console.print("not measured: " + "\n".join(problems), style="red", markup=False, highlight=False)
        return 2
    return 1 if missed and not options.no_assert else 0


if __name__ == "__main__":
    sys.exit(main())
